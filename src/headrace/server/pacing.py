"""A recorded stream at its own speed: each event is shown so long after the first as it came after it (L39).

The pace is this reader's alone: a run never waits, and no other reader does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headrace.events import Ended, Event
from headrace.interfaces import Stream


class PacedStream:
    """What one delivery reads of a stream, at the stream's recorded times.

    Args:
        stream: what is read.
        start: the first event that is shown at its time; earlier ones can be read at once, to be folded.
        loop: whose clock is followed.
    """

    __slots__ = ("_base_ns", "_began_seconds", "_loop", "_start", "_stream", "_timer", "_wake")

    def __init__(self, stream: Stream, start: int, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._start = start
        self._loop = loop
        self._base_ns: int | None = None
        self._began_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._wake: Callable[[], None] | None = None

    @property
    def id(self) -> str:
        """The stream's."""
        return self._stream.id

    @property
    def length(self) -> int:
        """How many events the stream has, shown already or not."""
        return self._stream.length

    @property
    def ended(self) -> Ended | None:
        """The stream's last event."""
        return self._stream.ended

    @property
    def horizon(self) -> int:
        """The stream's."""
        return self._stream.horizon

    @property
    def beginning(self) -> Sequence[Event]:
        """The stream's."""
        return self._stream.beginning

    def read(self, offset: int, limit: int) -> Sequence[Event]:
        """The events from `offset` on whose time has come; where there are none, the reader is woken when it comes."""
        if offset < self._start:
            return self._stream.read(offset, min(limit, self._start - offset))
        times = self._stream.times(offset, limit)
        if not times:
            return ()
        now = self._loop.time()
        if self._base_ns is None:
            self._base_ns, self._began_seconds = times[0], now
        shown_ns = self._base_ns + (now - self._began_seconds) * 1e9
        due = sum(time_ns <= shown_ns for time_ns in times)
        if due:
            return self._stream.read(offset, due)
        if self._timer is None:
            # A millisecond more: a timer may go off a little early, and would only be set again.
            when = self._began_seconds + (times[0] - self._base_ns) / 1e9 + 0.001
            self._timer = self._loop.call_at(when, self._time_has_come)
        return ()

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds the reader."""
        self._wake = wake
        self._stream.attach(wake)

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes it away; it is not woken any more."""
        self._stream.detach(wake)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_has_come(self) -> None:
        self._timer = None
        if self._wake is not None:
            self._wake()
