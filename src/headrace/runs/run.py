"""One generation, from its first event to its last: the task that performs it, the only writer of its stream.

A run works through the upstreams of its model, lets `headrace.runs.recovery` decide after each failure, and
ends its stream exactly once, whatever happens. What runs once per batch is `Attempt.write`: one append, in the turn of
the event loop in which the bytes were read. The timers cost a token nothing: `check_timers` looks at every run four
times a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from functools import partial

import msgspec

from headrace.clock import Clock
from headrace.errors import HeadraceError, InternalError, UpstreamError, UpstreamTimeout, UpstreamTooSlow
from headrace.events import FINISHED, Ended, Failure, Started, Status, UsageKnown
from headrace.identifiers import chance
from headrace.interfaces import Middleware, Stream
from headrace.requests import GenerationRequest, Timeouts
from headrace.runs.accounting import NOTHING_SPENT, estimated_usage, perhaps_not_all, spends_nothing, usage_told
from headrace.runs.attempt import Attempt, over
from headrace.runs.circuit import CLOSED
from headrace.runs.continuing import (
    MOST_CONTINUATIONS,
    can_go_on,
    policy_of,
    request_to_go_on,
    seam_of,
    text_said,
    way_of,
)
from headrace.runs.hedge import Hedge
from headrace.runs.notices import (
    INTERRUPTED,
    asked_beside,
    began_first,
    continued,
    continued_after_restart,
    failed_over,
    left_alone,
)
from headrace.runs.reckoning import learn, usage_of, usage_of_all
from headrace.runs.recovery import Again, End, NextUpstream, choose, decide
from headrace.runs.seam import Seam
from headrace.runs.upstreams import Candidate
from headrace.timing import measured
from headrace.usage import Usage, estimate_tokens, estimated

logger = logging.getLogger("headrace.runs")


class Run:
    """Performs one generation into `stream`.

    Args:
        stream: nobody else appends to it.
        candidates: where the model is, in the order of failover; at least one.
        middleware: prepares the request, in this order.
        clock: for the timers and the timing.
        after_restart: of the candidates, the one that goes on with a stream that a server before this one began;
            `None`: the stream is empty.
    """

    __slots__ = (
        "_accepted_ns",
        "_after_restart",
        "_asking",
        "_attempt",
        "_attempts",
        "_begun",
        "_broken_off",
        "_candidates",
        "_clock",
        "_committed",
        "_hedge",
        "_left",
        "_left_one",
        "_limits",
        "_middleware",
        "_over",
        "_prepared",
        "_spent",
        "_stopped",
        "_timed",
        "_went_on",
        "stream",
        "task",
    )

    def __init__(
        self,
        stream: Stream,
        candidates: Sequence[Candidate],
        middleware: Sequence[Middleware],
        clock: Clock,
        *,
        after_restart: Candidate | None = None,
    ) -> None:
        self._after_restart = after_restart
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
        self._prepared = stream.request
        # The latest attempt, and the one whose times are told: the first that said something, else the latest.
        self._attempt: Attempt | None = None
        self._timed: Attempt | None = None
        # The upstream turned to, and the timers it is asked under.
        self._limits: tuple[str, Timeouts] | None = None
        # Whether it is being asked now, rather than waited for.
        self._asking = False
        # A second attempt beside it, or the wish for one; and the candidates that were not asked yet.
        self._hedge: Hedge | None = None
        self._left: list[Candidate] = []
        # Whether one of two was left without a word: it was asked, and may be paid for.
        self._left_one = False
        # Whether content was shown: the commit boundary lies behind.
        self._committed = False
        # The attempts that said something and broke off.
        self._broken_off: list[Attempt] = []
        # Whether an upstream may have worked for this, with whatever success.
        self._spent = False
        # Whether an upstream was left that may have gone on for nobody.
        self._went_on = False
        # Why the task was told to stop: an ending to write, or a timer that ran out.
        self._stopped: Failure | UpstreamTimeout | UpstreamTooSlow | None = None

    async def perform(self) -> None:
        """Runs to the end of the stream. Never raises, except when its task is cancelled by somebody else."""
        self._begun = True
        request = self.stream.request
        if self._after_restart is None:
            created = self._clock.unix_ns()
            self.stream.append(
                (Started(self.stream.id, request.model, created, request.language, request.conversation_id),)
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
        marks = None if self._timed is None else self._timed.marks
        timing = measured(self._accepted_ns, self._clock.monotonic_ns(), marks, self._attempts)
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
        if self._left_one or (self._went_on and ended.ending not in FINISHED):
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
        if over(now_ns - self._accepted_ns, timeouts.total):
            self._stopped = UpstreamTimeout("total", timeouts.total or 0.0, upstream=upstream)
        elif self._asking and self._attempt is not None:
            # Not while it waits for a place, or between two attempts: there only the whole time runs.
            if self._hedge is not None and self._hedge.winner is None:
                self._hedge.check_timers(now_ns)
            else:
                self._stopped = _overdue(self._attempt, now_ns)
        if self._stopped is not None:
            self.task.cancel()

    async def _work(self) -> Ended:
        if self._stopped is not None:
            raise asyncio.CancelledError
        # After a restart everything was told before.
        tell = self._tell if self._after_restart is None else _tell_nobody
        for middleware in self._middleware:
            self._prepared = await middleware.prepare(self._prepared, self.stream.owner, tell)
        left = self._left = list(self._candidates)
        candidate = self._turn_to_one_of(left if self._after_restart is None else (self._after_restart,))
        if self._after_restart is not None:
            self._take_up(candidate)
        elif candidate is not self._candidates[0]:
            self._tell(left_alone(self._candidates[0], candidate, self._clock.monotonic_ns()))
        attempts_here = 0
        retried = False
        # What broke off the words that were shown: it is told in the end, whatever else failed after it (L26).
        broke: UpstreamError | None = None
        while True:
            attempts_here += 1
            try:
                return await self._attempt_at(candidate, retried=retried)
            except UpstreamError as error:
                if self._attempt is not None:
                    candidate = self._attempt.candidate  # of two that were asked at once, the one that spoke
                # Told by its message alone. Its frames lead to this one, which may hold it as what broke off, and all
                # would wait for the garbage collector.
                error.__traceback__ = None
                if self._attempt is not None and self._attempt.speaking:
                    self._broken_off.append(self._attempt)
                    attempts_here, broke = 1, error
                    if retried:
                        candidate.upstream.retry_helped()
                may_retry, others = self._who_may_follow(candidate, left)
                decision = decide(
                    error,
                    spoke=self._committed,
                    may_retry=may_retry,
                    attempts_here=attempts_here,
                    upstreams_left=len(others),
                    chance=chance(),
                )
                match decision:
                    case Again():
                        if self._committed:
                            self._tell(continued(error, candidate, candidate, self._end()))
                        else:
                            self._log(error, f"asking again in {decision.delay_seconds:.2f} s")
                        candidate.upstream.retry_tokens = candidate.upstream.retry_tokens.taken()
                        retried = True
                        await asyncio.sleep(decision.delay_seconds)
                    case NextUpstream():
                        former, candidate = candidate, self._turn_to_one_of(others)
                        attempts_here = 0
                        retried = False
                        if self._committed:
                            self._tell(continued(error, former, candidate, self._end()))
                        else:
                            self._tell(failed_over(error, former, candidate))
                    case End():
                        self._log(error, "no further attempt")
                        try:
                            raise broke or error from None
                        finally:
                            broke = None  # it leads to this frame, and the frame would lead to it

    def _take_up(self, candidate: Candidate) -> None:
        """Goes on where the server before this one stopped, as if an attempt of this run had broken off there."""
        request = msgspec.structs.replace(self._prepared, model=candidate.model)
        former = Attempt(self.stream, candidate, request, Timeouts(), self._clock)
        self._broken_off.append(former)
        self._committed = self._spent = True
        self._tell(continued_after_restart(candidate, self._end()))

    def _turn_to_one_of(self, those: Sequence[Candidate]) -> Candidate:
        """The next to be asked of `those`, which is taken out of what is left."""
        candidate = those[0]
        if candidate.upstream.circuit is not CLOSED:
            now = self._clock.monotonic_ns()
            candidate = those[choose([each.upstream.circuit.admits(now) for each in those])]
        self._left.remove(candidate)
        return candidate

    def _who_may_follow(self, candidate: Candidate, left: Sequence[Candidate]) -> tuple[bool, Sequence[Candidate]]:
        """Whether `candidate` may be asked again, and which others may be asked."""
        has_tokens = candidate.upstream.retry_tokens.allow()
        if not self._committed:
            return has_tokens, left
        policy = policy_of(self._prepared, candidate)
        if policy == "end" or len(self._broken_off) > MOST_CONTINUATIONS:
            return False, ()
        said = self.stream.appended()
        if not can_go_on(self._prepared, said) or not text_said(said).strip():
            return False, ()
        others = [each for each in left if way_of(each) is not None] if policy == "continue_any" else ()
        return has_tokens and way_of(candidate) is not None, others

    def _log(self, error: UpstreamError, step: str) -> None:
        logger.info("stream %s: %s; %s", self.stream.id, error.message, step)

    def _tell(self, notice: Status) -> None:
        logger.info("stream %s: %s", self.stream.id, notice.message)
        self.stream.append((notice,))

    def _end(self) -> int:
        """The offset of the next event."""
        stream = self.stream
        return stream.horizon - len(stream.beginning) + len(stream.appended())

    def _attempt_at(self, candidate: Candidate, *, retried: bool) -> Awaitable[Ended]:
        upstream = candidate.upstream
        self._attempts += 1
        self._attempt = None
        self._limits = (upstream.name, self._prepared.timeouts.over(upstream.timeouts))
        if upstream.places is None:
            return self._ask(candidate, retried=retried)
        return self._ask_in_turn(upstream.places, candidate, retried=retried)

    async def _ask_in_turn(self, places: asyncio.Semaphore, candidate: Candidate, *, retried: bool) -> Ended:
        if places.locked():
            self.stream.append((Status("waiting", f"waiting for a free place at {candidate.upstream.name}"),))
        async with places:
            return await self._ask(candidate, retried=retried)

    async def _ask(self, candidate: Candidate, *, retried: bool) -> Ended:
        """Makes one attempt, or two at once, and lets the upstream's circuit and retry tokens know how it went."""
        assert self._limits is not None
        request, seam = self._prepared, None
        if self._committed:
            request, seam = await self._asked_to_go_on(candidate)
        request = msgspec.structs.replace(request, model=candidate.model, owner=self.stream.owner)
        # Slow is better than nothing: the guard acts where somebody else could be asked, and nothing was said yet.
        guarded = bool(self._left) and not self._committed and request.stream
        least = candidate.upstream.least_per_second if guarded else 0.0
        upstream = candidate.upstream
        trial = upstream.begin(self._clock.monotonic_ns())
        after = None
        if candidate.hedge and not self._committed and not trial:
            after = upstream.first_tokens.slowest_of_twenty(candidate.model, streamed=request.stream)
        first = self._attempt = Attempt(
            self.stream,
            candidate,
            request,
            self._limits[1],
            self._clock,
            seam,
            least,
            None if after is None else self._spoke_first,
        )
        if not self._committed:
            self._timed = first
        if after is not None:
            self._hedge = Hedge(first, after, partial(self._second_beside, first), _overdue, self._clock)
        try:
            ended = await self._generate(first)
        except UpstreamError as error:
            self._attempt.candidate.upstream.failed(error, self._clock.monotonic_ns(), trial=trial)
            raise
        except BaseException:
            if trial:
                upstream.let_go()
            raise
        finally:
            attempt = self._attempt
            self._committed = self._committed or attempt.speaking
            if self._hedge is not None:
                self._settle(self._hedge, first)
                self._hedge = None
        attempt.candidate.upstream.was_well(retried=retried or attempt is not first)
        if candidate.hedge:
            _learn_first_token(attempt)
        return ended

    def _second_beside(self, first: Attempt) -> Attempt | None:
        """Another attempt beside one that has said nothing for long; `None`: there is nobody to ask just now.

        It takes a retry token, so that an upstream that is slow for everybody is not asked twice by everybody.
        """
        now = self._clock.monotonic_ns()
        for candidate in (*self._left, first.candidate):
            upstream = candidate.upstream
            has_place = upstream.places is None or not upstream.places.locked()
            if has_place and upstream.retry_tokens.allow() and upstream.circuit.state(now) == "closed":
                break
        else:
            return None
        upstream.retry_tokens = upstream.retry_tokens.taken()
        upstream.begin(now)
        self._attempts += 1
        self._tell(asked_beside(first.candidate, candidate, (now - first.marks.asked_ns) / 1e9))
        request = msgspec.structs.replace(self._prepared, model=candidate.model, owner=self.stream.owner)
        timeouts = self._prepared.timeouts.over(upstream.timeouts)
        return Attempt(self.stream, candidate, request, timeouts, self._clock, on_speaking=self._spoke_first)

    def _spoke_first(self, attempt: Attempt) -> None:
        """One of two that may have been asked at once has something to show: what follows is about that one."""
        assert self._hedge is not None
        first = self._attempt
        self._hedge.decide(attempt)
        self._attempt = self._timed = attempt
        if first is not None and attempt is not first and attempt.candidate is not first.candidate:
            self._left.remove(attempt.candidate)
            self._limits = (attempt.candidate.upstream.name, attempt.timeouts)
            self._tell(began_first(first.candidate, attempt.candidate))

    def _settle(self, hedge: Hedge, first: Attempt) -> None:
        """Lets the upstream of a first attempt know that it failed, and takes note of what may yet be billed."""
        if hedge.winner is not None:
            if hedge.winner is not first and hedge.first_error is not None:
                first.candidate.upstream.failed(hedge.first_error, self._clock.monotonic_ns(), trial=False)
            self._left_one = self._left_one or bool(hedge.left_midway)
        elif any(each.candidate.upstream.goes_on_unread(streamed=each.request.stream) for each in hedge.left_midway):
            self._went_on = True

    async def _asked_to_go_on(self, candidate: Candidate) -> tuple[GenerationRequest, Seam]:
        """What an upstream is asked that goes on with what was said, and what its words are held against."""
        said, way = text_said(self.stream.appended()), way_of(candidate)
        assert way is not None  # nobody else is turned to
        tokens = 0
        if self._prepared.max_tokens is not None:
            if candidate.tokenizer is not None:
                tokens = (await candidate.tokenizer.usage((), (said,))).completion_tokens
            else:
                ratio = candidate.upstream.calibrations.of(candidate.model).completion
                tokens = round(estimate_tokens(said) * ratio)
        return request_to_go_on(self._prepared, said, way, tokens_said=tokens), seam_of(said, way)

    async def _generate(self, attempt: Attempt) -> Ended:
        upstream = attempt.candidate.upstream
        self._asking = True
        cost_nothing = False
        try:
            if self._hedge is None:
                ended = await upstream.provider.generate(attempt.request, attempt.marks, attempt.write)
            else:
                ended = await self._hedge.generate()
                attempt = self._attempt = self._hedge.winner or attempt
        except (asyncio.CancelledError, UpstreamError) as error:
            # Told to stop, it is the reason for it that counts, and not what closing the connection brought up.
            cost_nothing = spends_nothing(error)
            stopped = self._stopped
            left = stopped is not None or isinstance(error, asyncio.CancelledError)
            sent = attempt.marks.sent_ns is not None
            if left and sent and upstream.goes_on_unread(streamed=attempt.request.stream):
                self._went_on = True
            if stopped is None:
                raise
            if isinstance(stopped, Failure):
                raise asyncio.CancelledError from error
            self._stopped = None
            if self.task is not None and self.task.uncancel():
                raise asyncio.CancelledError from error  # somebody else cancelled the task in the same turn
            try:
                raise stopped from None
            finally:
                # Its traceback leads to this frame, and the frame to it: both would wait for the garbage collector.
                del stopped
        finally:
            self._asking = False
            if attempt.marks.sent_ns is not None and not cost_nothing:
                self._spent = True
        if ended.ending not in FINISHED:
            raise ValueError(f"the provider of {upstream.name} made up an ending: {ended!r}")
        attempt.finish()
        return ended

    def _ended_by(self, error: HeadraceError) -> Ended:
        # What an upstream broke off is incomplete; what never began, or broke by our own fault, is an error.
        cut = self._committed and isinstance(error, UpstreamError)
        if cut and self._after_restart is not None and len(self._broken_off) == 1:
            return Ended("interrupted", INTERRUPTED)  # nobody could go on: that the server stopped is what broke it off
        return Ended("incomplete" if cut else "error", error.failure())

    async def _usage_left_out(self, ended: Ended) -> Usage | None:
        events, whole = self.stream.appended(), ended.ending in FINISHED
        told = usage_told(events, whole=whole)
        if self._broken_off:
            together = await usage_of_all(self._broken_off, self._attempt, events, whole=whole)
            return None if together == told else together
        if told is not None:
            if whole and self._attempt is not None:
                learn(self._attempt, events, told)
            return None
        if not self._spent and not self._committed:
            return NOTHING_SPENT
        return self._estimated_usage() if self._attempt is None else await usage_of(self._attempt, events)

    def _estimated_usage(self) -> Usage:
        try:
            return estimated_usage(self._prepared, self.stream.appended())
        except Exception:
            logger.exception("stream %s: its usage could not be estimated", self.stream.id)
            return estimated([], [])  # the ending is written whatever happens


def _tell_nobody(notice: Status) -> None:
    """What is known already is not told again."""


def _overdue(attempt: Attempt, now_ns: int) -> UpstreamTimeout | UpstreamTooSlow | None:
    """The timer of an attempt that has run out by now, as the error it is."""
    timer = attempt.overdue(now_ns)
    if timer is None:
        return None
    upstream = attempt.candidate.upstream
    if timer == "too_slow":
        least = f"{upstream.least_per_second:g} characters a second (min_characters_per_second)"
        return UpstreamTooSlow(f"{upstream.name} began with fewer than {least}", upstream=upstream.name)
    return UpstreamTimeout(timer, attempt.timeouts.seconds(timer) or 0.0, upstream=upstream.name)


def _learn_first_token(attempt: Attempt) -> None:
    sent_ns, first_ns = attempt.marks.sent_ns, attempt.marks.first_token_ns
    if sent_ns is not None and first_ns is not None:
        candidate = attempt.candidate
        candidate.upstream.first_tokens.learn(
            candidate.model, streamed=attempt.request.stream, nanoseconds=first_ns - sent_ns
        )
