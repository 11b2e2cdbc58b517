"""Streams kept in memory: the quickest store, and the front of every other.

A stream is a list of events that only grows. A reader is a callback: `append` extends the list once and
wakes each reader once, whatever the batch holds, and a reader that is slow or away costs nothing but its
own position. Streams are forgotten some time after they ended.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import dropwhile, islice

from headrace.clock import Clock
from headrace.errors import BelowHorizon, StreamExists, UnknownStream
from headrace.events import Ended, Event, ReasoningDelta, Status, TextDelta, ToolCallDelta
from headrace.interfaces import LIST_LIMIT, Batch, Stream, StreamState
from headrace.requests import GenerationRequest
from headrace.streams.conversations import Conversations
from headrace.streams.joining import joined

# How many events one `read` gives at the most. Deltas of a token or two make about 64 KiB of frames out of 256.
READ_LIMIT = 256


class MemoryStream:
    """The record of one generation, in memory. `on_ended` is told when its last event is written."""

    __slots__ = (
        "_clock",
        "_created_ns",
        "_events",
        "_on_ended",
        "_times",
        "_wakes",
        "beginning",
        "ended",
        "ended_ns",
        "horizon",
        "id",
        "owner",
        "request",
    )

    def __init__(
        self,
        stream_id: str,
        owner: str,
        request: GenerationRequest,
        clock: Clock,
        on_ended: Callable[[MemoryStream], None],
    ) -> None:
        self.id = stream_id
        self.owner = owner
        self.request = request
        self.ended: Ended | None = None
        self.ended_ns: int | None = None
        """When it ended, on the monotonic clock; retention counts from here."""
        self.horizon = 0
        """The offset of the first event that is still there."""
        self.beginning: Sequence[Event] = ()
        """What stands for the events before it."""
        self._clock = clock
        self._on_ended = on_ended
        self._created_ns = clock.monotonic_ns()
        self._events: list[Event] = []
        # One time for each event, eight bytes instead of an object: a stream of thousands of deltas stays small.
        self._times = array("q")
        self._wakes: list[Callable[[], None]] = []

    @property
    def length(self) -> int:
        """The offset of the next event."""
        return len(self._events)

    @property
    def readers(self) -> int:
        """How many readers are attached now."""
        return len(self._wakes)

    def append(self, batch: Batch) -> None:
        """Numbers the events and wakes every reader once."""
        if self.ended is not None:
            raise ValueError(f"stream {self.id} has ended: nothing may follow")
        now = self._clock.monotonic_ns()
        self._events.extend(batch)
        if len(batch) == 1:
            self._times.append(now - self._created_ns)
        else:
            self._times += array("q", (now - self._created_ns,)) * len(batch)
        last = batch[-1]
        if type(last) is Ended:
            self.ended = last
            self.ended_ns = now
            self._on_ended(self)
        # A copy where there are several: a reader may leave while it is woken.
        wakes = self._wakes
        if len(wakes) == 1:
            wakes[0]()
        else:
            for wake in wakes.copy():
                wake()

    def read(self, offset: int, limit: int = READ_LIMIT) -> Sequence[Event]:
        """The events from `offset` on, at most `limit`."""
        if offset < self.horizon:
            raise BelowHorizon(
                f"the events of stream {self.id!r} before {self.horizon} are no longer kept one by one;"
                f" read on with ?after={self.horizon - 1}",
                parameter="after",
            )
        return self._events[offset : offset + limit]

    def said(self) -> Sequence[Event]:
        """Everything that may be read, the part before the horizon joined."""
        if not self.horizon:
            return self._events.copy()
        return [*self.beginning, *self.read(self.horizon, self.length)]

    def appended(self) -> Sequence[Event]:
        """The same: what was appended may be read."""
        return self.said()

    def shorten(self, horizon: int) -> None:
        """Lets the events before `horizon`, which may be read already, go: what they said is kept in one piece."""
        self.beginning = joined([*self.beginning, *self._events[self.horizon : horizon]])
        # Their places stay, a few bytes each: so an offset is a place in the list, before and after.
        gone: list[Event] = [_GONE] * (horizon - self.horizon)
        self._events[self.horizon : horizon] = gone
        self.horizon = horizon

    def times(self, offset: int, limit: int = READ_LIMIT) -> Sequence[int]:
        """When they came, in nanoseconds since the stream was created."""
        return self._times[offset : offset + limit]

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds a reader."""
        self._wakes.append(wake)

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes a reader away."""
        if wake in self._wakes:
            self._wakes.remove(wake)

    async def follow(self, after: int = -1) -> AsyncGenerator[tuple[int, Sequence[Event]], None]:
        """The events after `after`, until the stream has ended."""
        offset = after + 1
        arrived = asyncio.Event()
        self.attach(arrived.set)
        try:
            while True:
                arrived.clear()
                while events := self.read(offset):
                    yield offset, events
                    offset += len(events)
                if self.ended is not None and offset >= len(self._events):
                    return
                await arrived.wait()
        finally:
            self.detach(arrived.set)


_GONE = Status("waiting", "")  # never read: what lies before the horizon is not


class MemoryStore:
    """Streams in memory, by owner and id. Ended ones are forgotten by age and, oldest first, by size.

    Args:
        clock: for the streams' times.
        retention_seconds: how long a stream is kept after its end.
        retained_bytes: about how much ended streams may take altogether.
        stream_limit_bytes: about how much one stream that goes on may take. Of one that takes more, the events of its
            first part are let go, and what they said is kept in one piece.
        conversations: told of streams that begin, end and go.
    """

    def __init__(
        self,
        clock: Clock,
        retention_seconds: float,
        retained_bytes: int = 256 << 20,
        stream_limit_bytes: int = 64 << 20,
        conversations: Conversations | None = None,
    ) -> None:
        self._clock = clock
        self._index = conversations
        self._retention_ns = int(retention_seconds * 1e9)
        self._most_bytes = retained_bytes
        self._most_stream_bytes = stream_limit_bytes
        # Those that go on, with how many of their events were weighed, and what those take.
        self._running: dict[MemoryStream, tuple[int, int]] = {}
        self._streams: dict[tuple[str, str], MemoryStream] = {}
        # The same by owner, in the order they began: what a list is made of.
        self._owners: dict[str, dict[str, MemoryStream]] = {}
        self._keys: dict[tuple[str, str], MemoryStream] = {}
        # The streams of a conversation, in the order they began: every question of it asks for them.
        self._conversations: dict[tuple[str, str], list[MemoryStream]] = {}
        # Those that ended and what they take, in the order they did, so that forgetting never has to search: the first
        # entry of a plain dict lies behind the gaps of all that were taken out before it.
        self._ended: OrderedDict[MemoryStream, int] = OrderedDict()
        self._ended_bytes = 0

    def create(self, stream_id: str, owner: str, request: GenerationRequest) -> MemoryStream:
        """A new, empty stream."""
        key = (owner, stream_id)
        if key in self._streams:
            raise StreamExists(
                f"you already have a stream {stream_id!r}; choose another id, or read it at /v1/streams/{stream_id}"
            )
        stream = self._streams[key] = MemoryStream(stream_id, owner, request, self._clock, self._keep)
        self._running[stream] = (0, 0)
        self._owners.setdefault(owner, {})[stream_id] = stream
        if request.idempotency is not None:
            self._keys[owner, request.idempotency.key] = stream
        if request.conversation_id is not None:
            self._conversations.setdefault((owner, request.conversation_id), []).append(stream)
            if self._index is not None:
                self._index.begin(owner, stream_id, request, self._clock.unix_ns())
        return stream

    def open(self, stream_id: str, owner: str) -> MemoryStream:
        """The owner's stream of that id."""
        try:
            return self._streams[owner, stream_id]
        except KeyError:
            raise UnknownStream(
                f"no stream {stream_id[:128]!r}: it may be older than the retention, or mistyped"
            ) from None

    def find(self, owner: str, idempotency_key: str) -> MemoryStream | None:
        """The owner's latest stream with that key."""
        return self._keys.get((owner, idempotency_key))

    def list(
        self,
        owner: str,
        *,
        conversation_id: str | None = None,
        state: StreamState | None = None,
        before: str | None = None,
        limit: int = LIST_LIMIT,
    ) -> Sequence[MemoryStream]:
        """A page of the owner's streams, newest first."""
        if before is not None:
            self.open(before, owner)
        newest_first: Iterator[MemoryStream] = reversed(self._owners.get(owner, {}).values())
        if conversation_id is not None:
            # A stream of it begins a page of it, as a rule: then nobody else's streams are looked through.
            of_it = self._conversations.get((owner, conversation_id), [])
            if before is None or any(stream.id == before for stream in of_it):
                newest_first = reversed(of_it)
        if before is not None:
            newest_first = islice(dropwhile(lambda stream: stream.id != before, newest_first), 1, None)
        wanted = (
            stream
            for stream in newest_first
            if conversation_id in (None, stream.request.conversation_id)
            and (state is None or (stream.ended is None) == (state == "running"))
        )
        return tuple(islice(wanted, limit))

    def delete(self, stream_id: str, owner: str) -> None:
        """Forgets a stream. Its readers read it to its end."""
        self._forget(self.open(stream_id, owner))

    async def written(self) -> None:
        """Nothing here outlives its process."""

    def sweep(self) -> None:
        """Forgets the streams that ended longer ago than the retention, and shortens those that have become long."""
        for stream, (weighed, size) in self._running.items():
            if (length := stream.length) != weighed:
                size += sum(map(_weight, stream.read(weighed, length - weighed)))
                if size > self._most_stream_bytes:
                    size = self._shorten(stream)
                self._running[stream] = (length, size)
        horizon = self._clock.monotonic_ns() - self._retention_ns
        while (oldest := next(iter(self._ended), None)) is not None:
            if oldest.ended_ns is None or oldest.ended_ns >= horizon:
                return
            self._forget(oldest)

    def _shorten(self, stream: MemoryStream) -> int:
        """Lets all go but the last events, of half the limit together; at least one stays. Gives what they take."""
        horizon, size = stream.length, 0
        while horizon - 1 > stream.horizon:
            more = _weight(stream.read(horizon - 1, 1)[0])
            if size and size + more > self._most_stream_bytes // 2:
                break
            horizon, size = horizon - 1, size + more
        stream.shorten(horizon)
        return size

    def tell_failures(self, tell: Callable[[Stream], None]) -> None:
        """Memory keeps everything."""

    async def close(self) -> None:
        """Nothing is open."""

    def _keep(self, stream: MemoryStream) -> None:
        if self._streams.get((stream.owner, stream.id)) is not stream:
            return  # deleted while it was going on
        if self._index is not None:
            self._index.finish(stream)
        del self._running[stream]
        self._ended[stream] = size = about_bytes(stream)
        self._ended_bytes += size
        while self._ended_bytes > self._most_bytes and len(self._ended) > 1:
            self._forget(next(iter(self._ended)))

    def _forget(self, stream: MemoryStream) -> None:
        del self._streams[stream.owner, stream.id]
        self._running.pop(stream, None)
        of_owner = self._owners[stream.owner]
        del of_owner[stream.id]
        if not of_owner:
            del self._owners[stream.owner]
        idempotency = stream.request.idempotency
        if idempotency is not None and self._keys.get((stream.owner, idempotency.key)) is stream:
            del self._keys[stream.owner, idempotency.key]
        self._ended_bytes -= self._ended.pop(stream, 0)
        if (conversation_id := stream.request.conversation_id) is not None:
            conversation = self._conversations[stream.owner, conversation_id]
            conversation.remove(stream)
            if not conversation:
                del self._conversations[stream.owner, conversation_id]
            if self._index is not None:
                self._index.forget([(stream.owner, stream.id)])


# What a stream, and an event with a delta of a token or two, take in CPython 3.11.
STREAM_BYTES = 1500
EVENT_BYTES = 130
MOST_WEIGHED = 64
# A tuple: `A | B` is made anew each time it is come by.
SAID = (TextDelta, ReasoningDelta)


def _weight(event: Event) -> int:
    """About how much memory an event takes."""
    match event:
        case TextDelta() | ReasoningDelta():
            return EVENT_BYTES + len(event.text)
        case ToolCallDelta():
            return EVENT_BYTES + len(event.arguments)
        case _:
            return EVENT_BYTES


def about_bytes(stream: MemoryStream) -> int:
    """About how much memory a stream takes: what was asked, and what was answered."""
    asked = 0
    for message in stream.request.messages:
        content = message.content
        if content is not None:
            asked += len(content) if isinstance(content, str) else len(bytes(content))
    said = stream.length * EVENT_BYTES
    if stream.length <= MOST_WEIGHED:
        # Few events: they may be long. Of many, each is a delta, and looking at all of them would cost a tenth of them.
        for event in stream.said():
            if isinstance(event, SAID):
                said += len(event.text)
    return STREAM_BYTES + asked + said
