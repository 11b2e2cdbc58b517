"""A stream that has ended, read from the file it is kept in, a piece at a time.

Imports the vocabulary, the interfaces, and its neighbours.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from headrace.errors import UnknownStream
from headrace.events import Ended, Event
from headrace.interfaces import Batch
from headrace.requests import GenerationRequest
from headrace.streams import records
from headrace.streams.database import Database, Row
from headrace.streams.memory import READ_LIMIT
from headrace.streams.records import Chunk


class StoredStream:
    """The record of a generation that has ended. Nothing is appended to it any more."""

    __slots__ = ("__weakref__", "_chunk", "_database", "_first", "_last", "_request", "_row", "_wakes", "ended")

    def __init__(self, row: Row, database: Database) -> None:
        self._row = row
        self._database = database
        self._first = records.decode_tail(row.first)
        self._last = records.decode_tail(row.last)
        last = self._last[-1]
        assert isinstance(last, Ended)
        self.ended: Ended | None = last
        self._request: GenerationRequest | None = None
        self._chunk: tuple[int, Chunk] | None = None
        self._wakes: list[Callable[[], None]] = []

    @property
    def number(self) -> int:
        """The store's own number of it."""
        return self._row.number

    @property
    def id(self) -> str:
        """As it was."""
        return self._row.id

    @property
    def owner(self) -> str:
        """As it was."""
        return self._row.owner

    @property
    def request(self) -> GenerationRequest:
        """What was asked."""
        if self._request is None:
            self._request = records.decode_request(self._row.request)
        return self._request

    @property
    def length(self) -> int:
        """How many events it has."""
        return self._row.length

    @property
    def readers(self) -> int:
        """How many readers are attached now."""
        return len(self._wakes)

    def append(self, batch: Batch) -> None:
        """Raises `ValueError`: it has ended."""
        raise ValueError(f"stream {self.id} has ended: nothing may follow")

    @property
    def horizon(self) -> int:
        """All of it is there."""
        return 0

    @property
    def beginning(self) -> Sequence[Event]:
        """Nothing stands for anything."""
        return ()

    def appended(self) -> Sequence[Event]:
        """The same as `said`."""
        return self.said()

    def said(self) -> Sequence[Event]:
        """All its events."""
        events: list[Event] = []
        while piece := self.read(len(events)):
            events.extend(piece)
        return events

    def read(self, offset: int, limit: int = READ_LIMIT) -> Sequence[Event]:
        """The events from `offset` on, as many of them as lie together, at most `limit`."""
        length = self._row.length
        if offset >= length:
            return ()
        if offset >= length - len(self._last):
            return self._last[offset - length :][:limit]
        if offset == 0 and limit == 1:
            return self._first
        first, chunk = self._chunk_at(offset)
        return chunk.events[offset - first : offset - first + limit]

    def times(self, offset: int, limit: int = READ_LIMIT) -> Sequence[int]:
        """When the events that `read` gives came."""
        if offset >= self._row.length:
            return ()
        most = len(self.read(offset, limit))
        first, chunk = self._chunk_at(offset)
        times = chunk.times[offset - first :][:most]
        if len(times) < most:
            times = [*times, *self.times(offset + len(times), most - len(times))]
        return times

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds a reader, who is never woken: everything is there."""
        self._wakes.append(wake)

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes a reader away."""
        if wake in self._wakes:
            self._wakes.remove(wake)

    async def follow(self, after: int = -1) -> AsyncGenerator[tuple[int, Sequence[Event]], None]:
        """The events after `after`."""
        offset = after + 1

        def wake() -> None:
            pass

        self.attach(wake)
        try:
            while events := self.read(offset):
                yield offset, events
                offset += len(events)
        finally:
            self.detach(wake)

    def hold(self) -> None:
        """Takes all of it into memory: it is about to go from the file, and its readers read it to its end."""
        times: list[int] = []
        events: list[Event] = []
        while len(events) < self._row.length:
            first, chunk = self._chunk_at(len(events))
            times += chunk.times[len(events) - first :]
            events += chunk.events[len(events) - first :]
        self._chunk = (0, Chunk(times, events))

    def _chunk_at(self, offset: int) -> tuple[int, Chunk]:
        if self._chunk is not None:
            first, chunk = self._chunk
            if first <= offset < first + len(chunk.events):
                return first, chunk
        found = self._database.chunk(self._row.number, offset)
        if found is None:
            raise UnknownStream(f"stream {self.id!r} was deleted")
        self._chunk = (found[0], records.decode_chunk(found[1]))
        return self._chunk
