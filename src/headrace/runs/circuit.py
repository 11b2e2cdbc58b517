"""A circuit for each upstream: one that fails again and again is left alone for a while, and then tried out by one run.

    state       who asks it                        after a success   after a failure
    ─────────   ────────────────────────────────   ───────────────   ──────────────────────────────────────
    closed      everybody                          closed            open, where it was the fifth in a row
    open        nobody who may ask another         closed            open as long as before
    half-open   one, who tries it out; the rest    closed            open, twice as long as the time before
                as while it is open

An open circuit becomes half-open by time alone. It is no wall: where every upstream of a model cools off, the first of
them is asked all the same, since an upstream that has been down is a better answer than none.

The figures are those of Envoy's outlier detection: five failures in a row, 30 s, up to 300 s. Pure: a value that never
changes, functions that give the next one; time comes in as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

FAILURES_IN_A_ROW = 5
COOLING_OFF_SECONDS = 30.0
LONGEST_COOLING_OFF_SECONDS = 300.0

CircuitState: TypeAlias = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Circuit:
    """How an upstream has done lately."""

    failures: int = 0
    """How many attempts failed since the last one that did not."""
    openings: int = 0
    """How many times it opened since the last success."""
    open_until_ns: int | None = None
    """Until when it is left alone, on the monotonic clock; `None`: it is closed."""
    on_trial: bool = False
    """Whether somebody is trying it out."""

    def state(self, now_ns: int) -> CircuitState:
        """Its state at this time."""
        if self.open_until_ns is None:
            return "closed"
        return "open" if now_ns < self.open_until_ns else "half_open"

    def admits(self, now_ns: int) -> bool:
        """Whether one more attempt belongs here, where it could as well be made elsewhere."""
        state = self.state(now_ns)
        return state == "closed" or (state == "half_open" and not self.on_trial)

    def seconds_left(self, now_ns: int) -> float:
        """How long it is still left alone."""
        return 0.0 if self.open_until_ns is None else max(0.0, (self.open_until_ns - now_ns) / 1e9)

    def tried(self, now_ns: int) -> Circuit:
        """After an attempt began: where it is half-open, that is the trial."""
        return replace(self, on_trial=True) if self.state(now_ns) == "half_open" else self

    def let_go(self) -> Circuit:
        """After the trial ended without telling anything, as one does whose reader left."""
        return replace(self, on_trial=False)

    def succeeded(self) -> Circuit:
        """After an attempt did well."""
        return CLOSED

    def failed(self, now_ns: int, *, trial: bool) -> Circuit:
        """After an attempt failed by the upstream's fault; `trial`: it was the one that tried it out."""
        failures = self.failures + 1
        opens = trial or (self.open_until_ns is None and failures >= FAILURES_IN_A_ROW)
        if not opens:
            return replace(self, failures=failures)
        seconds = min(LONGEST_COOLING_OFF_SECONDS, COOLING_OFF_SECONDS * 2 ** min(self.openings, 10))
        return Circuit(failures, self.openings + 1, now_ns + int(seconds * 1e9))


CLOSED = Circuit()
