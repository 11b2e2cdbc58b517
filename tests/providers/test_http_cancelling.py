"""Cancelling a request in every phase: the upstream sees its socket closed within 100 ms, and its own count decides.

Every test runs on both event loops and, where both promise the same, on both transports.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from headrace.providers.http_connection import Connection
from headrace.providers.transport import Response, Transport
from headrace.testing.upstream import Exchange, ScriptedUpstream
from headrace.testing.waiting import turns, until
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

Opened = Callable[..., AbstractAsyncContextManager[Transport]]

CANCEL_SECONDS = 0.1


async def send(transport: Transport) -> Response:
    return await transport.send("POST", "/chat/completions", b'{"model":"m"}', Marks(0))


async def listen(response: Response, heard: list[bytes]) -> None:
    """Hears everything to the end, and closes."""

    def hear(pieces: Sequence[bytes]) -> bool:
        heard.extend(pieces)
        return False

    try:
        await response.listen(hear)
    finally:
        await response.close()


async def respond(exchange: Exchange) -> None:
    await exchange.whole(b"{}")


# --- cancelling: the upstream's own count of sockets decides


async def cancelled(upstream: ScriptedUpstream, work: Awaitable[object]) -> None:
    """Cancels `work`; the upstream must see it within 100 ms."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    async with asyncio.timeout(CANCEL_SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.emptied()


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor that lists them
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="sockets are counted as Linux lists them")
async def test_cancelling_while_connecting_leaves_no_socket(opened: Opened) -> None:
    # A queue that is full: the kernel answers no further connection, so that connecting hangs.
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        with socket.create_connection(address):
            async with opened(f"http://127.0.0.1:{address[1]}/v1") as transport:
                before = sockets()
                task = asyncio.ensure_future(send(transport))
                await until(lambda: sockets() > before)
                task.cancel()
                async with asyncio.timeout(CANCEL_SECONDS):
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    await until(lambda: sockets() == before)


async def test_what_was_cancelled_while_connecting_does_not_wait_for_the_garbage_collector(opened: Opened) -> None:
    def held() -> int:
        return sum(isinstance(each, Connection) for each in gc.get_objects())

    async def give_up(transport: Transport) -> None:
        task = asyncio.ensure_future(send(transport))
        await until(lambda: sockets() > open_before)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: sockets() == open_before)

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        with socket.create_connection(address):
            async with opened(f"http://127.0.0.1:{address[1]}/v1") as transport:
                open_before = sockets()
                gc.collect()
                gc.disable()
                try:
                    before = held()
                    for _ in range(5):
                        await give_up(transport)
                    await turns(5)
                    assert held() == before
                finally:
                    gc.enable()


async def test_cancelling_while_tls_is_negotiated_closes_the_connection(opened: Opened) -> None:
    # The upstream speaks plain HTTP: it waits for the end of a request, and a hello is none.
    async with ScriptedUpstream(respond) as upstream, opened(f"https://127.0.0.1:{upstream.port}/v1") as transport:
        task = asyncio.ensure_future(send(transport))
        await until(lambda: upstream.active)
        await turns(3)
        await cancelled(upstream, task)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-"], ids=["nothing", "half a head"])
async def test_cancelling_before_the_headers_closes_the_connection(sent: bytes, opened: Opened) -> None:
    async def handler(exchange: Exchange) -> None:
        if sent:
            await exchange.write(sent)
        await exchange.left()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        task = asyncio.ensure_future(send(transport))
        await until(lambda: upstream.exchanges)
        await turns(3)
        await cancelled(upstream, task)


@pytest.mark.parametrize("pieces", [0, 1, 3])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_cancelling_in_the_body_closes_the_connection(pieces: int, encoding: str, opened: Opened) -> None:
    heard: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.head(headers={"Content-Encoding": encoding})
        compressor = zlib.compressobj(wbits=31)
        for _ in range(pieces):
            plain = b"token"
            packed = compressor.compress(plain) + compressor.flush(zlib.Z_SYNC_FLUSH)
            await exchange.chunk(plain if encoding == "identity" else packed)
            await turns(2)
        await exchange.left()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        task = asyncio.ensure_future(listen(await send(transport), heard))
        await until(lambda: b"".join(heard) == b"token" * pieces)
        await cancelled(upstream, task)


async def test_cancelling_while_the_upstream_floods_closes_the_connection(opened: Opened) -> None:
    heard: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        while True:
            await exchange.chunk(bytes(1000))
            await asyncio.sleep(0)

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        task = asyncio.ensure_future(listen(await send(transport), heard))
        await until(lambda: len(heard) >= 100)
        await cancelled(upstream, task)
        count = len(heard)
        await turns(20)
        assert len(heard) == count
