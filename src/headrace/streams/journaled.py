"""Streams that outlive their process: in memory while they go on, with a journal under them, then in a file.

A reader never sees an event that a crash could take back: what is appended is shown once the journal has it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from heapq import merge
from itertools import islice, takewhile
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec

from headrace.clock import Clock
from headrace.errors import SettingsError, StoreError, StoreInUse, StreamExists, UnknownStream
from headrace.interfaces import LIST_LIMIT, Stream, StreamState
from headrace.requests import GenerationRequest
from headrace.streams import records
from headrace.streams.conversations import Conversations
from headrace.streams.database import Database, Durability, Row
from headrace.streams.file_lock import FileLock
from headrace.streams.journal import JOURNAL_BYTES, Journal
from headrace.streams.journaled_stream import JournaledStream
from headrace.streams.memory import MemoryStream, about_bytes
from headrace.streams.records import Appended, Created, Deleted
from headrace.streams.stored import StoredStream

# How long what has ended stays in memory besides the file, and how much of it: it is read again soon, or not at all.
REMEMBERED_SECONDS = 10.0
REMEMBERED_BYTES = 64 << 20
# How many streams one look at the retention forgets: it is taken about once a second.
FORGOTTEN_AT_ONCE = 200


Answer = TypeVar("Answer")
Shelf = TypeVar("Shelf")


class JournaledStore:
    """Streams in memory with a journal under them. Open it with `open`.

    Ended streams are forgotten by age and, oldest first, by size; a stream that is going on never is.
    """

    def __init__(
        self,
        clock: Clock,
        path: Path,
        retention_seconds: float,
        *,
        durability: Durability = "process",
        retained_bytes: int = 10 << 30,
        remembered_bytes: int = REMEMBERED_BYTES,
        journal_bytes: int = JOURNAL_BYTES,
        conversations: Conversations | None = None,
    ) -> None:
        self.unfinished: Sequence[JournaledStream] = ()
        """The streams that had not ended when the process before this one did. Nothing runs them: end them."""
        self._clock = clock
        self._index = conversations
        self._retention_ns = int(retention_seconds * 1e9)
        self._retained_bytes = retained_bytes
        self._remembered_bytes = remembered_bytes
        self._at_once = durability == "memory"
        # Those in memory, by owner and id, in the order they were created.
        self._streams: dict[tuple[str, str], JournaledStream] = {}
        # The same by owner and number, in the order they were created: what a list is made of.
        self._owners: dict[str, dict[int, JournaledStream]] = {}
        self._conversations: dict[tuple[str, str], dict[int, JournaledStream]] = {}
        self._keys: dict[tuple[str, str], JournaledStream] = {}
        self._ended: OrderedDict[JournaledStream, int] = OrderedDict()
        self._ended_bytes = 0
        # Those of the file that somebody has open, so that their readers are counted together.
        self._opened: WeakValueDictionary[int, StoredStream] = WeakValueDictionary()
        # Deleted, but perhaps still in the file.
        self._deleted: set[int] = set()
        self._on_broken: Callable[[Stream], None] | None = None
        self._closing = asyncio.Lock()
        self._closed = False
        # One file under two names is one file, and has one lock.
        path = path.resolve()
        self._lock = _locked(path)
        try:
            writing = _opened(path, durability)
            self._reading = Database.open_for_reading(path)
            copying = Database.open_for_checkpoints(path)
            self._journal = Journal(writing, copying, journal_bytes=journal_bytes)
            self._number = 0
            self._restore(path)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            self._lock.close()
            raise SettingsError(f"{path} is damaged: it cannot be read ({error}). {_ELSEWHERE}") from error
        except BaseException:
            self._lock.close()
            raise

    async def close(self) -> None:
        """Writes down what is left, and gives the file free. Twice is the same as once."""
        async with self._closing:
            if not self._closed:
                self._closed = True
                await self._journal.close()
                self._reading.close()
                self._lock.close()

    async def written(self) -> None:
        """Returns once everything done so far is written down."""
        await self._journal.written()

    async def flush(self) -> None:
        """Returns once everything is written down and nothing is left to do."""
        await self._journal.flush()

    @property
    def failure(self) -> str | None:
        """Why nothing can be kept at present; `None` while all is well."""
        return self._journal.failure

    def create(self, stream_id: str, owner: str, request: GenerationRequest) -> JournaledStream:
        """A new, empty stream."""
        if (owner, stream_id) in self._streams or self._row(stream_id, owner) is not None:
            raise StreamExists(
                f"you already have a stream {stream_id!r}; choose another id, or read it at /v1/streams/{stream_id}"
            )
        self._number += 1
        written = records.encode_request(request)
        entry = Created(self._number, owner, stream_id, self._clock.unix_ns(), written)
        stream = self._made(entry, request)
        self._shelve(stream)
        self._journal.create(stream, entry)
        return stream

    def open(self, stream_id: str, owner: str) -> Stream:
        """The owner's stream of that id."""
        stream = self._streams.get((owner, stream_id))
        if stream is not None:
            return stream
        row = self._row(stream_id, owner)
        if row is None:
            raise UnknownStream(f"no stream {stream_id[:128]!r}: it may be older than the retention, or mistyped")
        return self._from_file(row)

    def find(self, owner: str, idempotency_key: str) -> Stream | None:
        """The owner's latest stream with that key."""
        stream = self._keys.get((owner, idempotency_key))
        if stream is not None:
            return stream
        with closing(self._reading.with_key(owner, idempotency_key)) as rows:
            row = self._ask(lambda: next((row for row in rows if row.number not in self._deleted), None))
        return None if row is None else self._from_file(row)

    def list(
        self,
        owner: str,
        *,
        conversation_id: str | None = None,
        state: StreamState | None = None,
        before: str | None = None,
        limit: int = LIST_LIMIT,
    ) -> Sequence[Stream]:
        """A page of the owner's streams, newest first."""
        last = _number_of(self.open(before, owner)) if before is not None else self._number + 1
        in_memory = (
            self._owners.get(owner) if conversation_id is None else self._conversations.get((owner, conversation_id))
        )
        present = (stream for stream in reversed((in_memory or {}).values()) if stream.number < last)
        if state == "running":
            # Whatever goes on is in memory: the file, which may hold very many that ended, is not looked through.
            return tuple(islice((stream for stream in present if stream.ended is None), limit))
        with closing(self._reading.newest(owner, last, conversation_id)) as rows:
            stored = (row for row in rows if row.number not in self._deleted and (owner, row.id) not in self._streams)
            newest_first: Iterator[JournaledStream | Row] = merge(present, stored, key=lambda each: -each.number)
            wanted = (each for each in newest_first if state is None or not _is_running(each))
            page = self._ask(lambda: tuple(islice(wanted, limit)))
        return [each if isinstance(each, JournaledStream) else self._from_file(each) for each in page]

    def delete(self, stream_id: str, owner: str) -> None:
        """Forgets a stream. Its readers read it to its end."""
        stream = self.open(stream_id, owner)
        self._delete([(_number_of(stream), owner, stream_id)])

    def sweep(self) -> None:
        """Forgets the streams that ended longer ago than the retention, and the oldest where all take too much."""
        now = self._clock.unix_ns()
        horizon = now - self._retention_ns
        gone = [
            (stream.number, stream.owner, stream.id)
            for stream in takewhile(lambda stream: stream.ended_unix_ns < horizon, self._ended)
        ]
        rows: Sequence[tuple[int, str, str]] = self._ask(lambda: self._reading.ended_before(horizon, FORGOTTEN_AT_ONCE))
        if not rows and not self._deleted and self._ask(self._reading.used_bytes) > self._retained_bytes:
            rows = self._ask(lambda: self._too_many(now))
        known = {number for number, _, _ in gone} | self._deleted
        gone += [row for row in rows if row[0] not in known]
        if gone:
            self._delete(gone)
        self._journal.compact_if_quiet()
        self._remember_less()

    def tell_failures(self, tell: Callable[[Stream], None]) -> None:
        """Has `tell` called for every stream that goes on and cannot be written down, before it is ended."""
        self._on_broken = tell

    # --- in memory

    def _made(self, entry: Created, request: GenerationRequest) -> JournaledStream:
        return JournaledStream(
            entry, request, self._clock, self._keep, self._broken, self._journal, at_once=self._at_once
        )

    def _shelve(self, stream: JournaledStream) -> None:
        owner, request = stream.owner, stream.request
        self._streams[owner, stream.id] = stream
        self._owners.setdefault(owner, {})[stream.number] = stream
        if request.conversation_id is not None:
            self._conversations.setdefault((owner, request.conversation_id), {})[stream.number] = stream
            if self._index is not None:
                self._index.begin(owner, stream.id, request, stream.created_unix_ns)
        if request.idempotency is not None:
            self._keys[owner, request.idempotency.key] = stream

    def _forget(self, stream: JournaledStream) -> None:
        del self._streams[stream.owner, stream.id]
        self._ended_bytes -= self._ended.pop(stream, 0)
        _take_out(self._owners, stream.owner, stream.number)
        if stream.request.conversation_id is not None:
            _take_out(self._conversations, (stream.owner, stream.request.conversation_id), stream.number)
        idempotency = stream.request.idempotency
        if idempotency is not None and self._keys.get((stream.owner, idempotency.key)) is stream:
            del self._keys[stream.owner, idempotency.key]

    def _keep(self, stream: MemoryStream) -> None:
        assert isinstance(stream, JournaledStream)
        if stream.deleted:
            return
        if self._index is not None:
            self._index.finish(stream)
        self._ended[stream] = size = about_bytes(stream)
        self._ended_bytes += size
        self._remember_less()

    def _remember_less(self) -> None:
        """Leaves to the file what ended a while ago, or takes too much memory, those that ended first before others."""
        horizon = self._clock.monotonic_ns() - int(REMEMBERED_SECONDS * 1e9)
        while (oldest := next(iter(self._ended), None)) is not None and oldest.is_stored():
            assert oldest.ended_ns is not None
            if oldest.ended_ns > horizon and self._ended_bytes <= self._remembered_bytes:
                return
            self._forget(oldest)

    def _broken(self, stream: JournaledStream) -> None:
        if self._on_broken is not None:
            self._on_broken(stream)

    # --- in the file

    def _row(self, stream_id: str, owner: str) -> Row | None:
        row = self._ask(lambda: self._reading.find(owner, stream_id))
        return None if row is None or row.number in self._deleted else row

    def _from_file(self, row: Row) -> StoredStream:
        stream = self._opened.get(row.number)
        if stream is None:
            stream = self._opened[row.number] = StoredStream(row, self._reading)
        return stream

    def _delete(self, streams: Sequence[tuple[int, str, str]]) -> None:
        for number, owner, stream_id in streams:
            stream = self._streams.get((owner, stream_id))
            if stream is not None and stream.number == number:
                stream.deleted = True
                self._forget(stream)
                self._journal.forget(stream)
            opened = self._opened.get(number)
            if opened is not None and opened.readers:
                self._ask(opened.hold)
        if self._index is not None:
            self._index.forget([(owner, stream_id) for _, owner, stream_id in streams])
        numbers = [number for number, _, _ in streams]
        self._deleted.update(numbers)
        self._journal.delete(numbers, self._deleted.difference_update)

    def _too_many(self, now: int) -> Sequence[tuple[int, str, str]]:
        """The streams that ended first, about as many as the file is too large for; the next look finds the rest."""
        used = self._reading.used_bytes()
        share = (used - self._retained_bytes) / used
        return self._reading.ended_before(now, 1 + int(self._reading.ended_count() * share))

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        except sqlite3.Error as error:
            raise StoreError(f"the store of streams cannot be read ({error})") from error

    def _restore(self, path: Path) -> None:
        """Takes in what the process before this one left: streams in the journal, and those that had not ended."""
        by_number: dict[int, JournaledStream | None] = {}
        highest = self._reading.highest_number()
        for row in self._reading.unfinished():
            written = Created(row.number, row.owner, row.id, row.created_ns, msgspec.Raw(row.request))
            by_number[row.number] = stream = self._made(written, records.decode_request(row.request))
            while stream.not_restored(row.length) and (chunk := self._reading.chunk(row.number, stream.end())):
                stream.restore_chunk(records.decode_chunk(chunk[1]))
        deleted: list[int] = []
        last_group = 0
        for sequence, data in self._reading.groups():
            last_group = sequence
            for entry in records.decode_entries(data):
                highest = max(highest, entry.number)
                known = by_number.get(entry.number)
                match entry:
                    case Created() if entry.number not in by_number:
                        # One that is in the file has ended: the others were taken in before.
                        in_file = self._reading.numbered(entry.number) is not None
                        by_number[entry.number] = (
                            None if in_file else self._made(entry, records.decode_request(entry.request))
                        )
                    case Appended() if known is not None:
                        known.restore(entry.first, entry.at_ns, entry.events)
                    case Deleted():
                        deleted.append(entry.number)
                        by_number[entry.number] = None
                    case _:
                        pass  # of a stream that is whole in the file, or was deleted
        self._number = highest
        # Only now is known which are left: of several that had the same id, one after the other, the last.
        streams = [stream for _, stream in sorted(by_number.items()) if stream is not None]
        if self._index is not None:
            self._index.catch_up(path, set(deleted), {(stream.owner, stream.id) for stream in streams})
        for stream in streams:
            self._shelve(stream)
        for stream in streams:
            stream.restored()
        self.unfinished = [stream for stream in streams if stream.ended is None]
        if last_group:
            self._journal.found(last_group, streams)
        if deleted:
            self._deleted.update(deleted)
            self._journal.delete(deleted, self._deleted.difference_update)


