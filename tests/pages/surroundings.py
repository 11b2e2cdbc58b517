"""What stands round the chat page in a test: a model that says what it is told to, and a line that can be cut.

Both run on a thread of their own: the browser is driven by synchronous code.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headrace.testing.ollama import ollama_answer
from headrace.testing.upstream import Exchange, ScriptedUpstream
from headrace.wire import json_text

DEADLINE_SECONDS = 20.0
LOOK_SECONDS = 0.01


@dataclass
class Model:
    """An upstream that says `pieces`, one at a time, each after a pause. It speaks as OpenAI does, and as Ollama."""

    pieces: list[str] = field(default_factory=list)
    pause_seconds: float = 0.0
    together: int = 1
    """How many pieces it sends at once, each of them a delta."""
    silent_seconds: float = 0.0
    """How long it says nothing at all before its answer, as a model that is being loaded."""
    usage: dict[str, int] | None = None
    """What it reports."""
    finish: str | None = "stop"
    """`None`: it breaks off."""
    rationale: list[str] = field(default_factory=list)
    refusal: int | None = None
    """A status with which it refuses instead."""
    refusal_message: str = "the model is not there"
    raw: bytes | None = None
    """What it says behind that, inside a string of JSON, whatever these bytes are."""
    base_url: str = ""
    asked: list[Any] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when somebody closed the connection before the answer was whole."""

    @property
    def text(self) -> str:
        """All it says."""
        return "".join(self.pieces)

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request."""
        self.asked.append(msgspec.json.decode(exchange.body))
        if self.refusal is not None:
            await exchange.whole(json_text.encode({"error": {"message": self.refusal_message}}), self.refusal)
            return
        await asyncio.sleep(self.silent_seconds)
        if exchange.path == "/api/chat":
            await ollama_answer(exchange, self.pieces)
            return
        await exchange.head()
        pieces = self.pieces  # a test may have it say something else next, while it says this
        try:
            for said in self.rationale:
                await exchange.chunk(_chunk({"reasoning_content": said}))
                await asyncio.sleep(self.pause_seconds)
            for at in range(0, len(pieces), self.together):
                joined = pieces[at : at + self.together]
                await exchange.chunk(b"".join(_chunk({"content": each}) for each in joined))
                await asyncio.sleep(self.pause_seconds)
            if self.raw is not None:
                await exchange.chunk(_chunk({"content": "RAW"}).replace(b"RAW", self.raw))
        except ConnectionError:
            self.left.set()
            raise
        if self.finish is None:
            exchange.reset()
            return
        await exchange.chunk(_chunk({}, self.finish, self.usage) + b"data: [DONE]\n\n")
        await exchange.end()


def _chunk(delta: dict[str, str], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    if usage is not None:
        body["usage"] = usage
    return b"data: " + json_text.encode(body) + b"\n\n"


@contextmanager
def model(said: Model) -> Iterator[Model]:
    """The model as a server."""

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        async with ScriptedUpstream(said.answer) as upstream:
            said.base_url = upstream.base_url
            ready()
            await stop.wait()

    with _on_a_thread(serve):
        yield said


@dataclass(eq=False)
class _Pair:
    """A connection over the line: its two ends."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    dead: bool = False


@dataclass
class Line:
    """A TCP connection to a server that can be cut, left cut, made slow, and made to die without a word."""

    target: int
    port: int = 0
    open: bool = True
    piece_bytes: int = 65536
    """How much is passed on at once."""
    pause_seconds: float = 0.0
    """How long it waits after each piece."""
    held: bool = False
    """Whether it keeps everything back for now."""
    _pairs: set[_Pair] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    def cut(self) -> None:
        """Breaks every connection with a RST."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._cut)

    def die(self) -> None:
        """Passes nothing on any more over the connections there are, and tells neither side: they are half-open."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._die)

    async def close(self) -> None:
        """Breaks what is open, and returns when nothing is."""
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for pair in self._pairs:
            for writer in (pair.near, pair.far):
                held = writer.get_extra_info("socket")
                with suppress(OSError):
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def _die(self) -> None:
        for pair in self._pairs:
            pair.dead = True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._joined(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:  # the server is away, which is what the test is about
            writer.transport.abort()
            return
        pair = _Pair(writer, far_writer)
        self._pairs.add(pair)
        await asyncio.gather(
            self._pump(pair, reader, far_writer), self._pump(pair, far_reader, writer), return_exceptions=True
        )
        self._pairs.discard(pair)

    async def _pump(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                while data and not pair.dead:
                    piece, data = data[: self.piece_bytes], data[self.piece_bytes :]
                    while self.held:  # noqa: ASYNC110 - set by a test on another thread
                        await asyncio.sleep(LOOK_SECONDS)
                    writer.write(piece)
                    await writer.drain()
                    if self.pause_seconds or data:
                        await asyncio.sleep(self.pause_seconds)
        finally:
            if not pair.dead:
                writer.close()


@contextmanager
def line(target: int) -> Iterator[Line]:
    """A line to the port `target`."""
    laid = Line(target)

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        laid._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(laid._accept, "127.0.0.1", 0)
        laid.port = server.sockets[0].getsockname()[1]
        ready()
        await stop.wait()
        server.close()
        await laid.close()

    with _on_a_thread(serve):
        yield laid


@contextmanager
def _on_a_thread(serve: Callable[[Callable[[], None], asyncio.Event], Any]) -> Iterator[None]:
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(ready.set, stop)), daemon=True)
    thread.start()
    try:
        assert ready.wait(DEADLINE_SECONDS)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
        loop.close()
