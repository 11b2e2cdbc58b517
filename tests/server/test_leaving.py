"""Readers that leave, and cancelling: how soon the upstream's socket closes, which the upstream decides."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal

import anyio.to_thread
import openai
import pytest
import requests
from tests.server.conftest import DEADLINE_SECONDS, Place, until
from tests.server.reader import DOORS, Reader, asking, chat, connected, encoded, query

from headrace.clock import SystemClock
from headrace.protocols import PROTOCOLS
from headrace.providers import PROVIDERS
from headrace.runs import Run
from headrace.settings import UpstreamSettings
from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

# How soon an upstream must see that nobody wants its answer any more (L1). The aim on loopback is a fifth of it.
CLOSED_SECONDS = 0.25


class Silent:
    """An upstream that falls silent in one phase, and sees when its connection is closed."""

    def __init__(self, phase: str) -> None:
        self._phase = phase
        self.silent = asyncio.Event()
        self.left_at = 0.0

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler, up to its phase."""
        if self._phase != "before the head":
            await exchange.head()
            await exchange.chunk(role_chunk())
        if self._phase == "mid-stream":
            await exchange.chunk(text_chunk("One, two"))
        self.silent.set()
        await exchange.left()
        self.left_at = asyncio.get_running_loop().time()


@asynccontextmanager
async def silenced(place: Place, phase: str) -> AsyncIterator[Silent]:
    """An upstream that falls silent; at the end its connection was closed soon after the block."""
    silent = Silent(phase)
    async with place.upstream(silent) as upstream:
        yield silent
        told_at = asyncio.get_running_loop().time()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await upstream.emptied()
        await until(lambda: silent.left_at > 0)
        assert silent.left_at - told_at < CLOSED_SECONDS
        await place.emptied()


PHASES = ["before the head", "before the first token", "mid-stream"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("protocol", DOORS)
async def test_l1_a_reader_that_leaves_stops_its_upstream(
    place: Place, protocol: str, stream: bool, phase: str
) -> None:
    path, body = DOORS[protocol]
    async with silenced(place, phase) as silent, connected(place.port, encoded("POST", path, body(stream=stream))):
        await silent.silent.wait()
        # What the reader has been sent so far is on its way: leaving in the middle of it is not the case meant here.
        await until(lambda: len(place.house.runs) == 1)


async def test_l1_a_reader_that_leaves_while_the_upstream_is_being_connected_to_stops_that(place: Place) -> None:
    # A listener whose backlog is full answers no further connection.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, filled(full):
        port = full.getsockname()[1]
        provider = PROVIDERS["openai"](
            UpstreamSettings("lab", base_url=f"http://127.0.0.1:{port}/v1"), None, SystemClock()
        )
        with place.provider(provider):
            async with connected(place.port, encoded("POST", "/v1/chat/completions", chat())):
                await until(lambda: len(place.house.runs) == 1)
            left_at = asyncio.get_running_loop().time()
            await place.emptied()
            assert asyncio.get_running_loop().time() - left_at < CLOSED_SECONDS
        await provider.close()


@contextmanager
def filled(listener: socket.socket) -> Iterator[None]:
    """Takes all the room that a listener has for connections it has not accepted."""
    waiting: list[socket.socket] = []
    try:
        while True:
            connection = socket.socket()
            waiting.append(connection)
            connection.settimeout(0.1)
            try:
                connection.connect(listener.getsockname())
            except TimeoutError:
                break
        yield
    finally:
        for connection in waiting:
            connection.close()


async def test_l1_a_reader_that_leaves_the_queue_asks_nobody(place: Place) -> None:
    async with silenced(place, "mid-stream") as silent:
        place.upstreams["lab"].places = asyncio.Semaphore(1)
        request = encoded("POST", "/v1/chat/completions", chat())
        async with connected(place.port, request):
            await silent.silent.wait()
            async with connected(place.port, request):
                await until(lambda: len(place.house.runs) == 2)
            await until(lambda: len(place.house.runs) == 1, seconds=CLOSED_SECONDS)


async def test_l1_breaking_out_of_the_sdks_loop_stops_the_upstream(place: Place) -> None:
    async with silenced(place, "mid-stream"):
        client = openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key="none", max_retries=0)
        stream = await client.chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "q"}], stream=True
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await client.close()


