"""Many readers of one stream, and long streams: who reads much or slowly takes nothing from anybody else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.server.conftest import Place, process, until
from tests.server.raw import request
from tests.server.reader import Reader, asking, connected, encoded, query

from headrace.events import Ended, Event, TextDelta
from headrace.interfaces import Write
from headrace.protocols import PROTOCOLS
from headrace.protocols.typed_events import TypedEncoder
from headrace.requests import GenerationRequest
from headrace.server.delivery import FIRST_PIECE_EVENTS, PIECE_BYTES, PIECE_EVENTS, TURN_PIECES
from headrace.testing.upstream import DONE, Exchange, ScriptedUpstream, finish_chunk, text_chunk
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

READERS = 1000
TEXTS = [f"{number} " for number in range(40)]


async def test_a_thousand_readers_of_one_stream_get_the_same_live_whatever_they_speak(place: Place) -> None:
    go_on = asyncio.Event()

    async def say(exchange: Exchange) -> None:
        await exchange.head()
        await go_on.wait()
        for text in TEXTS:
            await exchange.chunk(text_chunk(text))
            await asyncio.sleep(0)
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()

    async def read(path: str) -> tuple[str, str]:
        async with asking(place.port, "GET", path) as reader:
            body = await reader.body()
        return path, hashlib.sha256(body).hexdigest()

    async with place.upstream(say) as upstream, asking(place.port, "POST", "/chat/basic", query()) as starter:
        events = f"/v1/streams/{starter.headers['headrace-stream']}/events?protocol="
        names = list(PROTOCOLS)
        readers = [asyncio.create_task(read(events + names[number % len(names)])) for number in range(READERS)]
        await until(lambda: len(place.house.deliveries) == READERS + 1)
        go_on.set()
        bodies = Counter(await asyncio.gather(*readers))
        assert (await starter.body()).endswith(b"data: [DONE]\n\n")
        assert len(upstream.exchanges) == 1
    assert bodies.total() == READERS
    assert len(bodies) == len(names), "one body for each protocol"
    for path, digest in bodies:
        assert await read(path) == (path, digest), "the same as is read afterwards"


# -- a stream of 20 MB (L9)

LONG_BYTES = 20_000_000
DELTA = "0123456789abcdef" * 64
DELTAS = LONG_BYTES // len(DELTA)
MORE_BYTES_A_READER = 5_000_000


async def say_long(exchange: Exchange) -> None:
    await exchange.head()
    for _ in range(DELTAS // 50):
        await exchange.chunk(text_chunk(DELTA) * 50)
    await exchange.chunk(text_chunk(DELTA) * (DELTAS % 50) + finish_chunk() + DONE)
    await exchange.end()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def read_long(reader: Reader) -> tuple[int, int]:
    """How many bytes the rest of a body has, and the size of its largest piece."""
    total = largest = 0
    while piece := await reader.piece():
        total += len(piece)
        largest = max(largest, len(piece))
    return total, largest


@pytest.mark.parametrize("store", ["sqlite", "memory"])
async def test_l9_a_stream_of_20_mb_is_replayed_in_small_pieces_with_little_memory_and_no_stall(
    tmp_path: Path, store: str
) -> None:
    async with ScriptedUpstream(say_long) as upstream:
        settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n[store]\nkind = "{store}"\n'
        with process(tmp_path, settings) as server:
            body = query(headrace={"on_disconnect": "continue"})
            async with asking(server.port, "POST", "/api/query/stream", {**body, "question": "q"}) as first:
                assert (await read_long(first))[0] == DELTAS * len(DELTA)
                stream_id = first.headers["headrace-stream"]
            pid = server.popen.pid
            before = most = resident_bytes(pid)
            path = f"/v1/streams/{stream_id}/events?protocol="
            stalled = [
                connected(server.port, encoded("GET", path + name), receive_bytes=4096)
                for name in ("openai_chat", "plain_text", "token_frames", "ollama_chat")
            ]
            readers = [await reader.__aenter__() for reader in stalled]
            for reader in readers:
                await reader.head()
            pauses = Pauses(server.port)
            for name in ("openai_chat", "text", "plain_text", "token_frames", "ollama_generate"):
                async with asking(server.port, "GET", f"{path}{name}&after={DELTAS // 2}") as quick:
                    total, largest = await read_long(quick)
                assert total > LONG_BYTES * 0.45
                assert largest <= PIECE_BYTES
                most = max(most, resident_bytes(pid))
            longest = pauses.stop()
            for reader, opened in zip(readers, stalled, strict=True):
                assert (await read_long(reader))[1] <= PIECE_BYTES
                await opened.__aexit__(None, None, None)
            most = max(most, resident_bytes(pid))
    assert (most - before) < MORE_BYTES_A_READER * (len(stalled) + 1)
    # About ten milliseconds on two cores of 2026; the rest is for a machine that is busy with other tests.
    assert longest < 0.2


class SaysMuch:
    """A provider that says very many things at once."""

    def __init__(self, text: str, times: int) -> None:
        self._text = text
        self._times = times

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """Performs one attempt."""
        marks.sent_ns = marks.asked_ns
        write([TextDelta(self._text)] * self._times)
        return Ended("stop")

    async def models(self) -> Sequence[str]:
        """Its only one."""
        return ("m",)

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        """Nothing is open."""


MANY = 80_000


@pytest.mark.parametrize("after", [-1, MANY])
async def test_l9_whoever_reads_a_long_stream_lets_others_have_their_turn(
    place: Place, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    with place.provider(SaysMuch("a", MANY)):
        async with asking(place.port, "POST", "/chat/basic", query()) as first:
            await first.body()
    loop = asyncio.get_running_loop()
    turn = 0
    encoded_in_turn: Counter[int] = Counter()
    encode = TypedEncoder.encode

    def counted(encoder: TypedEncoder, offset: int, events: Sequence[Event]) -> list[bytes]:
        encoded_in_turn[turn] += len(events)
        return encode(encoder, offset, events)

    def tick() -> None:
        nonlocal turn
        turn += 1
        if going:
            loop.call_soon(tick)

    monkeypatch.setattr(TypedEncoder, "encode", counted)
    going = True
    tick()
    position = f"?after={after}" if after >= 0 else ""
    async with asking(place.port, "GET", f"/v1/streams/{first.headers['headrace-stream']}/events{position}") as reader:
        body = await reader.body()
    going = False
    assert b'"type":"done"' in body
    assert encoded_in_turn.total() > MANY
    assert max(encoded_in_turn.values()) <= TURN_PIECES * PIECE_EVENTS


LARGE = "x" * 60_000


async def test_l9_large_events_are_taken_a_few_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.provider(SaysMuch(LARGE, 400)):
        async with asking(place.port, "POST", "/api/query/stream", {"question": "q", "model": "lab/m"}) as first:
            assert len(await first.body()) == 400 * len(LARGE)
    taken: list[int] = []
    encode = TypedEncoder.encode

    def counted(encoder: TypedEncoder, offset: int, events: Sequence[Event]) -> list[bytes]:
        taken.append(len(events))
        return encode(encoder, offset, events)

    monkeypatch.setattr(TypedEncoder, "encode", counted)
    async with asking(place.port, "GET", f"/v1/streams/{first.headers['headrace-stream']}/events") as reader:
        await reader.body()
    assert sum(taken) > 400
    assert max(taken[:1]) <= FIRST_PIECE_EVENTS
    assert max(taken[1:]) <= 2, "two are more than a piece of 64 KiB"


class Pauses:
    """Asks a server for its health over and over, in a thread, and keeps the longest that an answer took."""

    def __init__(self, port: int) -> None:
        self._longest = 0.0
        self._stopped = threading.Event()
        self._port = port
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> float:
        """The longest, in seconds."""
        self._stopped.set()
        self._thread.join()
        return self._longest

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 20) as connection:
            asked = request("GET", "/health")
            while not self._stopped.is_set():
                began = time.perf_counter()
                connection.sendall(asked)
                answer = b""
                while not answer.endswith(b"}"):
                    answer += connection.recv(65536)
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "ok"
                self._longest = max(self._longest, time.perf_counter() - began)
                self._stopped.wait(0.002)
