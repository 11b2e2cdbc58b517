"""Byte logs by owner and path: creating, appending, forking, deleting, forgetting, each within limits.

What is written is readable once it is kept, and its writer is told after that. Writing to a log is one at a time;
making and unmaking of logs too, since forks tie them together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from headrace.clock import Clock
from headrace.errors import (
    BodyTooLarge,
    InvalidRequest,
    Overloaded,
    StoreError,
    StreamConflict,
    StreamGone,
    UnknownStream,
)
from headrace.identifiers import StreamIdentifiers
from headrace.streams.byte_log import Appending, ByteLog, Origin, Verdict, weight
from headrace.streams.byte_log_file import ByteLogFile, Statement, addition, creation, removal
from headrace.wire.durable import DEFAULT_CONTENT_TYPE, Lifetime, media_type_of

logger = logging.getLogger("headrace.streams")

MOST_PRODUCERS = 1000
"""Of one log: each is remembered as long as the log is."""

T = TypeVar("T")


class Creating(NamedTuple):
    """A log that a client wants to have."""

    content_type: str | None
    lifetime: Lifetime
    closed: bool
    origin: Origin | None


class ByteLogs:
    """All byte logs of this process.

    Args:
        clock: for their lifetimes.
        log_limit_bytes: the most that one may take, without what it shares with its parent.
        limit_bytes: the most that all may take together.
        most: how many there may be.
        file: where they are kept; `None`: in memory alone.

    Raises:
        SettingsError: the file cannot be used.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        log_limit_bytes: int,
        limit_bytes: int,
        most: int,
        file: ByteLogFile | None = None,
    ) -> None:
        self._clock = clock
        self._file = file
        self._log_limit = log_limit_bytes
        self._limit = limit_bytes
        self._most = most
        self._logs: dict[tuple[str, str], ByteLog] = {}
        self._used_bytes = 0
        self._number = 0
        self._identifiers = StreamIdentifiers()
        self._making = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closing = False
        """Whether readers shall leave, since the server is on its way down."""
        for log in () if file is None else file.read():
            self.use(log)  # an idle time begins anew with the process
            self._add(log)

    def __len__(self) -> int:
        """How many logs there are, those that are kept for their forks too."""
        return len(self._logs)

    # -- finding

    def open(self, owner: str, path: str) -> ByteLog:
        """The owner's log at that path.

        Raises:
            UnknownStream: there is none, or it has lived its time.
            StreamGone: it was deleted, and is kept for its forks alone.
        """
        log = self._logs.get((owner, path))
        if log is None:
            raise UnknownStream(f"no stream at {path[:200]!r}: create it with PUT, or look for a mistyped letter")
        if log.deleted or self._has_expired(log):
            if log.forks:
                raise StreamGone(f"the stream at {path[:200]!r} was deleted; its forks can still be read")
            raise UnknownStream(f"the stream at {path[:200]!r} has lived its time; create it again with PUT")
        return log

    def use(self, log: ByteLog) -> None:
        """Counts as a use of the log, from which its idle time begins anew."""
        log.used_ns = self._clock.monotonic_ns()

    # -- writing

    async def create(self, owner: str, path: str, asked: Creating, pieces: list[bytes]) -> tuple[ByteLog, bool]:
        """The log as asked for, and whether it is new.

        Raises:
            StreamConflict: there is one at that path that is otherwise, or its source cannot be forked.
            UnknownStream: the source of the fork is not there.
            InvalidRequest: the fork branches off where the source has nothing.
            BodyTooLarge: it would take more than one log may.
            Overloaded: there is no room.
        """
        return await self._undisturbed(self._create(owner, path, asked, pieces))

    async def append(self, log: ByteLog, asked: Appending) -> Verdict:
        """Appends to a log, and closes it where that is asked, if nothing stands against it; says what became of it.

        Raises:
            UnknownStream: the log was deleted in the meantime.
            BodyTooLarge: the log would take more than one may.
            Overloaded: there is no room.
        """
        return await self._undisturbed(self._append(log, asked))

    async def delete(self, owner: str, path: str) -> None:
        """Forgets a log. One that has forks is kept for them, until the last is gone.

        Raises:
            UnknownStream: there is none.
            StreamGone: it was deleted before.
        """
        await self._undisturbed(self._delete(owner, path))

    def sweep(self) -> None:
        """Forgets the logs that have lived their time. Called about once a second."""
        if any(not log.deleted and self._has_expired(log) for log in self._logs.values()):
            self._spawn(self._forget_expired())

    def leave(self) -> None:
        """Sends every reader away; they come back to the next process. Called on the way down."""
        self.closing = True
        for log in self._logs.values():
            log.wake()

    async def close(self) -> None:
        """Returns when all that was begun is done, and closes the file."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._file is not None:
            await self._file.close()

    # -- the steps behind them

    async def _create(self, owner: str, path: str, asked: Creating, pieces: list[bytes]) -> tuple[ByteLog, bool]:
        async with self._making:
            existing = self._logs.get((owner, path))
            if existing is not None and not existing.deleted and self._has_expired(existing):
                await self._forget(existing)
                existing = self._logs.get((owner, path))
            if existing is not None:
                self._confirm(existing, asked)
                self.use(existing)
                return existing, False
            log = self._branch(owner, path, asked)
            if len(self._logs) >= self._most:
                raise Overloaded(
                    f"there are {self._most} streams, as many as this server keeps (store.max_byte_logs); delete some",
                    retry_after_seconds=60,
                )
            size = log.size_bytes + weight(pieces)
            self._check_room(size, size)
            await self._keep(size, creation(log, pieces, asked.closed))
            log.take(Appending(pieces, asked.closed))
            self.use(log)
            self._add(log)
            return log, True

    async def _append(self, log: ByteLog, asked: Appending) -> Verdict:
        async with log.lock:
            if self._logs.get((log.owner, log.path)) is not log or log.deleted:
                raise UnknownStream(f"the stream at {log.path[:200]!r} was deleted while it was written to")
            self.use(log)
            verdict = log.judge(asked)
            if verdict != "append":
                return verdict
            more = weight(asked.pieces)
            if more:
                self._check_room(log.size_bytes + more, more)
            producer = asked.producer
            if producer is not None and producer.id not in log.producers and len(log.producers) >= MOST_PRODUCERS:
                raise StreamConflict(
                    f"{MOST_PRODUCERS} producers have written to this stream; go on under an id that it knows"
                )
            await self._keep(more, addition(log, asked))
            log.take(asked)
            self._used_bytes += more
        log.wake()
        return verdict

    async def _delete(self, owner: str, path: str) -> None:
        async with self._making:
            await self._forget(self.open(owner, path))

    async def _forget_expired(self) -> None:
        async with self._making:
            for log in [log for log in self._logs.values() if not log.deleted and self._has_expired(log)]:
                try:
                    await self._forget(log)
                except StoreError as error:
                    # Nobody is given it any more; it is forgotten by a later sweep.
                    logger.error("the stream at %r has lived its time, and is still in the file: %s", log.path, error)
                    return

    def _confirm(self, log: ByteLog, asked: Creating) -> None:
        """Checks that a log is as somebody wants it to be who does not know that it is there already."""
        if log.deleted:
            raise StreamConflict(
                f"the stream at {log.path[:200]!r} was deleted, and its forks still need it; choose another path"
            )
        wanted = asked.content_type
        if wanted is None:
            same_type = asked.origin is not None or media_type_of(log.content_type) == DEFAULT_CONTENT_TYPE
        else:
            same_type = media_type_of(wanted) == media_type_of(log.content_type)
        if not same_type:
            raise StreamConflict(f"this stream exists with the content type {log.content_type}")
        if asked.origin is not None and asked.origin != log.origin:
            raise StreamConflict("this stream exists, and did not branch off there")
        inherits = asked.origin is not None and asked.lifetime == Lifetime()
        if not inherits and not asked.lifetime.equals(log.lifetime):
            raise StreamConflict("this stream exists with another Stream-TTL or Stream-Expires-At")
        if asked.closed != log.closed:
            raise StreamConflict(f"this stream exists, and is {'closed' if log.closed else 'open'}")

    def _branch(self, owner: str, path: str, asked: Creating) -> ByteLog:
        """A new log, without content of its own."""
        origin = asked.origin
        identifier = self._identifiers.new()
        self._number += 1
        if origin is None:
            content_type = asked.content_type or DEFAULT_CONTENT_TYPE
            return ByteLog(self._number, identifier, owner, path, content_type, asked.lifetime)
        try:
            source = self.open(owner, origin.source)
        except StreamGone:
            raise StreamConflict("the stream to branch off from was deleted; nothing new can branch off it") from None
        if asked.content_type is not None and media_type_of(asked.content_type) != media_type_of(source.content_type):
            raise StreamConflict(f"the stream to branch off from has the content type {source.content_type}")
        position = source.length if origin.position is None else origin.position
        if not source.begins_at(position):
            raise InvalidRequest(
                "the stream to branch off from has nothing at that offset", parameter="Stream-Fork-Offset"
            )
        base = source.after(position, origin.sub_offset)
        if base is None:
            raise InvalidRequest(
                "the stream to branch off from ends before that sub-offset", parameter="Stream-Fork-Sub-Offset"
            )
        return ByteLog(
            self._number,
            identifier,
            owner,
            path,
            source.content_type,
            source.lifetime if asked.lifetime == Lifetime() else asked.lifetime,
            origin=origin,
            parent=source,
            base=base,
        )

    def _check_room(self, log_bytes: int, more_bytes: int) -> None:
        if log_bytes > self._log_limit:
            raise BodyTooLarge(
                f"the stream would take more than {self._log_limit} bytes (store.byte_log_limit_bytes);"
                " go on in another"
            )
        if self._used_bytes + more_bytes > self._limit:
            raise Overloaded(
                f"all streams together would take more than {self._limit} bytes (store.byte_logs_limit_bytes);"
                " delete some",
                retry_after_seconds=60,
            )

    def _has_expired(self, log: ByteLog) -> bool:
        if (ttl := log.lifetime.ttl_seconds) is not None:
            # Who follows it uses it, however long nothing comes.
            return not log.readers and self._clock.monotonic_ns() - log.used_ns >= ttl * 10**9
        return log.expires_ns is not None and self._clock.unix_ns() >= log.expires_ns

    async def _forget(self, log: ByteLog) -> None:
        """Takes a log away; what is kept only for it goes too. One with forks is only marked."""
        async with log.lock:
            if log.deleted:
                return
            gone = _needless_without(log)
            await self._keep(0, removal(log, gone))
            log.deleted = True
            for each in gone:
                del self._logs[each.owner, each.path]
                self._used_bytes -= each.size_bytes
                if each.parent is not None:
                    each.parent.forks -= 1
        log.wake()

    async def _keep(self, more_bytes: int, statements: list[Statement]) -> None:
        """Returns once it is certain that a change will not be lost; its room is held meanwhile.

        Raises:
            StoreError: it cannot be kept, so that it must not be done.
        """
        if self._file is None:
            return
        self._used_bytes += more_bytes
        try:
            await self._file.keep(statements)
        finally:
            self._used_bytes -= more_bytes

    def _add(self, log: ByteLog) -> None:
        self._logs[log.owner, log.path] = log
        self._number = max(self._number, log.number)
        self._used_bytes += log.size_bytes
        if log.parent is not None:
            log.parent.forks += 1

    async def _undisturbed(self, step: Coroutine[Any, Any, T]) -> T:
        """Does a step to its end, also where whoever asked for it does not wait for it any longer."""
        return await asyncio.shield(self._spawn(step))

    def _spawn(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _needless_without(log: ByteLog) -> list[ByteLog]:
    """What can go when this log goes: itself, if nothing branches off it, and deleted ones it was the last fork of."""
    gone: list[ByteLog] = []
    each: ByteLog | None = log
    while each is not None and (each is log or each.deleted) and each.forks == len(gone[-1:]):
        gone.append(each)
        each = each.parent
    return gone
