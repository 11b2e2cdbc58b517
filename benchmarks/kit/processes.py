"""Processes on a core of their own, and what the kernel says they used.

A gateway is every process of the session it was started in, so that workers count however they were forked.
Source: proc(5); /proc/PID/task/TID/schedstat is described in the kernel's Documentation/scheduler/sched-stats.rst.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def born_on(core: int) -> Iterator[None]:
    """Processes started inside may run on this core only, and so may their children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start(
    command: Sequence[str], *, core: int, folder: Path, environment: Mapping[str, str], output: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    """A process in a session of its own, pinned to a core. Its pid is the session's number."""
    with born_on(core):
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def members(session: int) -> list[int]:
    """The pids of all processes in a session."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError):  # it ended while we looked
            # The name in parentheses may hold anything: fields are counted from behind it. The session is the fourth.
            fields = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                found.append(int(entry))
    return found


def on_cpu_seconds(session: int) -> float:
    """Time that the session's threads have spent on a core, in the kernel on their behalf included."""
    nanoseconds = 0
    for pid in members(session):
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with suppress(OSError):
                    nanoseconds += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def proportional_kib(session: int) -> int:
    """Memory of the session in KiB, with shared pages divided among those who share them (Pss)."""
    total = 0
    for pid in members(session):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a session: asked first, then made to."""
    for number, patience_seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        for pid in members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
        if process.poll() is not None and not members(process.pid):
            return
