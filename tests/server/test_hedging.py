"""Hedging over real sockets: the upstream that is left sees its connection closed, and nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from tests.server.conftest import Place, until
from tests.server.reader import asking, chat

from headrace.runs import Candidate
from headrace.runs.first_tokens import LEAST_ANSWERS
from headrace.testing.upstream import DONE, Exchange, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

ANSWERS = 200


def hedge(place: Place, seconds: float) -> None:
    """Makes `fast` a hedged model of the upstream `lab`, whose answers begin within these seconds as a rule."""
    upstream = place.upstreams["lab"]
    for _ in range(LEAST_ANSWERS):
        for streamed in (True, False):
            upstream.first_tokens.learn("m", streamed=streamed, nanoseconds=int(seconds * 1e9))
    named = cast("dict[str, list[Candidate]]", place.house.runs.models.named)
    named["fast"] = [Candidate(upstream, "m", hedge=True)]


async def say(exchange: Exchange, word: str) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk(word))
    await exchange.chunk(finish_chunk() + DONE)


async def test_the_connection_of_the_one_that_is_left_is_closed(place: Place) -> None:
    asked = 0
    left = asyncio.Event()

    async def first_is_silent(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await exchange.left()
            left.set()
        else:
            await say(exchange, "second")

    async with place.upstream(first_is_silent) as upstream:
        hedge(place, 0.02)
        async with asking(place.port, "POST", "/v1/chat/completions", chat(model="fast")) as reader:
            assert [text async for text in reader.texts()] == ["second"]
        async with asyncio.timeout(5):
            await left.wait()
        await upstream.emptied()
    assert asked == 2


async def test_many_hedged_answers_are_each_whole_and_leave_nothing_behind(place: Place) -> None:
    asked = 0

    async def every_other_is_slow(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            try:
                async with asyncio.timeout(0.3):
                    await exchange.left()
                return
            except TimeoutError:
                pass  # nobody else was asked in its place
        await say(exchange, "whole")

    async with place.upstream(every_other_is_slow) as upstream:
        hedge(place, 0.02)
        before = len(asyncio.all_tasks())

        async def one() -> list[str]:
            async with asking(place.port, "POST", "/v1/chat/completions", chat(model="fast")) as reader:
                return [text async for text in reader.texts()]

        answers = await asyncio.gather(*(one() for _ in range(ANSWERS)))
        assert answers == [["whole"]] * ANSWERS
        assert asked > ANSWERS, "some were asked for twice"
        await place.emptied()
        await upstream.emptied()
        await until(lambda: len(asyncio.all_tasks()) <= before)
