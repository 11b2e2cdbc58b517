"""Reading a log over the Durable Streams protocol: once, by waiting for more, or as server-sent events.

What is read is a `Log`: a byte log that clients write, or a generation (`headrace.server.generation_log`). Live readers
are driven by callbacks alone, as `headrace.server.delivery` does it for generations: no task and no queue for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from headrace.errors import BelowHorizon
from headrace.events import Failure
from headrace.identifiers import chance
from headrace.requests import ReaderOptions
from headrace.server.delivery import PIECE_BYTES, until
from headrace.server.house import House
from headrace.server.outlet import Outlet
from headrace.wire.durable import (
    Kind,
    Reading,
    closed_cursor,
    control_event,
    cursor_after,
    data_event,
    joined,
    matches_etag,
    offset_text,
    was_told_closed,
    whole_text,
)
from headrace.wire.sse import comment

logger = logging.getLogger("headrace.server")

ANSWER_BYTES = 256 * 1024
"""About the most in one answer that is not live: what a reader that stalls on it holds in memory."""
LIVE_SECONDS = 60.0
"""How long one answer of server-sent events lasts; the reader comes back for the next, perhaps elsewhere."""

Fields = list[tuple[bytes, bytes]]


class Log(Protocol):
    """What can be read over the Durable Streams protocol."""

    @property
    def id(self) -> str:
        """Its own, for as long as it is this log."""
        ...

    @property
    def content_type(self) -> str:
        """Of its content."""
        ...

    @property
    def kind(self) -> Kind:
        """How that is read."""
        ...

    @property
    def length(self) -> int:
        """The position behind the last that may be read."""
        ...

    @property
    def closed(self) -> bool:
        """Whether nothing will follow."""
        ...

    @property
    def deleted(self) -> bool:
        """Whether it is gone, under the reader's hands."""
        ...

    @property
    def readers(self) -> int:
        """How many readers are attached now."""
        ...

    def begins_at(self, position: int) -> bool:
        """Whether a reader may begin there."""
        ...

    def read(self, position: int, limit_bytes: int) -> tuple[Sequence[bytes], int]:
        """What follows a position, and the position behind it."""
        ...

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds a reader."""
        ...

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes a reader away."""
        ...


def answer_once(
    log: Log, reading: Reading, position: int, headers: Mapping[str, str], more: Fields, outlet: Outlet
) -> None:
    """Answers with what there is now."""
    if reading.position is None:
        fields = [*_where(log, log.length), (b"cache-control", b"no-store"), *more]
        outlet.respond(200, [_type(log), *fields], joined(log.kind, ()))
        return
    pieces, after = log.read(position, ANSWER_BYTES)
    etag = _etag(log, position, after)
    fields = [
        *_where(log, after),
        (b"etag", etag.encode("ascii")),
        # Of what was written nothing ever changes; and whose it is, the key says.
        (b"cache-control", b"private, max-age=60, stale-while-revalidate=300"),
        *more,
    ]
    if matches_etag(headers, etag):
        outlet.respond(304, fields, b"")
    else:
        outlet.respond(200, [_type(log), *fields], joined(log.kind, pieces))


async def answer_long_poll(
    house: House, log: Log, reading: Reading, position: int, more: Fields, outlet: Outlet
) -> None:
    """Answers once there is more than nothing, or after a while with 204."""
    seconds = house.settings.server.long_poll_seconds
    found: tuple[Sequence[bytes], int] = ((), position)
    now = house.clock.unix_ns()

    def look() -> bool:
        nonlocal found
        if not found[0]:  # it may be woken again before its answer is written
            found = log.read(found[1], ANSWER_BYTES)
        return bool(found[0]) or log.closed or log.deleted or house.byte_logs.closing

    if log.closed and position == log.length and was_told_closed(now, reading.cursor):
        # It was told that nothing will follow, and asks again: let it wait as long as for something that might.
        waited = await until(log, outlet, lambda: log.deleted or house.byte_logs.closing, seconds=seconds)
    else:
        waited = await until(log, outlet, look, seconds=seconds)
    if waited == "gone":
        return
    if outlet.caller.key is not None:
        outlet.caller.key.check()
    pieces, after = found
    ended = log.closed and after == log.length
    now = house.clock.unix_ns()
    cursor = closed_cursor(now) if ended else cursor_after(now, reading.cursor, chance())
    fields = [
        *_where(log, after),
        (b"stream-cursor", b"%d" % cursor),
        (b"cache-control", b"no-store"),
        *more,
    ]
    if pieces:
        fields.append((b"etag", _etag(log, position, after).encode("ascii")))
        outlet.respond(200, [_type(log), *fields], joined(log.kind, pieces))
    else:
        outlet.respond(204, fields, b"")


