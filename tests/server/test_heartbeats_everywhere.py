"""Heartbeats in every protocol: the form that its clients survive, from acceptance on, never inside an event."""

from __future__ import annotations

import asyncio
import json

import httpx2
import ollama
import openai
import pytest
from tests.server.clients import CLIENTS, events
from tests.server.conftest import Place, until
from tests.server.reader import Reader, asking, chat, connected, encoded, query
from tests.server.test_leaving import ROUTES
from tests.server.test_status_and_heartbeats import Held, be_silent, is_silent

from headrace.protocols import PROTOCOLS
from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

COMMENT = b": hb\n\n"
WORDS = ["One", " two", " three"]


def is_heartbeat(path: str, piece: bytes) -> bool:
    """Whether this is what keeps a connection to the route alive, and nothing that a client could take for text."""
    if not path.startswith(("/api/generate", "/api/chat")) or path.endswith("/stream"):
        return piece == COMMENT
    assert piece.endswith(b"}\n"), "a whole line"
    line = json.loads(piece)
    if line["done"]:
        return False
    said = line["message"]["content"] if path == "/api/chat" else line["response"]
    return said == "" and not line.get("error")


async def heartbeats(place: Place, path: str, reader: Reader, beats: range) -> None:
    """Silences, each with its heartbeat."""
    for beat in beats:
        be_silent(place, 15.1 * beat)
        while not is_heartbeat(path, piece := await reader.piece()):
            assert beat == 1, f"nothing else is said: {piece!r}"  # but how it begins: `start`, or that it is queued


BEATING = [path for path in ROUTES if path != "/api/query/stream"]


@pytest.mark.parametrize("path", BEATING)
async def test_l30_who_waits_in_the_queue_is_kept_alive(place: Place, path: str) -> None:
    headers = {"Headrace-Early-Headers": "true"}
    async with place.upstream(Held("answer")) as upstream:
        places = place.upstreams["lab"].places = asyncio.Semaphore(0)
        async with asking(place.port, "POST", path, ROUTES[path], headers) as reader:
            assert reader.status == 200
            await heartbeats(place, path, reader, range(1, 4))
            assert not upstream.exchanges, "nobody was asked yet"
            places.release()
            await until(lambda: bool(upstream.exchanges))
            await heartbeats(place, path, reader, range(4, 7))
    await place.emptied()


async def test_l31_plain_text_has_no_heartbeat(place: Place) -> None:
    held = Held("answer")
    headers = {"Headrace-Early-Headers": "true"}
    path = "/api/query/stream"
    async with place.upstream(held), asking(place.port, "POST", path, ROUTES[path], headers) as reader:
        await until(lambda: bool(place.house.deliveries))
        for beat in range(1, 4):
            be_silent(place, 15.1 * beat)
        held.go_on.set()
        assert await reader.body() == b"One"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_l30_who_follows_a_stream_is_kept_alive_in_its_own_protocol(place: Place, protocol: str) -> None:
    held = Held("answer")
    async with place.upstream(held), asking(place.port, "POST", "/chat/basic", query()) as first:
        path = f"/v1/streams/{first.headers['headrace-stream']}/events?protocol={protocol}"
        off = {"Headrace-Heartbeat": "0"}
        async with asking(place.port, "GET", path, headers=off) as quiet, asking(place.port, "GET", path) as beaten:
            await until(lambda: len(place.house.deliveries) == 3)
            be_silent(place, 15.1)
            held.go_on.set()
            without, body = await quiet.body(), await beaten.body()
    if protocol.startswith("ollama"):
        lines = body.splitlines(keepends=True)
        beats = [line for line in lines if is_heartbeat(f"/api/{protocol.removeprefix('ollama_')}", line)]
        assert len(beats) == 1
        assert len(lines) == len(without.splitlines()) + 1
    else:
        assert body.count(COMMENT) == (0 if PROTOCOLS[protocol].framing.heartbeat == b"" else 1)
        assert body.replace(COMMENT, b"") == without


async def test_l30_a_log_that_is_followed_is_kept_alive(place: Place) -> None:
    held = Held("answer")
    async with place.upstream(held), asking(place.port, "POST", "/chat/basic", query()) as first:
        path = f"/v1/stream/generations/{first.headers['headrace-stream']}?offset=-1&live=sse"
        async with asking(place.port, "GET", path) as reader:
            assert (await reader.piece()).startswith(b"event: ")
            for beat in range(1, 4):
                be_silent(place, 15.1 * beat)
                assert await reader.piece() == COMMENT
            held.go_on.set()
            body = await reader.body()
    assert COMMENT not in body
    assert b'"streamClosed":true' in body


async def test_l31_a_heartbeat_never_comes_inside_an_event(place: Place) -> None:
    long = "0123456789" * 500_000

    async def say(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk(long) + finish_chunk() + DONE)
        await exchange.end()

    request = encoded("POST", "/v1/chat/completions", chat())
    async with place.upstream(say), connected(place.port, request, receive_bytes=4096) as reader:
        await reader.head()
        beats = 0
        body = b""
        while piece := await reader.piece():
            body += piece
            beats += 1
            be_silent(place, 15.1 * beats)
    frames = body.split(b"\n\n")
    whole = [frame for frame in frames if frame and frame != b": hb"]
    assert all(frame.startswith(b"data: ") for frame in whole), "every frame begins as one"
    said = "".join(
        json.loads(frame[6:])["choices"][0]["delta"].get("content") or "" for frame in whole if frame != b"data: [DONE]"
    )
    assert said == long


