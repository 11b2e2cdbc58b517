"""One stream over a journal: what is appended is shown to readers once it is written down.

Imports the vocabulary, the interfaces, and its neighbours.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from headrace.clock import Clock
from headrace.events import Ended, Event, Failure
from headrace.interfaces import Batch
from headrace.requests import GenerationRequest
from headrace.streams import records
from headrace.streams.database import Piece, Row
from headrace.streams.journal import Journal
from headrace.streams.memory import READ_LIMIT, MemoryStream
from headrace.streams.records import Created

# How many events a piece of the file holds: a reader of it has so many in memory.
CHUNK_EVENTS = 512


class JournaledStream(MemoryStream):
    """The record of one generation, in memory, of which readers see what the journal has acknowledged."""

    __slots__ = (
        "_at_once",
        "_broken",
        "_closed",
        "_journal",
        "_on_broken",
        "_shown",
        "_stored",
        "created_unix_ns",
        "deleted",
        "number",
    )

    def __init__(
        self,
        entry: Created,
        request: GenerationRequest,
        clock: Clock,
        on_ended: Callable[[MemoryStream], None],
        on_broken: Callable[[JournaledStream], None],
        journal: Journal,
        *,
        at_once: bool,
    ) -> None:
        super().__init__(entry.id, entry.owner, request, clock, on_ended)
        self._on_broken = on_broken
        self.number = entry.number
        self.deleted = False
        self.created_unix_ns = entry.created_ns
        """When it was created, nanoseconds since 1970 UTC."""
        self._journal = journal
        self._at_once = at_once
        self._shown = 0
        self._stored = 0
        # Whether its last event was appended, shown or not.
        self._closed = False
        self._broken = False

    @property
    def length(self) -> int:
        """The offset of the next event that may be read."""
        return self._shown

    def append(self, batch: Batch) -> None:
        """Numbers the events, and has them written down; readers are woken after that."""
        if self._closed:
            if self._broken:
                return  # its run has not heard of it yet
            raise ValueError(f"stream {self.id} has ended: nothing may follow")
        first = len(self._events)
        at_ns = self._clock.monotonic_ns() - self._created_ns
        self._events.extend(batch)
        if len(batch) == 1:
            self._times.append(at_ns)
        else:
            self._times += array("q", (at_ns,)) * len(batch)
        if type(batch[-1]) is Ended:
            self._closed = True
        self._journal.append(self, first, at_ns, batch)
        if self._at_once:
            self.show(len(self._events))

    def said(self) -> Sequence[Event]:
        """All its events that may be read."""
        return self._events[: self._shown]

    def appended(self) -> Sequence[Event]:
        """All its events, whether they may be read yet or not."""
        return self._events

    def read(self, offset: int, limit: int = READ_LIMIT) -> Sequence[Event]:
        """The events from `offset` on that may be read, at most `limit`."""
        end = offset + limit
        return self._events[offset : end if end < self._shown else self._shown]

    def times(self, offset: int, limit: int = READ_LIMIT) -> Sequence[int]:
        """When they came, in nanoseconds since the stream was created."""
        return self._times[offset : min(offset + limit, self._shown)]

    def show(self, length: int) -> None:
        """Its events before offset `length` may be read: wakes every reader once."""
        if length <= self._shown:
            return
        self._shown = length
        if self._closed and length == len(self._events):
            last = self._events[-1]
            assert type(last) is Ended
            self.ended = last
            self.ended_ns = self._clock.monotonic_ns()
            self._on_ended(self)
        wakes = self._wakes
        if len(wakes) == 1:
            wakes[0]()
        else:
            for wake in wakes.copy():
                wake()

    def break_off(self, failure: Failure) -> None:
        """It cannot be kept: what was not shown is taken back, and it ends here."""
        if self.ended is not None:
            return
        self._on_broken(self)
        del self._events[self._shown :]
        del self._times[self._shown :]
        self._events.append(Ended("error", failure))
        self._times.append(self._clock.monotonic_ns() - self._created_ns)
        self._closed = self._broken = True
        self.show(len(self._events))

    def restore(self, first: int, at_ns: int, events: Sequence[Event]) -> None:
        """Takes in what was written down of it before, whatever of that is new."""
        known = len(self._events)
        if first > known:
            return  # what came before it could not be written down, and ended the stream
        new = events[known - first :]
        self._events.extend(new)
        self._times += array("q", (at_ns,)) * len(new)

    def not_restored(self, length: int) -> bool:
        """Whether events before offset `length` are missing."""
        return len(self._events) < length

    def end(self) -> int:
        """The offset of the next event appended."""
        return len(self._events)

    @property
    def ended_unix_ns(self) -> int:
        """Wall time of its last event so far, nanoseconds since 1970 UTC."""
        return self.created_unix_ns + (self._times[-1] if self._times else 0)

    def restore_chunk(self, chunk: records.Chunk) -> None:
        """Takes in the next piece of it that is in the file."""
        self._events.extend(chunk.events)
        self._times.extend(chunk.times)
        self._stored = len(self._events)

    def restored(self) -> None:
        """Everything that is known of it was taken in. A new run, or an ending, goes on behind that."""
        if self._events and type(last := self._events[-1]) is Ended:
            self._closed = True
            self.ended = last
        self._shown = len(self._events)
        if self._times:
            # The clock of the process before meant nothing here: time goes on where it stopped.
            self._created_ns = self._clock.monotonic_ns() - self._times[-1]
        if self.ended is not None:
            self.ended_ns = self._clock.monotonic_ns()
            self._on_ended(self)

    # --- for the journal

    def not_stored(self) -> int:
        """How many of the events that may be read are in the journal alone."""
        return self._shown - self._stored

    def is_stored(self) -> bool:
        """Whether all of it is in the file, the ending too."""
        return self._closed and self._stored == len(self._events)

    def written_down(self, most: int) -> tuple[Row, list[Piece]]:
        """Itself as a row of the file, and the next pieces, of at most so many events. On the writer's thread."""
        stored = self._stored
        # Not what was appended and not acknowledged: that may be taken back. The event loop may append meanwhile.
        length = min(self._shown, stored + most)
        events = self._events
        ended_ns = None
        if length and type(events[length - 1]) is Ended:
            ended_ns = self.created_unix_ns + self._times[length - 1]
        row = Row(
            self.number,
            self.owner,
            self.id,
            self.request.conversation_id,
            None if self.request.idempotency is None else self.request.idempotency.key,
            self.created_unix_ns,
            ended_ns,
            length,
            bytes(records.encode_request(self.request)),
            records.encode(records.Tail(events[: min(1, length)])),
            records.encode(records.Tail(events[max(0, length - 2) : length])),
        )
        pieces = _pieces_of(self.number, stored, self._times[stored:length], events[stored:length])
        return row, pieces

    def stored(self, length: int) -> None:
        """Its events before offset `length` are in the file."""
        self._stored = length


def _pieces_of(number: int, first: int, times: Sequence[int], events: Batch) -> list[Piece]:
    """Events of a stream as pieces of the file, the first of them at offset `first`."""
    return [
        Piece(
            number,
            first + start,
            records.encode(
                records.Chunk(list(times[start : start + CHUNK_EVENTS]), list(events[start : start + CHUNK_EVENTS]))
            ),
        )
        for start in range(0, len(events), CHUNK_EVENTS)
    ]
