"""The command as a stranger runs it: a process of its own, an empty home, and an upstream that does what it is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HEADRACE = str(Path(sys.executable).with_name("headrace"))
DEADLINE_SECONDS = 20.0
KEEP = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")


@pytest.fixture(scope="session", autouse=True)
def _children_hear_ctrl_c() -> Iterator[None]:
    """Where the tests were started with SIGINT ignored, as a script's background job is, their children are not.

    A signal that is ignored stays so in a new program; one with a handler, even one that does nothing, does not.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass
class Command:
    """Runs `headrace` in an empty folder with an empty home."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        """A stranger's variables, those of this command, and `more`."""
        kept = {name: os.environ[name] for name in KEEP if name in os.environ}
        # Nothing listens on port 1, so a test never finds the Ollama of the machine it runs on.
        return {
            **kept,
            "HOME": str(self.folder),
            "OLLAMA_HOST": "127.0.0.1:1",
            "TERM": "xterm",
            **self.variables,
            **more,
        }

    def run(self, *arguments: str, stdin: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs to the end. Without `stdin` there is none."""
        return subprocess.run(
            [HEADRACE, *arguments],
            cwd=self.folder,
            env=self.environment(**variables),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=DEADLINE_SECONDS,
        )

    def start(
        self,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts it, with stdout and stderr to be read."""
        return subprocess.Popen(
            [HEADRACE, *arguments],
            cwd=self.folder,
            env=self.environment(**(variables or {})),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
        )

    def settings(self, text: str, name: str = "settings.toml") -> str:
        """Writes a file of settings, to be named with --config."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return name


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`headrace`, as a stranger has it."""
    return Command(tmp_path)


def delta(text: str) -> bytes:
    """A chunk of OpenAI's API with this text."""
    return _chunk({"choices": [{"index": 0, "delta": {"content": text}}]})


def finish(reason: str = "stop", *, usage: bool = True) -> bytes:
    """The chunk with the finish reason, usage if it is told, and the end of the stream."""
    spent = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return (
        _chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        + (_chunk({"choices": [], "usage": spent}) if usage else b"")
        + b"data: [DONE]\n\n"
    )


def _chunk(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", **body}).encode() + b"\n\n"


Piece = bytes | threading.Event | float | None
"""What an upstream does next: send bytes, wait for an event, wait for seconds, or hang until the other side closes."""


class Upstream:
    """An upstream of OpenAI's language that sends the same pieces to everybody, or those of the model asked for."""

    def __init__(
        self,
        *pieces: Piece,
        status: int = 200,
        hang: bool = False,
        by_model: dict[str, Sequence[Piece]] | None = None,
    ) -> None:
        self._pieces: Sequence[Piece] = (*pieces, None) if hang else pieces
        self.by_model = by_model or {}
        self._status = status
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closed = threading.Event()
        """Set when the other side has closed a connection in the middle of an answer."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def toml(self) -> str:
        """It as an upstream of the settings, called `lab`."""
        return f'[[upstreams]]\nname = "lab"\nbase_url = "http://127.0.0.1:{self.port}/v1"\n'

    def stop(self) -> None:
        """Takes no more connections."""
        # Closing alone does not wake a thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # stopped
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE_SECONDS)
        with connection, connection.makefile("rb") as incoming:
            if not incoming.readline():
                return
            headers: dict[str, str] = {}
            while line := incoming.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            request = json.loads(incoming.read(int(headers["content-length"])))
            self.headers.append(headers)
            self.requests.append(request)
            kind = "text/event-stream" if self._status == 200 else "application/json"
            head = f"HTTP/1.1 {self._status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
            try:
                connection.sendall(head.encode())
                for piece in self.by_model.get(request.get("model", ""), self._pieces):
                    if isinstance(piece, bytes):
                        connection.sendall(piece)
                    elif isinstance(piece, threading.Event):
                        piece.wait(DEADLINE_SECONDS)
                    elif piece is not None:
                        time.sleep(piece)  # the pace of a model, not of a test
                    elif not incoming.read(1):
                        self.closed.set()
            except OSError:
                self.closed.set()


@pytest.fixture
def upstreams() -> Iterator[Callable[..., Upstream]]:
    """Starts upstreams, and stops them."""
    started: list[Upstream] = []

    def start(*pieces: Piece, status: int = 200, hang: bool = False) -> Upstream:
        started.append(Upstream(*pieces, status=status, hang=hang))
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()


@dataclass
class Server:
    """A running `headrace serve`."""

    url: str
    process: subprocess.Popen[bytes]
    lines: list[dict[str, Any]]
    """What it said when it was ready."""


@pytest.fixture
def serve(command: Command) -> Iterator[Callable[..., Server]]:
    """Starts servers, and ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **variables: str) -> Server:
        process = command.start("serve", "--port", "0", *arguments, variables=variables)
        started.append(process)
        assert process.stdout is not None
        lines: list[dict[str, Any]] = []
        for line in process.stdout:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "try":
                break
        assert lines, process.communicate()[1].decode()
        return Server(lines[0]["url"], process, lines)

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_SECONDS)