def _take_out(shelves: dict[Shelf, dict[int, JournaledStream]], shelf: Shelf, number: int) -> None:
    of_it = shelves[shelf]
    del of_it[number]
    if not of_it:
        del shelves[shelf]


def _number_of(stream: Stream) -> int:
    assert isinstance(stream, JournaledStream | StoredStream)
    return stream.number


def _is_running(each: JournaledStream | Row) -> bool:
    return isinstance(each, JournaledStream) and each.ended is None


def _locked(path: Path) -> FileLock:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock.take(path.with_name(path.name + ".lock"))
    except OSError as error:
        raise SettingsError(f"streams cannot be kept in {path} ({error.strerror}). {_ELSEWHERE}") from error
    if isinstance(lock, str):
        holder = lock or "unknown"
        raise StoreInUse(f"{path} is in use by another headrace (process {holder}). {_ELSEWHERE}", holder=holder)
    return lock


def _opened(path: Path, durability: Durability) -> Database:
    try:
        # Not for other users of the machine: it holds what people asked and were answered.
        path.touch(mode=0o600)
        return Database.open(path, durability)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"streams cannot be kept in {path} ({error}). {_ELSEWHERE}") from error


_ELSEWHERE = "Choose another file: HEADRACE_STORE_PATH=…; or keep streams in memory alone: HEADRACE_STORE_KIND=memory"
