"""Hedging: an upstream that is slow to begin is not waited for alone.

    the first attempt is asked ──▶ it speaks in time ──▶ it goes on, and there is no other
              │
              │ nothing for as long as 19 of 20 answers take to begin
              ▼
    a second one is asked ──▶ the first of the two to speak goes on, the other is cancelled

Until one has spoken, both are looked at by their own timers, and one that fails leaves the answer to the other. What
fails after that is for `headrace.runs.recovery`, as ever. May import its own floor and those below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from headrace.clock import Clock
from headrace.errors import UpstreamError
from headrace.events import Ended
from headrace.runs.attempt import Attempt


@dataclass(slots=True, eq=False)
class _Asked:
    """One of the two, while it is being asked."""

    attempt: Attempt
    task: asyncio.Task[Ended]
    stopped: UpstreamError | None = None
    """The timer that ran out for it."""

    def error(self) -> UpstreamError | None:
        """Why it failed; `None`: it has not, or in a way that is for nobody to decide about."""
        if self.stopped is not None:
            return self.stopped
        if not self.task.done() or self.task.cancelled():
            return None
        error = self.task.exception()
        return error if isinstance(error, UpstreamError) else None


class Hedge:
    """Two attempts at one answer, the second after a delay.

    Args:
        first: what is asked at once.
        after_seconds: how long it may say nothing until the second is asked.
        second: makes the other one, or finds that there shall be none; called once at the most.
        overdue: the error of an attempt whose timer has run out by this time; `None`: none has.
        clock: for the upstreams' circuits, and for what is learned of the one that is left.
    """

    def __init__(
        self,
        first: Attempt,
        after_seconds: float,
        second: Callable[[], Attempt | None],
        overdue: Callable[[Attempt, int], UpstreamError | None],
        clock: Clock,
    ) -> None:
        self.winner: Attempt | None = None
        """The one that goes on."""
        self.first_error: UpstreamError | None = None
        """Why the first failed, where it did without a word."""
        self.left_midway: list[Attempt] = []
        """Those that were cancelled after their requests had been sent."""
        self._first = first
        self._after_seconds = after_seconds
        self._second = second
        self._overdue = overdue
        self._clock = clock
        self._asked: list[_Asked] = []
        self._changed = asyncio.Event()
        self._leaving: list[asyncio.Task[Ended]] = []

    async def generate(self) -> Ended:
        """Asks, until one of the two has come to its end.

        Cancelling the task that waits here closes the connections of both.

        Raises:
            UpstreamError: the one that spoke failed, or both did without a word; then it is the first one's.
        """
        loop = asyncio.get_running_loop()
        self._ask(self._first, loop)
        timer = loop.call_later(self._after_seconds, self._ask_the_second, loop)
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                for each in [each for each in self._asked if each.task.done()]:
                    self._asked.remove(each)
                    if (ended := self._outcome(each)) is not None:
                        return ended
        finally:
            timer.cancel()
            for each in self._asked:
                self._leave(each)
            if self._leaving:
                await asyncio.wait(self._leaving)
            for task in self._leaving:
                if not task.cancelled():
                    task.exception()  # looked at: nobody waits for what it says

    def decide(self, winner: Attempt) -> None:
        """Takes note that one has something to show: it goes on, and the other is cancelled."""
        if self.winner is not None:
            return
        self.winner = winner
        now = self._clock.monotonic_ns()
        for each in [each for each in self._asked if each.attempt is not winner]:
            self._asked.remove(each)
            self._leave(each)
            if (error := each.error()) is not None:
                self._failed(each.attempt, error)
                continue
            candidate, sent_ns = each.attempt.candidate, each.attempt.marks.sent_ns
            if sent_ns is not None:
                candidate.upstream.first_tokens.learn(
                    candidate.model, streamed=each.attempt.request.stream, nanoseconds=now - sent_ns
                )

    def check_timers(self, now_ns: int) -> None:
        """Stops those whose time is over, while nothing was said."""
        for each in self._asked:
            if each.stopped is None and (error := self._overdue(each.attempt, now_ns)) is not None:
                each.stopped = error
                each.attempt.lost = True
                each.task.cancel()

    def _ask(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(_generate(attempt, holds_place=attempt is self._first))
        task.add_done_callback(lambda _: self._changed.set())
        self._asked.append(_Asked(attempt, task))

    def _ask_the_second(self, loop: asyncio.AbstractEventLoop) -> None:
        # One that has just failed, or was stopped, is what recovery decides about.
        waiting = any(each.stopped is None and not each.task.done() for each in self._asked)
        if self.winner is None and waiting and (second := self._second()) is not None:
            self._ask(second, loop)

    def _outcome(self, each: _Asked) -> Ended | None:
        """The end of one that was asked; `None`: the other goes on alone."""
        error = each.error()
        if error is None:
            ended = each.task.result()
            self.decide(each.attempt)
            return ended
        if each.attempt is self.winner:
            raise error
        self._failed(each.attempt, error)
        if self._asked:
            return None
        raise self.first_error or error

    def _failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """Keeps why one failed without a word: the first's is the run's affair."""
        if attempt is self._first:
            self.first_error = error
        else:
            attempt.candidate.upstream.failed(error, self._clock.monotonic_ns(), trial=False)

    def _leave(self, each: _Asked) -> None:
        each.attempt.lost = True
        if not each.task.done():
            each.task.cancel()
            self._leaving.append(each.task)
            if each.attempt.marks.sent_ns is not None:
                self.left_midway.append(each.attempt)


async def _generate(attempt: Attempt, *, holds_place: bool) -> Ended:
    upstream = attempt.candidate.upstream
    generating = upstream.provider.generate(attempt.request, attempt.marks, attempt.write)
    if holds_place or upstream.places is None:
        return await generating
    async with upstream.places:
        return await generating
