"""One stream as its reader has it: what both clients do, without a connection.

Opens nothing and waits for nothing; clock and chance are given. The shells (`asynchronous.py`, `blocking.py`) do what
`action` says, tell what came of it, and hand on what `take` gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import msgspec

from headrace.client.connection_state import (
    ENDS,
    Action,
    Advanced,
    Ask,
    ConnectionState,
    Dropped,
    Exists,
    Finished,
    Get,
    Input,
    Join,
    Left,
    Opened,
    Post,
    Refused,
    Resuming,
    Stop,
    Waited,
)
from headrace.client.measuring import Measuring, Stats
from headrace.client.pieces import Piece, Pieces
from headrace.client.questions import Asked, Question, asking, resuming
from headrace.client.refusals import refusal_of
from headrace.clock import Clock
from headrace.errors import (
    HeadraceError,
    StreamExists,
    UnknownStream,
    UpstreamError,
    UpstreamMalformed,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from headrace.events import FINISHED, Ending, Event, Failure, Source, ToolCallDelta
from headrace.folding import Answer
from headrace.timing import Timing
from headrace.usage import Usage

OnExit: TypeAlias = Literal["cancel", "detach"]
"""What leaving the block before the end does: ends the stream for everybody, or lets it go on."""


class Final(msgspec.Struct, frozen=True):
    """The answer as far as it was read: a fold over the events that were given."""

    text: str
    reasoning: str
    """What a reasoning model thought first; empty where it did not, or did not say."""
    tool_calls: tuple[ToolCallDelta, ...]
    """The tools that the model wants to be called, each with all of its arguments."""
    sources: tuple[Source, ...]
    """The passages it rests on, where it was answered from documents."""
    model: str | None
    """The model as it was asked for."""
    ending: Ending | None
    """Why the stream closed; `None` as long as its end was not read."""
    usage: Usage | None
    """Tokens in and out, and how they are known; told at the end."""
    timing: Timing | None
    """How long it took, as the server measured it; told at the end."""
    conversation_id: str | None
    failure: Failure | None
    """Why it did not end well; `None` where it did."""


class StreamFailed(HeadraceError):
    """The stream ended, and not well: it was cancelled, broke off, or failed. `ending` says which."""

    code = "stream_failed"

    def __init__(self, ending: Ending, failure: Failure | None) -> None:
        message = f"the stream ended as {ending}" if failure is None else failure.message
        super().__init__(message, retry_after_seconds=None if failure is None else failure.retry_after_seconds)
        self.ending: Ending = ending
        self.retryable = failure is not None and failure.retryable
        self._failure = failure or Failure(self.code, message, self.http_status)

    def failure(self) -> Failure:
        """Why, with the code of what went wrong."""
        return self._failure


class Reading:
    """Reads one stream.

    Args:
        url: of the server, for messages.
        stream_id: of the stream, chosen by the client where it asks for a new one.
        question: what is asked for; `None`: a stream that is there is joined.
        after: the offset of the last event that is known already; -1: none is.
        heartbeat_seconds: how often the server shall say that it is still there.
        bounds: when to give up.
        clock: for what is measured, and for the bounds.
        chance: gives a number from 0 to just below 1, for the delays.

    Raises:
        InvalidRequest: the question is none.
    """

    def __init__(
        self,
        *,
        url: str,
        stream_id: str,
        question: Question | None,
        after: int,
        heartbeat_seconds: float,
        bounds: Resuming,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self.stream_id = stream_id
        self.offset = after
        """Of the last event that was given."""
        self.action: Action = Stop()
        """What is to be done now."""
        self.cancelled_here = False
        """Whether this reader has ended the stream itself: that is no surprise, so nothing is raised for it."""
        self._url = url
        self._asking = None if question is None else asking(question, stream_id, heartbeat_seconds)
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._chance = chance
        self._state = ConnectionState(bounds, after)
        self._measuring = Measuring(clock.monotonic_ns())
        self._pieces = Pieces(after)
        self._waiting: deque[Piece] = deque()
        self._place = 0
        self._answer = Answer()
        self._posts = 0
        self._broken = False
        self._error: HeadraceError | None = None
        self._told = False

    # -- what is known

    @property
    def live(self) -> bool:
        """Whether there may be more to come, and the stream was not let alone."""
        return self._state.state not in ENDS

    @property
    def unfinished(self) -> bool:
        """Whether the server may be generating for this reader, and would go on for nobody when it leaves."""
        return self.live and (self._state.begun or self._posts > 0)

    @property
    def final(self) -> Final:
        """The answer as far as it was given."""
        answer = self._answer
        started, ended = answer.started, answer.ended
        return Final(
            text=answer.text,
            reasoning=answer.reasoning,
            tool_calls=tuple(
                ToolCallDelta(index, call.id, call.name, "".join(call.arguments))
                for index, call in sorted(answer.choices[0].tool_calls.items())
            ),
            sources=tuple(answer.sources),
            model=None if started is None else started.model,
            ending=None if ended is None else ended.ending,
            usage=answer.usage,
            timing=None if ended is None else ended.timing,
            conversation_id=None if started is None else started.conversation_id,
            failure=None if ended is None else ended.failure,
        )

    @property
    def stats(self) -> Stats:
        """The figures so far."""
        return self._measuring.stats(self._clock.monotonic_ns())

    # -- what the shells hand on

    def take(self) -> Event | None:
        """The next event that has come; `None`: there is something to be done first."""
        while self._waiting:
            piece = self._waiting[0]
            if self._place == len(piece.events):
                self._taken(piece)
                continue
            event = piece.events[self._place]
            self._place += 1
            self._answer.feed(event)
            if self._place == len(piece.events):
                self._taken(piece)
            return event
        return None

    def take_piece(self) -> Piece | None:
        """The next piece that has come, or the rest of it; `None`: there is something to be done first."""
        if not self._waiting:
            return None
        piece = self._waiting[0]
        rest = piece.events[self._place :]
        for event in rest:
            self._answer.feed(event)
        self._taken(piece)
        return msgspec.structs.replace(piece, events=rest)

    def take_error(self) -> HeadraceError | None:
        """What is to be raised when all was taken: why there is no whole answer. Once; `None` where there is one."""
        if self._told:
            return None
        self._told = True
        ended = self._answer.ended
        if self._error is not None:
            return self.explained(self._error)
        if ended is None or ended.ending in FINISHED or (self.cancelled_here and ended.ending == "cancelled"):
            return None
        return self.explained(StreamFailed(ended.ending, ended.failure))

    def explained(self, error: HeadraceError) -> HeadraceError:
        """`error`, with what is known of the stream."""
        choice = self._answer.choices[0]
        error.stream_id = self.stream_id
        error.partial = self._answer.text
        error.after_first_token = bool(choice.text or choice.reasoning or choice.tool_calls)
        return error

    # -- what the shells tell

    def begin(self) -> None:
        """Somebody wants to read."""
        self._measuring = Measuring(self._clock.monotonic_ns())
        self._do(Join() if self._asking is None else Ask())

    def request(self) -> Asked:
        """The request to be sent now."""
        if isinstance(self.action, Get):
            return resuming(self.stream_id, self.action.after, self._heartbeat_seconds)
        assert isinstance(self.action, Post)
        assert self._asking is not None
        self._posts += 1
        return self._asking

    def opened(self, headers: Mapping[str, str]) -> None:
        """The server answers 200, with these headers."""
        if not headers.get("content-type", "").startswith("text/event-stream"):
            self._fail(UpstreamMalformed(f"{self._url} answers, but is no headrace server", upstream=self._url))
            return
        # Another's than ours, where a request with the same Idempotency-Key came first.
        self.stream_id = headers.get("headrace-stream", self.stream_id)
        self._measuring.resumed += self._broken
        self._broken = False
        self._pieces = Pieces(self._state.after)
        self._do(Opened())

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The server answers with anything but 200."""
        if status == 204:
            self._do(Finished())
            return
        asked_anew = isinstance(self.action, Post)
        error = refusal_of(status, headers, body, self._url)
        if asked_anew and isinstance(error, StreamExists) and self._state.attempts > 0:
            self._do(Exists())
            return
        self._posts -= asked_anew
        if error.retryable:
            self._drop(error)
        elif isinstance(error, UnknownStream) and self._state.after >= 0:
            self._fail(
                UnknownStream(
                    f"the stream {self.stream_id} is gone: {self._url} does not know it any more. What was read of it "
                    "is kept; ask anew for a whole answer"
                )
            )
        else:
            self._fail(error)

    def came(self, data: bytes) -> None:
        """The connection held these bytes."""
        try:
            pieces = self._pieces.feed(data)
        except ValueError as error:
            malformed = UpstreamMalformed(f"{self._url} sent what is no typed event ({error})", upstream=self._url)
            malformed.__cause__ = error
            self._fail(malformed)
            return
        if not pieces:
            return
        now_ns = self._clock.monotonic_ns()
        for piece in pieces:
            self._measuring.feed(piece.events, now_ns)
        self._waiting += pieces
        if pieces[-1].offset > self._state.after:
            self._do(Advanced(pieces[-1].offset))
        if self._pieces.ended:
            self._do(Finished())

    def cut_off(self) -> None:
        """The connection ended, and the stream had not."""
        self.dropped(UpstreamTruncated(f"{self._url} stopped in the middle of its answer", upstream=self._url))

    def dropped(self, error: UpstreamError) -> None:
        """The connection broke, or there was none."""
        if isinstance(self.action, Post) and isinstance(error, UpstreamUnreachable):
            self._posts -= 1
        self._drop(error)

    def waited(self) -> None:
        """The delay is over."""
        self._do(Waited())

    def detach(self) -> None:
        """Nobody wants to read on."""
        if self.live:
            self._waiting.clear()
            self._place = 0
            self._do(Left())

    # --

    def _do(self, given: Input) -> None:
        self.action = self._state.feed(given)
        if not self.live:
            self._measuring.finish(self._clock.monotonic_ns())

    def _drop(self, error: HeadraceError) -> None:
        self._broken = self._broken or self._state.state == "reading"
        answered = not isinstance(error, UpstreamUnreachable)
        self._do(Dropped(self._clock.monotonic_ns(), self._chance(), answered, error.retry_after_seconds or 0.0))
        if not self.live:
            self._error = error

    def _fail(self, error: HeadraceError) -> None:
        self._error = error
        self._do(Refused())

    def _taken(self, piece: Piece) -> None:
        self._waiting.popleft()
        self._place = 0
        self.offset = piece.offset
