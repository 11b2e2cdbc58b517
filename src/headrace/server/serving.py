"""Serving: the listening socket, the event loop, the sweeps, and the way down after SIGTERM.

The way down: not ready at once, no new runs, those in progress get `drain_seconds` to finish and are then ended
`incomplete`, and only then do connections close.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import uvicorn

from headrace.errors import SettingsError
from headrace.keys.database import KeyDatabase
from headrace.server.application import Application
from headrace.server.connection import Connection, connection_class
from headrace.server.house import House
from headrace.server.socket_doors import Sockets
from headrace.server.wiring import open_house
from headrace.settings import ServerSettings, Settings, check_exposure

logger = logging.getLogger("headrace.server")

SWEEP_SECONDS = 1.0
"""How often deadlines and heartbeats are looked at; retention a little less often."""
KEYS_SECONDS = 0.5
"""How often a server that asks for keys looks whether `headrace keys` has made or revoked any."""
# How often a second SIGINT is looked for while runs finish; uvicorn looks for the first one as often.
LOOK_SECONDS = 0.1
# Connections that finish their last write after the runs have ended.
CLOSING_SECONDS = 5


def serve(
    settings: Settings,
    environment: Mapping[str, str],
    on_ready: Callable[[str, int], None],
    *,
    keys: Path | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT; gives the exit code.

    Args:
        settings: completed with whatever was found.
        environment: where the keys of the upstreams are.
        on_ready: called with the URL and the port once connections are accepted.
        keys: the file of the keys that readers come with, beside those of the settings.

    Raises:
        SettingsError: the settings cannot be served: a taken port, an open address without keys, an unknown upstream.
    """
    check_exposure(settings, keys_kept(settings, keys))
    listener = listen(settings.server)
    with listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, environment, listener, on_ready, keys))


def keys_kept(settings: Settings, keys: Path | None) -> int:
    """How many keys the file `keys` holds, where keys are asked for.

    Raises:
        SettingsError: it cannot be read.
    """
    return len(KeyDatabase(keys).all()) if settings.server.auth and keys is not None else 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(
    settings: Settings,
    environment: Mapping[str, str],
    listener: socket.socket,
    on_ready: Callable[[str, int], None],
    keys: Path | None,
) -> int:
    async with open_house(settings, environment, keeps_streams=True, keys=keys) as house:
        # What lives from here to the end is not looked at again, and requests leave next to no cycles behind: the
        # collector's usual pace (every 700 objects) cost 5 % of a busy server's time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        await Server(house, on_ready).serve(sockets=[listener])
    return 0


class Server(uvicorn.Server):
    """uvicorn's server for one house: tells when it is ready, sweeps, and drains before it closes.

    Serves until a signal arrives or `should_exit` is set; `force_exit`, which a second SIGINT sets, cuts the way down
    short.

    Args:
        house: what is served; whoever opened it closes it.
        on_ready: called with the URL and the port once connections are accepted.
    """

    def __init__(self, house: House, on_ready: Callable[[str, int], None]) -> None:
        settings = house.settings.server
        super().__init__(
            uvicorn.Config(
                Application(house),
                http=connection_class(settings, Sockets(house)),
                ws="none",  # a connection becomes a WebSocket by itself, past ASGI
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here asks who the client is
                timeout_keep_alive=max(1, round(settings.keep_alive_seconds)),
                timeout_graceful_shutdown=CLOSING_SECONDS,
                backlog=4096,
            )
        )
        self._house = house
        self._on_ready = on_ready
        self._sweepers: list[asyncio.Task[None]] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM begin the way down. uvicorn's own would raise the signal again at its end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts connections, and says so."""
        await super().startup(sockets)
        self._sweepers = [asyncio.create_task(self._sweep(SWEEP_SECONDS, self._look_after), name="headrace deadlines")]
        if self._house.keyring is not None:
            look = self._sweep(KEYS_SECONDS, self._house.refresh_keys)
            self._sweepers.append(asyncio.create_task(look, name="headrace keys"))
        assert sockets is not None
        port = sockets[0].getsockname()[1]
        host = self._house.settings.server.host
        shown = f"[{host}]" if ":" in host else host
        self._on_ready(f"http://{shown}:{port}", port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets the runs finish, then closes."""
        runs = self._house.runs
        self._house.byte_logs.leave()
        drained = asyncio.ensure_future(runs.drain(self._house.settings.server.drain_seconds))
        while not drained.done() and not self.force_exit:
            await asyncio.wait([drained], timeout=LOOK_SECONDS)
        if self.force_exit:
            await runs.drain(0)
        await drained
        for sweeper in self._sweepers:
            sweeper.cancel()
        await asyncio.gather(*self._sweepers, return_exceptions=True)
        await super().shutdown(sockets)

    async def _sweep(self, seconds: float, look: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                look()
            except Exception:
                logger.exception("the sweep over %s failed; it goes on", look.__name__)

    def _look_after(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            cast("Connection", connection).check_deadlines(now)  # a WebSocket has it as well
        self._house.check_heartbeats(now)
        self._house.forget_expired()


def listen(settings: ServerSettings) -> socket.socket:
    """A listening socket.

    Raises:
        SettingsError: the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(4096)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {settings.port} on {settings.host} is in use. Choose one: --port {settings.port + 1}, "
                "or let the system choose: --port 0"
            ) from error
        if error.errno == errno.EACCES:
            raise SettingsError(
                f"port {settings.port} needs privileges this user lacks. Choose one above 1023: --port 8000"
            ) from error
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}). "
            "Stay on this machine: --host 127.0.0.1"
        ) from error
    listener.setblocking(False)
    return listener
