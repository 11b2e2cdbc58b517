"""After a restart: streams that were going on when the process before this one ended are ended honestly.

No stream without a run stays open: each gets its usage, where none is known, and the ending `interrupted` (L7). Those
that somebody can go on with are taken up by a run instead (`Runs.take_up`).
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.events import Ended, Event, UsageKnown
from headrace.interfaces import Stream
from headrace.runs.accounting import estimated_usage, usage_told
from headrace.runs.notices import INTERRUPTED
from headrace.timing import Timing


def end_interrupted(streams: Iterable[Stream]) -> None:
    """Ends streams that nothing runs any more."""
    for stream in streams:
        events = stream.appended()
        times = stream.times(max(0, len(events) - 1))
        ended = Ended("interrupted", INTERRUPTED, Timing(total_ns=times[-1] if times else 0))
        last: list[Event] = [ended]
        if usage_told(events, whole=False) is None:
            # Whether its upstream was asked already is not known: where it was not, the estimate is too high.
            last.insert(0, UsageKnown(estimated_usage(stream.request, events)))
        stream.append(last)