async def test_l1_a_killed_curl_stops_the_upstream(place: Place) -> None:
    async with silenced(place, "before the first token") as silent:
        arguments = [
            "-sN",
            f"{place.url}/chat/basic",
            "-H",
            "Content-Type: application/json",
            "-d",
            json.dumps(query()),
        ]
        curl = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
        await silent.silent.wait()
        curl.kill()
        await curl.communicate()


async def test_l1_closing_a_response_of_requests_stops_the_upstream(place: Place) -> None:
    def read_a_little() -> None:
        with requests.post(f"{place.url}/chat/basic", json=query(), stream=True, timeout=DEADLINE_SECONDS) as response:
            next(response.iter_lines())

    async with silenced(place, "before the first token"):
        await anyio.to_thread.run_sync(read_a_little)


# -- leaving is seen while nothing is said (L2)

ROUTES: dict[str, dict[str, object]] = {
    "/v1/chat/completions": chat(),
    "/v1/completions": {"model": "lab/m", "prompt": "q", "stream": True},
    "/chat": {"model": "lab/m", "prompt": "q"},
    "/chat/basic": query(),
    "/api/query/stream": {"model": "lab/m", "question": "q"},
    "/api/generate/stream": {"model": "lab/m", "prompt": "q"},
    "/api/chat/stream": {"model": "lab/m", "message": "q"},
    "/api/generate": {"model": "lab/m", "prompt": "q"},
    "/api/chat": {"model": "lab/m", "messages": [{"role": "user", "content": "q"}]},
}
"""Every kind of route that streams, and what it is asked."""


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("path", ROUTES)
async def test_l2_leaving_is_seen_at_once_however_long_the_upstream_is_silent(
    place: Place, path: str, phase: str
) -> None:
    # What is silent here would be so for ever, and nothing is written to the reader meanwhile: heartbeats are off.
    chosen = {"Headrace-Stream": f"left-in-silence{path.replace('/', '.')}.{PHASES.index(phase)}"}
    headers = {**chosen, "Headrace-On-Disconnect": "continue", "Headrace-Heartbeat": "0"}
    silent = Silent(phase)
    async with place.upstream(silent):
        async with connected(place.port, encoded("POST", path, ROUTES[path], headers)):
            await silent.silent.wait()
            stream = place.house.store.open(chosen["Headrace-Stream"], "local")
            await until(lambda: stream.readers == 1)
        await until(lambda: stream.readers == 0, seconds=CLOSED_SECONDS)
        known = await shown(place, stream.id)
        assert (known["state"], known["readers"]) == ("running", 0), "leaving writes no ending"
        async with asking(place.port, "POST", f"/v1/streams/{stream.id}/cancel"):
            pass
        await place.emptied()


@pytest.mark.parametrize("phase", PHASES)
async def test_l2_a_whole_answers_reader_that_leaves_is_seen_at_once(place: Place, phase: str) -> None:
    chosen = {"Headrace-Stream": f"whole-left-in-silence-{PHASES.index(phase)}"}
    request = encoded(
        "POST", "/v1/chat/completions", chat(stream=False), {**chosen, "Headrace-On-Disconnect": "continue"}
    )
    silent = Silent(phase)
    async with place.upstream(silent):
        async with connected(place.port, request):
            await silent.silent.wait()
            stream = place.house.store.open(chosen["Headrace-Stream"], "local")
            await until(lambda: stream.readers == 1)
        await until(lambda: stream.readers == 0, seconds=CLOSED_SECONDS)
        assert stream.ended is None
        async with asking(place.port, "POST", f"/v1/streams/{stream.id}/cancel"):
            pass
        await place.emptied()


# -- policies (L3)


class Pausing:
    """An upstream that says one text, and another when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        left = asyncio.ensure_future(exchange.left())
        go_on = asyncio.ensure_future(self.go_on.wait())
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await asyncio.wait([left, go_on], return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        go_on.cancel()
        for piece in (text_chunk(", two"), finish_chunk(), DONE):
            await exchange.chunk(piece)
        await exchange.end()


@asynccontextmanager
async def said_one(place: Place, **headers: str) -> AsyncIterator[Reader]:
    """A reader that has read the first text; it leaves at the end of the block."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asking(place.port, "POST", "/chat/basic", query(), named) as reader:
        async for text in reader.texts():
            assert text == "One"
            break
        yield reader
    await until(lambda: not place.house.deliveries)


