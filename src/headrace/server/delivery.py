"""Delivering a stream to one reader: from the log to the connection, driven by callbacks alone.

A delivery is woken by the stream once a batch, takes everything there is, and writes it at once, in the same turn of
the event loop in which it was appended. A reader that is slow is left alone until it has caught up; then it
is served from the log. There is no task and no queue per reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Protocol, TypeAlias

from headrace.errors import BelowHorizon, InternalError
from headrace.events import CONTENT, FINISHED, Ended, Event, Failure
from headrace.interfaces import Encoder, Framing, Stream
from headrace.requests import ReaderOptions
from headrace.server.callers import Caller

logger = logging.getLogger("headrace.server")

PIECE_BYTES = 64 * 1024
PIECE_EVENTS = 192
FIRST_PIECE_EVENTS = 16
"""How many events the first piece holds: they may be large, and how large is known once they are encoded."""
TURN_PIECES = 4
"""How many pieces one reader is given before others have their turn: about a millisecond's work."""

Outcome: TypeAlias = Literal["finished", "gone", "failed"]


class Shown(Protocol):
    """What a delivery reads: a `Stream`, or a view upon one that shows some of it later."""

    @property
    def id(self) -> str:
        """As the stream's."""
        ...

    @property
    def length(self) -> int:
        """As the stream's."""
        ...

    @property
    def ended(self) -> Ended | None:
        """As the stream's."""
        ...

    @property
    def horizon(self) -> int:
        """As the stream's."""
        ...

    @property
    def beginning(self) -> Sequence[Event]:
        """As the stream's."""
        ...

    def read(self, offset: int, limit: int) -> Sequence[Event]:
        """The events from `offset` on that are shown by now."""
        ...

    def attach(self, wake: Callable[[], None]) -> None:
        """Has `wake` called when there may be more to read."""
        ...

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes the reader away."""
        ...


class Spoken(Protocol):
    """How a delivery's events are written: a `ReaderProtocol`, or as much of one as that takes."""

    @property
    def name(self) -> str:
        """As the protocol's."""
        ...

    @property
    def framing(self) -> Framing:
        """As the protocol's."""
        ...

    def encoder(self, options: ReaderOptions) -> Encoder:
        """A new encoder for one reader."""
        ...


class Outgoing(Protocol):
    """Where a delivery is written to: the response to a request, or one lane of a WebSocket."""

    on_ready: Callable[[], None] | None
    """Called when a slow reader has caught up."""
    on_gone: Callable[[], None] | None
    """Called once, when the reader has left."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the connection."""
        ...

    @property
    def caller(self) -> Caller:
        """Whose request this is."""
        ...

    @property
    def paused(self) -> bool:
        """Whether the reader is slow: what is written then only fills memory."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the reader has left."""
        ...

    def write(self, data: bytes) -> None:
        """Writes frames, or a piece of one where the framing may be cut."""
        ...

    def flush(self) -> None:
        """Writes what waits for the first piece."""
        ...


