"""One generation, from its first event to its last: the task that performs it, the only writer of its stream.

A run works through the upstreams of its model, lets `headrace.runs.recovery` decide after each failure, and
ends its stream exactly once, whatever happens. What runs here once per batch is `_write`: one append, in the turn of
the event loop in which the bytes were read. The timers cost a token nothing: `check_timers` looks at every run four
times a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from headrace.clock import Clock
from headrace.errors import HeadraceError, InternalError, Timer, UpstreamError, UpstreamTimeout
from headrace.events import (
    CONTENT,
    FINISHED,
    Ended,
    Event,
    Failure,
    Passthrough,
    ReasoningDelta,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.identifiers import chance
from headrace.interfaces import Batch, Middleware, Stream
from headrace.requests import Timeouts
from headrace.runs.accounting import (
    NOTHING_SPENT,
    estimated_usage,
    perhaps_not_all,
    spends_nothing,
    texts_of,
    usage_is_known,
)
from headrace.runs.recovery import Again, End, NextUpstream, decide, kind_of
from headrace.runs.tokenizer import Tokenizer
from headrace.runs.upstreams import Candidate
from headrace.timing import Marks, TokenKind, measured
from headrace.usage import Usage, estimated

logger = logging.getLogger("headrace.runs")


class Run:
    """Performs one generation into `stream`.

    Args:
        stream: empty; nobody else appends to it.
        candidates: where the model is, in the order of failover; at least one.
        middleware: prepares the request, in this order.
        clock: for the timers and the timing.
    """

    __slots__ = (
        "_accepted_ns",
        "_asking",
        "_attempts",
        "_begun",
        "_candidates",
        "_clock",
        "_held",
        "_limits",
        "_marks",
        "_middleware",
        "_over",
        "_prepared",
        "_quiet_since_ns",
        "_seen_length",
        "_speaking",
        "_spent",
        "_stopped",
        "_tokenizer",
        "_went_on",
        "stream",
        "task",
    )

    def __init__(
        self, stream: Stream, candidates: Sequence[Candidate], middleware: Sequence[Middleware], clock: Clock
    ) -> None:
        self.stream = stream
        self.task: asyncio.Task[None] | None = None
        self._candidates = candidates
        self._middleware = middleware
        self._clock = clock
        self._accepted_ns = clock.monotonic_ns()
        self._attempts = 0
        self._begun = False
        # Whether the last event was appended: it may be read a little later.
        self._over = False
        self._marks: Marks | None = None
        self._prepared = stream.request
        # The upstream turned to, and the timers it is asked under.
        self._limits: tuple[str, Timeouts] | None = None
        # Whether it is being asked now, rather than waited for.
        self._asking = False
        # Events of this attempt that wait for its first content.
        self._held: list[Event] = []
        # Whether content was shown: the commit boundary lies behind.
        self._speaking = False
        # Whether an upstream may have worked for this, with whatever success.
        self._spent = False
        # Whether an upstream was left that may have gone on for nobody.
        self._went_on = False
        # Of the upstream turned to: counts what it does not report.
        self._tokenizer: Tokenizer | None = None
        self._seen_length = 0
        self._quiet_since_ns = 0
        # Why the task was told to stop: an ending to write, or a timer that ran out.
        self._stopped: Failure | UpstreamTimeout | None = None

    async def perform(self) -> None:
        """Runs to the end of the stream. Never raises, except when its task is cancelled by somebody else."""
        self._begun = True
        request = self.stream.request
        self.stream.append(
            (Started(self.stream.id, request.model, self._clock.unix_ns(), request.language, request.conversation_id),)
        )
        foreign: asyncio.CancelledError | None = None
        try:
            ended = await self._work()
        except asyncio.CancelledError as cancelled:
            stopped = self._stopped
            if isinstance(stopped, Failure):
                ended = Ended("cancelled" if stopped.code == "cancelled" else "incomplete", stopped)
            elif stopped is not None:
                # The whole time ran out while nobody was being asked: there is no attempt to decide about.
                ended = self._ended_by(stopped)
            else:
                foreign = cancelled
                ended = Ended(
                    "incomplete", Failure("shutting_down", "the server stopped before the answer was finished", 503)
                )
        except HeadraceError as error:
            ended = self._ended_by(error)
        except Exception:
            logger.exception("stream %s: a fault of our own ended it", self.stream.id)
            ended = self._ended_by(InternalError("headrace made a mistake with this answer; its log says which"))
        # What is left is ours to do: no timer runs meanwhile, and the time it takes is not the answer's.
        self._limits = None
        timing = measured(self._accepted_ns, self._clock.monotonic_ns(), self._marks, self._attempts)
        stopped = self._stopped
        try:
            usage = await self._usage_left_out(ended)
        except asyncio.CancelledError as cancelled:
            # Too late to change the ending; but whoever cancels need not wait until long texts are counted.
            usage = self._estimated_usage()
            if self._stopped is stopped:
                foreign = cancelled
        except Exception:
            logger.exception("stream %s: its tokens could not be counted", self.stream.id)
            usage = self._estimated_usage()
        if self._went_on and ended.ending not in FINISHED:
            usage = perhaps_not_all(usage, self.stream.appended())
        last = msgspec.structs.replace(ended, timing=timing)
        self._over = True
        self.stream.append((last,) if usage is None else (UsageKnown(usage), last))
        if foreign is not None:
            raise foreign

    def cancel(self, failure: Failure) -> None:
        """Stops the run, up to the upstream's socket. Its stream ends `cancelled`, or `incomplete` for other codes.

        A second call, or one after the end, changes nothing.
        """
        # A timer that ran out in this turn of the event loop gives way: it might only have led to another attempt.
        if not isinstance(self._stopped, Failure) and not self._over:
            self._stopped = failure
            # A task cancelled before its first step never takes one; `_work` looks before it does anything.
            if self._begun and self.task is not None:
                self.task.cancel()

    def check_timers(self, now_ns: int) -> None:
        """Stops the attempt, or the run, whose time is over. Called for every live run four times a second."""
        if self._limits is None or self._stopped is not None or self._over or self.task is None:
            return
        upstream, timeouts = self._limits
        length = self.stream.length
        if length != self._seen_length:
            self._seen_length = length
            self._quiet_since_ns = now_ns
        timer: Timer
        if _passed(now_ns - self._accepted_ns, timeouts.total):
            timer = "total"
        elif not self._asking or self._marks is None:
            return  # waiting for a place, or between two attempts: only the whole time runs
        elif self._speaking:
            if not _passed(now_ns - self._quiet_since_ns, timeouts.between_tokens):
                return
            timer = "between_tokens"
        elif self._marks.connected_ns is None and _passed(now_ns - self._marks.asked_ns, timeouts.connect):
            timer = "connect"
        elif self.stream.request.stream and _passed(now_ns - self._marks.asked_ns, timeouts.first_token):
            # A whole answer has no first token before its last: for it there is only the total.
            timer = "first_token"
        else:
            return
        self._stopped = UpstreamTimeout(timer, timeouts.seconds(timer) or 0.0, upstream=upstream)
        self.task.cancel()

    async def _work(self) -> Ended:
        if self._stopped is not None:
            raise asyncio.CancelledError
        for middleware in self._middleware:
            self._prepared = await middleware.prepare(self._prepared, self.stream.owner)
        position = 0
        attempts_here = 0
        while True:
            candidate = self._candidates[position]
            attempts_here += 1
            self._attempts += 1
            self._limits = (candidate.upstream.name, self._prepared.timeouts.over(candidate.upstream.timeouts))
            try:
                ended = await self._attempt(candidate)
            except UpstreamError as error:
                # Told by its message alone. Its frames lead to the connection that still holds it, and all would wait
                # for the garbage collector.
                error.__traceback__ = None
                if kind_of(error) == "refused":
                    candidate.upstream.was_well()  # the fault is the request's
                else:
                    candidate.upstream.was_unwell(error.message)
                decision = decide(
                    error,
                    spoke=self._speaking,
                    attempts_here=attempts_here,
                    upstreams_left=len(self._candidates) - position - 1,
                    chance=chance(),
                )
                match decision:
                    case Again():
                        self._log(error, f"asking again in {decision.delay_seconds:.2f} s")
                        await asyncio.sleep(decision.delay_seconds)
                    case NextUpstream():
                        position += 1
                        attempts_here = 0
                        self._tell_failover(error, candidate, self._candidates[position])
                    case End():
                        self._log(error, "no further attempt")
                        raise
            else:
                candidate.upstream.was_well()
                return ended

    def _log(self, error: UpstreamError, step: str) -> None:
        logger.info("stream %s: %s; %s", self.stream.id, error.message, step)

    def _tell_failover(self, error: UpstreamError, left: Candidate, gone_to: Candidate) -> None:
        origin, destination, name = left.full_name, gone_to.full_name, left.upstream.name
        # Most messages begin with the upstream's name; it is not enough where two models of one upstream follow.
        rest = error.message.removeprefix(name) if error.message.startswith((f"{name} ", f"{name}:")) else None
        reason = f"{origin}: {error.message}" if rest is None else f"{origin}{rest}"
        self._log(error, f"asking {destination}")
        words = f"{reason}; asking {destination}"
        self.stream.append((Status("failed_over", words, origin=origin, destination=destination),))

    async def _attempt(self, candidate: Candidate) -> Ended:
        upstream = candidate.upstream
        if upstream.places is None:
            return await self._ask(candidate)
        if upstream.places.locked():
            self.stream.append((Status("waiting", f"waiting for a free place at {upstream.name}"),))
        async with upstream.places:
            return await self._ask(candidate)

    async def _ask(self, candidate: Candidate) -> Ended:
        upstream = candidate.upstream
        self._tokenizer = candidate.tokenizer
        self._marks = marks = Marks(self._clock.monotonic_ns())
        request = msgspec.structs.replace(self._prepared, model=candidate.model)
        self._held = []
        self._asking = True
        cost_nothing = False
        try:
            ended = await upstream.provider.generate(request, marks, self._write)
        except (asyncio.CancelledError, UpstreamError) as error:
            # Told to stop, it is the reason for it that counts, and not what closing the connection brought up.
            cost_nothing = spends_nothing(error)
            stopped = self._stopped
            left = stopped is not None or isinstance(error, asyncio.CancelledError)
            if left and marks.sent_ns is not None and upstream.goes_on_unread(streamed=request.stream):
                self._went_on = True
            if stopped is None:
                raise
            if isinstance(stopped, Failure):
                raise asyncio.CancelledError from error
            self._stopped = None
            if self.task is not None and self.task.uncancel():
                raise asyncio.CancelledError from error  # somebody else cancelled the task in the same turn
            raise stopped from None
        finally:
            self._asking = False
            if marks.sent_ns is not None and not cost_nothing:
                self._spent = True
        if ended.ending not in FINISHED:
            raise ValueError(f"the provider of {upstream.name} made up an ending: {ended!r}")
        if self._held:
            self.stream.append(self._held)
        return ended

    def _write(self, batch: Batch) -> None:
        # The hot path: once something was said, a batch goes straight into the stream.
        if not self._speaking:
            batch = self._before_content(batch)
            if not batch:
                return
        self.stream.append(batch)

    def _before_content(self, batch: Batch) -> Batch:
        """What of a batch may be shown before the commit boundary; crosses it with the first content.

        Events that belong to an attempt rather than to the answer wait, so that a repeated attempt leaves no trace.
        """
        for event in batch:
            if isinstance(event, CONTENT):
                assert self._marks is not None
                self._marks.first_token_ns = self._quiet_since_ns = self._clock.monotonic_ns()
                self._marks.first_token_kind = _KINDS[type(event)]
                self._speaking = True
                held, self._held = self._held, []
                return [*held, *batch]
        self._held.extend(event for event in batch if isinstance(event, Passthrough | UsageKnown))
        return [event for event in batch if not isinstance(event, Passthrough | UsageKnown)]

    def _ended_by(self, error: HeadraceError) -> Ended:
        # What an upstream broke off is incomplete; what never began, or broke by our own fault, is an error.
        cut = self._speaking and isinstance(error, UpstreamError)
        return Ended("incomplete" if cut else "error", error.failure())

    async def _usage_left_out(self, ended: Ended) -> Usage | None:
        events = self.stream.appended()
        if usage_is_known(events, ended):
            return None
        if not self._spent and not self._speaking:
            return NOTHING_SPENT
        if self._tokenizer is not None:
            return await self._tokenizer.usage(*texts_of(self._prepared, events))
        return self._estimated_usage()

    def _estimated_usage(self) -> Usage:
        try:
            return estimated_usage(self._prepared, self.stream.appended())
        except Exception:
            logger.exception("stream %s: its usage could not be estimated", self.stream.id)
            return estimated([], [])  # the ending is written whatever happens


_KINDS: dict[type[Event], TokenKind] = {TextDelta: "text", ReasoningDelta: "reasoning", ToolCallDelta: "tool_call"}


def _passed(elapsed_ns: int, limit_seconds: float | None) -> bool:
    # 0 is no limit.
    return limit_seconds is not None and 0 < limit_seconds * 1e9 < elapsed_ns
