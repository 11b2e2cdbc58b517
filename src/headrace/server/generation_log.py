"""A generation as a log of the Durable Streams protocol: typed events as JSON messages, its offsets as positions.

A view of one reader upon a `Stream`; it keeps nothing but the encoder and where that stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.events import Ended
from headrace.interfaces import Encoder, Stream
from headrace.protocols import PROTOCOLS
from headrace.requests import ReaderOptions
from headrace.server.delivery import PIECE_EVENTS
from headrace.wire.durable import JSON, Kind


class GenerationLog:
    """One reader's view of a stream.

    Args:
        stream: what is read.
        options: the reader's own.
    """

    __slots__ = ("_encoder", "_fed_from", "_options", "_position", "_stream")

    content_type = JSON
    kind: Kind = "json"
    deleted = False  # a reader reads a stream to its end, also one that was forgotten in the meantime

    def __init__(self, stream: Stream, options: ReaderOptions) -> None:
        self._stream = stream
        self._options = options
        self._position = 0
        # The encoder was fed what came from there on.
        self._fed_from = 0
        self._encoder: Encoder = PROTOCOLS["durable_json"].encoder(options)

    @property
    def id(self) -> str:
        """The stream's; another where less is shown, since its messages are others then."""
        shown = self._options.rationale, self._options.metadata
        return self._stream.id + "".join("" if each else "-" for each in shown)

    @property
    def length(self) -> int:
        """How many events may be read."""
        return self._stream.length

    @property
    def closed(self) -> bool:
        """Whether the generation has ended."""
        return self._stream.ended is not None

    @property
    def readers(self) -> int:
        """How many readers are attached to the stream now, whatever they speak."""
        return self._stream.readers

    def begins_at(self, position: int) -> bool:
        """Whether a reader may begin there.

        Raises:
            BelowHorizon: what stood there was let go.
        """
        if position < self._stream.horizon:
            self._stream.read(position, 1)
        return 0 <= position <= self._stream.length

    def read(self, position: int, limit_bytes: int) -> tuple[Sequence[bytes], int]:
        """The messages from a position on, and the position behind them."""
        stream = self._stream
        if position != self._position:
            self._encoder, self._fed_from = PROTOCOLS["durable_json"].encoder(self._options), position
        messages: list[bytes] = []
        size_bytes = 0
        while size_bytes < limit_bytes and (events := stream.read(position, PIECE_EVENTS)):
            if self._fed_from and type(events[-1]) is Ended:
                self._feed(position)
            made = self._encoder.encode(position, events)
            messages += made
            size_bytes += sum(map(len, made))
            position += len(events)
        self._position = position
        return messages, position

    def _feed(self, position: int) -> None:
        """Feeds the encoder all that came before, as that of every reader that resumes.

        Done when the ending is there and no sooner, since no other message says anything of those before it: a reader
        that polls begins anew with every poll, and would pay for the whole answer each time.
        """
        stream = self._stream
        self._encoder, self._fed_from = PROTOCOLS["durable_json"].encoder(self._options), 0
        self._encoder.encode(0, stream.beginning)
        before = stream.horizon
        while before < position and (events := stream.read(before, min(PIECE_EVENTS, position - before))):
            self._encoder.encode(before, events)
            before += len(events)

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds a reader."""
        self._stream.attach(wake)

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes a reader away."""
        self._stream.detach(wake)
