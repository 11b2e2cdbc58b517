"""A thousand connections whose headers never end: others are answered as ever, and the thousand are closed in time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import cast

import pytest
from tests.server.conftest import process
from tests.server.raw import health
from tests.server.reader import READ_SECONDS

pytestmark = pytest.mark.anyio

CONNECTIONS = 1000
HEADER_SECONDS = 3.0
P99_SECONDS = 0.25
LOOKED_SECONDS = 1.5
BEGUN = b"POST /chat/basic HTTP/1.1\r\nHost: localhost\r\n"


class Slow(asyncio.Protocol):
    """A client that sends a letter of its headers now and then."""

    def __init__(self) -> None:
        self.answer = b""
        self.closed = asyncio.Event()
        self.began = time.perf_counter()
        self.lasted_seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(BEGUN)

    def data_received(self, data: bytes) -> None:
        self.answer += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lasted_seconds = time.perf_counter() - self.began
        self.closed.set()


async def test_1000_slow_headers_hold_up_nobody_and_are_closed_in_time(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with process(tmp_path, f"[server]\nheader_seconds = {HEADER_SECONDS}\n") as server, contextlib.ExitStack() as stack:
        slow: list[Slow] = []
        for _ in range(CONNECTIONS):
            _, client = await loop.create_connection(Slow, "127.0.0.1", server.port)
            stack.callback(client.transport.abort)
            slow.append(client)
        taken = []
        end = time.perf_counter() + LOOKED_SECONDS
        while time.perf_counter() < end:
            for client in slow[:: len(slow) // 100]:
                client.transport.write(b"x")
            asked_at = time.perf_counter()
            assert (await asyncio.to_thread(health, server.port))["status"] == "ok"
            taken.append(time.perf_counter() - asked_at)
        assert not any(client.closed.is_set() for client in slow), "all of them hung while others were answered"
        p99 = sorted(taken)[-(len(taken) // 100) - 1]
        print(f"/health p99 {p99 * 1000:.1f} ms of {len(taken)} while {CONNECTIONS} connections hang")
        assert p99 < P99_SECONDS
        async with asyncio.timeout(READ_SECONDS):
            for client in slow:
                await client.closed.wait()
        assert all(client.answer.startswith(b"HTTP/1.1 408 ") for client in slow)
        assert all(b'"code":"request_timeout"' in client.answer for client in slow)
        # Letters that trickle in buy no more time; the server looks once a second.
        assert all(HEADER_SECONDS <= client.lasted_seconds < HEADER_SECONDS + 2.5 for client in slow)
