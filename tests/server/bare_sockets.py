"""WebSockets byte by byte: frames right or wrong, and those that come back. Written without any library's parser."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.server.reader import READ_SECONDS, Reader, connected, encoded
from tests.server.talking import CHAT

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A client's frame."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    bit, size = 0x80 if masked else 0, len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))


class BareSocket:
    """A WebSocket whose bytes are the test's own."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    async def send(self, *pieces: bytes) -> None:
        """Sends these bytes."""
        await self.reader.send(b"".join(pieces))

    async def next(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame.

        Raises:
            asyncio.IncompleteReadError: the server has closed the connection.
        """
        incoming = self.reader._incoming
        async with asyncio.timeout(READ_SECONDS):
            first, second = await incoming.readexactly(2)
            assert first & 0xF0 == 0x80, "whole, and nothing reserved"
            assert second < 128, "a server masks nothing"
            size = second
            if size == 126:
                (size,) = struct.unpack("!H", await incoming.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await incoming.readexactly(8))
            return first & 15, await incoming.readexactly(size)

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close that comes; frames before it are passed over."""
        while True:
            opcode, payload = await self.next()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2]), payload[2:].decode()

    async def ended(self) -> None:
        """Returns when the server has closed the connection."""
        await self.reader.gone()


@asynccontextmanager
async def bare(
    port: int, path: str = CHAT, headers: Mapping[str, str] = {}, *, receive_bytes: int | None = None
) -> AsyncIterator[BareSocket]:
    """A WebSocket that is open."""
    request = encoded("GET", path, headers={**HANDSHAKE, **headers})
    async with connected(port, request, receive_bytes=receive_bytes) as reader:
        await reader.head()
        assert reader.status == 101
        yield BareSocket(reader)
