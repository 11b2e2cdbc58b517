"""`@headrace/client` as people have it: packed, installed from the archive, and run."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
RUNTIMES = HERE / "runtimes"
TOOLS = ROOT / "clients" / "javascript" / "node_modules"
DEADLINE_SECONDS = 30.0


def command(*arguments: str, folder: Path) -> str:
    """What a command prints.

    Raises:
        AssertionError: it failed.
    """
    ran = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert ran.returncode == 0, f"{' '.join(arguments)}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed package."""
    for tool in ("node", "npm"):
        assert shutil.which(tool), (
            f"{tool} is not installed, and the JavaScript client is tested with it: apt install {tool}"
        )
    told = command(
        str(ROOT / "scripts" / "pack-javascript-client"), str(tmp_path_factory.mktemp("packed")), folder=ROOT
    )
    return Path(told.strip())


@pytest.fixture(scope="session")
def project(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody's that has installed the archive, and React, esbuild and TypeScript beside it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    command("npm", "install", "--offline", "--no-audit", "--no-fund", "--no-save", str(archive), folder=folder)
    for package in TOOLS.iterdir():
        if not package.name.startswith("."):
            (folder / "node_modules" / package.name).symlink_to(package)
    shutil.copy(HERE / "scenarios.mjs", folder)
    return folder


class Runtime(NamedTuple):
    """What runs a program in JavaScript, and the project that it runs it in."""

    command: tuple[str, ...]
    folder: Path


@pytest.fixture(
    params=["node", pytest.param("deno", marks=pytest.mark.slow), pytest.param("bun", marks=pytest.mark.slow)]
)
def runtime(request: pytest.FixtureRequest, project: Path) -> Runtime:
    """Node; in `make test-all` Deno and Bun as well, a download of 60 MB."""
    name: str = request.param
    if name == "node":
        return Runtime(("node",), project)
    program = RUNTIMES / "node_modules" / ".bin" / name
    if not program.exists():
        # Without a lock: each machine has only the package of its own kind, and a lock would have to name all of them.
        command("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", folder=RUNTIMES)
    allowed = ("run", "--allow-net", "--allow-read", "--allow-env", "--no-check", "--no-lock")
    return Runtime((str(program), *allowed) if name == "deno" else (str(program),), project)


class Scenario:
    """A scenario of `scenarios.mjs` in a process of its own, which writes lines of JSON."""

    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self._running = running

    async def line(self) -> Any:
        """The next line that it writes."""
        assert self._running.stdout is not None
        line = await asyncio.wait_for(self._running.stdout.readline(), DEADLINE_SECONDS)
        assert line, (await self._errors()).decode()
        return json.loads(line)

    async def until(self, enough: Callable[[Any], bool]) -> Any:
        """The first line that is wanted."""
        while not enough(told := await self.line()):
            pass
        return told

    async def say(self, word: str) -> None:
        """Writes a line to it, which some scenarios wait for."""
        assert self._running.stdin is not None
        self._running.stdin.write(f"{word}\n".encode())
        await self._running.stdin.drain()

    async def end(self) -> Any:
        """Its last line, once it has ended by itself."""
        last = None
        assert self._running.stdout is not None
        while line := await asyncio.wait_for(self._running.stdout.readline(), DEADLINE_SECONDS):
            last = json.loads(line)
        errors = await self._errors()
        assert await asyncio.wait_for(self._running.wait(), DEADLINE_SECONDS) == 0, errors.decode()
        return last

    async def _errors(self) -> bytes:
        assert self._running.stderr is not None
        return await asyncio.wait_for(self._running.stderr.read(), DEADLINE_SECONDS)


@asynccontextmanager
async def scenario(runtime: Runtime, name: str, **arguments: Any) -> AsyncIterator[Scenario]:
    """Starts one. When the block is left it is not running any more."""
    running = await asyncio.create_subprocess_exec(
        *runtime.command,
        "scenarios.mjs",
        name,
        json.dumps(arguments),
        cwd=runtime.folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield Scenario(running)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def play(runtime: Runtime, name: str, **arguments: Any) -> Any:
    """What a scenario says last."""
    async with scenario(runtime, name, **arguments) as played:
        return await played.end()
