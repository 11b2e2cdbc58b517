"""How long an upstream's models take until their first word: what a second attempt waits for (`headrace.runs.hedge`).

The times of the latest answers of each model, streamed and whole apart: the first word of a whole answer is all of it.
An attempt that was left before it spoke counts with the time it had: else only the quick ones would be remembered,
and every second attempt would come sooner than the one before it.
"""

from __future__ import annotations

from collections import deque

LEAST_ANSWERS = 20
"""With fewer there is no nineteenth of twenty."""
REMEMBERED_ANSWERS = 100
MOST_MODELS = 1000


class FirstTokens:
    """Those of all models of one upstream."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, bool], deque[int]] = {}

    def learn(self, model: str, *, streamed: bool, nanoseconds: int) -> None:
        """Takes in how long one answer took to begin."""
        times = self._times.get((model, streamed))
        if times is None:
            if len(self._times) >= MOST_MODELS:
                del self._times[next(iter(self._times))]
            times = self._times[model, streamed] = deque(maxlen=REMEMBERED_ANSWERS)
        times.append(nanoseconds)

    def slowest_of_twenty(self, model: str, *, streamed: bool) -> float | None:
        """The 95th percentile of the latest answers, in seconds; `None`: too few are known."""
        times = self._times.get((model, streamed), ())
        if len(times) < LEAST_ANSWERS:
            return None
        return sorted(times)[(len(times) * 19 + 19) // 20 - 1] / 1e9
