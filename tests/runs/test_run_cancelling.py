"""Cancelling a run in every phase: it reaches the provider, the stream ends at once, no place stays taken (L1, L4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from headrace.errors import UpstreamReset, UpstreamTimeout
from headrace.events import Ended, Event, Failure, TextDelta, UsageKnown
from headrace.interfaces import Write
from headrace.requests import GenerationRequest, Message, Timeouts
from headrace.runs import Candidate, Run, Upstream
from headrace.runs.registry import CANCELLED, SHUT_DOWN
from headrace.testing.waiting import turns, until
from headrace.timing import Marks
from headrace.usage import Usage, estimated

if TYPE_CHECKING:
    from tests.runs.conftest import Script, Stage

pytestmark = pytest.mark.anyio

NOTHING_SPENT = Usage(0, 0, "counted", "counted", "headrace")

# The phases in which a provider may be told to stop.
IN_THE_PROVIDER: dict[str, Script] = {
    "connecting": ["hang for a connection"],
    "before it is sent": ["connected", "hang"],
    "before headers": ["connected", "sent", "hang"],
    "before the first token": ["connected", "sent", "first_byte", "hang"],
    "in the middle": [[TextDelta("Yes")], "hang"],
}


def ended(events: Sequence[Event]) -> tuple[str, Failure | None]:
    last = events[-1]
    assert isinstance(last, Ended)
    return last.ending, last.failure


def usage(events: Sequence[Event]) -> Usage:
    return [event.usage for event in events if isinstance(event, UsageKnown)][-1]


@pytest.mark.parametrize("phase", IN_THE_PROVIDER)
async def test_l1_cancelling_closes_the_provider_and_ends_the_stream(stage: Stage, phase: str) -> None:
    provider = stage.provide(IN_THE_PROVIDER[phase], most=1)
    other = stage.provide([Ended("stop")], name="local")
    run = stage.prepare()
    await until(lambda: provider.asked and run.stream.length == (2 if phase == "in the middle" else 1))
    run.cancel(CANCELLED)
    events = await stage.finish(run)
    assert provider.outcomes == ["cancelled"]
    assert ended(events) == ("cancelled", CANCELLED)
    assert not other.asked
    places = stage.upstreams["groq"].places
    assert places is not None
    assert not places.locked()


@pytest.mark.parametrize(
    ("phase", "spent"),
    [
        ("connecting", NOTHING_SPENT),
        ("before it is sent", NOTHING_SPENT),
        ("before headers", estimated(["Bread?"], [])),
        ("in the middle", estimated(["Bread?"], ["Yes"])),
    ],
)
async def test_l20_what_a_cancelled_run_spent_is_told(stage: Stage, phase: str, spent: Usage) -> None:
    provider = stage.provide(IN_THE_PROVIDER[phase])
    run = stage.prepare()
    await until(lambda: provider.asked)
    run.cancel(CANCELLED)
    assert usage(await stage.finish(run)) == spent


async def test_a_run_cancelled_before_its_first_step_asks_nobody(stage: Stage) -> None:
    provider = stage.provide([Ended("stop")])
    run = stage.prepare()
    run.cancel(CANCELLED)
    events = await stage.finish(run)
    assert ended(events) == ("cancelled", CANCELLED)
    assert usage(events) == NOTHING_SPENT
    assert not provider.asked


class Hanging:
    """Middleware that never finishes."""

    def __init__(self) -> None:
        self.asked = False

    async def prepare(self, request: GenerationRequest, owner: str, tell: object) -> GenerationRequest:
        self.asked = True
        await asyncio.Event().wait()
        raise AssertionError("never")


async def test_a_run_is_cancelled_while_its_request_is_prepared(stage: Stage) -> None:
    provider = stage.provide([Ended("stop")])
    hanging = Hanging()
    run = stage.prepare(middleware=[hanging])
    await until(lambda: hanging.asked)
    run.cancel(CANCELLED)
    assert ended(await stage.finish(run)) == ("cancelled", CANCELLED)
    assert not provider.asked


async def test_a_run_is_cancelled_while_it_waits_for_a_place(stage: Stage) -> None:
    provider = stage.provide(["hang"], [[TextDelta("Yes")], Ended("stop")], most=1)
    first = stage.prepare()
    await until(lambda: provider.asked)
    second, third = stage.prepare(), stage.prepare()
    await until(lambda: second.stream.length == third.stream.length == 2)
    second.cancel(CANCELLED)
    assert ended(await stage.finish(second)) == ("cancelled", CANCELLED)
    # The place it waited for goes to the next one.
    first.cancel(CANCELLED)
    assert ended(await stage.finish(third)) == ("stop", None)
    assert len(provider.asked) == 2


async def test_a_run_is_cancelled_between_two_attempts(stage: Stage) -> None:
    broken = UpstreamReset("broke", upstream="groq", retry_after_seconds=9)
    provider = stage.provide([broken], [Ended("stop")])
    run = stage.prepare()
    await until(lambda: provider.outcomes)
    await turns(3)
    assert run.stream.ended is None
    run.cancel(CANCELLED)
    assert ended(await stage.finish(run)) == ("cancelled", CANCELLED)
    assert len(provider.asked) == 1


async def test_l4_cancelling_twice_or_after_the_end_changes_nothing(stage: Stage) -> None:
    provider = stage.provide([[TextDelta("Yes")], "hang"], [Ended("stop")])
    run = stage.prepare()
    await until(lambda: run.stream.length == 2)
    run.cancel(CANCELLED)
    run.cancel(SHUT_DOWN)
    events = await stage.finish(run)
    assert ended(events) == ("cancelled", CANCELLED)
    run.cancel(CANCELLED)
    finished = stage.prepare()
    await stage.finish(finished)
    finished.cancel(CANCELLED)
    await asyncio.sleep(0)
    assert list(run.stream.read(0)) == events
    assert ended(list(finished.stream.read(0))) == ("stop", None)
    assert len(provider.asked) == 2


async def test_what_the_reader_did_not_cancel_is_incomplete(stage: Stage) -> None:
    stage.provide([[TextDelta("Yes")], "hang"])
    run = stage.prepare()
    await until(lambda: run.stream.length == 2)
    run.cancel(SHUT_DOWN)
    assert ended(await stage.finish(run)) == ("incomplete", SHUT_DOWN)


@pytest.mark.parametrize("script", [["hang"], [[TextDelta("Yes")], "hang"]], ids=["before content", "after content"])
async def test_a_task_that_somebody_else_cancels_ends_its_stream_and_stays_cancelled(
    stage: Stage, script: Script
) -> None:
    provider = stage.provide(script)
    run = stage.prepare()
    await until(lambda: provider.asked)
    assert run.task is not None
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    ending, failure = ended(list(run.stream.read(0)))
    assert ending == "incomplete"
    assert failure is not None
    assert failure.code == "shutting_down"
    assert provider.outcomes == ["cancelled"]


async def test_a_cancel_that_comes_in_the_same_turn_as_a_timer_is_not_lost(stage: Stage) -> None:
    # The timer alone would have had the next upstream asked.
    provider = stage.provide(["hang"], timeouts=Timeouts(first_token=1))
    second = stage.provide([[TextDelta("Yes")], Ended("stop")], name="local")
    run = stage.prepare()
    await until(lambda: provider.asked)
    stage.clock.advance(2)
    run.check_timers(stage.clock.monotonic_ns())
    run.cancel(CANCELLED)
    assert ended(await stage.finish(run)) == ("cancelled", CANCELLED)
    assert not second.asked


async def test_a_shutdown_that_comes_in_the_same_turn_as_a_timer_is_not_lost(stage: Stage) -> None:
    provider = stage.provide(["hang"], timeouts=Timeouts(first_token=1))
    second = stage.provide(["hang"], name="local")
    run = stage.prepare()
    await until(lambda: provider.asked)
    stage.clock.advance(2)
    run.check_timers(stage.clock.monotonic_ns())
    assert run.task is not None
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(run.task), 10)
    assert ended(list(run.stream.read(0)))[0] == "incomplete"
    assert not second.asked


class Grumbling:
    """A provider that reports the connection it was made to close as broken."""

    def __init__(self) -> None:
        self.asked = 0

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        self.asked += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise UpstreamReset("the connection broke", upstream="groq", retry_after_seconds=0) from None
        raise AssertionError("never")

    async def models(self) -> Sequence[str]:
        return []

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        pass


def grumbling(stage: Stage) -> tuple[Grumbling, Run]:
    """Such a provider, and a run that asks it."""
    provider = Grumbling()
    upstream = Upstream.limited("groq", provider, Timeouts(first_token=1), None)
    stream = stage.store.create("s", "ann", GenerationRequest("fast", (Message("user", "Bread?"),), stream=True))
    run = Run(stream, [Candidate(upstream, "m")], (), stage.clock)
    run.task = asyncio.create_task(run.perform())
    return provider, run


async def test_an_error_that_closing_brings_up_does_not_undo_the_cancel(stage: Stage) -> None:
    provider, run = grumbling(stage)
    await until(lambda: provider.asked)
    run.cancel(CANCELLED)
    assert ended(await stage.finish(run)) == ("cancelled", CANCELLED)
    assert provider.asked == 1


async def test_an_error_that_closing_brings_up_does_not_hide_the_timer(stage: Stage) -> None:
    provider, run = grumbling(stage)
    await until(lambda: provider.asked)
    stage.clock.advance(2)
    run.check_timers(stage.clock.monotonic_ns())
    assert ended(await stage.finish(run)) == ("error", UpstreamTimeout("first_token", 1, upstream="groq").failure())
    assert provider.asked == 1
