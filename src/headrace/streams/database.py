"""The SQLite file that streams are kept in: its tables, and every statement that is run on them.

Two ways in. A group of journal entries is one row of `journal`, so that one short write acknowledges whatever many
streams appended meanwhile. Later the streams' events are gathered into `chunks`, a row of `streams` says what is known
of each, and the journal rows that held them go. Whatever is in both is the same: an event is known by its stream and
its offset.

Imports sqlite3 and nothing else of the world. Blocks: the writer's connection is used by the journal's thread
alone, the reader's by the event loop for questions that an index answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from headrace.errors import SettingsError

Durability: TypeAlias = Literal["memory", "process", "power"]

VERSION = 1
# SQLite's default. Whatever changes of a page, all of it is appended to the log.
PAGE_BYTES = 4096

_TABLES = """
CREATE TABLE journal (sequence INTEGER PRIMARY KEY, entries BLOB NOT NULL);
CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    conversation_id TEXT,
    created_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    length INTEGER NOT NULL,
    idempotency_key TEXT,
    request BLOB NOT NULL,
    first BLOB NOT NULL,
    last BLOB NOT NULL,
    UNIQUE (owner, id)
);
CREATE INDEX streams_by_owner ON streams (owner, number);
CREATE INDEX streams_by_conversation ON streams (owner, conversation_id, number) WHERE conversation_id IS NOT NULL;
CREATE INDEX streams_by_key ON streams (owner, idempotency_key, number) WHERE idempotency_key IS NOT NULL;
CREATE INDEX streams_by_end ON streams (ended_ns) WHERE ended_ns IS NOT NULL;
CREATE TABLE chunks (stream INTEGER NOT NULL, first INTEGER NOT NULL, events BLOB NOT NULL);
CREATE UNIQUE INDEX chunks_by_offset ON chunks (stream, first);
"""

_COLUMNS = "number, owner, id, conversation_id, idempotency_key, created_ns, ended_ns, length, request, first, last"


class Row(NamedTuple):
    """What `streams` says of a stream."""

    number: int
    owner: str
    id: str
    conversation_id: str | None
    idempotency_key: str | None
    created_ns: int
    ended_ns: int | None
    """Wall time of its last event, nanoseconds since 1970 UTC; `None`: it had not ended when it was written down."""
    length: int
    request: bytes
    first: bytes
    """Its first event."""
    last: bytes
    """Its last two events."""


class Database:
    """One connection to the file. Every method may raise `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.written_bytes = 0
        """About how much this connection has appended to SQLite's log."""
        self._connection = connection

    @classmethod
    def open(cls, path: Path, durability: Durability) -> Database:
        """The file at `path`, made if it is not there, for writing.

        Raises:
            SettingsError: it is no store of ours, or of a newer version.
            sqlite3.Error: it cannot be read or written.
        """
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
            # It would be in the middle of a write: `headrace.streams.checkpoints` sees to it.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise SettingsError(
                    f"{path} was written by a newer headrace (store version {version}, this one knows {VERSION}). "
                    "Install that one again, or choose another file: HEADRACE_STORE_PATH"
                )
            if version == 0:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
                    raise SettingsError(f"{path} is a database of something else. Choose another: HEADRACE_STORE_PATH")
                connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    @classmethod
    def open_for_reading(cls, path: Path) -> Database:
        """The same file, which is there already, for reading alone."""
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only = ON")
        return cls(connection)

    @classmethod
    def open_for_checkpoints(cls, path: Path) -> Database:
        """The same file, for `checkpoint` alone."""
        return cls(sqlite3.connect(path, isolation_level=None, check_same_thread=False))

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def checkpoint(self) -> int:
        """Copies what SQLite's log holds into the file, and waits for the disk. Gives how long the log is, in bytes."""
        _, frames, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return int(frames) * PAGE_BYTES

    # --- the journal

    def write_group(self, sequence: int, entries: bytes) -> None:
        """Keeps a group of journal entries under its sequence number, durably once this returns."""
        self._connection.execute("INSERT INTO journal (sequence, entries) VALUES (?, ?)", (sequence, entries))
        self.written_bytes += len(entries) + 2 * PAGE_BYTES

    def groups(self) -> Iterator[tuple[int, bytes]]:
        """All groups with their sequence numbers, in the order they were written."""
        yield from self._connection.execute("SELECT sequence, entries FROM journal ORDER BY sequence")

    def drop_groups(self, through: int, most: int) -> bool:
        """Forgets at most so many groups up to this sequence number, whose events are in chunks by now.

        Gives whether there are more of them: a whole journal at once would keep everything else waiting.
        """
        dropped = self._connection.execute(
            "DELETE FROM journal WHERE sequence <= ? AND sequence < (SELECT min(sequence) FROM journal) + ?",
            (through, most),
        )
        self.written_bytes += dropped.rowcount * PAGE_BYTES // 2
        (first,) = self._connection.execute("SELECT min(sequence) FROM journal").fetchone()
        return first is not None and first <= through

    # --- streams that are written down

    def write_streams(self, streams: Sequence[Row], chunks: Sequence[Piece]) -> None:
        """Writes streams down, as far as they have come, with the pieces of them that are new."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(
                # One that is there is of a write that was reported as failed and was not; this one may hold more.
                "INSERT INTO chunks (stream, first, events) VALUES (?, ?, ?) "
                "ON CONFLICT (stream, first) DO UPDATE SET events = excluded.events",
                chunks,
            )
            self._connection.executemany(
                f"INSERT INTO streams ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (number) DO UPDATE SET ended_ns = excluded.ended_ns, length = excluded.length, "
                "first = excluded.first, last = excluded.last",
                streams,
            )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.written_bytes += sum(len(piece.events) + PAGE_BYTES for piece in chunks) + len(streams) * PAGE_BYTES

    def delete_streams(self, numbers: Sequence[int]) -> None:
        """Forgets streams and all that was said in them."""
        rows = [(number,) for number in numbers]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            chunks = self._connection.executemany("DELETE FROM chunks WHERE stream = ?", rows)
            streams = self._connection.executemany("DELETE FROM streams WHERE number = ?", rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.written_bytes += (chunks.rowcount + streams.rowcount) * PAGE_BYTES

    # --- questions

    def find(self, owner: str, stream_id: str) -> Row | None:
        """The owner's stream of that id."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM streams WHERE owner = ? AND id = ?", (owner, stream_id)
        ).fetchone()
        return None if row is None else Row(*row)

    def with_key(self, owner: str, idempotency_key: str) -> Generator[Row, None, None]:
        """The owner's streams whose requests carry this key, newest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM streams WHERE owner = ? AND idempotency_key = ? ORDER BY number DESC",
            (owner, idempotency_key),
        )
        yield from map(Row._make, rows)

    def newest(self, owner: str, before: int, conversation_id: str | None) -> Generator[Row, None, None]:
        """The owner's streams with numbers below `before`, newest first; only those of one conversation, if named."""
        chosen = f"SELECT {_COLUMNS} FROM streams WHERE owner = ? AND number < ?"
        if conversation_id is None:
            rows = self._connection.execute(f"{chosen} ORDER BY number DESC", (owner, before))
        else:
            chosen = f"{chosen} AND conversation_id = ? ORDER BY number DESC"
            rows = self._connection.execute(chosen, (owner, before, conversation_id))
        yield from map(Row._make, rows)

    def unfinished(self) -> list[Row]:
        """The streams that had not ended when they were written down."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM streams WHERE ended_ns IS NULL ORDER BY number")
        return [Row(*row) for row in rows]

    def in_conversations(self) -> list[tuple[int, str, str]]:
        """Number, owner and id of every stream that is part of a conversation and has ended, the oldest first."""
        return self._connection.execute(
            "SELECT number, owner, id FROM streams WHERE conversation_id IS NOT NULL AND ended_ns IS NOT NULL "
            "ORDER BY number"
        ).fetchall()

    def numbered(self, number: int) -> Row | None:
        """The stream of that number."""
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM streams WHERE number = ?", (number,)).fetchone()
        return None if row is None else Row(*row)

    def chunk(self, number: int, offset: int) -> tuple[int, bytes] | None:
        """The chunk of a stream that holds the event at `offset`, with the offset of its first."""
        found: tuple[int, bytes] | None = self._connection.execute(
            "SELECT first, events FROM chunks WHERE stream = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (number, offset),
        ).fetchone()
        return found

    def ended_before(self, unix_ns: int, limit: int) -> list[tuple[int, str, str]]:
        """Number, owner and id of streams that ended before then, those that ended first coming first."""
        return self._connection.execute(
            "SELECT number, owner, id FROM streams WHERE ended_ns < ? ORDER BY ended_ns LIMIT ?", (unix_ns, limit)
        ).fetchall()

    def ended_count(self) -> int:
        """How many streams have ended."""
        (count,) = self._connection.execute("SELECT count(*) FROM streams WHERE ended_ns IS NOT NULL").fetchone()
        return int(count)

    def used_bytes(self) -> int:
        """How much of the file is in use; what was forgotten is used again and not given back."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)

    def highest_number(self) -> int:
        """The highest number among the streams that are written down; 0 where there are none."""
        (number,) = self._connection.execute("SELECT coalesce(max(number), 0) FROM streams").fetchone()
        return int(number)


class Piece(NamedTuple):
    """A chunk on its way into the file."""

    stream: int
    first: int
    events: bytes
