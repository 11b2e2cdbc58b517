"""`Headrace-Warning` names what an upstream has no word for, before a byte of the answer is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.server.conftest import Place
from tests.server.reader import asking, chat

from headrace.clock import SystemClock
from headrace.providers import PROVIDERS
from headrace.settings import UpstreamSettings
from headrace.testing.ollama import ollama_answer
from headrace.testing.upstream import Exchange, ScriptedUpstream, answer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def before_an_ollama(place: Place) -> AsyncIterator[ScriptedUpstream]:
    async def converse(exchange: Exchange) -> None:
        await ollama_answer(exchange, ["a"])

    async with ScriptedUpstream(converse) as upstream:
        provider = PROVIDERS["ollama"](UpstreamSettings("lab", "ollama", upstream.origin), None, SystemClock())
        with place.provider(provider):
            yield upstream
        await provider.close()


async def warned(place: Place, path: str, body: dict[str, Any]) -> str | None:
    async with asking(place.port, "POST", path, body) as reader:
        assert reader.status == 200
        await reader.body()
        return reader.headers.get("headrace-warning")


@pytest.mark.parametrize("stream", [True, False])
async def test_what_an_ollama_has_no_word_for_is_named(place: Place, stream: bool) -> None:
    body = chat(stream=stream, temperature=0, n=2, logit_bias={"5": 1}, user="u", tool_choice="auto")
    async with before_an_ollama(place) as upstream:
        assert await warned(place, "/v1/chat/completions", body) == "not carried to lab: logit_bias, n"
    assert "logit_bias" not in upstream.exchanges[0].json()


async def test_nothing_is_said_where_everything_is_carried(place: Place) -> None:
    async with before_an_ollama(place):
        assert await warned(place, "/v1/chat/completions", chat(temperature=0, stop=["x"], n=1)) is None

    async def converse(exchange: Exchange) -> None:
        await answer(exchange, ["a"])

    async with place.upstream(converse):
        assert await warned(place, "/v1/chat/completions", chat(n=1, logit_bias={"5": 1}, something_new=[1])) is None
        body = {"model": "lab/m", "prompt": "q", "options": {"temperature": 0, "num_predict": 5}, "think": "low"}
        assert await warned(place, "/api/generate", body) is None


async def test_what_only_an_ollama_knows_is_named_where_another_is_asked(place: Place) -> None:
    async def converse(exchange: Exchange) -> None:
        await answer(exchange, ["a"])

    options = {"temperature": 0, "top_k": 5, "num_ctx": 99}
    body = {"model": "lab/m", "prompt": "q", "options": options, "keep_alive": "5m", "think": True}
    async with place.upstream(converse) as upstream:
        told = await warned(place, "/api/generate", body)
        assert told == "not carried to lab: options.top_k, options.num_ctx, think, keep_alive"
        assert upstream.exchanges[0].json().keys() >= {"temperature"}
    async with before_an_ollama(place) as upstream:
        assert await warned(place, "/api/generate", body) is None
        assert upstream.exchanges[0].json()["options"] == options


async def test_the_offline_model_says_what_it_has_no_use_for(place: Place) -> None:
    told = await warned(place, "/v1/chat/completions", chat(model="offline", temperature=1, max_tokens=3))
    assert told == "not carried to offline: temperature"


async def test_names_that_no_header_could_hold_are_spelled_out_and_counted(place: Place) -> None:
    odd = {"größe\r\nX-Injected": 1, **{f"field{number:02}": 1 for number in range(30)}}
    told = await warned(place, "/v1/chat/completions", {**chat(model="offline"), **odd})
    assert told is not None
    assert told.startswith("not carried to offline: field00, field01")
    assert told.endswith("field19, and 11 more")
    alone = await warned(place, "/v1/chat/completions", {**chat(model="offline"), "größe\r\nX-Injected": 1})
    assert alone == "not carried to offline: gr%C3%B6%C3%9Fe%0D%0AX-Injected"
