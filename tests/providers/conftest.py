"""What the tests of upstreams share: both event loops, both transports, no proxies; and hearing at every cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest

from headrace.clock import Clock, SystemClock
from headrace.errors import UpstreamError
from headrace.events import Ended, Event
from headrace.providers.http import HTTPTransport
from headrace.providers.http_through_httpx2 import Httpx2Transport
from headrace.providers.openai_hearing import Hearing
from headrace.providers.transport import Transport

TRANSPORTS: Mapping[str, Callable[[str, str, Mapping[str, str], Clock], Transport]] = {
    "headrace": HTTPTransport,
    "httpx2": Httpx2Transport,
}


@pytest.fixture(scope="session", params=["asyncio", pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """The loop of the standard library and the one the server runs on: their transports are not the same."""
    return request.param


@pytest.fixture(params=TRANSPORTS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each transport, by the name it has in the settings."""
    name: str = request.param
    return name


@pytest.fixture
def only_ours(kind: str) -> None:
    """Leaves httpx2 out: what the test says is a promise of our own transport alone."""
    if kind != "headrace":
        pytest.skip("httpx2 has its own way here")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which requests go where they are sent."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def opened(kind: str, no_proxies: None) -> Callable[..., AbstractAsyncContextManager[Transport]]:
    """Opens a transport to a base URL, and closes it."""

    @asynccontextmanager
    async def open_transport(base_url: str, clock: Clock | None = None) -> AsyncIterator[Transport]:
        transport = TRANSPORTS[kind]("larch", base_url, {"Authorization": "Bearer k"}, clock or SystemClock())
        try:
            yield transport
        finally:
            await transport.close()

    return open_transport


Heard = tuple[list[Event], Ended | UpstreamError]


def _hear(reads: Iterable[Sequence[bytes]], choices: int, secret: str | None) -> Heard:
    """What an answer that arrived in these reads says, and how it ended or failed."""
    hearing = Hearing("larch", choices=choices, secret=secret)
    events: list[Event] = []
    for pieces in reads:
        events += hearing.feed(pieces)
        if hearing.done or hearing.failure is not None:
            break
    if hearing.failure is None:
        events += hearing.finish()
    return events, hearing.failure or hearing.ended()


def _comparable(heard: Heard) -> object:
    events, end = heard
    return events, end if isinstance(end, Ended) else (type(end), end.failure())


def _cuttings(data: bytes) -> Iterable[list[list[bytes]]]:
    """Byte by byte; in two at every place, in two reads and in one; an event a piece, in reads of one and in one."""
    single = [data[place : place + 1] for place in range(len(data))]
    yield [[byte] for byte in single]
    yield [single]
    for place in range(1, len(data)):
        yield [[data[:place]], [data[place:]]]
        yield [[data[:place], data[place:]]]
    *events, rest = data.split(b"\n\n")
    pieces = [*(event + b"\n\n" for event in events), *([rest] if rest else [])]
    yield [[piece] for piece in pieces]
    yield [pieces]


class Hear(Protocol):
    """Hears an answer."""

    def __call__(self, data: bytes, *, choices: int = 1, secret: str | None = None) -> Heard:
        """Its events, and how it ended or failed."""
        ...


@pytest.fixture(scope="session")
def hear() -> Hear:
    """Hears an answer that came in one read, and holds that it says the same at every cut."""

    def hear_at_every_cut(data: bytes, *, choices: int = 1, secret: str | None = None) -> Heard:
        heard = _hear([[data]], choices, secret)
        if len(data) < 2000:
            for reads in _cuttings(data):
                assert _comparable(_hear(reads, choices, secret)) == _comparable(heard), reads
        return heard

    return hear_at_every_cut


@pytest.fixture(scope="session")
def hear_reads() -> Callable[[Iterable[Sequence[bytes]]], object]:
    """Hears an answer that came in these reads; what it gives can be compared."""
    return lambda reads: _comparable(_hear(reads, 1, None))