async def shown(place: Place, stream_id: str) -> dict[str, Any]:
    """What `GET /v1/streams/{id}` says."""
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}") as reader:
        assert reader.status == 200
        known: dict[str, Any] = await reader.json()
        return known


async def reread(place: Place, stream_id: str) -> str:
    """The text of a stream, read from its beginning to its end."""
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}/events") as reader:
        return "".join([text async for text in reader.texts()])


@pytest.mark.parametrize(
    "headers", [{"Headrace_On_Disconnect": "continue"}, {"Headrace_Stream": "a-stream-to-come-back-to-1"}]
)
async def test_l3_leaving_is_no_ending_where_the_reader_may_come_back(place: Place, headers: dict[str, str]) -> None:
    pausing = Pausing()
    async with place.upstream(pausing):
        async with said_one(place, **headers) as reader:
            stream_id = reader.headers["headrace-stream"]
        known = await shown(place, stream_id)
        assert (known["state"], known["readers"], known["ending"]) == ("running", 0, None)
        pausing.go_on.set()
        assert await reread(place, stream_id) == "One, two"
        assert (await shown(place, stream_id))["ending"] == "stop"


@pytest.mark.parametrize(
    ("on_disconnect", "headers", "goes_on"),
    [
        ("continue", {}, True),
        (30, {}, True),
        ("cancel", {}, False),
        ("cancel", {"Headrace-On-Disconnect": "continue"}, True),
        ("continue", {"Headrace-On-Disconnect": "cancel"}, False),
        ("cancel", {"Headrace-Stream": "cancelled-though-it-may-come-back"}, False),
    ],
)
@pytest.mark.parametrize("protocol", DOORS)
async def test_l3_the_policy_may_stand_in_the_body_and_the_header_wins(
    place: Place, protocol: str, on_disconnect: object, headers: dict[str, str], goes_on: bool
) -> None:
    path, body = DOORS[protocol]
    headers = {name: f"{value}-{protocol}" if name == "Headrace-Stream" else value for name, value in headers.items()}
    async with place.upstream(Pausing()):
        asked = body(headrace={"on_disconnect": on_disconnect})
        async with asking(place.port, "POST", path, asked, headers) as reader:
            stream = place.house.store.open(reader.headers["headrace-stream"], "local")
        await until(lambda: stream.readers == 0)
        if goes_on:
            assert stream.ended is None
            async with asking(place.port, "POST", f"/v1/streams/{stream.id}/cancel"):
                pass
        await until(lambda: stream.ended is not None, seconds=CLOSED_SECONDS)
        await place.emptied()


async def test_l3_a_whole_answer_that_shall_be_continued_can_be_read_later(place: Place) -> None:
    pausing = Pausing()
    headers = {"Headrace-On-Disconnect": "continue", "Headrace-Stream": "a-whole-answer-to-come-back-to"}
    request = encoded("POST", "/v1/chat/completions", chat(stream=False), headers)
    async with place.upstream(pausing) as upstream:
        async with connected(place.port, request):
            await until(lambda: bool(upstream.exchanges))
        pausing.go_on.set()
        await place.emptied()
    assert await reread(place, headers["Headrace-Stream"]) == "One, two"


async def test_l3_leaving_cancels_where_nobody_may_come_back(place: Place) -> None:
    async with place.upstream(Pausing()):
        async with said_one(place) as reader:
            stream_id = reader.headers["headrace-stream"]
        await place.emptied()
        known = await shown(place, stream_id)
    assert (known["ending"], known["error"]["code"]) == ("cancelled", "cancelled")


async def test_l3_one_of_two_readers_that_leaves_changes_nothing(place: Place) -> None:
    pausing = Pausing()
    async with place.upstream(pausing), said_one(place) as first:
        events = f"/v1/streams/{first.headers['headrace-stream']}/events"
        async with asking(place.port, "GET", events) as second:
            first.leave()
            await until(lambda: len(place.house.deliveries) == 1)
            pausing.go_on.set()
            assert "".join([text async for text in second.texts()]) == "One, two"


