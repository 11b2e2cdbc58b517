"""How long a person waits for the `headrace` command, and how much memory the server takes.

The budgets are absolute. Whatever else a machine is doing only ever adds to a time, so a median of five that is over
budget is taken again, twice at most: a program that is really too slow fails all three.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median

VERSION_SECONDS = 0.150
READY_SECONDS = 1.0
RESIDENT_BYTES = 120_000_000

ROUNDS = 5
ATTEMPTS = 3
DEADLINE_SECONDS = 20.0

HEADRACE = str(Path(sys.executable).with_name("headrace"))


def clean_environment(home: Path) -> dict[str, str]:
    """A stranger's: an empty home, no key, no setting, and bytecode written as Python does by default."""
    kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": str(home)}


def best_median(measure: Callable[[], float], budget: float) -> float:
    """The lowest median of five, measured again only while it is over budget."""
    best = float("inf")
    for _ in range(ATTEMPTS):
        best = min(best, median(measure() for _ in range(ROUNDS)))
        if best <= budget:
            break
    return best


@contextmanager
def serving(home: Path) -> Iterator[tuple[float, str, int]]:
    """A server in a process of its own: seconds until ready, its address, its process id."""
    home.mkdir()
    ready = home / "ready.json"
    started = time.perf_counter()
    process = subprocess.Popen(
        [HEADRACE, "serve", "--port", "0", "--ready-file", str(ready)],
        cwd=home,
        env=clean_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        while not (ready.exists() and (text := ready.read_text(encoding="utf-8")).endswith(("}", "}\n"))):
            assert process.poll() is None, "the server ended before it was ready"
            assert time.perf_counter() - started < DEADLINE_SECONDS, "the server never became ready"
            time.sleep(0.002)  # what is waited for is the file; this only spares the processor the server needs
        seconds = time.perf_counter() - started
        told = json.loads(text)
        yield seconds, told["url"], told["pid"]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def resident_bytes(pid: int) -> int:
    """What the process holds in memory now."""
    answer = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True)
    return int(answer.stdout) * 1024


def test_the_version_is_told_within_its_budget(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path)

    def measure() -> float:
        started = time.perf_counter()
        subprocess.run([HEADRACE, "--version"], env=environment, check=True, capture_output=True)
        return time.perf_counter() - started

    measure()  # the first one ever may have to write bytecode
    assert best_median(measure, VERSION_SECONDS) <= VERSION_SECONDS


def test_a_first_start_is_ready_within_its_budget(tmp_path: Path) -> None:
    homes = (tmp_path / f"home-{number}" for number in count())

    def measure() -> float:
        # Each start is a first one: a new home, so the documents are indexed and the store is made.
        with serving(next(homes)) as (seconds, _, _):
            return seconds

    measure()  # the first one ever may have to write bytecode
    assert best_median(measure, READY_SECONDS) <= READY_SECONDS


def test_a_server_that_has_answered_stays_within_its_memory_budget(tmp_path: Path) -> None:
    question = {"model": "offline", "stream": True, "messages": [{"role": "user", "content": "What is an offset?"}]}
    with serving(tmp_path / "home") as (_, url, pid):
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
            assert response.read().endswith(b"data: [DONE]\n\n")
        assert 1_000_000 < resident_bytes(pid) < RESIDENT_BYTES
