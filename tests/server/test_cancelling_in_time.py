"""Cancel reaches the upstream: how soon its socket closes, in five phases, measured there (design, section 9)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import pytest
from tests.server.conftest import Place, until
from tests.server.reader import asking, chat, connected, encoded

from headrace.clock import SystemClock
from headrace.providers import PROVIDERS
from headrace.settings import UpstreamSettings
from headrace.testing.upstream import Exchange, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

P99_SECONDS = 0.1
CANCELS = 1000
PHASES = ("queued", "connecting", "before headers", "before the first token", "mid-stream")


class Reached(Protocol):
    """What tells when an upstream is where it shall be cancelled, and when it sees that it was."""

    def arm(self) -> None:
        """Forgets what was."""
        ...

    async def there(self) -> None:
        """Returns when the run is in the phase."""
        ...

    async def closed_at(self) -> float:
        """When the upstream's socket saw the end."""
        ...


class Handshake(asyncio.Protocol):
    """A connection whose TLS handshake is never answered: who opened it is still connecting."""

    def __init__(self, deaf: Deaf) -> None:
        self._deaf = deaf
        self._closed = deaf.closed

    def data_received(self, data: bytes) -> None:
        """The first half of a handshake."""
        self._deaf.begun.set()

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(time.perf_counter())


class Deaf:
    """A listener that answers no handshake."""

    def __init__(self) -> None:
        self.arm()

    def arm(self) -> None:
        self.begun = asyncio.Event()
        self.closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def there(self) -> None:
        await self.begun.wait()

    async def closed_at(self) -> float:
        return await self.closed


class Stuck:
    """An upstream that falls silent in one phase."""

    def __init__(self, phase: str) -> None:
        self._phase = phase
        self.arm()

    def arm(self) -> None:
        self._silent = asyncio.Event()
        self._closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def there(self) -> None:
        await self._silent.wait()

    async def closed_at(self) -> float:
        return await self._closed

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler, up to its phase."""
        silent, closed = self._silent, self._closed
        if self._phase != "before headers":
            await exchange.head()
            await exchange.chunk(role_chunk())
        if self._phase == "mid-stream":
            await exchange.chunk(text_chunk("One"))
        silent.set()
        await exchange.left()
        closed.set_result(time.perf_counter())


class Queue:
    """An upstream without a free place: who is cancelled in the queue is gone from it, and nobody is asked."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def arm(self) -> None:
        """Nothing is remembered."""

    async def there(self) -> None:
        await until(lambda: len(self._place.house.runs) == 1)

    async def closed_at(self) -> float:
        while len(self._place.house.runs):  # noqa: ASYNC110 - nobody tells, and a look takes next to no time
            await asyncio.sleep(0)
        return time.perf_counter()


@asynccontextmanager
async def stuck_in(phase: str, place: Place) -> AsyncIterator[Reached]:
    """An upstream `lab` that gets every run into this phase and no further."""
    if phase == "connecting":
        deaf = Deaf()
        server = await asyncio.get_running_loop().create_server(lambda: Handshake(deaf), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = UpstreamSettings("lab", base_url=f"https://127.0.0.1:{port}/v1")
        provider = PROVIDERS["openai"](settings, None, SystemClock())
        with place.provider(provider):
            yield deaf
        await provider.close()
        server.close()
        return
    stuck = Stuck(phase)
    async with place.upstream(stuck) as upstream:
        if phase == "queued":
            place.upstreams["lab"].places = asyncio.Semaphore(0)
            yield Queue(place)
            assert not upstream.exchanges, "whoever is in the queue asks nobody"
        else:
            yield stuck


async def by_the_route(place: Place, stream_id: str) -> None:
    async with asking(place.port, "POST", f"/v1/streams/{stream_id}/cancel") as reader:
        assert reader.status == 200


class Figures(NamedTuple):
    median: float
    p99: float


def figures(seconds: list[float]) -> Figures:
    return Figures(statistics.median(seconds), sorted(seconds)[-(len(seconds) // 100) - 1])


async def cancels(place: Place, phase: str, *, stream: bool, count: int, name: str) -> list[float]:
    """How long after each cancel the upstream saw it."""
    taken = []
    async with stuck_in(phase, place) as upstream:
        for number in range(count):
            upstream.arm()
            by_route = number % 2 == 0
            stream_id = f"cancelled-in-time-{name}-{number:04}"
            headers = {"Headrace-Stream": stream_id, "Headrace-On-Disconnect": "cancel"}
            request = encoded("POST", "/v1/chat/completions", chat(stream=stream), headers)
            async with connected(place.port, request) as reader:
                await upstream.there()
                cancelled_at = time.perf_counter()
                if by_route:
                    await by_the_route(place, stream_id)
                else:
                    reader.leave()
                taken.append(await upstream.closed_at() - cancelled_at)
            await place.emptied()
    return taken


async def test_l1_1000_cancels_reach_the_upstream_in_time_in_every_phase(place: Place) -> None:
    each = CANCELS // (2 * len(PHASES))
    everything: list[float] = []
    for number, phase in enumerate(PHASES):
        for stream in (True, False):
            kind = "streamed" if stream else "whole"
            taken = await cancels(place, phase, stream=stream, count=each, name=f"{number}-{kind}")
            everything += taken
            median, p99 = figures(taken)
            print(f"{phase:24} {kind:8} p50 {median * 1000:6.2f} ms  p99 {p99 * 1000:6.2f} ms  n={each}")
    median, p99 = figures(everything)
    print(f"{'all':33} p50 {median * 1000:6.2f} ms  p99 {p99 * 1000:6.2f} ms  n={len(everything)}")
    assert len(everything) == CANCELS
    assert p99 <= P99_SECONDS
