"""The roles that the rooms play for each other. This page is the architecture.

    provider ──▶ run ──▶ stream ──▶ protocol ──▶ server
       ▲ middleware         └──▶ observers

Rooms on one floor never import each other; they meet here. A role's docstring says what an implementer
guarantees; `headrace.testing` checks it. Imports the vocabulary and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from headrace.errors import HeadraceError
from headrace.events import Ended, Event, Status
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.timing import Marks

Batch: TypeAlias = Sequence[Event]
"""The events that one read from the network held, in order; never empty, never changed after it is handed on."""

Write: TypeAlias = Callable[[Batch], None]
"""Takes a batch. Quick, never waits, and does not raise."""


StreamState: TypeAlias = Literal["running", "ended"]
"""Whether a stream's last event may be read."""

LIST_LIMIT = 100
"""How many streams one page of a list holds at the most, where nothing else is asked for."""


class Provider(Protocol):
    """Speaks to one configured upstream."""

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """Performs one attempt: hands the events to `write`, a batch for each network read, and gives the ending.

        `request.model` is the upstream's own name of the model. The provider writes `connected_ns`, `sent_ns` and
        `first_byte_ns` into `marks` as they happen. A batch is handed over in the same turn of the event loop in which
        it was read, and is in the stream, and on its way to the readers, when `write` returns. No batch holds a
        `Started` or an `Ended`: the run says the first, and the last is given back, with the upstream's own ending and
        neither failure nor timing. A provider whose upstream merely stops raises `UpstreamTruncated`; it never makes up
        an ending.

        Cancelling the task that waits here closes the upstream's connection at once; nothing is written after that.

        Raises:
            UpstreamError: the attempt failed; what was written before stands.
        """
        ...

    async def models(self) -> Sequence[str]:
        """The names of the models this upstream offers, as it says now.

        Raises:
            UpstreamError: it could not be asked.
        """
        ...

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        """The names of what this upstream has no word for, and would not be told. Pure; asked once a request."""
        ...

    async def close(self) -> None:
        """Closes what the provider keeps open between requests."""
        ...


class Stream(Protocol):
    """The append-only, numbered record of one generation. One writer, any number of readers."""

    @property
    def id(self) -> str:
        """Unique per owner; 128 bits."""
        ...

    @property
    def owner(self) -> str:
        """Whose it is; nobody else is told that it exists."""
        ...

    @property
    def request(self) -> GenerationRequest:
        """What was asked, as it was asked."""
        ...

    @property
    def length(self) -> int:
        """How many events may be read: the offset of the next one."""
        ...

    @property
    def ended(self) -> Ended | None:
        """The last event, once it may be read."""
        ...

    @property
    def readers(self) -> int:
        """How many readers are attached now."""
        ...

    @property
    def horizon(self) -> int:
        """The offset of the first event that can still be read; 0 unless the store has let the beginning go."""
        ...

    @property
    def beginning(self) -> Sequence[Event]:
        """What stands for the events before the horizon; empty where it is 0.

        Whoever folds it knows what it would know from those events: each is still there, but for deltas of one kind
        that followed each other, which are joined. An encoder that was fed it goes on at the horizon as ever.
        """
        ...

    def said(self) -> Sequence[Event]:
        """All that may be read, to be folded: `beginning`, and every event from the horizon on."""
        ...

    def appended(self) -> Sequence[Event]:
        """The same and what was appended but may not be read yet. For the stream's run alone."""
        ...

    def append(self, batch: Batch) -> None:
        """Numbers the events of `batch`; once they are kept they may be read, and every reader is woken once.

        Only the stream's run calls it. What cannot be kept ends the stream, and the store tells of it
        (`StreamStore.tell_failures`).

        Raises:
            ValueError: the stream has ended.
        """
        ...

    def read(self, offset: int, limit: int = ...) -> Sequence[Event]:
        """The events from `offset` on that may be read now, at most `limit` of them; empty where there are none yet.

        Raises:
            BelowHorizon: the event of that offset was let go.
        """
        ...

    def times(self, offset: int, limit: int = ...) -> Sequence[int]:
        """When the events that `read` gives came: nanoseconds since the stream was created."""
        ...

    def attach(self, wake: Callable[[], None]) -> None:
        """Adds a reader: `wake` is called after every batch. It must be quick and may not raise."""
        ...

    def detach(self, wake: Callable[[], None]) -> None:
        """Takes a reader away. Twice is the same as once."""
        ...

    def follow(self, after: int = -1) -> AsyncGenerator[tuple[int, Sequence[Event]], None]:
        """The events after offset `after`, in pieces with the offset of their first, until the stream has ended.

        Counts as a reader while it is iterated; close it with `aclosing`.

        Raises:
            BelowHorizon: events that should come were let go.
        """
        ...


