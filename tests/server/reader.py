"""A reader on a bare socket: every byte is seen, nothing is retried, and it leaves when it is told to.

Written without headrace's own parsers, so that a mistake there is not made here too.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

READ_SECONDS = 20.0


class Reader:
    """One request on a connection of its own, and the response to it as it arrives."""

    def __init__(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._incoming = incoming
        self._outgoing = outgoing
        self._chunked = False

    async def head(self) -> None:
        """Reads status and headers."""
        async with asyncio.timeout(READ_SECONDS):
            head = await self._incoming.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._chunked = self.headers.get("transfer-encoding") == "chunked"

    async def piece(self) -> bytes:
        """The next chunk of a body in chunks, the rest of any other; empty at the end.

        Raises:
            asyncio.IncompleteReadError: the body was cut off.
        """
        async with asyncio.timeout(READ_SECONDS):
            if not self._chunked:
                size = self.headers.get("content-length")
                return await (self._incoming.read() if size is None else self._incoming.readexactly(int(size)))
            size_bytes = int(await self._incoming.readuntil(b"\r\n"), 16)
            return (await self._incoming.readexactly(size_bytes + 2))[:-2]

    async def body(self) -> bytes:
        """Everything to the end."""
        if not self._chunked:
            return await self.piece()
        read = bytearray()
        while piece := await self.piece():
            read += piece
        return bytes(read)

    async def json(self) -> Any:
        """The whole body, read as JSON."""
        return json.loads(await self.body())

    async def frames(self) -> AsyncIterator[str]:
        """What stands behind `data: ` in each server-sent event, as they arrive; comments are left out."""
        unread = b""
        while piece := await self.piece():
            unread += piece
            *events, unread = unread.split(b"\n\n")
            for event in events:
                for line in event.split(b"\n"):
                    if line.startswith(b"data: "):
                        yield line[6:].decode()
        assert not unread.strip(), f"the stream ends in the middle of an event: {unread!r}"

    async def texts(self) -> AsyncIterator[str]:
        """The text in each frame of either protocol that has one, as they arrive."""
        async for frame in self.frames():
            if text := text_of(frame):
                yield text

    async def send(self, data: bytes) -> None:
        """Sends more."""
        self._outgoing.write(data)
        await self._outgoing.drain()

    def half_close(self) -> None:
        """Says that no more will be sent, and goes on reading, or not."""
        self._outgoing.write_eof()

    def leave(self) -> None:
        """Closes the connection."""
        self._outgoing.close()

    async def gone(self) -> None:
        """Returns when the server has closed the connection."""
        async with asyncio.timeout(READ_SECONDS):
            while await self._incoming.read(65536):
                pass


def text_of(frame: str) -> str:
    """The text that a frame adds to the answer; empty where it adds none."""
    if frame == "[DONE]":
        return ""
    said = json.loads(frame)
    if said.get("type") == "token":
        return str(said["content"])
    for choice in said.get("choices", []):
        return str(choice["delta"].get("content") or "")
    return ""


def encoded(
    method: str, path: str, body: object = None, headers: Mapping[str, str] = {}, *, host: str = "127.0.0.1"
) -> bytes:
    """A request as bytes; a `body` that is neither bytes nor `None` is written as JSON."""
    lines = {"Host": host}
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **headers}.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + data


@asynccontextmanager
async def connected(port: int, request: bytes, *, receive_bytes: int | None = None) -> AsyncIterator[Reader]:
    """A reader that has sent `request` and read nothing yet; it has left at the end of the block."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        # A small limit: what the test has not asked for stays in the socket, as at a reader that is slow.
        incoming, outgoing = await asyncio.open_connection(sock=connection, limit=65536)
    except BaseException:
        connection.close()
        raise
    try:
        outgoing.write(request)
        yield Reader(incoming, outgoing)
    finally:
        outgoing.transport.abort()


@asynccontextmanager
async def asking(
    port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}
) -> AsyncIterator[Reader]:
    """A reader that has asked and read the head of the answer."""
    async with connected(port, encoded(method, path, body, headers)) as reader:
        await reader.head()
        yield reader


def chat(question: str = "q", *, model: str = "lab/m", stream: bool = True, **more: object) -> dict[str, object]:
    """The body of a request to `/v1/chat/completions`."""
    return {"model": model, "messages": [{"role": "user", "content": question}], "stream": stream, **more}


def query(question: str = "q", *, model: str = "lab/m", stream: bool = True, **more: object) -> dict[str, object]:
    """The body of a request to `/chat/basic`."""
    return {"query": question, "model": model, "meta_params": {"stream": stream}, **more}


DOORS = {"openai_chat": ("/v1/chat/completions", chat), "typed_events": ("/chat/basic", query)}
"""Path and body of each protocol's route."""
