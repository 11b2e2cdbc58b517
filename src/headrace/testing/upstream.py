"""An upstream that does what a test tells it: a real HTTP/1.1 server on loopback, down to the byte.

What breaks is decided by the test: when headers come, where a body is cut, whether the end is a chunk, a FIN or a RST.
What is seen is decided by sockets: how many connections are open now, and when the other side has closed one.
May import floors 0 to 3 and asyncio. Source of the framing: RFC 9112.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from headrace.testing.waiting import turns
from headrace.wire import json_text

EVENT_STREAM: Mapping[str, str] = MappingProxyType({"Content-Type": "text/event-stream"})
JSON: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})

_REASONS = {100: "Continue", 103: "Early Hints", 200: "OK", 204: "No Content", 404: "Not Found"}


class ScriptedUpstream:
    """A server that hands every request to `handler`, one at a time on each connection.

    async with ScriptedUpstream(handler) as upstream:
        ...  # speak to upstream.base_url

    Args:
        handler: answers a request. That the other side leaves is no failure of it (`ConnectionError` is forgotten);
            any other exception resets the connection and is raised again when the upstream is closed.
        host: the address listened on.
        port: the port; 0: one the system chooses.
        tls: an `ssl.SSLContext` for the server's side; `None`: plain HTTP.
    """

    def __init__(self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: Any = None) -> None:
        self.exchanges: list[Exchange] = []
        """Every request that arrived, in order."""
        self.accepted = 0
        """How many connections were ever opened."""
        self._handler = handler
        self._host = host
        self._tls = tls
        self._port = port
        self._server: asyncio.Server | None = None
        self._to_reset = 0
        self._open: set[_Connection] = set()
        self._failures: list[Exception] = []

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Closes everything, and raises what went wrong in the handler unless something else did already."""
        assert self._server is not None
        self._server.close()
        tasks = [connection.task for connection in self._open if connection.task is not None]
        self._close_all()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        if self._failures and kind is None:
            raise self._failures[0]

    async def listen(self) -> None:
        """Takes connections, on the same port as before if it did so before."""
        loop = asyncio.get_running_loop()
        # A thousand may knock at once; with the default of a hundred some would wait a second for their next try.
        self._server = await loop.create_server(
            lambda: _Connection(self), self._host, self._port, ssl=self._tls, backlog=1024
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Takes no more connections until `listen`, and closes those that there are."""
        assert self._server is not None
        self._server.close()
        self._close_all()
        await self.emptied()

    def reset_next(self, count: int) -> None:
        """Resets the next so many connections when they are opened, and closes those that there are."""
        self._to_reset = count
        self._close_all()

    def _close_all(self) -> None:
        for connection in list(self._open):
            connection.abort()

    @property
    def origin(self) -> str:
        """Scheme, address and port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        return f"{self.origin}/v1"

    @property
    def port(self) -> int:
        """The port the system chose."""
        return self._port

    @property
    def active(self) -> int:
        """How many connections are open now: those that neither side has closed."""
        return sum(not connection.left.is_set() for connection in self._open)

    async def emptied(self) -> None:
        """Returns when no connection is open."""
        while self.active:
            await next(connection for connection in self._open if not connection.left.is_set()).left.wait()

    async def serve(self, connection: _Connection) -> None:
        """Answers the requests of one connection, until it is closed. Called by the connection itself."""
        try:
            while (exchange := await connection.request()) is not None:
                self.exchanges.append(exchange)
                await self._handler(exchange)
        except ConnectionError:
            pass  # the other side left, which is its right
        except Exception as failure:
            self._failures.append(failure)
            connection.abort()

    def opened(self, connection: _Connection) -> bool:
        """Counts a connection; says whether its requests are to be answered."""
        self.accepted += 1
        connection.number = self.accepted
        self._open.add(connection)
        self._to_reset -= (wanted := self._to_reset > 0)
        return not wanted

    def closed(self, connection: _Connection) -> None:
        """Forgets a connection."""
        self._open.discard(connection)


class Exchange:
    """One request, and the means to answer it in whatever way, right or wrong."""

    def __init__(self, connection: _Connection, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers: Mapping[str, str] = headers
        """Lower-case names."""
        self.body = body
        self._connection = connection
        self._until_closed = False
        self._chunked = False

    @property
    def connection(self) -> int:
        """The number of the connection it came on, counted from 1 in the order they were opened."""
        return self._connection.number

    def json(self) -> Any:
        """The body, read as JSON."""
        return msgspec.json.decode(self.body)

    async def head(self, status: int = 200, headers: Mapping[str, str] = EVENT_STREAM, *, chunked: bool = True) -> None:
        """Sends status and headers. Neither chunked nor with a `Content-Length`, the body lasts until `end` closes."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Whatever')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        self._chunked = chunked
        self._until_closed = not chunked and not any(name.lower() == "content-length" for name in headers)
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are; waits while the other side does not take them.

        Raises:
            ConnectionResetError: the other side has left.
        """
        await self._connection.write(data)

    async def chunk(self, data: bytes) -> None:
        """Sends one chunk of a chunked body."""
        await self.write(chunk(data))

    async def end(self) -> None:
        """Ends the body as its framing does: with the last chunk, with nothing, or by closing."""
        if self._chunked:
            await self.write(b"0\r\n\r\n")
        elif self._until_closed:
            self.close()

    async def whole(self, body: bytes, status: int = 200, headers: Mapping[str, str] = JSON) -> None:
        """Sends a whole response with a `Content-Length`."""
        await self.head(status, {**headers, "Content-Length": str(len(body))}, chunked=False)
        if body:
            await self.write(body)

    def reset(self) -> None:
        """Breaks the connection: the other side gets a RST."""
        self._connection.reset()

    def close(self) -> None:
        """Closes the connection: the other side gets what was written, then a FIN."""
        self._connection.close()

    async def left(self) -> None:
        """Returns when the connection is closed, by either side."""
        await self._connection.left.wait()


Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]


class _Connection(asyncio.Protocol):
    """One connection as the server has it."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.number = 0
        self.left = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection was opened."""
        self._transport = cast("asyncio.Transport", transport)
        if self._upstream.opened(self):
            self.task = asyncio.create_task(self._upstream.serve(self))
        else:
            self.reset()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._received += data
        self._arrived.set()

    def eof_received(self) -> None:
        """The other side has closed: a client of HTTP that does so wants nothing more."""
        self._gone()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed, by either side."""
        self._gone()
        self._transport = None
        self._upstream.closed(self)

    def pause_writing(self) -> None:
        """The other side does not take what was written."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It takes it again."""
        self._writable.set()

    def _gone(self) -> None:
        self.left.set()
        self._arrived.set()
        self._writable.set()

    async def request(self) -> Exchange | None:
        """The next request; `None` once either side has left."""
        while self._transport is not None and not self._transport.is_closing():
            end = self._received.find(b"\r\n\r\n")
            if end >= 0:
                first, *lines = self._received[:end].decode("latin-1").split("\r\n")
                method, path, _ = first.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                size = end + 4 + int(headers.get("content-length", "0"))
                if len(self._received) >= size:
                    body = bytes(self._received[end + 4 : size])
                    del self._received[:size]
                    return Exchange(self, method, urlsplit(path).path, headers, body)
            if self.left.is_set():
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return None

    async def write(self, data: bytes) -> None:
        if self._transport is None or self.left.is_set():
            raise ConnectionResetError("the other side has left")
        self._transport.write(data)
        await self._writable.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        if self._transport is None:
            return
        # A linger of 0 s makes the close that follows a RST. Asked of a copy of the descriptor, since some loops show
        # their sockets without this.
        copy = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        with copy:
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def sending(*pieces: bytes, then: Callable[[Exchange], object] | None = None) -> Handler:
    """A handler that sends these bytes as they are, a read each, and does one thing more."""

    async def handler(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.write(piece)
            await turns(2)
        if then is not None:
            then(exchange)

    return handler


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# -- what OpenAI's chat API would send

DONE = b"data: [DONE]\n\n"


def frame(payload: object) -> bytes:
    """`payload` as one event."""
    return b"data: " + json_text.encode(payload) + b"\n\n"


def delta_chunk(delta: Mapping[str, object], *, finish_reason: str | None = None, choice: int = 0) -> bytes:
    """The event of a chunk with one choice."""
    return frame(_chunk([{"index": choice, "delta": delta, "finish_reason": finish_reason}]))


def role_chunk(*, choice: int = 0) -> bytes:
    """The first event of an answer, which says nothing yet."""
    return delta_chunk({"role": "assistant", "content": ""}, choice=choice)


def text_chunk(text: str, *, choice: int = 0) -> bytes:
    """The event of one piece of text."""
    return delta_chunk({"content": text}, choice=choice)


def finish_chunk(reason: str = "stop", *, choice: int = 0) -> bytes:
    """The event with the finish reason."""
    return delta_chunk({}, finish_reason=reason, choice=choice)


def usage_chunk(prompt_tokens: int, completion_tokens: int) -> bytes:
    """The event with the usage, which comes after the finish reason."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return frame({**_chunk([]), "usage": usage})


async def answer(
    exchange: Exchange,
    texts: Iterable[str],
    usage: tuple[int, int] | None = None,
    gap: asyncio.Event | None = None,
) -> None:
    """Answers well: the texts, a chunk each, then `stop`, usage and `[DONE]`.

    Args:
        exchange: what is answered.
        texts: the pieces of the answer.
        usage: prompt and completion tokens; `None`: none is told.
        gap: waited for, and cleared, before every text but the first: so a test decides when the next one is sent.
    """
    await exchange.head()
    await exchange.chunk(role_chunk())
    for place, text in enumerate(texts):
        if place and gap is not None:
            await gap.wait()
            gap.clear()
        await exchange.chunk(text_chunk(text))
    await exchange.chunk(finish_chunk())
    if usage is not None:
        await exchange.chunk(usage_chunk(*usage))
    await exchange.chunk(DONE)
    await exchange.end()


def _chunk(choices: list[dict[str, object]]) -> dict[str, object]:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "scripted",
        "choices": choices,
    }