class StreamStore(Protocol):
    """Keeps streams."""

    def create(self, stream_id: str, owner: str, request: GenerationRequest) -> Stream:
        """A new, empty stream.

        Raises:
            StreamExists: this owner has a stream of that id.
        """
        ...

    def open(self, stream_id: str, owner: str) -> Stream:
        """The stream of that id that belongs to `owner`.

        Raises:
            UnknownStream: there is none, or it belongs to somebody else: the two cannot be told apart.
        """
        ...

    def find(self, owner: str, idempotency_key: str) -> Stream | None:
        """The owner's latest stream whose request carries this key; `None` where there is none.

        A stream is found from the moment `create` gives it until it is deleted or forgotten.
        """
        ...

    def list(
        self,
        owner: str,
        *,
        conversation_id: str | None = None,
        state: StreamState | None = None,
        before: str | None = None,
        limit: int = LIST_LIMIT,
    ) -> Sequence[Stream]:
        """The owner's streams, newest first: a page of them, empty after the last.

        Args:
            owner: whose they are.
            conversation_id: only those of this conversation.
            state: only those that are running, or have ended.
            before: the id of a stream, as the last of the page before: only those begun before that one.
            limit: the most streams of one page.

        Raises:
            UnknownStream: the stream named by `before` is not there (any more), or belongs to somebody else.
        """
        ...

    def delete(self, stream_id: str, owner: str) -> None:
        """Forgets a stream.

        Raises:
            UnknownStream: as `open`.
        """
        ...

    async def written(self) -> None:
        """Returns once what was created, appended and deleted so far would outlive this process, if anything does.

        Raises:
            StoreError: what was done last could not be kept.
        """
        ...

    def sweep(self) -> None:
        """Forgets the streams that ended longer ago than the retention."""
        ...

    def tell_failures(self, tell: Callable[[Stream], None]) -> None:
        """Has `tell` called for every stream that goes on and cannot be kept, before it is ended."""
        ...

    async def close(self) -> None:
        """Keeps what is left to keep, and closes what is open."""
        ...


class Middleware(Protocol):
    """Prepares a request before an upstream is asked."""

    async def prepare(
        self, request: GenerationRequest, owner: str, tell: Callable[[Status], None]
    ) -> GenerationRequest:
        """The request as it shall be put to the upstream; `tell` lets readers know what they might wonder about.

        Raises:
            HeadraceError: it cannot be served.
        """
        ...


class Framing(Protocol):
    """How records become bytes on a connection: server-sent events, lines of JSON, bare text."""

    @property
    def content_type(self) -> str:
        """The `Content-Type` of a response framed so."""
        ...

    @property
    def heartbeat(self) -> bytes:
        """What keeps a silent connection alive and no reader notices; empty where there is no such thing."""
        ...

    @property
    def heartbeat_with_ids(self) -> bytes:
        """The same on a connection whose frames carry ids."""
        ...

    @property
    def opening(self) -> bytes:
        """What a connection begins with that an `EventSource` may come back on; no reader takes it for an event."""
        ...

    @property
    def tells_endings(self) -> bool:
        """Whether records can say how a stream ended; where not, one that did not end well is cut off."""
        ...

    @property
    def between(self) -> bytes:
        """What stands between two records: records joined by it are framed like the records one by one."""
        ...

    @property
    def may_be_cut(self) -> bool:
        """Whether a frame may be cut anywhere between two writes; not where several streams share a connection."""
        ...

    def frame(self, records: Sequence[bytes]) -> bytes:
        """`records` as bytes, for one write."""
        ...

    def frame_with_id(self, records: Sequence[bytes], offset: int) -> bytes:
        """`records`, all made from one event, the last carrying the event's offset as its id."""
        ...


class Encoder(Protocol):
    """Turns the events of one stream into one reader's records.

    What it gives depends on the events before and on the reader's options, never on how events were batched:
    encoding event by event and encoding all at once give the same records. So a reader that resumes gets the
    bytes an unbroken one got: the encoder is fed the earlier events, and its output thrown away. What was let go of
    them it is fed as `Stream.beginning` has it, and is then in the same state.
    """

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The records for `events`, the first of which has this offset. The records of `Ended` close the protocol.

        Records that follow each other may come joined by the framing's `between`, as one.
        """
        ...

    def heartbeat(self) -> list[bytes]:
        """Records that say nothing, for a framing that has no heartbeat; none where readers know no such record."""
        ...


class ReaderProtocol(Protocol):
    """One language that readers speak: how a request is read, and how events are written."""

    @property
    def name(self) -> str:
        """The name used in settings, metrics and `?protocol=`."""
        ...

    @property
    def framing(self) -> Framing:
        """How its records are framed when the answer is streamed."""
        ...

    @property
    def holds_status(self) -> bool:
        """Whether clients act on the HTTP status, so that it waits for the first content or the final failure."""
        ...

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`; `options` are request headers, lower-case names to values.

        Raises:
            RequestError: it cannot be read; the message says which field and what to do.
        """
        ...

    def encoder(self, options: ReaderOptions) -> Encoder:
        """A new encoder for one reader."""
        ...

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer of a stream that ended well, not streamed: a fold over the same events."""
        ...

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error, before anything else was sent."""
        ...


class Observer(Protocol):
    """A reader that is not a person."""

    def ended(self, stream: Stream) -> None:
        """A stream has ended; its events can be read. Must be quick and may not raise."""
        ...