async def test_l3_a_grace_period_is_waited_for_and_then_over(place: Place) -> None:
    loop = asyncio.get_running_loop()
    async with place.upstream(Pausing()) as upstream:
        async with said_one(place, Headrace_On_Disconnect="0.3"):
            pass
        left_at = loop.time()
        await upstream.emptied()
        # Those without readers are looked after four times a second.
        assert 0.25 < loop.time() - left_at < 0.3 + 0.25 + CLOSED_SECONDS
        await place.emptied()
    async with asking(place.port, "GET", "/health") as health:
        assert (await health.json())["cancelled_after_grace"] == place.house.runs.cancelled_after_grace > 0


async def test_l3_returning_within_the_grace_period_changes_nothing(place: Place) -> None:
    pausing = Pausing()
    async with place.upstream(pausing) as upstream:
        async with said_one(place, Headrace_On_Disconnect="0.3") as reader:
            stream_id = reader.headers["headrace-stream"]
        async with asking(place.port, "GET", f"/v1/streams/{stream_id}/events") as returned:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):  # longer than the grace was
                    await upstream.emptied()
            pausing.go_on.set()
            assert "".join([text async for text in returned.texts()]) == "One, two"


async def test_l3_whoever_leaves_again_has_the_whole_grace_period_again(place: Place) -> None:
    loop = asyncio.get_running_loop()
    async with place.upstream(Pausing()) as upstream:
        async with said_one(place, Headrace_On_Disconnect="0.5") as reader:
            stream_id = reader.headers["headrace-stream"]
        await asyncio.sleep(0.3)  # most of the first period, which must not be what ends the second
        async with asking(place.port, "GET", f"/v1/streams/{stream_id}/events"):
            pass
        await until(lambda: not place.house.deliveries)
        left_at = loop.time()
        await upstream.emptied()
        assert loop.time() - left_at > 0.4


async def test_a_grace_period_holds_nothing_once_the_stream_has_ended(place: Place) -> None:
    pausing = Pausing()
    async with place.upstream(pausing):
        async with said_one(place, Headrace_On_Disconnect="100000") as reader:
            stream_id = reader.headers["headrace-stream"]
        assert is_in_memory(stream_id)
        pausing.go_on.set()
        await until(lambda: place.house.store.open(stream_id, "local").ended is not None)
        await place.emptied()
    await until(lambda: not is_in_memory(stream_id))


def is_in_memory(stream_id: str) -> bool:
    """Whether the run of that stream is."""
    gc.collect()
    return any(type(thing) is Run and thing.stream.id == stream_id for thing in gc.get_objects())


# -- cancelling (L4)


async def test_l4_a_cancel_ends_every_reader_with_the_same_event_and_the_upstream(place: Place) -> None:
    loop = asyncio.get_running_loop()
    async with place.upstream(Pausing()) as upstream, AsyncExitStack() as stack:
        started = await stack.enter_async_context(said_one(place))
        stream_id = started.headers["headrace-stream"]
        readers = {"started": started}
        for name, path in {
            "typed": "events",
            "resumed": "events?after=1",
            "openai_chat": "events?protocol=openai_chat",
        }.items():
            opened = asking(place.port, "GET", f"/v1/streams/{stream_id}/{path}")
            readers[name] = await stack.enter_async_context(opened)
        await until(lambda: len(place.house.deliveries) == 4)
        cancelled_at = loop.time()
        async with asking(place.port, "POST", f"/v1/streams/{stream_id}/cancel") as canceller:
            assert canceller.status == 200
            assert (await canceller.json())["cancelled"] is True
        frames = {name: [frame async for frame in reader.frames()] for name, reader in readers.items()}
        await upstream.emptied()
        assert loop.time() - cancelled_at < CLOSED_SECONDS
    typed = [json.loads(frames[name][-2]) for name in ("started", "typed", "resumed")]
    assert all(frame == typed[0] for frame in typed)
    assert (typed[0]["type"], typed[0]["ending"], typed[0]["code"]) == ("error", "cancelled", "cancelled")
    assert json.loads(frames["openai_chat"][-2])["error"]["code"] == "cancelled"
    assert all(lines[-1] == "[DONE]" for lines in frames.values())


