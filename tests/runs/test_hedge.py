"""Hedging: a second attempt where the first is slow to begin, and what becomes of the one that is left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from headrace.errors import UpstreamMalformed, UpstreamReset
from headrace.events import Ended, Event, Sources, Started, Status, TextDelta, UsageKnown
from headrace.requests import GenerationRequest, Message, Timeouts
from headrace.runs import Run
from headrace.runs.circuit import FAILURES_IN_A_ROW
from headrace.runs.first_tokens import LEAST_ANSWERS, REMEMBERED_ANSWERS, FirstTokens
from headrace.runs.registry import CANCELLED
from headrace.runs.retry_tokens import RetryTokens
from headrace.testing.waiting import turns, until
from headrace.usage import reported

if TYPE_CHECKING:
    from tests.runs.conftest import Script, ScriptedProvider, Stage

pytestmark = pytest.mark.anyio

BEGINS_SECONDS = 0.02
"""How long the first word takes as a rule: real seconds, since the delay is one of the event loop."""
GOOD: Script = [[TextDelta("Yes")], Ended("stop")]
OTHER: Script = [[TextDelta("No")], [UsageKnown(reported(3, 1, by="local"))], Ended("stop")]


def provide(stage: Stage, *scripts: Script, name: str = "groq", learned: int = LEAST_ANSWERS) -> ScriptedProvider:
    """An upstream of a hedged model that answers within `BEGINS_SECONDS` as a rule."""
    stage.hedge = True
    provider = stage.provide(*scripts, name=name)
    for streamed in (True, False):
        for _ in range(learned):
            stage.upstreams[name].first_tokens.learn(
                f"{name}-model", streamed=streamed, nanoseconds=int(BEGINS_SECONDS * 1e9)
            )
    return provider


def said(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def told(events: Sequence[Event]) -> list[tuple[str, str | None, str | None]]:
    return [(event.phase, event.origin, event.destination) for event in events if isinstance(event, Status)]


def usage(events: Sequence[Event]) -> UsageKnown:
    return [event for event in events if isinstance(event, UsageKnown)][-1]


async def test_an_upstream_that_begins_in_time_is_asked_once(stage: Stage) -> None:
    begun = asyncio.Event()
    provider = provide(stage, [[TextDelta("Y")], begun, [TextDelta("es")], Ended("stop")])
    run = stage.prepare()
    await until(lambda: run.stream.length == 2)
    await asyncio.sleep(BEGINS_SECONDS * 3)  # longer than a second attempt would wait
    begun.set()
    events = await stage.finish(run)
    assert (said(events), len(provider.asked), told(events)) == ("Yes", 1, [])
    assert not usage(events).usage.may_have_gone_on


@pytest.mark.parametrize("stream", [True, False])
async def test_one_that_is_slow_to_begin_is_asked_a_second_time_and_the_quicker_answer_is_given(
    stage: Stage, *, stream: bool
) -> None:
    provider = provide(stage, ["hang"], GOOD)
    events = await stage.perform(GenerationRequest("fast", (Message("user", "Bread?"),), stream=stream))
    assert said(events) == "Yes"
    assert provider.outcomes == ["ended", "cancelled"]
    assert provider.asked[0] == provider.asked[1], "of the same owner, whose documents it may be answered from"
    assert sum(isinstance(event, Started) for event in events) == 1
    assert told(events) == [("retrying", "groq/groq-model", "groq/groq-model")]
    assert isinstance(events[-1], Ended)
    assert events[-1].timing is not None
    assert events[-1].timing.attempts == 2
    assert usage(events).usage.may_have_gone_on, "the one that was left may be billed"


async def test_where_a_model_has_another_upstream_that_one_is_asked(stage: Stage) -> None:
    first, second = provide(stage, ["hang"]), provide(stage, OTHER, name="local")
    events = await stage.perform()
    assert said(events) == "No"
    assert (first.outcomes, second.outcomes) == (["cancelled"], ["ended"])
    assert told(events) == [
        ("retrying", "groq/groq-model", "local/local-model"),
        ("failed_over", "groq/groq-model", "local/local-model"),
    ]
    known = usage(events).usage
    assert (known.prompt_tokens, known.completion_tokens, known.source) == (3, 1, "reported")


async def test_the_first_may_still_be_the_first_to_speak(stage: Stage) -> None:
    go = asyncio.Event()
    first = provide(stage, [go, *GOOD])
    second = provide(stage, ["hang"], name="local")
    run = stage.prepare()
    await until(lambda: second.asked)
    go.set()
    events = await stage.finish(run)
    assert (said(events), first.outcomes, second.outcomes) == ("Yes", ["ended"], ["cancelled"])
    assert [phase for phase, *_ in told(events)] == ["retrying"]


async def test_of_the_one_that_is_left_no_word_and_no_source_is_shown(stage: Stage) -> None:
    spoken = asyncio.Event()

    def speak() -> None:
        spoken.set()
        # In this turn of the event loop the other one is told to stop; what it hears meanwhile is not heard.
        late([TextDelta("late")])

    first = provide(stage, [[Sources(())], "hang"])
    provide(stage, [[TextDelta("No")], speak, Ended("stop")], name="local")
    run = stage.prepare()
    await until(lambda: first.asked)
    assert run._attempt is not None
    late = run._attempt.write
    events = await stage.finish(run)
    assert spoken.is_set()
    assert said(events) == "No"
    assert not any(isinstance(event, Sources) for event in events)


async def test_one_that_fails_leaves_the_answer_to_the_other(stage: Stage) -> None:
    fail, go = asyncio.Event(), asyncio.Event()
    provide(stage, [fail, UpstreamReset("broke", upstream="groq")])
    second = provide(stage, [go, *OTHER], name="local")
    run = stage.prepare()
    await until(lambda: second.asked)
    fail.set()
    await turns(10)
    assert run.stream.ended is None
    go.set()
    events = await stage.finish(run)
    assert said(events) == "No"
    assert stage.upstreams["groq"].circuit.failures == 1
    assert stage.upstreams["local"].circuit.failures == 0


async def test_a_second_that_fails_harms_nothing(stage: Stage) -> None:
    go = asyncio.Event()
    provide(stage, [go, *GOOD])
    second = provide(stage, [UpstreamReset("local: broke", upstream="local")], name="local")
    run = stage.prepare()
    await until(lambda: second.outcomes)
    await turns(10)
    go.set()
    events = await stage.finish(run)
    assert said(events) == "Yes"
    assert stage.upstreams["local"].circuit.failures == 1
    assert not usage(events).usage.may_have_gone_on


async def test_where_both_fail_the_run_goes_on_as_after_the_first(stage: Stage) -> None:
    fail = asyncio.Event()
    first = provide(stage, [fail, UpstreamMalformed("nonsense", upstream="groq")])
    second = provide(stage, [UpstreamReset("broke", upstream="local")], GOOD, name="local")
    run = stage.prepare()
    await until(lambda: second.outcomes)
    await turns(10)
    fail.set()
    events = await stage.finish(run)
    assert (said(events), len(first.asked), len(second.asked)) == ("Yes", 1, 2)
    assert stage.upstreams["groq"].circuit.failures == 1


async def test_a_winner_that_breaks_off_is_the_one_that_broke_off(stage: Stage) -> None:
    provide(stage, ["hang"])
    provide(stage, [[TextDelta("N")], UpstreamReset("local: broke", upstream="local")], name="local")
    events = await stage.perform()
    last = events[-1]
    assert isinstance(last, Ended)
    assert last.failure is not None
    assert (said(events), last.ending, last.failure.upstream) == ("N", "incomplete", "local")
    assert stage.upstreams["local"].circuit.failures == 1
    assert stage.upstreams["groq"].circuit.failures == 0


async def test_cancelling_stops_both(stage: Stage) -> None:
    first, second = provide(stage, ["hang"]), provide(stage, ["hang"], name="local")
    run = stage.prepare()
    await until(lambda: second.asked)
    run.cancel(CANCELLED)
    events = await stage.finish(run)
    assert isinstance(events[-1], Ended)
    assert events[-1].ending == "cancelled"
    assert (first.outcomes, second.outcomes) == (["cancelled"], ["cancelled"])


async def test_the_timer_of_one_leaves_the_answer_to_the_other(stage: Stage) -> None:
    first = provide(stage, ["hang"])
    go = asyncio.Event()
    second = provide(stage, [go, *OTHER], name="local")
    request = GenerationRequest("fast", (Message("user", "Bread?"),), stream=True, timeouts=Timeouts(first_token=10))
    run = stage.prepare(request)
    await until(lambda: first.asked)
    stage.clock.advance(6)
    await until(lambda: second.asked)
    stage.clock.advance(6)
    run.check_timers(stage.clock.monotonic_ns())
    await until(lambda: first.outcomes)
    assert second.outcomes == []
    go.set()
    events = await stage.finish(run)
    assert said(events) == "No"
    assert stage.upstreams["groq"].circuit.failures == 1


async def test_the_whole_time_ends_both(stage: Stage) -> None:
    first, second = provide(stage, ["hang"]), provide(stage, ["hang"], name="local")
    request = GenerationRequest("fast", (Message("user", "Bread?"),), stream=True, timeouts=Timeouts(total=10))
    run = stage.prepare(request)
    await until(lambda: second.asked)
    stage.clock.advance(11)
    run.check_timers(stage.clock.monotonic_ns())
    events = await stage.finish(run)
    assert isinstance(events[-1], Ended)
    assert events[-1].failure is not None
    assert events[-1].failure.code == "total_timeout"
    assert (first.outcomes, second.outcomes) == (["cancelled"], ["cancelled"])


async def alone(stage: Stage, provider: ScriptedProvider, go: asyncio.Event) -> None:
    """Sees to it that there is no second attempt, long after there would have been one."""
    run: Run = stage.prepare()
    await until(lambda: provider.asked)
    await asyncio.sleep(BEGINS_SECONDS * 3)
    go.set()
    events = await stage.finish(run)
    assert (said(events), told(events)) == ("Yes", [])


async def test_with_few_answers_known_nobody_is_asked_twice(stage: Stage) -> None:
    go = asyncio.Event()
    await alone(stage, provide(stage, [go, *GOOD], learned=LEAST_ANSWERS - 1), go)


async def test_without_retry_tokens_nobody_is_asked_twice(stage: Stage) -> None:
    go = asyncio.Event()
    provider = provide(stage, [go, *GOOD])
    stage.upstreams["groq"].retry_tokens = RetryTokens(0.5)
    await alone(stage, provider, go)


async def test_without_a_free_place_nobody_is_asked_twice(stage: Stage) -> None:
    go = asyncio.Event()
    provider = provide(stage, [go, *GOOD])
    stage.upstreams["groq"].places = asyncio.Semaphore(1)
    await alone(stage, provider, go)
    assert not stage.upstreams["groq"].places.locked()


async def test_an_upstream_that_is_left_alone_is_no_second(stage: Stage) -> None:
    provide(stage, ["hang"], GOOD)
    second = provide(stage, name="local")
    now = stage.clock.monotonic_ns()
    for _ in range(FAILURES_IN_A_ROW):
        stage.upstreams["local"].failed(UpstreamReset("broke", upstream="local"), now, trial=False)
    events = await stage.perform()
    assert (said(events), second.asked) == ("Yes", [])


async def test_a_second_attempt_holds_a_place_of_its_own(stage: Stage) -> None:
    go = asyncio.Event()
    provider = provide(stage, ["hang"], [go, *GOOD])
    places = stage.upstreams["groq"].places = asyncio.Semaphore(2)
    run = stage.prepare()
    await until(lambda: len(provider.asked) == 2)
    assert places.locked()
    go.set()
    await stage.finish(run)
    assert not places.locked()


async def test_a_retry_token_that_helped_comes_back(stage: Stage) -> None:
    provide(stage, ["hang"], GOOD)
    stage.upstreams["groq"].retry_tokens = RetryTokens(5)
    await stage.perform()
    assert stage.upstreams["groq"].retry_tokens.left == 5


def test_the_nineteenth_of_twenty_is_what_is_waited_for() -> None:
    times = FirstTokens()
    for seconds in range(1, LEAST_ANSWERS):
        times.learn("m", streamed=True, nanoseconds=seconds * 10**9)
        assert times.slowest_of_twenty("m", streamed=True) is None
    times.learn("m", streamed=True, nanoseconds=20 * 10**9)
    assert times.slowest_of_twenty("m", streamed=True) == 19
    assert times.slowest_of_twenty("m", streamed=False) is None, "a whole answer's first word is all of it"
    for _ in range(REMEMBERED_ANSWERS):
        times.learn("m", streamed=True, nanoseconds=3 * 10**9)
    assert times.slowest_of_twenty("m", streamed=True) == 3, "only the latest count"


async def test_one_that_was_left_counts_with_the_time_it_had(stage: Stage) -> None:
    provide(stage, ["hang"], GOOD)
    known = stage.upstreams["groq"].first_tokens
    run = stage.prepare()
    stage.clock.advance(0)
    await until(lambda: run.stream.length > 1)
    await stage.finish(run)
    assert len(known._times["groq-model", True]) == LEAST_ANSWERS + 2
