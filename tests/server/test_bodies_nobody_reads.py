"""A request that is answered before its body has arrived: one answer, and an end to what is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.server.conftest import Place, serving

from headrace.settings import ServerSettings, Settings

pytestmark = pytest.mark.anyio

LIMIT_BYTES = 10_000
# What the kernels of both sides may hold besides what the server takes.
BUFFERS_BYTES = 8 << 20


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server with a small limit and little patience."""
    async with serving(Settings(server=ServerSettings(body_limit_bytes=LIMIT_BYTES, body_seconds=1.0))) as impatient:
        yield impatient


def head(method_and_path: str, *headers: str, length: int = 10**12) -> bytes:
    lines = [f"{method_and_path} HTTP/1.1", "Host: 127.0.0.1", *headers, f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode()


REFUSED = {
    "unknown route": (404, head("POST /nothing")),
    "wrong method": (405, head("POST /health")),
    "foreign origin": (403, head("POST /v1/chat/completions", "Origin: https://elsewhere.example")),
    "too large": (413, head("POST /v1/chat/completions", "Content-Type: application/json")),
    "wrong type": (415, head("POST /v1/chat/completions", "Content-Type: text/html")),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_comes_after_an_early_answer_is_taken_for_a_while_and_no_longer(place: Place, case: str) -> None:
    status, request = REFUSED[case]
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    sent = 0
    writer.write(request)
    try:
        async with asyncio.timeout(20):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
                # A turn for the other side, which is in this process.
                await asyncio.sleep(0)
    except ConnectionError:
        pass
    assert sent < LIMIT_BYTES * 16 + BUFFERS_BYTES
    try:
        told = await reader.read(-1)
    except ConnectionError:
        told = bytes(reader._buffer)  # type: ignore[attr-defined]  # what had come before the reset
    assert told.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in told
    assert told.count(b"HTTP/1.1 ") == 1
    writer.close()


async def test_a_body_that_stops_half_way_after_its_answer_gets_no_second_one(place: Place) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(head("POST /nothing", length=10) + b"abc")
    async with asyncio.timeout(20):
        told = await reader.read(-1)  # until the server closes
    assert told.startswith(b"HTTP/1.1 404 ")
    assert told.count(b"HTTP/1.1 ") == 1
    writer.close()


async def test_an_early_answer_is_read_by_whoever_sends_its_whole_body_first(place: Place) -> None:
    body = b"x" * (LIMIT_BYTES * 8)
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(head("POST /v1/chat/completions", "Content-Type: application/json", length=len(body)) + body)
    await writer.drain()
    async with asyncio.timeout(20):
        told = await reader.readuntil(b"}}")
    assert told.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" not in told
    writer.close()