class Delivery:
    """One reader of one stream.

    Args:
        stream: what is read.
        offset: the first event delivered, not below the horizon; earlier ones are fed to the encoder and not sent.
        protocol: how events are written.
        options: this reader's own.
        outlet: where it is written to.
    """

    __slots__ = (
        "_encoder",
        "_framing",
        "_heartbeat",
        "_most_events",
        "_offset",
        "_protocol",
        "_quiet_since",
        "_seen_offset",
        "_stream",
        "_unsent",
        "_waits_for_turn",
        "_with_ids",
        "options",
        "outcome",
        "outlet",
    )

    def __init__(self, stream: Shown, offset: int, protocol: Spoken, options: ReaderOptions, outlet: Outgoing) -> None:
        self.outcome: asyncio.Future[Outcome] = outlet.loop.create_future()
        self._stream = stream
        self._offset = offset
        self._protocol = protocol
        self.options = options
        self.outlet = outlet
        self._encoder: Encoder = protocol.encoder(options)
        self._framing: Framing = protocol.framing
        self._with_ids = options.event_ids
        self._heartbeat = self._framing.heartbeat_with_ids if self._with_ids else self._framing.heartbeat
        # What is left of a piece that was too large for one write.
        self._unsent: deque[bytes] = deque()
        self._waits_for_turn = False
        self._most_events = FIRST_PIECE_EVENTS
        self._seen_offset = offset
        self._quiet_since = outlet.loop.time()

    async def start(self) -> None:
        """Begins to deliver. `outcome` is set when there is no more to do."""
        outlet = self.outlet
        outlet.on_gone = self._left
        if self._offset:
            outlet.flush()
            # It counts as a reader while it catches up.
            self._stream.attach(self._not_yet)
            try:
                await self._feed_earlier()
            except Exception as error:
                self._fail(error)
                return
            finally:
                self._stream.detach(self._not_yet)
        if outlet.gone:
            self._left()
            return
        outlet.on_ready = self.wake
        self._stream.attach(self.wake)
        self.wake()
        outlet.flush()  # the head, where there was nothing yet to go with it

    def stop(self) -> None:
        """Takes the reader off its stream."""
        self._stream.detach(self.wake)
        self.outlet.on_ready = self.outlet.on_gone = None
        self._settle("gone")

    def wake(self) -> None:
        """There is more to read, or room to write: delivers what can be delivered now."""
        stream, outlet = self._stream, self.outlet
        if self.outcome.done():
            return
        pieces = 0
        try:
            while not outlet.paused and (events := stream.read(self._offset, self._most_events)):
                if self._with_ids:
                    data = b"".join(
                        self._framing.frame_with_id(self._encoder.encode(offset, (event,)), offset)
                        for offset, event in enumerate(events, self._offset)
                    )
                else:
                    data = self._framing.frame(self._encoder.encode(self._offset, events))
                self._offset += len(events)
                if len(data) <= PIECE_BYTES:
                    if data:
                        outlet.write(data)
                else:
                    self._write_long(data)
                    self._fit(len(events), len(data))
                    if self._unsent:
                        return
                pieces += 1
                if pieces > 1:
                    self._fit(len(events), len(data))
                    if pieces == TURN_PIECES:
                        self._take_turns()
                        return
        except Exception as error:
            self._fail(error)
            return
        if stream.ended is not None and self._offset >= stream.length and not self._unsent:
            whole = stream.ended.ending in FINISHED or self._framing.tells_endings
            self._settle("finished" if whole else "failed")
        elif outlet.gone:
            self._settle("gone")

    def check_heartbeat(self, now: float, seconds: float) -> None:
        """Writes a heartbeat if nothing was written for so long. Called for every delivery about once a second."""
        if self._offset != self._seen_offset:
            self._seen_offset = self._offset
            self._quiet_since = now
        elif seconds and now - self._quiet_since >= seconds and not self.outlet.paused:
            self._quiet_since = now
            if heartbeat := self._heartbeat or self._framing.frame(self._encoder.heartbeat()):
                self.outlet.write(heartbeat)

    async def _feed_earlier(self) -> None:
        """Feeds the encoder the events that the reader has, and lets others have their turn in a long stream."""
        stream = self._stream
        if before := stream.horizon:
            self._encoder.encode(0, stream.beginning)
        pieces = 0
        while before < self._offset and not self.outlet.gone:
            events = stream.read(before, min(self._most_events, self._offset - before))
            records = self._encoder.encode(before, events)
            self._fit(len(events), sum(map(len, records)))
            before += len(events)
            pieces += 1
            if not pieces % TURN_PIECES:
                await asyncio.sleep(0)

    def _fit(self, events: int, size_bytes: int) -> None:
        """Has the next pieces hold about as many events as one write takes, from what these came to."""
        if size_bytes > PIECE_BYTES:
            self._most_events = max(1, events * PIECE_BYTES // size_bytes)
        elif self._most_events < PIECE_EVENTS and events == self._most_events and 2 * size_bytes <= PIECE_BYTES:
            self._most_events = min(2 * events, PIECE_EVENTS)

    def _not_yet(self) -> None:
        """There is more to read, for later."""

    def _write_long(self, data: bytes) -> None:
        """Writes what is too large for one write, as far as the reader takes it; the rest when it is ready."""
        if not self._framing.may_be_cut:
            self.outlet.write(data)
            return
        self._unsent.extend(data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))
        self._write_unsent()

    def _write_unsent(self) -> None:
        unsent, outlet = self._unsent, self.outlet
        while unsent and not outlet.paused:
            outlet.write(unsent.popleft())
        outlet.on_ready = self._go_on_with_unsent if unsent else self.wake

    def _go_on_with_unsent(self) -> None:
        self._write_unsent()
        self.wake()

    def _take_turns(self) -> None:
        """Goes on in the next turn of the event loop: a reader that takes all it is given holds up nobody else."""
        if not self._waits_for_turn:
            self._waits_for_turn = True
            self.outlet.loop.call_soon(self._my_turn)

    def _my_turn(self) -> None:
        self._waits_for_turn = False
        self.wake()

    def _left(self) -> None:
        self._settle("gone")

    def dismiss(self, failure: Failure) -> None:
        """Ends this reader alone, and tells it why in its own protocol. Its stream goes on."""
        if self.outcome.done():
            return
        if self._unsent:
            self._settle("failed")  # a frame is half written: there is no room for another
            return
        self._tell(failure)
        self._settle("finished" if self._framing.tells_endings else "failed")

    def _fail(self, error: Exception) -> None:
        if isinstance(error, BelowHorizon):
            # What comes next was let go while this reader was slow: it is cut off, and told when it returns.
            self._settle("failed")
            return
        # A fault in an encoder ends its reader and nobody else (L19).
        logger.exception("delivering stream %s as %s failed", self._stream.id, self._protocol.name)
        self._tell(InternalError("headrace made a mistake while writing this answer; its log says which").failure())
        self._settle("failed")

    def _tell(self, failure: Failure) -> None:
        try:
            records = self._protocol.encoder(self.options).encode(0, (Ended("error", failure),))
            if data := self._framing.frame(records):
                self.outlet.write(data)
        except Exception:
            logger.exception("telling the reader of stream %s why it ends failed", self._stream.id)

    def _settle(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Served(Protocol):
    """A live reader, as it is looked after."""

    @property
    def outlet(self) -> Outgoing:
        """Where it is written to."""
        ...

    @property
    def options(self) -> ReaderOptions:
        """Its own."""
        ...

    def check_heartbeat(self, now: float, seconds: float) -> None:
        """Writes a heartbeat if one is due."""
        ...

    def dismiss(self, failure: Failure) -> None:
        """Ends this reader alone. Its stream goes on."""
        ...


class Wakes(Protocol):
    """What tells its readers that there is more: a stream, or a log."""

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds a reader."""
        ...

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes a reader away."""
        ...


Waited: TypeAlias = Literal["met", "gone", "late"]


async def until(
    stream: Wakes, outlet: Outgoing, condition: Callable[[], bool], *, seconds: float | None = None
) -> Waited:
    """Waits, as a reader of the stream, until `condition` holds after a batch.

    `gone`: the reader left before. `late`: so many seconds passed before, or its key was revoked.
    """
    loop = outlet.loop
    waited: asyncio.Future[Waited] = loop.create_future()

    def settle(outcome: Waited) -> None:
        if not waited.done():
            waited.set_result(outcome)

    def look() -> None:
        if condition():
            settle("met")

    stream.attach(look)
    outlet.on_gone = lambda: settle("gone")
    timer = loop.call_later(seconds, settle, "late") if seconds else None
    key = outlet.caller.key
    revoked = partial(settle, "late")
    if key is not None:
        key.waiting.add(revoked)
    try:
        look()
        if outlet.gone:
            settle("gone")
        return await waited
    finally:
        stream.detach(look)
        outlet.on_gone = None
        if key is not None:
            key.waiting.discard(revoked)
        if timer is not None:
            timer.cancel()


def has_content(stream: Stream) -> Callable[[], bool]:
    """Whether the stream has content, or has ended: when a status that is held can be given."""
    offset = 0

    def look() -> bool:
        nonlocal offset
        if stream.ended is not None or stream.horizon:
            return True
        while events := stream.read(offset):
            if any(isinstance(event, CONTENT) for event in events):
                return True
            offset += len(events)
        return False

    return look
