"""The SQLite file that byte logs are kept in, beside that of the generations: its tables and every statement on them.

A change is a list of statements. Those that arrive while a write is under way are the next write together, in one
transaction; whoever waits is told when it is in the file. There is no file before there is a log.

Imports sqlite3 and nothing else of the world. The connection is used by its writer's thread alone, but for reading all
of it at a start.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from headrace.errors import SettingsError, StoreError
from headrace.streams.byte_log import Appending, ByteLog, Origin
from headrace.streams.database import Durability
from headrace.streams.writer import Writer
from headrace.wire.durable import Lifetime, Producer

VERSION = 1

_TABLES = """
CREATE TABLE logs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    path TEXT NOT NULL,
    content_type TEXT NOT NULL,
    ttl_seconds INTEGER,
    expires_at TEXT,
    parent INTEGER,
    base INTEGER NOT NULL,
    source TEXT,
    source_position INTEGER,
    sub_offset INTEGER,
    closed INTEGER NOT NULL,
    closed_by TEXT,
    deleted INTEGER NOT NULL DEFAULT 0,
    last_order TEXT
);
CREATE TABLE pieces (log INTEGER NOT NULL, start INTEGER NOT NULL, content BLOB NOT NULL);
CREATE UNIQUE INDEX pieces_by_start ON pieces (log, start);
CREATE TABLE producers (
    log INTEGER NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (log, id)
) WITHOUT ROWID;
"""

_CREATED = (
    "number, id, owner, path, content_type, ttl_seconds, expires_at, parent, base, source, source_position, sub_offset,"
    " closed"
)
_PIECE = "INSERT INTO pieces (log, start, content) VALUES (?, ?, ?)"

Statement: TypeAlias = tuple[str, Sequence[object]]
"""SQL, and one row of values."""


class Change(NamedTuple):
    """What is written together, or not at all."""

    statements: list[Statement]
    done: asyncio.Future[None]


def creation(log: ByteLog, pieces: Sequence[bytes], closed: bool) -> list[Statement]:
    """What keeps a new log with its first content."""
    origin = log.origin or (None, None, None)
    row = (
        log.number, log.id, log.owner, log.path, log.content_type, log.lifetime.ttl_seconds, log.lifetime.expires_at,
        None if log.parent is None else log.parent.number, log.base, *origin, closed,
    )  # fmt: skip
    values = ", ".join("?" * len(row))
    return [(f"INSERT INTO logs ({_CREATED}) VALUES ({values})", row), *_pieces(log, pieces)]


def addition(log: ByteLog, asked: Appending) -> list[Statement]:
    """What keeps an append, and its producer's count with it."""
    statements = _pieces(log, asked.pieces)
    if (producer := asked.producer) is not None:
        statements.append(
            (
                "INSERT INTO producers (log, id, epoch, seq) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (log, id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq",
                (log.number, *producer),
            )
        )
    if asked.order is not None:
        statements.append(("UPDATE logs SET last_order = ? WHERE number = ?", (asked.order, log.number)))
    if asked.closes:
        closed_by = None if producer is None else producer.id
        statements.append(("UPDATE logs SET closed = 1, closed_by = ? WHERE number = ?", (closed_by, log.number)))
    return statements


def removal(log: ByteLog, gone: Iterable[ByteLog]) -> list[Statement]:
    """What marks a log as deleted, and forgets those that nothing needs any longer."""
    statements: list[Statement] = [("UPDATE logs SET deleted = 1 WHERE number = ?", (log.number,))]
    for each in gone:
        statements += [
            ("DELETE FROM pieces WHERE log = ?", (each.number,)),
            ("DELETE FROM producers WHERE log = ?", (each.number,)),
            ("DELETE FROM logs WHERE number = ?", (each.number,)),
        ]
    return statements


