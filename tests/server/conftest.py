"""Servers to test: one in a process of its own, as people run it, and one in this process, that can be looked into."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import pytest

from headrace.clock import SystemClock
from headrace.interfaces import Provider
from headrace.providers import PROVIDERS
from headrace.requests import Timeouts
from headrace.runs import Upstream
from headrace.server.house import House
from headrace.server.serving import Server, listen
from headrace.server.wiring import open_house
from headrace.settings import ServerSettings, Settings, UpstreamSettings
from headrace.testing.upstream import Handler, ScriptedUpstream

HEADRACE = str(Path(sys.executable).with_name("headrace"))
DEADLINE_SECONDS = 20.0
TEST_SECONDS = 90.0
# What a condition is waited for between two looks at it, where nothing tells that it has come true.
LOOK_SECONDS = 0.005

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that headrace is served on."""
    return "asyncio", {"use_uvloop": True}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Gives each asynchronous test a deadline of its own: uvloop swallows what pytest-timeout raises."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return

    @functools.wraps(test)
    async def in_time(**arguments: object) -> None:
        async with asyncio.timeout(TEST_SECONDS):
            await test(**arguments)

    pyfuncitem.obj = in_time


# -- in this process


@dataclass(frozen=True)
class Place:
    """A server in this process."""

    house: House
    server: Server
    url: str
    port: int

    @property
    def upstreams(self) -> dict[str, Upstream]:
        """Its upstreams, to which a test may add."""
        return cast("dict[str, Upstream]", self.house.runs.models.upstreams)

    @contextmanager
    def provider(self, provider: Provider, *, timeouts: Timeouts | None = None) -> Iterator[None]:
        """Any provider as the upstream `lab`."""
        self.upstreams["lab"] = Upstream("lab", provider, timeouts or self.house.settings.timeouts)
        try:
            yield
        finally:
            del self.upstreams["lab"]

    @asynccontextmanager
    async def upstream(self, handler: Handler, *, timeouts: Timeouts | None = None) -> AsyncIterator[ScriptedUpstream]:
        """An upstream that does what `handler` says, as the upstream `lab`."""
        async with ScriptedUpstream(handler) as scripted:
            settings = UpstreamSettings("lab", base_url=scripted.base_url)
            provider = PROVIDERS["openai"](settings, None, SystemClock())
            try:
                with self.provider(provider, timeouts=timeouts):
                    yield scripted
            finally:
                await provider.close()

    async def emptied(self) -> None:
        """Returns when no run is in progress and no reader is served."""
        await until(lambda: not len(self.house.runs) and not self.house.deliveries)


@asynccontextmanager
async def serving(settings: Settings | None = None, *, keys: Path | None = None) -> AsyncIterator[Place]:
    """A server in this process, on a port that the system chooses. `keys`: the file of the keys that readers have."""
    settings = settings or Settings()
    server_settings = msgspec.structs.replace(settings.server, port=0, drain_seconds=0.0)
    with tempfile.TemporaryDirectory() as folder:
        # The store a server has by default, on a file of its own.
        store = msgspec.structs.replace(settings.store, path=settings.store.path or f"{folder}/headrace.db")
        async with _serving(msgspec.structs.replace(settings, server=server_settings, store=store), keys) as place:
            yield place


@asynccontextmanager
async def _serving(settings: Settings, keys: Path | None) -> AsyncIterator[Place]:
    async with open_house(settings, {}, keeps_streams=True, keys=keys) as house:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[tuple[str, int]] = loop.create_future()
        with listen(settings.server) as listener:
            server = Server(house, lambda url, port: ready.set_result((url, port)))
            served = loop.create_task(server.serve(sockets=[listener]))
            try:
                yield Place(house, server, *await ready)
            finally:
                # After a test that failed, too: nothing else would end what it left open.
                server.should_exit = True
                await served


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server in this process that the tests of one file share."""
    async with serving(Settings(server=ServerSettings())) as shared:
        yield shared


async def until(condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Returns when `condition` holds.

    Raises:
        TimeoutError: it did not come true in time.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition, and nobody tells when it comes true
            await asyncio.sleep(LOOK_SECONDS)


# -- in a process of its own


@dataclass(frozen=True)
class Process:
    """A running `headrace serve`."""

    url: str
    port: int
    popen: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> list[dict[str, object]]:
        """What it has logged so far."""
        lines = self.log_path.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=dict[str, object]) for line in lines]

    def stop(self) -> int:
        """Tells it to stop, and gives its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(DEADLINE_SECONDS)


@contextmanager
def process(folder: Path, settings: str = "", variables: Mapping[str, str] = {}, *, port: int = 0) -> Iterator[Process]:
    """`headrace serve` with these settings in TOML, and nothing else of this machine."""
    (folder / "settings.toml").write_text(settings, encoding="utf-8")
    ready_path, log_path = folder / "ready", folder / "log"
    ready_path.unlink(missing_ok=True)  # of a server before this one
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    with log_path.open("wb") as log:
        popen = subprocess.Popen(
            [HEADRACE, "serve", "--port", str(port), "--config", "settings.toml", "--ready-file", str(ready_path)],
            cwd=folder,
            env={**kept, "HOME": str(folder), "OLLAMA_HOST": "127.0.0.1:1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not ready_path.exists():
            assert popen.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline, log_path.read_text()
            time.sleep(LOOK_SECONDS)
        ready = msgspec.json.decode(ready_path.read_bytes(), type=dict[str, object])
        url = str(ready["url"])
        yield Process(url, int(url.rpartition(":")[2]), popen, log_path)
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
        try:
            popen.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
            raise


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server without any settings, which all tests of one run share: its only model is `offline`."""
    with process(tmp_path_factory.mktemp("offline")) as shared:
        yield shared
