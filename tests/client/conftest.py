"""A server in this process, what stands between it and a client, and both clients behind one face."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.client.faces import FACES, Face
from tests.client.weather import Weather
from tests.server.conftest import Place, pytest_pyfunc_call, serving

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that headrace is served on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server in this process that the tests of one file share."""
    async with serving() as shared:
        yield shared


@pytest.fixture
async def weather(place: Place) -> AsyncIterator[Weather]:
    """The way to that server, which may break."""
    async with Weather(place.port) as way:
        yield way


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> Face:
    """`AsyncClient`, and `Client` behind the same face."""
    made: Face = FACES[request.param]
    return made
