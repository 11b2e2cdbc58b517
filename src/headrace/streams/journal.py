"""The write-ahead journal: what streams append is shown to their readers once it is written down.

    append ──▶ waiting ──group──▶ writer thread: one row ──▶ acknowledged ──▶ shown
                  ▲ what arrives meanwhile waits, and is the next group

One group is under way at a time. An idle server writes each batch at once; a busy one gathers whatever many streams
append during a write, and for a millisecond more where that made a large group, so that the cost of a write is shared.
All decisions are made on the event loop; the thread only does what it is told.

Between groups the streams are written down by themselves, a slice at a time, and the journal behind them is dropped:
`headrace.streams.database` tells the two apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from headrace.errors import StoreError
from headrace.events import Failure
from headrace.interfaces import Batch
from headrace.streams import records
from headrace.streams.checkpoints import Checkpoints
from headrace.streams.database import Database, Piece, Row
from headrace.streams.records import Appended, Created, Deleted, Entry
from headrace.streams.writer import Writer

logger = logging.getLogger("headrace.streams")

Result = TypeVar("Result")

GATHER_SECONDS = 0.001
# A group of so many entries is one of a busy server: the next waits a millisecond for company.
BUSY_ENTRIES = 4
# What the journal may hold before the streams in it are written down by themselves. It is read whole at a start.
JOURNAL_BYTES = 8 << 20
# How much of that is done between two groups: about two milliseconds' work.
SLICE_EVENTS = 2000
SLICE_GROUPS = 100
SLICE_DELETIONS = 100
# After a write that failed, compaction rests: the disk is full, most likely, and it would only fail again.
REST_SECONDS = 5.0


class Journaled(Protocol):
    """What the journal has to know of a stream."""

    number: int
    deleted: bool

    @property
    def length(self) -> int:
        """How many of its events readers may have."""

    def show(self, length: int) -> None:
        """Its events before offset `length` are written down: readers may have them."""

    def break_off(self, failure: Failure) -> None:
        """What it appended last cannot be written down: it ends here, with this failure."""

    def not_stored(self) -> int:
        """How many of its events are in the journal alone."""

    def is_stored(self) -> bool:
        """Whether all of it is in the file, the ending too."""

    def written_down(self, most: int) -> tuple[Row, list[Piece]]:
        """Itself as a row, with the next of its shown events that are not in the file yet, at most so many."""

    def stored(self, length: int) -> None:
        """Its events before offset `length` are in the file by themselves."""


class Journal:
    """Keeps what is appended to streams in a database. To be made on the event loop.

    Args:
        database: for writing; closed by `close`.
        copying: a connection of its own to the same file, for checkpoints; closed by `close` too.
        journal_bytes: how much the journal may hold before it is shortened.
    """

    def __init__(self, database: Database, copying: Database, *, journal_bytes: int = JOURNAL_BYTES) -> None:
        self.failure: str | None = None
        """Why nothing can be kept at present; `None` while all is well."""
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._writer = Writer("headrace journal")
        self._checkpoints = Checkpoints(copying, database)
        self._most_bytes = journal_bytes
        self._entries: list[Entry] = []
        self._waiting: dict[Journaled, int] = {}
        # Whether a job is under way, or about to be.
        self._busy = False
        self._bytes = 0
        # The number of the last group that was put, and of the last that was written down.
        self._group = 0
        self._last_group = 0
        self._last_seen_group = 0
        # Streams with events that are in the journal alone.
        self._unstored: dict[Journaled, int] = {}
        # Those that a compaction has still to write down, each up to an offset.
        self._compaction: deque[tuple[Journaled, int]] | None = None
        self._compacted_through = 0
        self._rests_until = 0.0
        self._slices_turn = False
        # Deleted streams: those that the next group tells of; those it told of, still in the file; and those of a write
        # that failed, which are told again when one did not.
        self._deleting: list[int] = []
        self._deletions: list[int] = []
        self._owed: list[int] = []
        self._gone: Callable[[Sequence[int]], None] | None = None
        self._idle: asyncio.Future[None] | None = None
        # Who wants to hear of the next group; there is one then, even if it is empty.
        self._told: list[asyncio.Future[None]] = []

    def create(self, stream: Journaled, entry: Created) -> None:
        """A stream begins. It is told `break_off` where that cannot be written down."""
        self._entries.append(entry)
        self._waiting[stream] = 0
        if not self._busy:
            self._go()

    def append(self, stream: Journaled, first: int, at_ns: int, batch: Batch) -> None:
        """Events are appended to a stream, the first at offset `first`; later it is told `show`, or `break_off`."""
        # The hot path: once for each batch.
        self._entries.append(Appended(stream.number, first, at_ns, batch))
        self._waiting[stream] = first + len(batch)
        if not self._busy:
            self._go()

    def delete(self, numbers: Sequence[int], gone: Callable[[Sequence[int]], None]) -> None:
        """Streams are forgotten; `gone` is told of those that are in the file no more."""
        self._deleting.extend(numbers)
        self._gone = gone
        if not self._busy:
            self._go()

    def forget(self, stream: Journaled) -> None:
        """Drops a stream that need not be written down any more."""
        self._unstored.pop(stream, None)

    def found(self, last_group: int, streams: Iterable[Journaled]) -> None:
        """The journal was there when it was opened: its last group, and the streams whose events it alone holds."""
        self._last_group = self._group = last_group
        self._unstored.update(dict.fromkeys(streams, 0))
        self.compact()

    def compact(self) -> None:
        """Begins to write the streams down by themselves, so that the journal can be dropped."""
        if self._compaction is None:
            self._compaction = deque((stream, stream.length) for stream in self._unstored)
            self._unstored = {}
            self._pay()
            self._compacted_through = self._last_group
            self._bytes = 0
            if not self._busy:
                self._go()

    def compact_if_quiet(self) -> None:
        """The same, where nothing was written since this was asked before."""
        something = self._unstored or self._owed or self._bytes
        if something and self._last_group == self._last_seen_group and self._loop.time() >= self._rests_until:
            self.compact()
        self._last_seen_group = self._last_group

    async def written(self) -> None:
        """Returns once everything done so far is written down.

        Raises:
            StoreError: the last of it could not be.
        """
        told = self._loop.create_future()
        self._told.append(told)
        if not self._busy:
            self._go()
        await told

    async def flush(self) -> None:
        """Returns once everything is written down or has failed, and nothing is left to do."""
        if self._busy:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await self._idle

    async def close(self) -> None:
        """Writes down what is left, drops the journal, and closes the database."""
        await self.flush()
        self._rests_until = 0.0
        self.compact()
        await self.flush()
        await self._writer.close()
        await self._checkpoints.close()
        self._database.close()

    # --- one job after another

    def _go(self) -> None:
        self._busy = True
        # What else is appended in this turn of the loop goes into the same group.
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        """Chooses the next job: groups come first, and compaction has every second turn."""
        if self._checkpoints.log_is_long:
            self._writer.put(self._database.checkpoint, self._log_copied)
        elif (self._entries or self._deleting or self._told) and not (
            self._slices_turn and (self._compaction is not None or self._deletions)
        ):
            self._slices_turn = True
            entries, self._entries = self._entries, []
            waiting, self._waiting = self._waiting, {}
            deleting: Sequence[int] = ()
            if self._deleting:
                deleting, self._deleting = self._deleting, []
                entries.extend(map(Deleted, deleting))
            # Never given twice, so that no group is taken for one of those that a compaction drops.
            self._group += 1
            group = self._group
            told, self._told = self._told, []

            def done(result: int | Exception) -> None:
                self._group_written(group, entries, waiting, deleting, result)
                for each in told:
                    _tell(each, result)

            self._write(lambda: self._write_group(group, entries), done)
        elif self._deletions:
            self._slices_turn = False
            numbers = self._deletions[:SLICE_DELETIONS]
            del self._deletions[:SLICE_DELETIONS]
            self._write(lambda: self._database.delete_streams(numbers), lambda result: self._deleted(numbers, result))
        elif self._compaction is not None:
            self._slices_turn = False
            self._compact_slice(self._compaction)
        else:
            self._busy = False
            if self._idle is not None:
                self._idle.set_result(None)
                self._idle = None

    def _write(self, job: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None:
        def written(result: Result | Exception) -> None:
            self._checkpoints.after_write()
            done(result)

        self._checkpoints.before_write()
        self._writer.put(job, written)

    def _log_copied(self, log_bytes: int | Exception) -> None:
        self._checkpoints.copied(log_bytes)
        self._next()

    def _write_group(self, group: int, entries: list[Entry]) -> int:
        data = records.encode(entries)
        self._database.write_group(group, data)
        return len(data)

    def _group_written(
        self,
        group: int,
        entries: list[Entry],
        waiting: dict[Journaled, int],
        deleting: Sequence[int],
        result: int | Exception,
    ) -> None:
        if isinstance(result, Exception):
            self._owed.extend(deleting)
            self._refuse(waiting, result)
            self._next()
            return
        self.failure = None
        self._last_group = group
        self._bytes += result
        if deleting:
            self._deletions.extend(deleting)
        if self._owed and self._loop.time() >= self._rests_until:
            self._pay()
        self._unstored.update(waiting)
        if len(entries) >= BUSY_ENTRIES and self._compaction is None:
            self._loop.call_later(GATHER_SECONDS, self._next)
        else:
            self._loop.call_soon(self._next)
        for stream, length in waiting.items():
            try:
                stream.show(length)
            except Exception:
                logger.exception("a reader of stream number %d failed", stream.number)
        # After readers were given this group: what they were not given is not written down.
        if self._bytes > self._most_bytes and self._compaction is None and self._loop.time() >= self._rests_until:
            self.compact()

    def _refuse(self, waiting: dict[Journaled, int], error: Exception) -> None:
        """What could not be written down is taken back: no reader has seen it, and none will."""
        self.failure = str(error)
        logger.error("streams cannot be kept (%s); those that were going on end here", error)
        failure = StoreError(
            f"the answer could not be kept ({error}), so it ends here; what was shown before stands"
        ).failure()
        broken = {**waiting, **self._waiting}
        numbers = {stream.number for stream in broken}
        self._entries = [each for each in self._entries if each.number not in numbers]
        self._waiting = {}
        for stream in broken:
            try:
                stream.break_off(failure)
            except Exception:
                logger.exception("ending stream number %d failed", stream.number)
            self._unstored[stream] = 0

    def _deleted(self, numbers: Sequence[int], result: Exception | None) -> None:
        if result is not None:
            # The journal, which tells of it, has to stay until they are gone; so have streams that took their ids.
            logger.error("deleted streams are still in the file (%s); that is tried again later", result)
            self._owed.extend(numbers)
            self._give_up_compaction(result)
        elif self._gone is not None:
            self._gone(numbers)
        self._next()

    # --- compaction

    def _compact_slice(self, streams: deque[tuple[Journaled, int]]) -> None:
        chosen: list[tuple[Journaled, int]] = []
        events = 0
        while streams and events < SLICE_EVENTS:
            stream, through = streams.popleft()
            if stream.deleted or stream.is_stored():
                continue  # the second may be left to the file by now, and deleted there without being told
            chosen.append((stream, through))
            events += min(stream.not_stored(), SLICE_EVENTS) + 50  # a row costs something too
        if chosen:
            self._write(lambda: self._write_streams(chosen), lambda result: self._stored(chosen, result))
        else:
            group = self._compacted_through
            self._write(lambda: self._database.drop_groups(group, SLICE_GROUPS), self._dropped)

    def _write_streams(self, streams: list[tuple[Journaled, int]]) -> list[int]:
        written = [stream.written_down(SLICE_EVENTS) for stream, _ in streams]
        rows = [row for row, _ in written]
        self._database.write_streams(rows, [piece for _, pieces in written for piece in pieces])
        return [row.length for row in rows]

    def _stored(self, streams: list[tuple[Journaled, int]], lengths: list[int] | Exception) -> None:
        if isinstance(lengths, Exception):
            self._unstored.update(dict.fromkeys((stream for stream, _ in streams), 0))
            self._give_up_compaction(lengths)
        else:
            for (stream, through), length in zip(streams, lengths, strict=True):
                stream.stored(length)
                if length < through and self._compaction is not None:
                    self._compaction.append((stream, through))
        self._next()

    def _dropped(self, more: bool | Exception) -> None:
        if isinstance(more, Exception):
            self._give_up_compaction(more)
        elif not more:
            self._compaction = None
        self._next()

    def _pay(self) -> None:
        """Has what is owed tried again."""
        self._deleting.extend(self._owed)
        self._owed = []

    def _give_up_compaction(self, error: Exception) -> None:
        """The journal stays as it is, so nothing is lost; it is tried again later."""
        logger.warning("the journal could not be shortened (%s); it is tried again later", error)
        if self._compaction is not None:
            self._unstored.update(dict.fromkeys((stream for stream, _ in self._compaction), 0))
        self._compaction = None
        self._bytes = self._most_bytes
        self._rests_until = self._loop.time() + REST_SECONDS


def _tell(told: asyncio.Future[None], result: object) -> None:
    if told.done():
        return  # who waited has left
    if isinstance(result, Exception):
        told.set_exception(StoreError(f"it is done, but could not be written down ({result}): it may not last"))
    else:
        told.set_result(None)
