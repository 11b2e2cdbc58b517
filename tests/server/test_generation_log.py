"""A generation as a log: what a view of it reads, and how much of the stream it looks at for that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headrace.events import Ended, Event, Started, TextDelta, UsageKnown
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.server.generation_log import GenerationLog
from headrace.streams.memory import MemoryStream
from headrace.testing.clock import ManualClock
from headrace.usage import Usage

USAGE = UsageKnown(Usage(3, 9, "reported", "reported", "lab"))
SAID: list[Event] = [Started("s", "m", 0), *(TextDelta(f" {number}") for number in range(500)), USAGE, Ended("stop")]


class Watched(MemoryStream):
    """A stream that remembers from where it was read."""

    looked_at: list[int]

    def read(self, offset: int, limit: int = 256) -> Sequence[Event]:
        self.looked_at.append(offset)
        return super().read(offset, limit)


@pytest.fixture
def stream() -> Watched:
    request = GenerationRequest("m", ())
    watched = Watched("s", "me", request, ManualClock(), lambda stream: None)
    watched.looked_at = []
    return watched


def test_polling_looks_at_what_is_new_alone_and_the_ending_at_all_of_it(stream: Watched) -> None:
    options = ReaderOptions()
    whole: list[bytes] = []
    position = 0
    for event in SAID:
        stream.append([event])
        stream.looked_at.clear()
        messages, position = GenerationLog(stream, options).read(position, 1 << 16)  # a view of its own for each poll
        whole += messages
        if type(event) is not Ended:
            assert min(stream.looked_at) == position - 1
    assert position == len(SAID)
    again: list[bytes] = []
    view, position = GenerationLog(stream, options), 0
    while position < len(SAID):
        messages, position = view.read(position, 1000)
        again += messages
    assert whole == again
    assert b" 498 499" in whole[-1], "the ending repeats all that was said"


def test_a_view_that_reads_on_needs_to_look_back_at_nothing(stream: Watched) -> None:
    view = GenerationLog(stream, ReaderOptions())
    position = 0
    for event in SAID:
        stream.append([event])
        stream.looked_at.clear()
        _, position = view.read(position, 1 << 16)
        assert min(stream.looked_at) == position - 1
