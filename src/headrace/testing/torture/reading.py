"""A reader of the gateway under torture: one request on a connection of its own, and every byte that comes.

Written for itself, so that it shares no mistake with headrace's own client of HTTP. It retries nothing and follows no
redirect. May import asyncio and its own room. Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from headrace.testing.torture.judging import Transcript


async def read(url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> Transcript:
    """Posts `body` as JSON and reads the answer to its end, or for so many seconds."""
    reading = _Reading()
    loop = asyncio.get_running_loop()
    began = loop.time()
    address = urlsplit(url)
    outgoing: asyncio.StreamWriter | None = None
    over: str = "broken"
    try:
        async with asyncio.timeout(timeout_seconds):
            incoming, outgoing = await _connected(address)
            outgoing.write(_request(address, body, headers))
            await reading.read(incoming)
            over = "complete"
    except TimeoutError:
        over = "timed out"
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        pass  # the connection broke, or what came is not HTTP: no client reads on
    finally:
        if outgoing is not None:
            outgoing.transport.abort()
    seconds = loop.time() - began
    match over:
        case "complete" | "broken" | "timed out":
            return Transcript(reading.status, reading.content_type, bytes(reading.body), over, seconds)
        case _:
            raise AssertionError(over)


async def _connected(address: SplitResult) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    secure = address.scheme == "https"
    port = address.port or (443 if secure else 80)
    return await asyncio.open_connection(address.hostname, port, ssl=secure or None, limit=16 * 1024 * 1024)


def _request(address: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"POST {address.path or '/'} HTTP/1.1",
        f"Host: {address.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class _Reading:
    """A response as it arrives."""

    def __init__(self) -> None:
        self.status = 0
        self.content_type = ""
        self.body = bytearray()

    async def read(self, incoming: asyncio.StreamReader) -> None:
        """Reads to the end of the response.

        Raises:
            EOFError: it was cut off.
            ValueError: it is not HTTP.
        """
        status, headers = await _head(incoming)
        while 100 <= status < 200:
            status, headers = await _head(incoming)
        self.status, self.content_type = status, headers.get("content-type", "").lower()
        if "chunked" in headers.get("transfer-encoding", "").lower():
            while size := int((await incoming.readuntil(b"\n")).partition(b";")[0], 16):
                await self._take(incoming, size)
                await incoming.readuntil(b"\n")
            while (await incoming.readuntil(b"\n")).strip():
                pass  # trailers
        elif (size_text := headers.get("content-length")) is not None:
            await self._take(incoming, int(size_text))
        elif status not in (204, 304):
            while piece := await incoming.read(65536):
                self.body += piece

    async def _take(self, incoming: asyncio.StreamReader, size: int) -> None:
        """So many bytes, each as it comes: what a broken connection has brought stays."""
        while size:
            piece = await incoming.read(size)
            if not piece:
                raise EOFError
            self.body += piece
            size -= len(piece)


async def _head(incoming: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers."""
    first, *lines = (await incoming.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers
