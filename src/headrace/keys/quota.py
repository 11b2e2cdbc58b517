"""How many requests a minute: a moving window, counted by the `limits` library.

`limits` is imported where the first quota is made: it takes 80 ms, which nobody pays who limits nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from headrace.clock import Clock
from headrace.errors import RateLimited

MINUTE_SECONDS = 60


class Standing(NamedTuple):
    """What is left of a quota."""

    limit: int
    remaining: int
    reset_unix_seconds: int
    """When more of it may be used: the oldest request that counts is a window old then."""


class RequestQuota:
    """The requests of one key.

    Args:
        limit: how many there may be in any window.
        clock: only for how long is left; the window itself is `limits`' own, on the machine's clock.
        seconds: the length of the window.
    """

    __slots__ = ("_clock", "_item", "_limit", "_window")

    def __init__(self, limit: int, clock: Clock, *, seconds: int = MINUTE_SECONDS) -> None:
        from limits import RateLimitItemPerSecond
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._limit = limit
        self._clock = clock
        self._item = RateLimitItemPerSecond(limit, seconds)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def take(self) -> Standing:
        """Counts one request, and gives what is left.

        Raises:
            RateLimited: nothing was left; the request does not count.
        """
        taken = self._window.hit(self._item)
        reset, remaining = self._window.get_window_stats(self._item)
        standing = Standing(self._limit, remaining, math.ceil(reset))
        if not taken:
            left = max(0.001, reset - self._clock.unix_ns() / 1e9)
            raise RateLimited(
                f"this key may send {self._limit} requests a minute (requests_per_minute); try again in"
                f" {math.ceil(left)} s",
                limit=self._limit,
                reset_unix_seconds=standing.reset_unix_seconds,
                retry_after_seconds=math.ceil(left),
            )
        return standing