# What the last bytes say in each protocol where that is more than the word.
CANCELLED: dict[str, bytes] = {
    "openai_chat": b'"code":"cancelled"',
    "openai_completions": b'"code":"cancelled"',
    "typed_events": b'"code":"cancelled"',
    "durable_json": b'"code":"cancelled"',
    "text": b'event: error\ndata: {"code":"cancelled"',
    "token_frames": b'"code":"cancelled"',
    "chat_token_frames": b'"code":"cancelled"',
    "ollama_chat": b'"error":"the answer was cancelled',
    "ollama_generate": b'"error":"the answer was cancelled',
    "plain_text": b"<cut off>",
}


async def until_cut_off(reader: Reader) -> bytes:
    """What a reader gets to the end of its answer, whether that is whole or cut off."""
    read = b""
    try:
        while piece := await reader.piece():
            read += piece
    except asyncio.IncompleteReadError:
        read += b"<cut off>"
    return read


@pytest.mark.parametrize("cancels", ["the one who asked", "one who returned", "one of another protocol"])
async def test_l4_whoever_cancels_ends_live_and_resumed_readers_in_every_protocol_alike(
    place: Place, cancels: str
) -> None:
    loop = asyncio.get_running_loop()
    async with place.upstream(Pausing()) as upstream, AsyncExitStack() as stack:
        started = await stack.enter_async_context(said_one(place))
        stream = place.house.store.open(started.headers["headrace-stream"], "local")
        readers: dict[tuple[str, int], Reader] = {}
        for protocol in PROTOCOLS:
            for after in (-1, 1):
                position = f"&after={after}" if after >= 0 else ""
                path = f"/v1/streams/{stream.id}/events?protocol={protocol}{position}"
                readers[protocol, after] = await stack.enter_async_context(asking(place.port, "GET", path))
        await until(lambda: len(place.house.deliveries) == 1 + len(readers))
        if cancels == "one who returned":
            # It leaves, and cancels: that is what a page does whose Stop was pressed after a reload.
            readers.pop(("typed_events", 1)).leave()
        elif cancels == "one of another protocol":
            readers.pop(("openai_chat", 1)).leave()
        cancelled_at = loop.time()
        async with asking(place.port, "POST", f"/v1/streams/{stream.id}/cancel") as canceller:
            assert canceller.status == 200
        bodies = dict(zip(readers, await asyncio.gather(*map(until_cut_off, readers.values())), strict=True))
        bodies["typed_events", -2] = await until_cut_off(started)
        await upstream.emptied()
        assert loop.time() - cancelled_at < CLOSED_SECONDS
    assert stream.ended is not None
    assert stream.ended.ending == "cancelled"
    for (protocol, after), body in bodies.items():
        assert CANCELLED.get(protocol, b"cancelled") in body, (protocol, after)
        assert bodies[protocol, -1].endswith(body), "live or resumed, all end the same"


@pytest.mark.parametrize("on_disconnect", ["cancel", "continue", "60"])
async def test_l3_a_cancel_ends_the_stream_under_every_policy(place: Place, on_disconnect: str) -> None:
    async with place.upstream(Pausing()):
        async with said_one(place, Headrace_On_Disconnect=on_disconnect) as reader:
            stream_id = reader.headers["headrace-stream"]
            async with asking(place.port, "POST", f"/v1/streams/{stream_id}/cancel"):
                pass
            await place.emptied()
        assert (await shown(place, stream_id))["ending"] == "cancelled"


async def test_l4_a_second_cancel_changes_nothing(place: Place) -> None:
    async with place.upstream(Pausing()), said_one(place, Headrace_On_Disconnect="continue") as reader:
        stream_id = reader.headers["headrace-stream"]
        cancel = f"/v1/streams/{stream_id}/cancel"
        async with asking(place.port, "POST", cancel) as first, asking(place.port, "POST", cancel) as second:
            assert (first.status, second.status) == (200, 200)
        await place.emptied()
        before = await shown(place, stream_id)
        async with asking(place.port, "POST", cancel) as third:
            assert await third.json() == {"id": stream_id, "state": "ended", "cancelled": True}
        assert await shown(place, stream_id) == before


