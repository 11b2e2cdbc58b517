"""One byte log: a stream that clients write and read over the Durable Streams protocol.

An append-only list of pieces, each one append or, in JSON mode, one message. A position counts bytes from the start;
in JSON mode a message counts one more, for the comma behind it. A fork keeps its parent and the position it branched
off at, and none of the parent's bytes. Readers are callbacks, as those of a generation (`headrace.streams.memory`).
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from headrace.wire.durable import Kind, Lifetime, Producer, kind_of

# What a piece takes beside its bytes: an object of Python, a place in a list, an end.
PIECE_OVERHEAD_BYTES = 49
LOG_OVERHEAD_BYTES = 2048


class Origin(NamedTuple):
    """Where a log branched off, as it was asked for."""

    source: str
    position: int | None
    sub_offset: int


class Appending(NamedTuple):
    """What a client wants to append."""

    pieces: Sequence[bytes]
    """None where it only closes."""
    closes: bool = False
    producer: Producer | None = None
    order: str | None = None
    """`Stream-Seq`: must rise, byte by byte."""


Verdict: TypeAlias = Literal[
    "append",
    "duplicate",  # it was appended before; nothing changes
    "closed",  # nothing may follow
    "fenced",  # a newer epoch of the same producer is known
    "epoch_begins_late",  # a new epoch has to begin with 0
    "gap",  # appends of this producer are missing in between
    "out_of_order",  # `order` does not rise
]


class ByteLog:
    """One log. It is written by its store alone, `headrace.streams.byte_logs`."""

    __slots__ = (
        "_ends",
        "_pieces",
        "_wakes",
        "base",
        "closed",
        "closed_by",
        "content_type",
        "deleted",
        "expires_ns",
        "forks",
        "id",
        "kind",
        "lifetime",
        "lock",
        "number",
        "order",
        "origin",
        "owner",
        "parent",
        "path",
        "producers",
        "size_bytes",
        "used_ns",
    )

    def __init__(
        self,
        number: int,
        log_id: str,
        owner: str,
        path: str,
        content_type: str,
        lifetime: Lifetime,
        *,
        origin: Origin | None = None,
        parent: ByteLog | None = None,
        base: int = 0,
    ) -> None:
        self.number = number
        """Its place among all logs, in the order they were created."""
        self.id = log_id
        """Its own: another log at the same path, made after this one is gone, has another."""
        self.owner = owner
        self.path = path
        self.content_type = content_type
        self.kind: Kind = kind_of(content_type)
        self.lifetime = lifetime
        self.expires_ns = lifetime.expires_ns
        self.origin = origin
        self.parent = parent
        self.base = base
        """Where its own pieces begin; those before are its parent's."""
        self.forks = 0
        """How many logs branched off it and still are."""
        self.closed = False
        self.closed_by: Producer | None = None
        """The append that closed it, if a producer made it."""
        self.deleted = False
        """Whether it is kept for its forks alone."""
        self.order: str | None = None
        self.producers: dict[str, Producer] = {}
        """The last append of each."""
        self.used_ns = 0
        """When it was last read or written, on the monotonic clock."""
        self.size_bytes = LOG_OVERHEAD_BYTES
        """About what it takes in memory, without its parent."""
        self.lock = asyncio.Lock()
        """Held while an append is decided and kept: one at a time."""
        self._pieces: list[bytes] = []
        self._ends = array("q")
        self._wakes: list[Callable[[], None]] = []

    @property
    def length(self) -> int:
        """The position behind the last byte that may be read."""
        return self._ends[-1] if self._ends else self.base

    @property
    def readers(self) -> int:
        """How many readers are attached now."""
        return len(self._wakes)

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds a reader: `wake` is called after every append and when the log is closed or forgotten."""
        self._wakes.append(wake)

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes a reader away. Twice is the same as once."""
        if wake in self._wakes:
            self._wakes.remove(wake)

    def wake(self) -> None:
        """Tells every reader that something has changed."""
        for wake in self._wakes.copy():  # a reader may leave while it is woken
            wake()

    # -- reading

    def read(self, position: int, limit_bytes: int) -> tuple[list[bytes], int]:
        """What follows `position`, at most about `limit_bytes`, and the position behind it.

        In JSON mode messages are whole, and one larger than the limit comes alone.
        """
        pieces: list[bytes] = []
        room = limit_bytes
        while position < self.length and room > 0:
            holder, end = self._holder(position)
            found, after = holder._own(position, min(end, position + room) if self.kind != "json" else end, room)
            pieces += found
            room -= after - position
            position = after
        return pieces, position

    def begins_at(self, position: int) -> bool:
        """Whether a reader may begin there: anywhere up to the end, in JSON mode between two messages."""
        if not 0 <= position <= self.length:
            return False
        if self.kind != "json" or position == self.length:
            return True
        holder, _ = self._holder(position)
        return holder._start(holder._index(position)) == position

    def after(self, position: int, count: int) -> int | None:
        """The position `count` bytes, or messages in JSON mode, further; `None` where the log ends before."""
        if self.kind != "json":
            return position + count if position + count <= self.length else None
        while count and position < self.length:
            holder, end = self._holder(position)
            # One message at a time would do; a piece at a time is as short.
            _, position = holder._own(position, end, 1)
            count -= 1
        return None if count else position

    def _holder(self, position: int) -> tuple[ByteLog, int]:
        """The log that has the byte at `position`, and where what may be read of it ends."""
        holder, end = self, self.length
        while position < holder.base:
            assert holder.parent is not None
            end = holder.base if end > holder.base else end
            holder = holder.parent
        return holder, end

    def _own(self, position: int, end: int, room: int) -> tuple[list[bytes], int]:
        pieces: list[bytes] = []
        index = self._index(position)
        while position < end and room > 0:
            piece, start = self._pieces[index], self._start(index)
            if self.kind == "json":
                after = self._ends[index]
            else:
                after = min(self._ends[index], end)
                if position > start or after < self._ends[index]:
                    piece = piece[position - start : after - start]
            pieces.append(piece)
            room -= after - position
            position = after
            index += 1
        return pieces, position

    def _index(self, position: int) -> int:
        return bisect_right(self._ends, position)

    def _start(self, index: int) -> int:
        return self._ends[index - 1] if index else self.base

    # -- writing; for its store alone

    def judge(self, asked: Appending) -> Verdict:
        """What becomes of an append. Changes nothing."""
        producer = asked.producer
        known = None if producer is None else self.producers.get(producer.id)
        if producer is not None and known is not None and producer.epoch < known.epoch:
            return "fenced"
        repeated = (
            producer is not None and known is not None and producer.epoch == known.epoch and producer.seq <= known.seq
        )
        if self.closed:
            if not asked.pieces:
                return "duplicate"  # closing twice is the same as once
            # A plain append that was taken before the end stays a duplicate; of closing ones only the one that did it.
            return "duplicate" if repeated and (not asked.closes or producer == self.closed_by) else "closed"
        if repeated:
            return "duplicate"
        if producer is not None:
            if known is not None and producer.epoch > known.epoch and producer.seq:
                return "epoch_begins_late"
            if producer.seq > self.expected(producer):
                return "gap"
        if asked.order is not None and self.order is not None and asked.order <= self.order:
            return "out_of_order"
        return "append"

    def expected(self, producer: Producer) -> int:
        """The count that the next append of this producer has."""
        known = self.producers.get(producer.id)
        return known.seq + 1 if known is not None and known.epoch == producer.epoch else 0

    def take(self, asked: Appending) -> None:
        """Appends what was judged fit, without telling anybody."""
        self.extend(asked.pieces)
        if asked.producer is not None:
            self.producers[asked.producer.id] = asked.producer
        if asked.order is not None:
            self.order = asked.order
        if asked.closes:
            self.closed = True
            self.closed_by = asked.producer

    def extend(self, pieces: Sequence[bytes]) -> None:
        """Adds pieces at the end."""
        end = self.length
        comma = self.kind == "json"
        for piece in filter(None, pieces):
            end += len(piece) + comma
            self._pieces.append(piece)
            self._ends.append(end)
        self.size_bytes += weight(pieces)


def weight(pieces: Sequence[bytes]) -> int:
    """About what pieces take in memory."""
    return sum(map(len, pieces)) + len(pieces) * PIECE_OVERHEAD_BYTES