async def answer_events(house: House, log: Log, reading: Reading, position: int, more: Fields, outlet: Outlet) -> None:
    """Answers with server-sent events, for about a minute or until the log is closed."""
    cursor = cursor_after(house.clock.unix_ns(), reading.cursor, chance())
    fields: Fields = [
        # By the letter: clients compare it whole, so that no charset follows.
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        *more,
    ]
    if log.kind == "binary":
        fields.append((b"stream-sse-data-encoding", b"base64"))
    outlet.begin(200, fields)
    reader = LiveReader(log, position, cursor, outlet, lambda: house.byte_logs.closing)
    house.deliveries.add(reader)
    try:
        reader.start()
        whole = await reader.outcome
    finally:
        house.deliveries.discard(reader)
        reader.stop()
    if whole:
        outlet.end()
    else:
        outlet.abort()


class LiveReader:
    """One reader of server-sent events.

    Args:
        log: what is read.
        position: from where on.
        cursor: what its `control` events carry.
        outlet: where it is written to.
        leaving: whether the server is on its way down.
    """

    __slots__ = (
        "_cursor",
        "_finished",
        "_leaving",
        "_log",
        "_position",
        "_quiet_since",
        "_seen",
        "_told",
        "_until",
        "options",
        "outcome",
        "outlet",
    )

    def __init__(self, log: Log, position: int, cursor: int, outlet: Outlet, leaving: Callable[[], bool]) -> None:
        self.options = ReaderOptions()
        self.outcome: asyncio.Future[bool] = outlet.loop.create_future()
        """Whether the answer may end as a whole one."""
        self._log = log
        self._position = position
        self._cursor = cursor
        self.outlet = outlet
        self._leaving = leaving
        self._told = False
        self._finished = False
        self._seen = position
        self._quiet_since = outlet.loop.time()
        self._until = self._quiet_since + LIVE_SECONDS

    def start(self) -> None:
        """Begins to deliver."""
        self.outlet.on_ready = self.wake
        self.outlet.on_gone = self._left
        self._log.attach(self.wake)
        self.wake()

    def stop(self) -> None:
        """Takes the reader off its log."""
        self._log.detach(self.wake)
        self.outlet.on_ready = self.outlet.on_gone = None

    def wake(self) -> None:
        """There is more to read, or room to write: delivers what can be delivered now."""
        if self.outcome.done():
            return
        try:
            while not self.outlet.paused and self._deliver():
                pass
        except BelowHorizon:
            # What comes next was let go while this reader was slow: it is cut off, and told when it returns.
            self._settle(False)
            return
        except Exception:
            logger.exception("delivering log %s failed", self._log.id)
            self._settle(False)
            return
        if self.outlet.gone or self._log.deleted or (not self.outlet.paused and (self._finished or self._leaving())):
            self._settle(True)

    def check_heartbeat(self, now: float, seconds: float) -> None:
        """Ends an answer that has lasted its minute, and writes a heartbeat to one that has been silent for so long.

        Called for every reader about once a second.
        """
        if self.outcome.done() or self.outlet.paused:
            return
        if now >= self._until:
            self._settle(True)
        elif self._position != self._seen:
            self._seen = self._position
            self._quiet_since = now
        elif seconds and now - self._quiet_since >= seconds:
            self._quiet_since = now
            self.outlet.write(_HEARTBEAT)

    def _deliver(self) -> bool:
        """Writes the next piece and where the reader stands after it; gives whether there may be more."""
        if self._finished:
            return False
        log = self._log
        pieces, after = log.read(self._position, PIECE_BYTES)
        payload = joined(log.kind, pieces) if pieces else b""
        if log.kind == "text" and not (log.closed and after == log.length):
            # The rest of a character that is cut in two comes with the next piece.
            fit = whole_text(payload)
            after -= len(payload) - fit
            payload = payload[:fit]
        ends = log.closed and after == log.length
        moved, self._position = after != self._position, after
        if not payload and self._told and not ends:
            return moved
        self._told, self._finished = True, ends
        control = control_event(after, cursor=self._cursor, up_to_date=after == log.length, closed=ends)
        self.outlet.write(data_event(log.kind, payload) + control if payload else control)
        return True

    def dismiss(self, failure: Failure) -> None:
        """Ends this answer. Whoever comes back for the next one is told why there is none."""
        self._settle(True)

    def _left(self) -> None:
        self._settle(True)

    def _settle(self, whole: bool) -> None:
        if not self.outcome.done():
            self.outcome.set_result(whole)


_HEARTBEAT = comment("hb")


def _where(log: Log, after: int) -> Fields:
    """The headers that say where the reader stands."""
    fields: Fields = [(b"stream-next-offset", offset_text(after).encode("ascii"))]
    if after == log.length:
        fields.append((b"stream-up-to-date", b"true"))
        if log.closed:
            fields.append((b"stream-closed", b"true"))
    return fields


def _type(log: Log) -> tuple[bytes, bytes]:
    return (b"content-type", log.content_type.encode("latin-1"))


def _etag(log: Log, position: int, after: int) -> str:
    end = "-closed" if log.closed and after == log.length else ""
    return f'"{log.id}-{position}-{after}{end}"'
