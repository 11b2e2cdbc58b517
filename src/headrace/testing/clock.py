"""A clock turned by hand: what waits for a time in the code waits for one line in a test.

Imports nothing.
"""

from __future__ import annotations


class ManualClock:
    """A `headrace.clock.Clock` that stands still until it is told to go on.

    Args:
        unix_ns: the wall time it begins at, nanoseconds since 1970 UTC.
    """

    def __init__(self, unix_ns: int = 1_700_000_000_000_000_000) -> None:
        self._began_unix_ns = unix_ns
        self._passed_ns = 0

    def monotonic_ns(self) -> int:
        """The nanoseconds it was advanced by so far."""
        return self._passed_ns

    def unix_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return self._began_unix_ns + self._passed_ns

    def advance(self, seconds: float) -> None:
        """Turns it on.

        Raises:
            ValueError: backwards.
        """
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self._passed_ns += round(seconds * 1e9)
