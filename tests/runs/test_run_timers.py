"""The four timers, each on its own (T6, L28): the clock is turned by hand, and the timers are looked at by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from headrace.errors import Timer, UpstreamReset, UpstreamTimeout
from headrace.events import Ended, Event, Failure, Status, TextDelta, UsageKnown
from headrace.requests import GenerationRequest, Message, Timeouts
from headrace.runs import Run
from headrace.runs.registry import CANCELLED
from headrace.testing.waiting import turns, until
from headrace.usage import estimated

if TYPE_CHECKING:
    from tests.runs.conftest import Script, Stage

pytestmark = pytest.mark.anyio

LIMITS = Timeouts(connect=5, first_token=120, between_tokens=30, total=600)
GOOD: Script = [[TextDelta("Yes")], Ended("stop")]


def more_text() -> list[Event]:
    return [TextDelta("more")]


def ended(events: Sequence[Event]) -> tuple[str, Failure | None]:
    last = events[-1]
    assert isinstance(last, Ended)
    return last.ending, last.failure


async def turn(stage: Stage, run: Run, seconds: float) -> bool:
    """Turns the clock and looks at the timers; whether the run is still going on when everybody has had a turn."""
    stage.clock.advance(seconds)
    run.check_timers(stage.clock.monotonic_ns())
    await turns(10)
    return run.stream.ended is None


@pytest.mark.parametrize(
    ("script", "timer", "seconds", "ending"),
    [
        (["connected", "sent", "hang"], "first_token", 120, "error"),
        (["connected", "sent", "first_byte", "hang"], "first_token", 120, "error"),
        ([[Status("loading", "loading")], "hang"], "first_token", 120, "error"),
        ([[TextDelta("Yes")], "hang"], "between_tokens", 30, "incomplete"),
    ],
    ids=["before headers", "before the first token", "while the model is loading", "in the middle"],
)
async def test_t6_a_timer_ends_what_takes_longer_and_nothing_sooner(
    stage: Stage, script: Script, timer: Timer, seconds: float, ending: str
) -> None:
    provider = stage.provide(script, timeouts=LIMITS)
    run = stage.prepare()
    await until(lambda: provider.asked)
    assert await turn(stage, run, 0)
    assert await turn(stage, run, seconds)
    assert not await turn(stage, run, 0.001)
    expected = UpstreamTimeout(timer, seconds, upstream="groq").failure()
    assert ended(await stage.finish(run)) == (ending, expected)
    assert provider.outcomes == ["cancelled"]


async def test_t6_the_connect_timer_turns_to_the_next_upstream(stage: Stage) -> None:
    first = stage.provide(["hang for a connection"], timeouts=LIMITS)
    second = stage.provide(["connected", "sent", *GOOD], name="local", timeouts=LIMITS)
    run = stage.prepare()
    await until(lambda: first.asked)
    assert await turn(stage, run, 5)
    assert not await turn(stage, run, 0.001)
    events = await stage.finish(run)
    assert ended(events) == ("stop", None)
    assert first.outcomes == ["cancelled"]
    assert len(second.asked) == 1


async def test_t6_a_connection_made_in_time_is_not_the_connect_timers_any_more(stage: Stage) -> None:
    provider = stage.provide(["connected", "hang"], timeouts=LIMITS)
    run = stage.prepare()
    await until(lambda: provider.asked)
    assert await turn(stage, run, 119)
    run.cancel(CANCELLED)
    await stage.finish(run)


async def test_t6_each_batch_begins_the_gap_anew(stage: Stage) -> None:
    spoken = [asyncio.Event() for _ in range(3)]
    stage.provide(
        [[TextDelta("a")], spoken[0], [TextDelta("b")], spoken[1], [TextDelta("c")], spoken[2], *GOOD[-1:]],
        timeouts=LIMITS,
    )
    run = stage.prepare()
    await until(lambda: run.stream.length == 2)
    for event in spoken[:2]:
        assert await turn(stage, run, 0)
        assert await turn(stage, run, 29)
        event.set()
        await asyncio.sleep(0)
    assert await turn(stage, run, 0)
    assert await turn(stage, run, 29)
    assert not await turn(stage, run, 2)


async def test_t6_total_ends_an_answer_that_never_falls_silent(stage: Stage) -> None:
    more = [asyncio.Event() for _ in range(30)]
    steps: Script = [step for event in more for step in (event, more_text())]
    provider = stage.provide([[TextDelta("a")], *steps, Ended("stop")], timeouts=LIMITS)
    run = stage.prepare()
    await until(lambda: run.stream.length == 2)
    for event in more[:24]:
        assert await turn(stage, run, 25)
        event.set()
        await asyncio.sleep(0)
    assert not await turn(stage, run, 0.001)
    assert ended(await stage.finish(run)) == (
        "incomplete",
        UpstreamTimeout("total", 600, upstream="groq").failure(),
    )
    assert provider.outcomes == ["cancelled"]


async def test_t6_total_counts_from_acceptance_over_all_attempts(stage: Stage) -> None:
    first = stage.provide(["hang"], timeouts=Timeouts(first_token=400, total=600))
    second = stage.provide(["hang"], name="local", timeouts=Timeouts(first_token=400, total=600))
    run = stage.prepare()
    await until(lambda: first.asked)
    assert await turn(stage, run, 401)
    assert second.asked
    assert await turn(stage, run, 198)
    assert not await turn(stage, run, 2)
    events = await stage.finish(run)
    assert ended(events) == ("error", UpstreamTimeout("total", 600, upstream="local").failure())
    assert (first.outcomes, second.outcomes) == (["cancelled"], ["cancelled"])


async def test_t6_total_ends_a_run_that_waits_for_a_place(stage: Stage) -> None:
    provider = stage.provide(["hang"], GOOD, most=1, timeouts=LIMITS)
    first = stage.prepare()
    await until(lambda: provider.asked)
    second = stage.prepare()
    await until(lambda: second.stream.length == 2)
    # A place is waited for as long as the whole time allows: nothing was asked yet that could be late.
    assert await turn(stage, second, 599)
    assert not await turn(stage, second, 2)
    assert ended(await stage.finish(second)) == ("error", UpstreamTimeout("total", 600, upstream="groq").failure())
    assert len(provider.asked) == 1
    first.cancel(CANCELLED)
    await stage.finish(first)


async def test_t6_total_ends_a_run_that_waits_between_two_attempts(stage: Stage) -> None:
    busy = UpstreamReset("broke", upstream="groq", retry_after_seconds=9)
    provider = stage.provide([busy], GOOD, timeouts=LIMITS)
    run = stage.prepare()
    await until(lambda: provider.outcomes)
    assert await turn(stage, run, 599)
    assert not await turn(stage, run, 2)
    assert ended(await stage.finish(run)) == ("error", UpstreamTimeout("total", 600, upstream="groq").failure())
    assert len(provider.asked) == 1


async def test_t6_a_request_may_set_each_timer_for_itself(stage: Stage) -> None:
    provider = stage.provide([[TextDelta("Yes")], "hang"], timeouts=LIMITS)
    request = GenerationRequest("fast", (Message("user", "Bread?"),), stream=True, timeouts=Timeouts(between_tokens=2))
    run = stage.prepare(request)
    await until(lambda: provider.asked)
    assert await turn(stage, run, 0)
    assert await turn(stage, run, 2)
    assert not await turn(stage, run, 0.5)
    assert ended(await stage.finish(run)) == (
        "incomplete",
        UpstreamTimeout("between_tokens", 2, upstream="groq").failure(),
    )


@pytest.mark.parametrize("timeouts", [Timeouts(), Timeouts(0, 0, 0, 0)], ids=["unset", "0"])
@pytest.mark.parametrize("script", [["hang"], [[TextDelta("a")], "hang"]], ids=["before content", "after content"])
async def test_t6_without_a_limit_nothing_runs_out(stage: Stage, script: Script, timeouts: Timeouts) -> None:
    provider = stage.provide(script, timeouts=timeouts)
    run = stage.prepare()
    await until(lambda: provider.asked)
    assert await turn(stage, run, 0)
    assert await turn(stage, run, 10_000_000)
    run.cancel(CANCELLED)
    await stage.finish(run)


async def test_l28_a_long_answer_and_a_slow_beginning_pass_with_the_default_limits(stage: Stage) -> None:
    begin = asyncio.Event()
    more = [asyncio.Event() for _ in range(20)]
    steps: Script = [step for event in more for step in (event, more_text())]
    provider = stage.provide(["connected", "sent", begin, [TextDelta("a")], *steps, Ended("stop")], timeouts=LIMITS)
    run = stage.prepare()
    await until(lambda: provider.asked)
    assert await turn(stage, run, 90)
    begin.set()
    for event in more:
        assert await turn(stage, run, 25)
        event.set()
        await asyncio.sleep(0)
    assert ended(await stage.finish(run)) == ("stop", None)


async def test_t6_a_whole_answer_has_no_first_token_before_its_last(stage: Stage) -> None:
    provider = stage.provide(["connected", "sent", "hang"], timeouts=LIMITS)
    run = stage.prepare(GenerationRequest("fast", (Message("user", "Bread?"),), stream=False))
    await until(lambda: provider.asked)
    assert await turn(stage, run, 600)
    assert not await turn(stage, run, 0.001)
    assert ended(await stage.finish(run)) == ("error", UpstreamTimeout("total", 600, upstream="groq").failure())


async def test_l20_a_run_that_timed_out_says_what_it_spent(stage: Stage) -> None:
    provider = stage.provide([[TextDelta("Yes")], "hang"], timeouts=LIMITS)
    run = stage.prepare()
    await until(lambda: provider.asked)
    assert await turn(stage, run, 0)
    assert not await turn(stage, run, 31)
    events = await stage.finish(run)
    assert events[-2] == UsageKnown(estimated(["Bread?"], ["Yes"]))


async def test_looking_at_the_timers_of_a_run_that_has_not_begun_or_has_ended_does_nothing(stage: Stage) -> None:
    stage.provide(GOOD, timeouts=LIMITS)
    run = stage.prepare()
    run.check_timers(stage.clock.monotonic_ns())
    events = await stage.finish(run)
    stage.clock.advance(1_000_000)
    run.check_timers(stage.clock.monotonic_ns())
    assert list(run.stream.read(0)) == events


def drip(count: int) -> list[list[Event]]:
    return [[TextDelta("..")] for _ in range(count)]


async def test_l29_an_answer_that_begins_too_slowly_is_left_for_the_next_upstream_unseen(stage: Stage) -> None:
    slow: Script = [*drip(5), "hang"]
    provider = stage.provide(slow)
    stage.upstreams["groq"].least_per_second = 50
    stage.provide(GOOD, name="local")
    run = stage.prepare()
    await until(lambda: provider.asked)
    assert await turn(stage, run, 1.9)
    assert run.stream.length == 1
    assert not await turn(stage, run, 0.2)
    events = await stage.finish(run)
    assert provider.outcomes == ["cancelled"]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Yes"]
    status = events[1]
    assert isinstance(status, Status)
    assert status.message.startswith("groq/groq-model began with fewer than 50 characters a second")


async def test_l29_an_answer_that_is_quick_enough_is_shown_and_never_guarded_again(stage: Stage) -> None:
    script: Script = [*drip(49), lambda: seen.append(run.stream.length), *drip(2), "hang"]
    seen: list[int] = []
    provider = stage.provide(script)
    stage.upstreams["groq"].least_per_second = 50
    stage.provide(GOOD, name="local")
    run = stage.prepare()
    await until(lambda: run.stream.length == 52)
    assert seen == [1], "held until it is known to be quick enough"
    assert await turn(stage, run, 1000)
    run.cancel(CANCELLED)
    await stage.finish(run)
    assert provider.outcomes == ["cancelled"]


async def test_l29_where_there_is_no_other_upstream_slow_is_better_than_nothing(stage: Stage) -> None:
    script: Script = [*drip(1), "hang"]
    stage.provide(script)
    stage.upstreams["groq"].least_per_second = 50
    run = stage.prepare()
    await until(lambda: run.stream.length == 2)
    assert await turn(stage, run, 100)
    run.cancel(CANCELLED)
    await stage.finish(run)


async def test_l29_a_short_answer_that_ends_in_time_is_shown_whole(stage: Stage) -> None:
    stage.provide(GOOD)
    stage.upstreams["groq"].least_per_second = 50
    stage.provide(GOOD, name="local")
    assert ended(await stage.perform()) == ("stop", None)