def _pieces(log: ByteLog, pieces: Sequence[bytes]) -> list[Statement]:
    position = log.length
    comma = log.kind == "json"
    statements: list[Statement] = []
    for piece in filter(None, pieces):
        statements.append((_PIECE, (log.number, position, piece)))
        position += len(piece) + comma
    return statements


class ByteLogFile:
    """The file. To be made on the event loop.

    Args:
        path: where it is, or will be.
        durability: as of the other store: `memory` waits for no write, `power` for the disk too.
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self._durability = durability
        self._loop = asyncio.get_running_loop()
        self._writer: Writer | None = None
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[Change] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()

    def read(self) -> Iterator[ByteLog]:
        """All logs that were kept, each after the one it branched off.

        Raises:
            SettingsError: the file cannot be used.
        """
        if not self._path.exists():
            return
        try:
            self._connection = connection = _opened(self._path, self._durability)
            yield from _logs(connection)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"the streams of /v1/stream/ cannot be read from {self._path} ({error}). Move the file away, or choose"
                " another place: HEADRACE_STORE_PATH=…"
            ) from error

    async def keep(self, statements: list[Statement]) -> None:
        """Returns once all of these are in the file.

        Raises:
            StoreError: they are not, none of them.
        """
        change = Change(statements, self._loop.create_future())
        self._waiting.append(change)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # What else arrives in this turn of the loop is written with it.
            self._loop.call_soon(self._go)
        if self._durability == "memory":
            change.done.add_done_callback(lambda done: done.exception())
            return
        try:
            await change.done
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the stream could not be kept ({error}); nothing of this request was done") from error

    async def close(self) -> None:
        """Writes what is left, and closes the file."""
        await self._idle.wait()
        if self._writer is not None:
            await self._writer.close()
        if self._connection is not None:
            self._connection.close()

    def _go(self) -> None:
        changes, self._waiting = self._waiting, []
        if not changes:
            self._busy = False
            self._idle.set()
            return
        if self._writer is None:
            self._writer = Writer("headrace byte logs")
        self._writer.put(lambda: self._write(changes), lambda result: self._written(changes, result))

    def _write(self, changes: Sequence[Change]) -> None:
        if self._connection is None:
            # Not for other users of the machine: it holds what people wrote.
            self._path.touch(mode=0o600)
            self._connection = _opened(self._path, self._durability)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                for sql, values in change.statements:
                    connection.execute(sql, values)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _written(self, changes: Sequence[Change], result: Exception | None) -> None:
        self._loop.call_soon(self._go)
        for change in changes:
            if change.done.done():
                continue  # whoever waited has gone
            if isinstance(result, Exception):
                change.done.set_exception(result)
            else:
                change.done.set_result(None)


def _opened(path: Path, durability: Durability) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer headrace (version {version})")
        if version == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _logs(connection: sqlite3.Connection) -> Iterator[ByteLog]:
    known: dict[int, ByteLog] = {}
    for row in connection.execute(f"SELECT {_CREATED}, closed_by, deleted, last_order FROM logs ORDER BY number"):
        number, log_id, owner, path, content_type, ttl, expires_at, parent, base = row[:9]
        source, source_position, sub_offset, closed, closed_by, deleted, order = row[9:]
        log = known[number] = ByteLog(
            number,
            log_id,
            owner,
            path,
            content_type,
            Lifetime(ttl, expires_at),
            origin=None if source is None else Origin(source, source_position, sub_offset),
            parent=None if parent is None else known[parent],
            base=base,
        )
        log.deleted = bool(deleted)
        log.order = order
        for name, epoch, seq in connection.execute("SELECT id, epoch, seq FROM producers WHERE log = ?", (number,)):
            log.producers[name] = Producer(name, epoch, seq)
        log.closed = bool(closed)
        log.closed_by = log.producers.get(closed_by)
        pieces = connection.execute("SELECT content FROM pieces WHERE log = ? ORDER BY start", (number,))
        log.extend([content for (content,) in pieces])
        yield log
