"""The examples of a page of the documents: read out of its Markdown, and followed as a reader would, top to bottom.

What is to be done with a block of code stands in a comment before it, which no reader sees:

    <!-- example: serve -->            a server is started with this command, and an earlier one stopped
    <!-- example: file NAME -->        the block is written into that file
    <!-- example: run -->              the block is run
    <!-- example: fails CODE -->       it is run, and must end with that exit code
    <!-- example: prints -->           what the block before it printed, where … stands for anything
    <!-- example: not run: WHY -->     it is not run

What an example prints may also stand in a comment behind it (`<!-- prints:` or `<!-- prints on stderr:`). Addresses of
the page are put for those of the test, and back again in what is printed. Shell variables live from block to block,
and so do Python's names.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

DEADLINE_SECONDS = 20.0
KEPT_VARIABLES = ("LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")
SERVER = "http://127.0.0.1:8000"
"""Where the server is, on every page."""

_PIECE = re.compile(r"<!--(?P<comment>.*?)-->|^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)

# Reads pieces of Python as JSON, one a line, runs them under one roof, and says after each that it is done.
_PYTHON = """
import json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    exec(compile(json.loads(line), "<example>", "exec"), names)
    print("\\0", flush=True)
"""


@dataclass
class Example:
    """One block of code of a page."""

    language: str
    text: str
    doing: str | None
    """What its comment says; `None`: it has none."""
    line: int
    prints: list[tuple[str, str]] = field(default_factory=list)
    """What it shall print: `stdout` or `stderr`, and the text."""


def examples(page: str) -> list[Example]:
    """The blocks of code of a page, in order."""
    found: list[Example] = []
    doing: str | None = None
    for piece in _PIECE.finditer(page):
        comment = piece["comment"]
        if comment is None:
            line = page.count("\n", 0, piece.start()) + 1
            if doing == "prints":
                found[-1].prints.append(("stdout", piece["text"]))
            else:
                found.append(Example(piece["language"], piece["text"], doing, line))
            doing = None
        elif comment.startswith(" example: "):
            doing = comment.removeprefix(" example: ").strip()
        elif comment.startswith(" prints"):
            where, _, text = comment.partition(":\n")
            found[-1].prints.append(("stderr" if where.endswith("stderr") else "stdout", text))
    return found


class Follower:
    """Follows a page in a folder of its own, with an empty home and the `headrace` of this environment.

    Args:
        folder: the working directory, and the home.
        addresses: addresses of the page, and those of the test in their place.
        variables: what is set before the page begins.
    """

    def __init__(self, folder: Path, addresses: Mapping[str, str], variables: Mapping[str, str]) -> None:
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self._folder = folder
        self._addresses = dict(addresses)
        # Nothing listens on port 1, so that no page finds the Ollama of the machine it is followed on.
        quiet = {"OLLAMA_HOST": "127.0.0.1:1", "PYTHONWARNINGS": "error"}
        self._variables = {**kept, "PATH": path, "HOME": str(folder), **quiet, **variables}
        self._server: subprocess.Popen[bytes] | None = None
        self._python: subprocess.Popen[str] | None = None

    def follow(self, example: Example) -> None:
        """Does what the example's comment says, and compares what it prints."""
        match (example.doing or "").split(maxsplit=1):
            case ["file", name]:
                (self._folder / name).write_text(self._here(example.text), encoding="utf-8")
            case ["serve"]:
                self.serve(example.text)
            case ["run"]:
                said = self._run_python(example.text) if example.language == "python" else self.run(example.text)
                assert example.prints, f"line {example.line}: what does it print?"
                for where, expected in example.prints:
                    assert_prints(self._there(said[where]), expected, example.line)
            case ["fails", status]:
                said = self.run(example.text, int(status))
                ((_, expected),) = example.prints
                assert_prints(self._there(said["stderr"]), expected, example.line)
            case ["not", why]:
                assert why.startswith("run: ")
            case _:
                raise AssertionError(f"line {example.line}: nothing says what to do with this block")

    def serve(self, commands: str) -> str:
        """Starts a server, after whatever the commands before it do, and stops an earlier one; gives its address."""
        self._stop()
        ready = self._folder / "ready.json"
        ready.unlink(missing_ok=True)
        commands = self._here(commands).replace("make run", "headrace serve")
        script = re.sub(r"^headrace serve.*", rf"exec \g<0> --port 0 --ready-file {ready.name}", commands, flags=re.M)
        with (self._folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                ["bash", "-euc", script],
                cwd=self._folder,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not ready.exists():
            assert self._server.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server never became ready"
            time.sleep(0.005)  # what is waited for is the file; this only spares the processor the server needs
        url = str(json.loads(ready.read_bytes())["url"])
        self._addresses[SERVER] = self._variables["HEADRACE_URL"] = url
        self._addresses[SERVER.replace("http", "ws", 1)] = url.replace("http", "ws", 1)
        return url

    def run(self, commands: str, status: int = 0) -> dict[str, str]:
        """Runs commands of a shell that end with `status`; gives what they write to `stdout` and `stderr`."""
        kept = self._folder / "variables"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"set -a; trap 'env -0 > {kept.name}' EXIT\n{self._here(commands)}"],
            cwd=self._folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == status, (commands, done.stdout, done.stderr)
        for pair in filter(None, kept.read_text(encoding="utf-8").split("\0")):
            name, _, value = pair.partition("=")
            self._variables[name] = value
        return {"stdout": done.stdout, "stderr": done.stderr}

    def close(self) -> None:
        """Ends what was started."""
        if self._python is not None:
            self._python.communicate(timeout=DEADLINE_SECONDS)
        self._stop()

    def _here(self, text: str) -> str:
        for address, other in self._addresses.items():
            text = text.replace(address, other)
        # A checkout's own command, and an address that shows itself to nobody but this machine.
        return text.replace(".venv/bin/headrace", "headrace").replace("--host 0.0.0.0 --auth", "--auth")

    def _there(self, text: str) -> str:
        for address, other in self._addresses.items():
            text = text.replace(other, address)
        return text

    def _stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(DEADLINE_SECONDS)
            finally:
                self._server.kill()
                self._server.wait()
                self._server = None

    def _run_python(self, text: str) -> dict[str, str]:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _PYTHON],
                cwd=self._folder,
                env=self._variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(self._here(text)) + "\n")
        self._python.stdin.flush()
        said = ""
        for line in self._python.stdout:
            said += line
            if said.endswith("\0\n"):
                return {"stdout": said.removesuffix("\0\n"), "stderr": ""}
        raise AssertionError("an example in Python failed; stderr holds its traceback")


@contextmanager
def following(folder: Path, addresses: Mapping[str, str], variables: Mapping[str, str]) -> Iterator[Follower]:
    """A follower, whose processes end with the block."""
    follower = Follower(folder, addresses, variables)
    try:
        yield follower
    finally:
        follower.close()


def assert_prints(said: str, expected: str, line: int) -> None:
    """Returns where `said` is what was expected, … being anything; white space at the ends counts for nothing."""
    pattern = ".*?".join(map(re.escape, expected.strip().split("…")))
    assert re.fullmatch(pattern, said.strip(), re.DOTALL), f"line {line}: printed\n{said}\nexpected\n{expected}"