async def test_l4_a_cancel_after_the_end_succeeds_and_says_that_it_came_too_late(place: Place) -> None:
    async def say(exchange: Exchange) -> None:
        await answer(exchange, ["One"])

    async with place.upstream(say), asking(place.port, "POST", "/v1/chat/completions", chat(stream=False)) as reader:
        await reader.body()
        stream_id = reader.headers["headrace-stream"]
        async with asking(place.port, "POST", f"/v1/streams/{stream_id}/cancel") as canceller:
            assert canceller.status == 200
            assert await canceller.json() == {"id": stream_id, "state": "ended", "cancelled": False}
        assert (await shown(place, stream_id))["ending"] == "stop"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cancel_before_the_first_token_is_an_http_error_where_the_status_is_held(
    place: Place, stream: bool
) -> None:
    silent = Silent("before the head")
    headers = {"Headrace-Stream": f"a-stream-to-be-cancelled-{stream}"}
    async with (
        place.upstream(silent),
        connected(place.port, encoded("POST", "/v1/chat/completions", chat(stream=stream), headers)) as reader,
    ):
        await silent.silent.wait()
        async with asking(place.port, "POST", f"/v1/streams/{headers['Headrace-Stream']}/cancel"):
            pass
        await reader.head()
        assert reader.status == 499
        assert (await reader.json())["error"]["code"] == "cancelled"


# -- ids chosen by the reader


async def test_a_stream_has_the_id_that_its_reader_chose(place: Place) -> None:
    chosen = "0123456789abcdef._~-Zz"
    async with place.upstream(Pausing()), said_one(place, Headrace_Stream=chosen) as reader:
        assert reader.headers["headrace-stream"] == chosen
        assert (await shown(place, chosen))["state"] == "running"
        async with asking(place.port, "POST", f"/v1/streams/{chosen}/cancel"):
            pass


@pytest.mark.parametrize("protocol", DOORS)
async def test_an_id_that_is_taken_is_a_conflict_and_harms_nobody(place: Place, protocol: str) -> None:
    chosen = {"Headrace-Stream": f"taken-{protocol}-0123456789"}
    path, body = DOORS[protocol]
    pausing = Pausing()
    async with place.upstream(pausing) as upstream, asking(place.port, "POST", "/chat/basic", query(), chosen) as first:
        async with asking(place.port, "POST", path, body(), chosen) as second:
            assert second.status == 409
            error = (await second.json())["error"]
            assert (error["code"], error["type"]) == ("stream_exists", "invalid_request_error")
            assert f"/v1/streams/{chosen['Headrace-Stream']}" in error["message"]
            assert "headrace-stream" not in second.headers
        pausing.go_on.set()
        assert "".join([text async for text in first.texts()]) == "One, two"
        assert len(upstream.exchanges) == 1


@pytest.mark.parametrize("may_go_on", ["never", "whole answers", "always"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_l5_the_usage_of_a_cancelled_stream_says_when_the_upstream_may_have_gone_on(
    place: Place, stream: bool, may_go_on: Literal["never", "whole answers", "always"]
) -> None:
    told = may_go_on == "always" or (may_go_on == "whole answers" and not stream)
    headers = {"Headrace-Stream": f"l5-{may_go_on.replace(' ', '-')}-{stream}-{'0' * 22}"}
    path = f"/v1/streams/{headers['Headrace-Stream']}"
    async with silenced(place, "mid-stream") as silent:
        place.upstreams["lab"].may_go_on = may_go_on
        async with connected(place.port, encoded("POST", "/chat/basic", query(stream=stream), headers)) as reader:
            await silent.silent.wait()
            await until(lambda: len(place.house.runs) == 1)
            async with asking(place.port, "POST", f"{path}/cancel") as cancelled:
                assert cancelled.status == 200
            await reader.head()
            said = await reader.body()
    async with asking(place.port, "GET", path) as record:
        usage = (await record.json())["usage"]
    assert usage.get("may_have_gone_on", False) is told
    if stream:
        (metadata,) = [
            frame for event in said.split(b"\n\n") if b'"metadata"' in event and (frame := json.loads(event[6:]))
        ]
        assert metadata["usage"] == usage


async def test_l5_a_stream_that_ended_by_itself_says_nothing_of_going_on(place: Place) -> None:
    async def speak(exchange: Exchange) -> None:
        await answer(exchange, ["One"])

    async with place.upstream(speak):
        place.upstreams["lab"].may_go_on = "always"
        async with asking(place.port, "POST", "/chat/basic", query(stream=False)) as reader:
            assert "may_have_gone_on" not in (await reader.json())["usage"]
