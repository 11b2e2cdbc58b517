"""Row T6: four timers, each by itself and with its own code; a healthy slow stream is not cut (L28)."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, get_args

import pytest
from tests.server.conftest import Place
from tests.server.reader import asking, chat, query
from tests.server.test_leaving import filled

from headrace.clock import SystemClock
from headrace.errors import Timer
from headrace.providers import PROVIDERS
from headrace.requests import Timeouts
from headrace.settings import UpstreamSettings
from headrace.settings.tree import DEFAULT_TIMEOUTS
from headrace.testing.upstream import DONE, Exchange, finish_chunk, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

SHORT = 0.3
# What waits for an upstream that never comes is looked at four times a second.
SLACK_SECONDS = 1.0
TIMERS = get_args(Timer)


async def fall_silent_before(exchange: Exchange) -> None:
    """Says that it is there, and no more."""
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.left()


async def fall_silent_after(exchange: Exchange) -> None:
    """Says one word."""
    await exchange.head()
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


async def never_end(exchange: Exchange) -> None:
    """Says a word twenty times a second, for ever."""
    await exchange.head()
    while True:
        await exchange.chunk(text_chunk("word "))
        await asyncio.sleep(0.05)


async def say_slowly(exchange: Exchange) -> None:
    """Takes 1.2 s for six words and is never silent for as long as any single timer allows."""
    await asyncio.sleep(0.2)
    await exchange.head()
    for _ in range(5):
        await exchange.chunk(text_chunk("word "))
        await asyncio.sleep(0.2)
    await exchange.chunk(text_chunk("word") + finish_chunk() + DONE)
    await exchange.end()


async def outcome(place: Place, way: str, timer: str, protocol: str = "openai_chat") -> tuple[int, Any, str, float]:
    """Status, error, text and seconds of an answer under one short timer, set in one of three ways."""
    path, make = ("/v1/chat/completions", chat) if protocol == "openai_chat" else ("/chat/basic", query)
    limits = {timer: SHORT}
    body = make(headrace={"timeouts": limits}) if way == "body" else make()
    headers = {"Headrace-Timeouts": f"{timer}={SHORT}"} if way == "header" else {}
    if way == "upstream":
        place.upstreams["lab"].timeouts = Timeouts(**limits).over(DEFAULT_TIMEOUTS)
    began = asyncio.get_running_loop().time()
    async with asking(place.port, "POST", path, body, headers) as reader:
        if reader.headers["content-type"] == "application/json":
            error, text = (await reader.json())["error"], ""
        else:
            frames = [json.loads(frame) async for frame in reader.frames() if frame != "[DONE]"]
            texts = [choice["delta"].get("content", "") for frame in frames for choice in frame.get("choices", [])]
            texts += [frame["content"] for frame in frames if frame.get("type") == "token"]
            last = frames[-1]
            error, text = last.get("error") or (last if last.get("type") == "error" else None), "".join(texts)
        return reader.status, error, text, asyncio.get_running_loop().time() - began


WAYS = pytest.mark.parametrize("way", ["header", "body", "upstream"])


@WAYS
async def test_t6_the_first_token_has_a_timer(place: Place, way: str) -> None:
    async with place.upstream(fall_silent_before) as upstream:
        status, error, _, seconds = await outcome(place, way, "first_token")
        assert (status, error["code"]) == (504, "first_token_timeout")
        assert error["message"] == "lab sent no token within 0.3 s (timeouts.first_token)"
        assert SHORT <= seconds < SHORT + SLACK_SECONDS
        await upstream.emptied()


@WAYS
async def test_t6_the_gap_between_tokens_has_a_timer(place: Place, way: str) -> None:
    async with place.upstream(fall_silent_after) as upstream:
        status, error, text, seconds = await outcome(place, way, "between_tokens")
        assert (status, error["code"], text) == (200, "between_tokens_timeout", "One")
        assert SHORT <= seconds < SHORT + SLACK_SECONDS
        await upstream.emptied()


@WAYS
async def test_t6_the_whole_stream_has_a_timer_that_ends_even_one_that_never_falls_silent(
    place: Place, way: str
) -> None:
    async with place.upstream(never_end) as upstream:
        status, error, text, seconds = await outcome(place, way, "total")
        assert (status, error["code"]) == (200, "total_timeout")
        assert text.startswith("word word")
        assert SHORT <= seconds < SHORT + SLACK_SECONDS
        await upstream.emptied()


async def test_t6_the_whole_stream_has_a_timer_before_its_first_token_too(place: Place) -> None:
    async with place.upstream(fall_silent_before) as upstream:
        status, error, _, _ = await outcome(place, "header", "total")
        assert (status, error["code"]) == (504, "total_timeout")
        await upstream.emptied()


async def test_t6_connecting_has_a_timer(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, filled(full):
        address = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        provider = PROVIDERS["openai"](UpstreamSettings("lab", base_url=address), None, SystemClock())
        with place.provider(provider):
            status, error, _, _ = await outcome(place, "upstream", "connect")
        await provider.close()
    assert (status, error["code"]) == (504, "connect_timeout")
    assert error["message"] == "lab did not accept a connection within 0.3 s (timeouts.connect)"


@pytest.mark.parametrize("timer", ["between_tokens", "total"])
async def test_t6_d6_typed_events_tell_the_timer_in_an_error_frame(place: Place, timer: str) -> None:
    async with place.upstream(fall_silent_after):
        status, error, text, _ = await outcome(place, "body", timer, "typed_events")
    assert (status, text) == (200, "One")
    assert (error["code"], error["ending"], error["partial"]) == (f"{timer}_timeout", "incomplete", True)


async def test_t6_a_healthy_slow_stream_is_not_cut(place: Place) -> None:
    headers = {"Headrace-Timeouts": ",".join(f"{timer}={SHORT}" for timer in TIMERS if timer != "total")}
    asked = asking(place.port, "POST", "/v1/chat/completions", chat(), headers)
    began = asyncio.get_running_loop().time()
    async with place.upstream(say_slowly), asked as reader:
        assert reader.status == 200
        assert "".join([text async for text in reader.texts()]) == "word " * 5 + "word"
    assert asyncio.get_running_loop().time() - began > 3 * SHORT


async def test_t6_a_timer_of_zero_is_none(place: Place) -> None:
    limits = Timeouts(connect=0, first_token=0.05, between_tokens=0.05, total=0.05)
    headers = {"Headrace-Timeouts": "first_token=0,between_tokens=0,total=0"}
    asked = asking(place.port, "POST", "/v1/chat/completions", chat(), headers)
    async with place.upstream(say_slowly, timeouts=limits), asked as reader:
        assert reader.status == 200
        assert "".join([text async for text in reader.texts()]) == "word " * 5 + "word"


async def test_t6_the_header_outranks_the_body_and_the_body_the_upstream(place: Place) -> None:
    limits = Timeouts(connect=1, first_token=30, between_tokens=30, total=30)
    body = chat(headrace={"timeouts": {"first_token": 20, "total": SHORT}})
    async with place.upstream(fall_silent_before, timeouts=limits):
        headers = {"Headrace-Timeouts": f"first_token={SHORT},total=20"}
        async with asking(place.port, "POST", "/v1/chat/completions", body, headers) as reader:
            assert (await reader.json())["error"]["code"] == "first_token_timeout"
        async with asking(place.port, "POST", "/v1/chat/completions", body) as reader:
            assert (await reader.json())["error"]["code"] == "total_timeout"
