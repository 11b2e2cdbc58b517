"""The OpenAI provider before a real socket: what it asks, what it hears, how it fails and how it is cancelled.

Everything runs on both event loops and both transports.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import SystemClock
from headrace.errors import (
    UpstreamError,
    UpstreamKeyMissing,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamReset,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from headrace.events import Ended, Event, TextDelta, ToolCallDelta, UsageKnown
from headrace.protocols.openai_chat import OpenAIChat
from headrace.providers import openai
from headrace.providers.catalogue import SERVICES, Service, completed
from headrace.providers.exchanges import retry_after_seconds
from headrace.providers.openai import OpenAIProvider, open_openai
from headrace.requests import GenerationRequest, Message
from headrace.server.wiring import open_house
from headrace.settings import Settings, UpstreamSettings
from headrace.testing.upstream import (
    DONE,
    Exchange,
    ScriptedUpstream,
    answer,
    finish_chunk,
    frame,
    role_chunk,
    text_chunk,
    usage_chunk,
)
from headrace.testing.waiting import until
from headrace.timing import Marks
from headrace.usage import reported

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_proxies")]

Handler = Callable[[Exchange], Awaitable[None]]
Opened = Callable[..., AbstractAsyncContextManager[tuple[OpenAIProvider, ScriptedUpstream]]]

KEY = "gsk_0123456789abcdefghij"
CANCEL_SECONDS = 0.1
STREAMED = GenerationRequest("m", (Message("user", "Hello?"),), stream=True)
WHOLE = GenerationRequest("m", (Message("user", "Hello?"),))


@pytest.fixture
def opened(kind: str) -> Opened:
    """Opens a provider before an upstream with this handler."""

    @asynccontextmanager
    async def open_both(
        handler: Handler, *, key: str | None = KEY, name: str = "larch", **settings: Any
    ) -> AsyncIterator[tuple[OpenAIProvider, ScriptedUpstream]]:
        async with ScriptedUpstream(handler) as upstream:
            chosen = UpstreamSettings(name=name, base_url=upstream.base_url, **settings)
            if kind == "httpx2":
                chosen = msgspec.structs.replace(chosen, transport="httpx2")
            provider = open_openai(chosen, key, SystemClock())
            try:
                yield provider, upstream
            finally:
                await provider.close()

    return open_both


async def generated(
    provider: OpenAIProvider, request: GenerationRequest = STREAMED
) -> tuple[list[Event], Ended | UpstreamError]:
    """What was written, and how it ended or failed."""
    events: list[Event] = []
    try:
        return events, await provider.generate(request, Marks(0), events.extend)
    except UpstreamError as error:
        return events, error


def says(*frames: bytes, then: Callable[[Exchange], None] | None = None) -> Handler:
    """A handler that streams these frames, a chunk each, and ends as `then` has it, or well."""

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        for each in frames:
            await exchange.chunk(each)
        if then is None:
            await exchange.end()
        else:
            then(exchange)

    return handler


def refuses(status: int, body: bytes, **headers: str) -> Handler:
    """A handler that answers with this status and body."""

    async def handler(exchange: Exchange) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await exchange.whole(body, status, {"Content-Type": "application/json", **named})

    return handler


# --- rows


async def test_t2_groq_is_asked_with_the_key_of_its_variable_and_heard_to_its_done(kind: str) -> None:
    async def groq(exchange: Exchange) -> None:
        await exchange.head()
        groq_id = frame(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "x_groq": {"id": "r"}}
        )
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        last = frame(
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "x_groq": {"id": "r", "usage": usage}}
        )
        for each in (groq_id, text_chunk("Hel"), text_chunk(""), text_chunk("lo"), last, DONE):
            await exchange.chunk(each)
        await exchange.end()

    async with ScriptedUpstream(groq) as upstream:
        settings = UpstreamSettings(name="groq", base_url=f"{upstream.origin}/openai/v1", api_key_env="GROQ_API_KEY")
        if kind == "httpx2":
            settings = msgspec.structs.replace(settings, transport="httpx2")
        async with open_house(Settings(upstreams=(settings,)), {"GROQ_API_KEY": KEY}) as house:
            request = msgspec.structs.replace(STREAMED, model="groq/llama-3.1-8b-instant")
            stream = house.runs.start(request, "ann")
            events = [event async for _, piece in stream.follow() for event in piece]
        (exchange,) = upstream.exchanges
    assert (exchange.method, exchange.path) == ("POST", "/openai/v1/chat/completions")
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.json()["model"] == "llama-3.1-8b-instant"
    assert exchange.json()["stream"] is True
    assert events[1:-1] == [TextDelta("Hel"), TextDelta("lo"), UsageKnown(reported(3, 2, by="groq"))]
    assert isinstance(events[-1], Ended)
    assert events[-1].ending == "stop"


async def test_t2_groqs_row_is_its_documented_address_and_variable() -> None:
    groq = completed(UpstreamSettings(name="groq"))
    assert groq.base_url == "https://api.groq.com/openai/v1"
    assert groq.api_key_env == "GROQ_API_KEY"


@pytest.mark.parametrize("asked", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    "service", [each for each in SERVICES if each.provider == "openai"], ids=lambda each: each.name
)
async def test_t3_an_upstream_is_sent_the_limit_by_the_name_it_knows(
    service: Service, asked: str, opened: Opened
) -> None:
    known = completed(UpstreamSettings(name=service.name, base_url=service.base_url or "http://127.0.0.1:1/v1"))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], asked: 17}
    request, _ = OpenAIChat().read(json.dumps(body).encode(), {})

    async def handler(exchange: Exchange) -> None:
        await exchange.whole(b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}')

    async with opened(handler, max_tokens_field=known.max_tokens_field) as (provider, upstream):
        await generated(provider, request)
        sent = upstream.exchanges[0].json()
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[service.max_tokens_field]
    assert sent[service.max_tokens_field] == 17
    assert other not in sent


async def test_t4_usage_is_asked_for_of_streams_and_heard_after_the_finish_reason(opened: Opened) -> None:
    async with opened(says(text_chunk("a"), finish_chunk(), usage_chunk(3, 2), DONE)) as (provider, upstream):
        events, end = await generated(provider)
        assert upstream.exchanges[0].json()["stream_options"] == {"include_usage": True}
    assert events == [TextDelta("a"), UsageKnown(reported(3, 2, by="larch"))]
    assert end == Ended("stop")


async def test_t4_an_upstream_that_refuses_to_be_asked_for_usage_is_not_asked(opened: Opened) -> None:
    async with opened(says(text_chunk("a"), finish_chunk()), name="transformers") as (provider, upstream):
        await generated(provider)
        assert "stream_options" not in upstream.exchanges[0].json()


# --- what is asked


async def test_fields_nobody_knows_go_along_untouched(opened: Opened) -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "ann"}],
        "stream": True,
        "temperature": 0.5,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "reasoning_format": "parsed",
        "of_next_year": {"deep": [1, None, "天"]},
    }
    request, _ = OpenAIChat().read(json.dumps(body).encode(), {})
    async with opened(says(text_chunk("a"), finish_chunk())) as (provider, upstream):
        await generated(provider, request)
        sent = upstream.exchanges[0].json()
    del sent["stream_options"]
    assert sent == body


async def test_without_a_key_no_authorization_is_sent(opened: Opened) -> None:
    async with opened(says(text_chunk("a"), finish_chunk()), key=None) as (provider, upstream):
        await generated(provider)
        assert "authorization" not in upstream.exchanges[0].headers


async def test_an_upstream_whose_key_is_not_set_is_not_asked(opened: Opened) -> None:
    async with opened(says(), key=None, api_key_env="LARCH_API_KEY") as (provider, upstream):
        _, error = await generated(provider)
        assert isinstance(error, UpstreamKeyMissing)
        assert "LARCH_API_KEY" in error.message
        assert not upstream.accepted


# --- what is heard


async def test_l35_a_delta_is_handed_on_before_the_next_is_sent(opened: Opened) -> None:
    go_on = asyncio.Event()
    events: list[Event] = []

    def write(batch: object) -> None:
        assert isinstance(batch, list | tuple)
        events.extend(batch)
        go_on.set()

    async def handler(exchange: Exchange) -> None:
        await answer(exchange, ["one", "two", "three"], (1, 1), go_on)

    async with opened(handler) as (provider, _), asyncio.timeout(5):
        await provider.generate(STREAMED, Marks(0), write)
    assert events[:3] == [TextDelta("one"), TextDelta("two"), TextDelta("three")]


async def test_what_one_read_held_is_one_batch(opened: Opened, kind: str) -> None:
    batches: list[object] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.whole(text_chunk("a") * 5 + finish_chunk() + DONE, headers={"Content-Type": "text/event-stream"})

    async with opened(handler) as (provider, _):
        await provider.generate(STREAMED, Marks(0), batches.append)
    assert batches == [[TextDelta("a")] * 5]


async def test_a_stream_that_is_compressed_unasked_is_heard(opened: Opened) -> None:
    async def handler(exchange: Exchange) -> None:
        packed = gzip.compress(text_chunk("a") + finish_chunk() + DONE)
        await exchange.whole(packed, headers={"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})

    async with opened(handler) as (provider, _):
        assert await generated(provider) == ([TextDelta("a")], Ended("stop"))


async def test_an_answer_that_is_not_streamed_is_asked_for_and_heard_in_one_piece(opened: Opened) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "choices": [{"index": 0, "message": {"content": "a", "tool_calls": [call]}, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    async with opened(refuses(200, json.dumps(body).encode())) as (provider, upstream):
        events, end = await generated(provider, WHOLE)
        assert "stream" not in upstream.exchanges[0].json()
        assert "stream_options" not in upstream.exchanges[0].json()
        assert upstream.active == 1
    assert events == [TextDelta("a"), ToolCallDelta(0, "x", "f", "{}"), UsageKnown(reported(3, 2, by="larch"))]
    assert end == Ended("tool_calls")


@pytest.mark.parametrize("request_", [STREAMED, WHOLE], ids=["streamed", "whole"])
async def test_an_upstream_that_answers_in_the_other_mode_is_heard_all_the_same(
    request_: GenerationRequest, opened: Opened
) -> None:
    async def handler(exchange: Exchange) -> None:
        if exchange.json().get("stream"):
            await exchange.whole(b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}')
        else:
            await says(text_chunk("a"), finish_chunk(), DONE)(exchange)

    async with opened(handler) as (provider, _):
        assert await generated(provider, request_) == ([TextDelta("a")], Ended("stop"))


async def test_the_connection_is_kept_after_an_answer(opened: Opened, kind: str) -> None:
    async def handler(exchange: Exchange) -> None:
        await answer(exchange, ["a", "b"], (1, 2))

    async with opened(handler) as (provider, upstream):
        for _ in range(4):
            assert (await generated(provider))[1] == Ended("stop")
        if kind == "headrace":  # httpx2 keeps a connection only if its body was read to the last byte
            assert upstream.accepted == 1


async def test_a_body_whose_end_comes_late_does_not_cost_its_connection(opened: Opened, kind: str) -> None:
    if kind != "headrace":
        pytest.skip("httpx2 keeps a connection only if its body was read to the last byte")
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("a") + finish_chunk() + DONE)
        await go_on.wait()
        await exchange.end()

    async with opened(handler) as (provider, upstream):
        assert (await generated(provider))[1] == Ended("stop")
        go_on.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await generated(provider))[1] == Ended("stop")
        assert upstream.accepted == 1


# --- after the finish reason nothing can spoil the answer

AFTER = {
    "nothing": Exchange.close,
    "a reset": Exchange.reset,
}


@pytest.mark.parametrize("how", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("last", [b"", frame({"error": {"message": "too late"}}), b"data: ?\n\n", b"data: {"])
async def test_l15_an_answer_with_a_finish_reason_is_whole_whatever_comes_after(
    how: Callable[[Exchange], None], last: bytes, opened: Opened
) -> None:
    events: list[Event] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("a"))
        await exchange.chunk(finish_chunk())
        await until(lambda: events)
        if last:
            await exchange.chunk(last)
        how(exchange)

    async with opened(handler) as (provider, _):
        assert await provider.generate(STREAMED, Marks(0), events.extend) == Ended("stop")
    assert events == [TextDelta("a")]


async def test_an_upstream_that_never_ends_after_its_finish_reason_is_not_waited_for(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "SECONDS_AFTER_FINISH", 0.02)

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("a") + finish_chunk())
        await exchange.left()

    async with opened(handler) as (provider, upstream):
        async with asyncio.timeout(2):
            assert await generated(provider) == ([TextDelta("a")], Ended("stop"))
        await provider.close()
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


# --- L16: what a failure looks like from here. Name, what the upstream does, error, code, HTTP status for the reader.

RATE = b'{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded"}}'
BROKE = b'{"error":{"message":"out of memory","type":"server_error"}}'
SAID = text_chunk("a") + text_chunk("b")

FAILURES: dict[str, tuple[Handler, type[UpstreamError], str, int, str]] = {
    "429": (refuses(429, RATE), UpstreamRefused, "upstream_rate_limited", 429, ""),
    "500": (refuses(500, BROKE), UpstreamRefused, "upstream_error", 500, ""),
    "an error as the first event": (says(frame(json.loads(RATE))), UpstreamRefused, "upstream_error", 502, ""),
    "an error in the middle": (says(SAID, frame(json.loads(BROKE))), UpstreamRefused, "upstream_error", 502, "ab"),
    "an error and a reset": (
        says(SAID, frame(json.loads(BROKE)), then=Exchange.close),
        UpstreamRefused,
        "upstream_error",
        502,
        "ab",
    ),
    "the end without a finish reason": (says(SAID), UpstreamTruncated, "upstream_truncated", 502, "ab"),
    "the end of the connection": (says(SAID, then=Exchange.close), UpstreamTruncated, "upstream_truncated", 502, "ab"),
    "the end in the middle of a chunk": (
        says(SAID, text_chunk("c")[:-1], then=Exchange.close),
        UpstreamTruncated,
        "upstream_truncated",
        502,
        "abc",
    ),
    "[DONE] without a finish reason": (says(SAID, DONE), UpstreamTruncated, "upstream_truncated", 502, "ab"),
    "[DONE] alone": (says(DONE), UpstreamTruncated, "upstream_truncated", 502, ""),
    "nothing at all": (says(), UpstreamTruncated, "upstream_truncated", 502, ""),
    "a malformed event": (says(SAID, b"data: {oops\n\n"), UpstreamMalformed, "upstream_malformed", 502, "ab"),
    "a page": (
        lambda exchange: exchange.whole(b"<h1>Hi</h1>", headers={"Content-Type": "text/html"}),
        UpstreamMalformed,
        "upstream_malformed",
        502,
        "",
    ),
    "no content type": (
        lambda exchange: exchange.whole(b"Hi", headers={}),
        UpstreamMalformed,
        "upstream_malformed",
        502,
        "",
    ),
    "an error under 200": (refuses(200, RATE), UpstreamRefused, "upstream_error", 502, ""),
    "JSON that is no answer": (refuses(200, b'{"status":"ok"}'), UpstreamMalformed, "upstream_malformed", 502, ""),
    "401": (refuses(401, BROKE), UpstreamRefused, "upstream_authentication", 502, ""),
    "404": (refuses(404, b"404 page not found"), UpstreamRefused, "upstream_not_found", 404, ""),
    "an error with half a body": (
        lambda exchange: half_an_error(exchange),
        UpstreamRefused,
        "upstream_error",
        503,
        "",
    ),
}


async def half_an_error(exchange: Exchange) -> None:
    await exchange.head(503, {"Content-Length": "100"}, chunked=False)
    await exchange.write(b'{"error":')
    exchange.close()


@pytest.mark.parametrize("name", FAILURES)
async def test_l16_a_failure_is_told_as_what_it_is_and_what_was_said_is_kept(name: str, opened: Opened) -> None:
    handler, error, code, status, said = FAILURES[name]
    async with opened(handler) as (provider, _):
        events, failed = await generated(provider)
    assert type(failed) is error
    told = failed.failure()
    assert (told.code, told.http_status, told.upstream) == (code, status, "larch")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == said


async def test_l16_a_reset_in_the_middle_keeps_what_was_said(opened: Opened) -> None:
    events: list[Event] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(SAID)
        await until(lambda: len(events) == 2)
        exchange.reset()

    async with opened(handler) as (provider, _):
        with pytest.raises(UpstreamReset):
            await provider.generate(STREAMED, Marks(0), events.extend)
    assert events == [TextDelta("a"), TextDelta("b")]


async def test_l16_an_upstream_that_refuses_connections_is_unreachable(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = UpstreamSettings(name="larch", base_url=f"http://127.0.0.1:{port}/v1")
    if kind == "httpx2":
        settings = msgspec.structs.replace(settings, transport="httpx2")
    provider = open_openai(settings, None, SystemClock())
    _, failed = await generated(provider)
    await provider.close()
    assert isinstance(failed, UpstreamUnreachable)


async def test_l15_a_finish_reason_without_done_is_an_ending(opened: Opened) -> None:
    async with opened(says(SAID, finish_chunk("length"))) as (provider, _):
        assert await generated(provider) == ([TextDelta("a"), TextDelta("b")], Ended("length"))


async def test_a_finish_reason_whose_blank_line_was_cut_off_is_an_ending(opened: Opened) -> None:
    async with opened(says(SAID, finish_chunk()[:-2], then=Exchange.close)) as (provider, _):
        assert await generated(provider) == ([TextDelta("a"), TextDelta("b")], Ended("stop"))


async def test_l18_status_code_and_message_of_an_upstream_stay_and_its_key_does_not(opened: Opened) -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}).encode()
    async with opened(refuses(401, body)) as (provider, _):
        _, failed = await generated(provider)
    assert isinstance(failed, UpstreamRefused)
    told = failed.failure()
    assert (told.upstream_status, told.upstream_code) == (401, "invalid_api_key")
    assert told.message == "larch answered 401: Incorrect API key provided: ***"


@pytest.mark.parametrize("content_type", ["text/html", f"text/{KEY}"])
@pytest.mark.parametrize("before", [0, 60, 270, 290])
async def test_l18_no_key_is_in_an_excerpt(content_type: str, before: int, opened: Opened) -> None:
    body = b"x" * before + b" " + KEY.encode()
    async with opened(lambda exchange: exchange.whole(body, headers={"Content-Type": content_type})) as (provider, _):
        _, failed = await generated(provider)
    assert isinstance(failed, UpstreamMalformed)
    assert KEY[4:10] not in failed.message


async def test_l16_an_error_page_without_end_is_cut_off(opened: Opened) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.head(500)
        while True:
            await exchange.chunk(b"x" * 1000)
            await asyncio.sleep(0)

    async with opened(handler) as (provider, upstream):
        _, failed = await generated(provider)
        assert isinstance(failed, UpstreamRefused)
        assert len(failed.message) < 600
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


async def test_an_exception_of_whoever_takes_the_events_comes_out_and_closes_the_connection(opened: Opened) -> None:
    def write(batch: object) -> None:
        raise ValueError("the stream has ended")

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("a"))
        await exchange.left()

    async with opened(handler) as (provider, upstream):
        with pytest.raises(ValueError, match="has ended"):
            await provider.generate(STREAMED, Marks(0), write)
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


# --- L1: cancelling. The upstream's own count of sockets decides.


async def phase_before_the_headers(exchange: Exchange) -> None:
    await exchange.left()


async def phase_before_the_first_token(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.left()


async def phase_in_the_middle(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(SAID)
    await exchange.left()


async def phase_in_a_flood(exchange: Exchange) -> None:
    await exchange.head()
    while True:
        await exchange.chunk(SAID)
        await asyncio.sleep(0)


async def phase_after_the_finish_reason(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(SAID + finish_chunk())
    await exchange.left()


async def phase_in_half_a_body(exchange: Exchange) -> None:
    await exchange.head(200, {"Content-Type": "application/json", "Content-Length": "100"}, chunked=False)
    await exchange.write(b'{"choices":')
    await exchange.left()


async def phase_in_an_error(exchange: Exchange) -> None:
    await exchange.head(500, {"Content-Length": "100"}, chunked=False)
    await exchange.left()


@pytest.mark.parametrize("request_", [STREAMED, WHOLE], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (phase_before_the_headers, 0),
        (phase_before_the_first_token, 0),
        (phase_in_the_middle, 2),
        (phase_in_a_flood, 2),
        (phase_after_the_finish_reason, 2),
        (phase_in_half_a_body, 0),
        (phase_in_an_error, 0),
    ],
)
async def test_l1_cancelling_closes_the_upstreams_socket_in_every_phase(
    phase: Handler, said: int, request_: GenerationRequest, opened: Opened
) -> None:
    events: list[Event] = []
    async with opened(phase) as (provider, upstream):
        task = asyncio.ensure_future(provider.generate(request_, Marks(0), events.extend))
        await until(lambda: upstream.exchanges and len(events) >= said)
        for _ in range(20):
            await asyncio.sleep(0)
        assert upstream.active == 1
        task.cancel()
        async with asyncio.timeout(CANCEL_SECONDS):
            with pytest.raises(asyncio.CancelledError):
                await task
            await upstream.emptied()
        count = len(events)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(events) == count


# --- models


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"object":"list","data":[{"id":"a","object":"model"},{"id":"org/b","meta":{"x":1}}]}', ["a", "org/b"]),
        (b'[{"id":"a"}]', ["a"]),
        (b'{"data":[]}', []),
    ],
)
async def test_models_are_listed(body: bytes, models: list[str], opened: Opened) -> None:
    async with opened(refuses(200, body)) as (provider, upstream):
        assert list(await provider.models()) == models
        assert (upstream.exchanges[0].method, upstream.exchanges[0].path) == ("GET", "/v1/models")
        assert upstream.exchanges[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "body", [b"", b"?", b"{}", b'{"data":[{}]}', b'{"data":[{"id":7}]}', b"[" * 100_000, b'"\xff"']
)
async def test_a_list_of_models_that_is_none_is_malformed(body: bytes, opened: Opened) -> None:
    async with opened(refuses(200, body)) as (provider, _):
        with pytest.raises(UpstreamMalformed, match="larch"):
            await provider.models()


async def test_models_that_are_refused_are_refused(opened: Opened) -> None:
    async with opened(refuses(401, RATE)) as (provider, _):
        with pytest.raises(UpstreamRefused, match="401"):
            await provider.models()


# --- when to come back

NOW_NS = 784_111_777 * 10**9  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:37 GMT"}, 60.0),
        ({"retry-after": "Sun, 06 Nov 1994 09:50:37 +0100"}, 60.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:50:37 GMT"}, 60.0),
        ({"retry-after": "Sun Nov  6 08:50:37 1994"}, 60.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "1_000"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "5, 5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 +99999999999999"}, None),
    ],
)
async def test_when_to_come_back_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW_NS) == seconds


@given(st.text(max_size=30) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} [A-Z][a-z]{2} \d{1,9} \d+:\d+:\d+ \S{1,9}"))
def test_nothing_in_a_retry_after_is_a_fault_of_ours(value: str) -> None:
    seconds = retry_after_seconds({"retry-after": value, "retry-after-ms": value}, NOW_NS)
    assert seconds is None or 0 <= seconds < 1e13


async def test_when_to_come_back_is_told_with_the_refusal(opened: Opened) -> None:
    async with opened(refuses(429, RATE, retry_after="7")) as (provider, _):
        _, failed = await generated(provider)
    assert isinstance(failed, UpstreamRefused)
    assert failed.failure().retry_after_seconds == 7.0
    assert failed.failure().retryable
