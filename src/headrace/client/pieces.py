"""The bytes of one connection as whole, numbered pieces of a stream: what a client may keep when the next byte is lost.

Pure: bytes in, pieces out. One event may be several frames, of which the last carries the offset; a piece is given when
that one has come. So whatever of an event a drop has cut off comes again, whole, on the next connection.
"""

from __future__ import annotations

import msgspec

from headrace.client.hearing import Hearing
from headrace.events import Event, Started
from headrace.wire.sse import SSEParser


class Piece(msgspec.Struct, frozen=True):
    """What one event of a stream was told as."""

    offset: int
    """Where the stream goes on: the offset after which nothing of this piece comes again."""
    records: tuple[bytes, ...]
    """The JSON of its frames."""
    events: tuple[Event, ...]
    """What they say: mostly one event, none where the server knows more than we do."""


class Pieces:
    """Reads the pieces of one connection.

    Args:
        after: the offset of the last event that is known already; what comes again of it, or of those before, is
            dropped.
    """

    def __init__(self, after: int) -> None:
        self.ended = False
        """Whether the last event was read."""
        self._after = after
        self._parser = SSEParser()
        self._hearing = Hearing()
        self._identifier = ""
        self._records: list[bytes] = []
        self._events: list[Event] = []

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that these bytes complete, in order.

        Raises:
            ValueError: these are no typed events with offsets.
            EventTooLarge: an event is larger than anything a server sends.
        """
        pieces: list[Piece] = []
        for frame in self._parser.feed(data):
            events = self._hearing.feed(frame.data)
            self._events += events
            if frame.data != "[DONE]":
                self._records.append(frame.data.encode())
            if frame.last_event_id != self._identifier:
                self._identifier = frame.last_event_id
                self._complete(int(self._identifier), pieces)
            elif self._hearing.ended:
                # A reader that could not be served on is told so outside of the stream's numbers.
                self._complete(None, pieces)
            elif events and isinstance(events[0], Started):
                raise ValueError("its events carry no offsets")
        return pieces

    def _complete(self, offset: int | None, pieces: list[Piece]) -> None:
        if offset is None or offset > self._after:
            self._after = self._after if offset is None else offset
            pieces.append(Piece(self._after, tuple(self._records), tuple(self._events)))
            self.ended = self._hearing.ended
        self._records, self._events = [], []
