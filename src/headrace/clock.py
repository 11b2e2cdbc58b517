"""The one place where time is read. Everything else is given a clock, so that tests can turn one by hand.

Vocabulary: imports nothing of headrace.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never goes back; its zero means nothing."""
        ...

    def unix_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    monotonic_ns = staticmethod(time.monotonic_ns)
    unix_ns = staticmethod(time.time_ns)


def utc_timestamp(unix_ns: int) -> str:
    """ISO 8601 in UTC with milliseconds, as `2026-11-20T10:00:00.000Z`."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1_000_000:03d}Z"
