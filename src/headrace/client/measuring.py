"""How quickly an answer came, as its reader saw it (row I5).

Pure: every moment is given. What the server measured of the upstream is in the answer's own timing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from headrace.events import CONTENT, Event, UsageKnown

WINDOW = 100
"""How many gaps the mean is taken over: the last seconds of an answer, not its whole past."""

SHORTEST_NS = 10_000_000
"""A rate over less than 10 ms says more about the machine's clock than about anything that was generated."""


class Stats(msgspec.Struct, frozen=True):
    """The figures of one reading, so far or at its end. Deltas are pieces of text, reasoning or tool calls."""

    total_seconds: float
    """From asking to the last event, or to now."""
    time_to_first_token_seconds: float | None
    """From asking to the first delta; `None`: none has come."""
    mean_gap_seconds: float | None
    """Between two deltas, over the last 100 gaps; several deltas in one read have none between them."""
    deltas: int
    """How many came."""
    tokens: int | None
    """The tokens of the answer as its usage says them; `None` before that is known."""
    tokens_per_second: float | None
    """From the first delta to the last; `None` where the tokens are not known or came at once."""
    resumed: int
    """How often the connection broke and was taken up again."""


class Measuring:
    """Takes the moments of one reading. All times are nanoseconds on the monotonic clock.

    Args:
        now_ns: when it was asked for.
    """

    def __init__(self, now_ns: int) -> None:
        self.resumed = 0
        self._asked_ns = now_ns
        self._ended_ns: int | None = None
        self._first_ns: int | None = None
        self._last_ns = now_ns
        self._gaps: deque[int] = deque(maxlen=WINDOW)
        self._deltas = 0
        self._tokens: int | None = None

    def feed(self, events: Iterable[Event], now_ns: int) -> None:
        """Takes what came at that moment."""
        for event in events:
            if isinstance(event, CONTENT):
                if self._first_ns is None:
                    self._first_ns = now_ns
                else:
                    self._gaps.append(now_ns - self._last_ns)
                self._last_ns = now_ns
                self._deltas += 1
            elif isinstance(event, UsageKnown):
                self._tokens = event.usage.completion_tokens

    def finish(self, now_ns: int) -> None:
        """Nothing more comes."""
        self._ended_ns = now_ns

    def stats(self, now_ns: int) -> Stats:
        """The figures at that moment, or at the end where that was before."""
        ended_ns = now_ns if self._ended_ns is None else self._ended_ns
        first_ns, tokens = self._first_ns, self._tokens
        speaking_ns = 0 if first_ns is None else self._last_ns - first_ns
        rate = None
        if tokens is not None and tokens > 1 and speaking_ns >= SHORTEST_NS:
            rate = (tokens - 1) / speaking_ns * 1e9
        return Stats(
            total_seconds=(ended_ns - self._asked_ns) / 1e9,
            time_to_first_token_seconds=None if first_ns is None else (first_ns - self._asked_ns) / 1e9,
            mean_gap_seconds=sum(self._gaps) / len(self._gaps) / 1e9 if self._gaps else None,
            deltas=self._deltas,
            tokens=tokens,
            tokens_per_second=rate,
            resumed=self.resumed,
        )
