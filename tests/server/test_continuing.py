"""Upstreams that break at any place, over real sockets: an answer becomes whole, or says that it is not (L15, L25)."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from tests.server.conftest import Place
from tests.server.reader import asking, chat

from headrace.testing.upstream import DONE, Exchange, finish_chunk, role_chunk, text_chunk, usage_chunk

pytestmark = pytest.mark.anyio

WORDS = [f"{word}{number} " for number in range(5) for word in ("mill", "wheel", "stone", "grain", "flour", "bread")]
ANSWER = "".join(WORDS)
FAULTS = 120
# An upstream is asked three times in a row without a new word, so that two faults never end an answer.
FAULTS_IN_ONE_ANSWER = 2
AT_ONCE = 24


class Breaking:
    """An upstream that breaks off at chosen places, and goes on with what it is given."""

    def __init__(self, seed: int, *, repeats: int = 0) -> None:
        self._random = random.Random(seed)
        self._faults = self._random.randint(1, FAULTS_IN_ONE_ANSWER)
        self._repeats = repeats
        self.bodies: list[Any] = []

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        body = exchange.json()
        self.bodies.append(body)
        last = body["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        assert not said or (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
        # A repetition of fewer than eight characters may be meant, and is not left out.
        rest = ANSWER[max(0, len(said) - (self._repeats if len(said) >= 8 else 0)) :]
        size = self._random.randint(1, 9)
        pieces = [rest[start : start + size] for start in range(0, len(rest), size)]
        place = None
        if self._faults:
            self._faults -= 1
            place = self._random.randint(-1, len(pieces))
        if place == -1:
            await exchange.whole(b'{"error":{"message":"busy"}}', 503, {"Retry-After": "0"})
            return
        await exchange.head()
        await exchange.chunk(role_chunk())
        for number, piece in enumerate(pieces):
            if number == place:
                break
            await exchange.chunk(text_chunk(piece))
        if place is not None:
            # What was sent has to arrive: a reset may overtake it.
            await asyncio.sleep(0)
            await self._break(exchange)
            return
        await exchange.chunk(finish_chunk() + usage_chunk(7, len(pieces)) + DONE)
        await exchange.end()

    async def _break(self, exchange: Exchange) -> None:
        match self._random.choice(["reset", "close", "end", "done", "error"]):
            case "reset":
                exchange.reset()
            case "close":
                exchange.close()
            case "end":
                await exchange.end()
            case "done":
                await exchange.chunk(DONE)
                await exchange.end()
            case _:
                await exchange.chunk(b'data: {"error":{"message":"overloaded","code":503}}\n\n')
                await exchange.end()


class Many:
    """An upstream of several answers at once, each of which breaks off as its question's number has it."""

    def __init__(self, *, repeats: int = 0) -> None:
        self._repeats = repeats
        self._by_question: dict[str, Breaking] = {}

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        question = exchange.json()["messages"][0]["content"]
        if question not in self._by_question:
            self._by_question[question] = Breaking(int(question), repeats=self._repeats)
        await self._by_question[question](exchange)


async def answers_of(place: Place) -> list[tuple[str, str | None, Any, list[Any]]]:
    """Those to all questions, a few at once: the delays between attempts are real."""
    some = asyncio.Semaphore(AT_ONCE)

    async def one(seed: int) -> tuple[str, str | None, Any, list[Any]]:
        async with some:
            return await answer_of(place, messages=[{"role": "user", "content": str(seed)}])

    return await asyncio.gather(*map(one, range(FAULTS)))


async def answer_of(place: Place, **more: Any) -> tuple[str, str | None, Any, list[Any]]:
    """The text, the finish reason, the error, and the events as they are kept."""
    body = chat(stream_options={"include_usage": True}, **more)
    async with asking(place.port, "POST", "/v1/chat/completions", body) as reader:
        assert reader.status == 200
        text, finish, error = "", None, None
        async for frame in reader.frames():
            if frame == "[DONE]":
                break
            said = json.loads(frame)
            error = said.get("error", error)
            for choice in said.get("choices", []):
                text += choice["delta"].get("content") or ""
                finish = choice["finish_reason"] or finish
        path = f"/v1/streams/{reader.headers['headrace-stream']}/events?protocol=typed_events"
    async with asking(place.port, "GET", path) as reader:
        events = [json.loads(frame) async for frame in reader.frames() if frame != "[DONE]"]
    return text, finish, error, events


@pytest.mark.parametrize("repeats", [0, 40], ids=["goes on", "repeats its last words"])
async def test_l25_answers_that_break_at_random_places_become_whole(place: Place, repeats: int) -> None:
    continued = 0
    async with place.upstream(Many(repeats=repeats)):
        place.upstreams["lab"].prefill = "continue_final_message"
        for text, finish, error, events in await answers_of(place):
            assert (text, finish, error) == (ANSWER, "stop", None)
            assert [event["type"] for event in events].count("start") == 1
            continued += any(event.get("phase") == "continued" for event in events)
    assert continued > FAULTS / 2


async def test_l15_without_a_way_to_go_on_the_same_faults_are_told(place: Place) -> None:
    told = 0
    async with place.upstream(Many()):
        for text, finish, error, _ in await answers_of(place):
            assert ANSWER.startswith(text)
            if error is None:
                assert (text, finish) == (ANSWER, "stop")
            else:
                told += 1
                assert finish is None
    assert told > FAULTS / 3


async def test_l26_a_continuation_is_told_with_from_to_and_offset_and_usage_is_added_up(place: Place) -> None:
    async with place.upstream(Breaking(1)):
        place.upstreams["lab"].prefill = "continue_final_message"
        text, _, _, events = await answer_of(place, max_tokens=500)
    assert text == ANSWER
    seams = [(number, event) for number, event in enumerate(events) if event.get("phase") == "continued"]
    assert seams
    for number, event in seams:
        assert (event["from"], event["to"], event["offset"]) == ("lab/m", "lab/m", number)
    metadata = events[-1]
    assert metadata["type"] == "metadata"
    assert metadata["usage"]["source"] == "estimated"
    assert metadata["usage"]["prompt_tokens"] > 7


async def test_l25_a_request_can_have_its_answer_end_where_it_broke_off(place: Place) -> None:
    handler = Breaking(1)
    async with place.upstream(handler):
        place.upstreams["lab"].prefill = "continue_final_message"
        text, finish, error, _ = await answer_of(place, headrace={"on_interruption": "end"})
    assert len(handler.bodies) == 1
    assert (finish, error["code"]) == (None, "upstream_reset")
    assert ANSWER.startswith(text)


async def test_o6_health_tells_what_is_left_alone(place: Place) -> None:
    async def break_off(exchange: Exchange) -> None:
        exchange.close()

    async with place.upstream(break_off):
        for _ in range(2):
            async with asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
                assert reader.status == 502
        async with asking(place.port, "GET", "/health") as reader:
            upstreams = {each["name"]: each for each in (await reader.json())["upstreams"]}
    lab = upstreams["lab"]
    assert (lab["circuit"], lab["failures_in_a_row"], lab["retries_left"]) == ("open", 6, 96)
    assert 0 < lab["left_alone_seconds"] <= 30
    assert upstreams["offline"]["circuit"] == "closed"
