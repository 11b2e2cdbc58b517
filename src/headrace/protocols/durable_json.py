"""Typed events as JSON messages that each say their offset: how a generation is read over the Durable Streams protocol.

Pure. The frames are those of `headrace.protocols.typed_events`; the ending is the last of them and nothing stands
behind it, since the stream that carries them is closed then.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.events import FINISHED, Ended, Event
from headrace.protocols.framing import JSON_LINES
from headrace.protocols.typed_events import TypedEncoder, TypedEvents
from headrace.requests import ReaderOptions


class DurableJSON(TypedEvents):
    """Requests as those of typed events; answers as their frames, one JSON message each."""

    name = "durable_json"
    framing = JSON_LINES  # type: ignore[assignment]  # another framing is all the difference there is

    def encoder(self, options: ReaderOptions) -> DurableEncoder:  # type: ignore[override]  # an encoder as any other
        """A new encoder for one reader."""
        return DurableEncoder(options)


class DurableEncoder:
    """Events as messages. All that are made from one event carry its offset."""

    __slots__ = ("_typed",)

    def __init__(self, options: ReaderOptions) -> None:
        self._typed = TypedEncoder(options)

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The messages for `events`."""
        messages: list[bytes] = []
        for number, event in enumerate(events, offset):
            frames = self._typed.encode(number, (event,))
            if type(event) is Ended:
                frames.pop()  # the mark for the end, which here is the end itself
                if event.ending in FINISHED:
                    frames.append(frames.pop(0))  # the metadata first: the ending is the last word
            messages.extend(b'%b,"offset":%d}' % (frame[:-1], number) for frame in frames)
        return messages

    def heartbeat(self) -> list[bytes]:
        """None: readers know no such message."""
        return []