# -- when the status is given: a failure before the first heartbeat is its status, one after it an error event

HOLDING = [path for path in ROUTES if path.startswith(("/v1/", "/api/query", "/api/generate", "/api/chat"))]
HOLDING = [path for path in HOLDING if path not in ("/api/generate/stream", "/api/chat/stream")]


@pytest.mark.parametrize("path", HOLDING)
async def test_l33_a_failure_before_the_first_heartbeat_is_its_status(place: Place, path: str) -> None:
    held = Held("refuse")
    request = encoded("POST", path, ROUTES[path], {"Headrace-Heartbeat": "15"})
    async with place.upstream(held), connected(place.port, request) as reader:
        await held.asked.wait()
        assert await is_silent(reader)
        held.go_on.set()
        await reader.head()
        assert reader.status == 400
        assert b"no" in await reader.body()


@pytest.mark.parametrize("path", HOLDING)
async def test_l33_a_failure_after_the_first_heartbeat_is_told_in_the_protocol(place: Place, path: str) -> None:
    held = Held("refuse")
    headers = {"Headrace-Heartbeat": "0.2"}
    async with place.upstream(held), asking(place.port, "POST", path, ROUTES[path], headers) as reader:
        assert reader.status == 200
        assert not held.go_on.is_set()
        held.go_on.set()
        if path == "/api/query/stream":
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.body()
        else:
            body = await reader.body()
            assert b"error" in body
            assert b'"finish_reason":"stop"' not in body


# -- the clients that people use


class Halting:
    """An upstream that is silent between its words, each silence long enough for heartbeats."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._beats = 0

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        gap = asyncio.Event()
        answering = asyncio.ensure_future(answer(exchange, WORDS, usage=(1, 3), gap=gap))
        for _ in WORDS:
            await until(lambda: bool(self._place.house.deliveries))
            for _ in range(2):
                self._beats += 1
                be_silent(self._place, 15.1 * self._beats)
                await asyncio.sleep(0.01)  # what was written reaches the client by itself
            gap.set()
        await answering


EARLY = {"Headrace-Early-Headers": "true"}


async def test_l31_openais_sdk_survives_heartbeats(place: Place) -> None:
    async with (
        place.upstream(Halting(place)),
        openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key="none", max_retries=0, default_headers=EARLY) as client,
    ):
        chunks = await client.chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "q"}], stream=True
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]
        assert "".join(said) == "".join(WORDS)
        pieces = await client.completions.create(model="lab/m", prompt="q", stream=True)
        assert "".join([piece.choices[0].text async for piece in pieces if piece.choices]) == "".join(WORDS)
    await place.emptied()


async def test_l31_openais_sdk_survives_heartbeats_among_frames_with_ids(place: Place) -> None:
    headers = {**EARLY, "Headrace-Event-Ids": "true"}
    async with (
        place.upstream(Halting(place)),
        openai.AsyncOpenAI(
            base_url=f"{place.url}/v1", api_key="none", max_retries=0, default_headers=headers
        ) as client,
    ):
        chunks = await client.chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "q"}], stream=True
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]
        assert "".join(said) == "".join(WORDS)
    await place.emptied()


async def test_l31_ollamas_client_survives_heartbeats(place: Place) -> None:
    async with place.upstream(Halting(place)), ollama.AsyncClient(place.url, headers=EARLY) as client:
        parts = await client.chat("lab/m", [{"role": "user", "content": "q"}], stream=True)
        assert "".join([part.message.content or "" async for part in parts]) == "".join(WORDS)
        pieces = await client.generate("lab/m", "q", stream=True)
        assert "".join([piece.response async for piece in pieces]) == "".join(WORDS)
    await place.emptied()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("path", ["/chat/basic", "/api/generate"])
async def test_l31_curl_requests_and_fetch_survive_heartbeats(place: Place, path: str, client: str) -> None:
    kind = "ndjson" if path == "/api/generate" else "sse"
    body = {"model": "lab/m", "query": "q", "prompt": "q", "stream": True}
    said = ""
    async with place.upstream(Halting(place)):
        async for data in events(client, f"{place.url}{path}", body, kind):
            if data != "[DONE]":
                frame = json.loads(data)
                said += frame["response"] if kind == "ndjson" else frame["content"] if frame["type"] == "token" else ""
    assert said == "".join(WORDS)
    await place.emptied()


async def test_l31_httpx_hears_heartbeats_as_nothing_but_bytes(place: Place) -> None:
    seen = b""
    async with (
        place.upstream(Halting(place)),
        httpx2.AsyncClient(trust_env=False) as client,
        client.stream("POST", f"{place.url}/v1/chat/completions", json=chat(), headers=EARLY) as response,
    ):
        async for piece in response.aiter_bytes():
            seen += piece
    assert seen.count(COMMENT) >= 2, "the silences of these tests are long enough for heartbeats"
    await place.emptied()
