"""A server inside a command, on a port that the system chooses: what `headrace demo` shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec

from headrace.server.serving import Server, listen
from headrace.server.wiring import open_house
from headrace.settings import ServerSettings, Settings, UpstreamSettings


@asynccontextmanager
async def local_server(*upstreams: UpstreamSettings) -> AsyncIterator[str]:
    """The URL of a server with these upstreams and no other setting; it is gone at the end of the block.

    Raises:
        SettingsError: an upstream cannot be what it says.
    """
    # Whoever has seen enough does not wait for runs that are still going on.
    settings = Settings(server=ServerSettings(port=0, drain_seconds=0.0))
    settings = msgspec.structs.replace(
        settings,
        upstreams=tuple(
            msgspec.structs.replace(each, timeouts=each.timeouts.over(settings.timeouts)) for each in upstreams
        ),
    )
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with open_house(settings, {}) as house:
        with listen(settings.server) as listener:
            server = _Embedded(house, lambda url, port: ready.set_result(url))
            served = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield await ready
            finally:
                server.should_exit = True
                await served


class _Embedded(Server):
    """A server whose process belongs to a command: Ctrl-C is the command's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone."""
        yield
