"""What the tests of connections share: both event loops, both transports, and nothing of this machine's own proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from headrace.clock import Clock, SystemClock
from headrace.providers.http import HTTPTransport
from headrace.providers.http_through_httpx2 import Httpx2Transport
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
