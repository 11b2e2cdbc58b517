"""Going on with an answer that broke off: who is asked, with what, and what its reader sees of it (L25, L26, L27)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.errors import UpstreamMalformed, UpstreamRefused, UpstreamReset, UpstreamTruncated
from headrace.events import (
    Ended,
    Event,
    ReasoningDelta,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.requests import GenerationRequest, Interruption, Message, Timeouts
from headrace.runs import Models, Runs
from headrace.runs.continuing import CONTINUE_PROMPT, MOST_CONTINUATIONS
from headrace.runs.recovery import ATTEMPTS_PER_UPSTREAM
from headrace.runs.registry import CANCELLED
from headrace.runs.retry_tokens import RetryTokens
from headrace.testing.waiting import turns, until
from headrace.usage import Usage, estimated, reported

if TYPE_CHECKING:
    from tests.runs.conftest import Script, Stage

    from headrace.settings import Prefill

from tests.runs.conftest import whole_generation

pytestmark = pytest.mark.anyio

SAID = "The mill grinds wheat,"
CUT_OFF = UpstreamTruncated("groq stopped without a finish reason", upstream="groq", retry_after_seconds=0)
CUT: Script = [[TextDelta("The mill")], [TextDelta(" grinds wheat,")], CUT_OFF]
REST: Script = [[TextDelta(" rye")], [TextDelta(" and oats.")], Ended("stop")]
TRUE, FALSE = msgspec.Raw(b"true"), msgspec.Raw(b"false")


def question(**more: object) -> GenerationRequest:
    return msgspec.structs.replace(GenerationRequest("fast", (Message("user", "Mill?"),), stream=True), **more)


def text(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def ending(events: Sequence[Event]) -> Ended:
    last = events[-1]
    assert isinstance(last, Ended)
    return last


def usage(events: Sequence[Event]) -> Usage:
    return [event.usage for event in events if isinstance(event, UsageKnown)][-1]


async def test_l25_the_same_model_goes_on_by_itself_and_its_reader_is_told(stage: Stage) -> None:
    provider = stage.provide(CUT, REST, prefill="assistant")
    events = await stage.perform(question())
    assert text(events) == SAID + " rye and oats."
    assert ending(events).ending == "stop"
    words = "groq/groq-model stopped without a finish reason; asking groq/groq-model to go on"
    assert events[3] == Status("continued", words, origin="groq/groq-model", destination="groq/groq-model", offset=3)
    assert [type(event) for event in events].count(Started) == 1
    assert provider.asked[1].messages == (Message("user", "Mill?"), Message("assistant", SAID))
    assert ending(events).timing is not None


@pytest.mark.parametrize(
    ("prefill", "message", "fields"),
    [
        ("assistant", Message("assistant", SAID), {}),
        ("prefix", Message("assistant", SAID, {"prefix": TRUE}), {}),
        (
            "continue_final_message",
            Message("assistant", SAID),
            {"continue_final_message": TRUE, "add_generation_prompt": FALSE},
        ),
    ],
)
async def test_l25_an_upstream_is_given_what_was_said_in_its_own_way_and_no_prompt(
    stage: Stage, prefill: Prefill, message: Message, fields: dict[str, msgspec.Raw]
) -> None:
    provider = stage.provide(CUT, REST, prefill=prefill)
    temperature = {"temperature": msgspec.Raw(b"0.5")}
    await stage.perform(question(fields=temperature))
    assert provider.asked[1].messages == (Message("user", "Mill?"), message)
    assert provider.asked[1].fields == temperature | fields


async def test_l25_words_of_ours_are_added_only_where_they_were_asked_for(stage: Stage) -> None:
    stage.continue_prompt = True
    provider = stage.provide(CUT, REST)
    events = await stage.perform(question())
    assert text(events) == SAID + " rye and oats."
    assert provider.asked[1].messages[1:] == (Message("assistant", SAID), Message("user", CONTINUE_PROMPT))


@pytest.mark.parametrize("policy", ["end", None], ids=["the request says so", "no prefill"])
async def test_l15_without_a_way_to_go_on_the_stream_ends_incomplete(stage: Stage, policy: Interruption | None) -> None:
    provider = stage.provide(CUT, prefill="assistant" if policy else "none")
    events = await stage.perform(question(on_interruption=policy))
    assert len(provider.asked) == 1
    assert text(events) == SAID
    assert (ending(events).ending, ending(events).failure) == ("incomplete", CUT_OFF.failure())


async def test_l27_no_other_upstream_is_asked_after_the_boundary_unless_it_was_opted_in(stage: Stage) -> None:
    first = stage.provide(CUT, *[[CUT_OFF]] * (ATTEMPTS_PER_UPSTREAM - 1), prefill="assistant")
    second = stage.provide(REST, name="local", prefill="assistant")
    events = await stage.perform(question())
    assert (len(first.asked), len(second.asked)) == (ATTEMPTS_PER_UPSTREAM, 0)
    assert ending(events).ending == "incomplete"


@pytest.mark.parametrize("how", ["the request", "the model's entry"])
async def test_l27_another_model_goes_on_where_the_request_or_the_entry_lets_it(stage: Stage, how: str) -> None:
    stage.provide(CUT)
    none = stage.provide(name="no prefill")
    second = stage.provide(REST, name="local", prefill="assistant")
    policy: Interruption | None = "continue_any" if how == "the request" else None
    if policy is None:
        stage.on_interruption = "continue_any"
    events = await stage.perform(question(on_interruption=policy))
    assert not none.asked
    assert text(events) == SAID + " rye and oats."
    status = next(event for event in events if isinstance(event, Status))
    assert (status.phase, status.origin, status.destination) == ("continued", "groq/groq-model", "local/local-model")
    assert second.asked[0].messages[-1] == Message("assistant", SAID)


@pytest.mark.parametrize(
    "said",
    [
        [TextDelta("I bake."), ToolCallDelta(0, "call_0", "bake", '{"at"')],
        [ReasoningDelta("Hm, a mill"), TextDelta("The")],
        [TextDelta("One"), TextDelta("Eins", 1)],
        [TextDelta("  \n")],
    ],
    ids=["tool call", "reasoning", "two choices", "nothing but space"],
)
async def test_l25_what_may_not_be_cut_in_the_middle_is_not_gone_on_with(stage: Stage, said: list[Event]) -> None:
    provider = stage.provide([said, CUT_OFF], prefill="assistant")
    events = await stage.perform(question())
    assert len(provider.asked) == 1
    assert ending(events).ending == "incomplete"


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": b'{"type":"json_object"}'},
        {"response_format": b'{"type":"json_schema","json_schema":{}}'},
        {"guided_json": b'{"a":1}'},
        {"n": b"2"},
        {"logprobs": b"true"},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_l25_an_answer_of_a_certain_form_is_not_gone_on_with(stage: Stage, fields: dict[str, bytes]) -> None:
    provider = stage.provide(CUT, prefill="assistant")
    raw = {name: msgspec.Raw(value) for name, value in fields.items()}
    assert ending(await stage.perform(question(fields=raw))).ending == "incomplete"
    assert len(provider.asked) == 1


async def test_fields_that_ask_for_nothing_of_the_kind_are_no_hindrance(stage: Stage) -> None:
    stage.provide(CUT, REST, prefill="assistant")
    fields = {"response_format": b'{"type":"text"}', "n": b"1", "logprobs": b"false", "guided_json": b"null"}
    raw = {name: msgspec.Raw(value) for name, value in fields.items()}
    assert ending(await stage.perform(question(fields=raw))).ending == "stop"


async def test_a_conversation_that_ends_with_the_assistants_own_words_is_not_gone_on_with(stage: Stage) -> None:
    provider = stage.provide(CUT, prefill="assistant")
    request = question(messages=(Message("user", "Mill?"), Message("assistant", "Well,")))
    assert ending(await stage.perform(request)).ending == "incomplete"
    assert len(provider.asked) == 1


async def test_l26_what_the_next_attempt_repeats_is_left_out(stage: Stage) -> None:
    again: Script = [[TextDelta("The mill grinds")], [TextDelta(" wheat, rye")], [TextDelta(".")], Ended("stop")]
    stage.provide(CUT, again, prefill="assistant")
    assert text(await stage.perform(question())) == SAID + " rye."


async def test_l26_the_first_error_is_kept_where_the_beginning_is_refused(stage: Stage) -> None:
    refused = UpstreamRefused("groq answered 400: no prefill", upstream="groq", status=400)
    provider = stage.provide(CUT, [refused], prefill="assistant")
    events = await stage.perform(question())
    assert len(provider.asked) == 2
    assert (ending(events).ending, ending(events).failure) == ("incomplete", CUT_OFF.failure())


async def test_l26_the_most_tokens_are_lowered_by_what_was_shown(stage: Stage) -> None:
    provider = stage.provide(CUT, REST, CUT, REST, prefill="assistant")
    await stage.perform(question(max_tokens=100))
    shown = estimated([], [SAID]).completion_tokens
    assert [request.max_tokens for request in provider.asked] == [100, 100 - shown]
    await stage.perform(question(max_tokens=2))
    assert [request.max_tokens for request in provider.asked[2:]] == [2, 1]


async def test_l26_usage_is_that_of_both_attempts_and_the_weaker_of_their_sources(stage: Stage) -> None:
    told = UsageKnown(reported(30, 4, by="groq", cached_tokens=16))
    stage.provide(CUT, [[TextDelta(" rye.")], [told], Ended("stop")], prefill="assistant")
    first = estimated(["Mill?"], [SAID])
    assert usage(await stage.perform(question())) == Usage(
        first.prompt_tokens + 30, first.completion_tokens + 4, "estimated", "estimated", "headrace", 16
    )


async def test_l26_what_the_upstream_told_of_both_attempts_is_added_up(stage: Stage) -> None:
    cut: Script = [[TextDelta("The mill"), UsageKnown(reported(5, 2, by="groq"))], CUT_OFF]
    rest: Script = [[TextDelta(" grinds.")], [UsageKnown(reported(7, 3, by="groq"))], Ended("stop")]
    stage.provide(cut, rest, prefill="assistant")
    assert usage(await stage.perform(question())) == reported(12, 5, by="groq")


async def test_a_new_word_gives_an_upstream_new_attempts_but_not_for_ever(stage: Stage) -> None:
    words: list[Script] = [[[TextDelta(f"{number} ")], CUT_OFF] for number in range(20)]
    provider = stage.provide(*words, prefill="assistant")
    events = await stage.perform(question())
    assert len(provider.asked) == MOST_CONTINUATIONS + 1
    assert text(events) == "".join(f"{number} " for number in range(MOST_CONTINUATIONS + 1))
    assert (ending(events).ending, ending(events).failure) == ("incomplete", CUT_OFF.failure())


async def test_an_upstream_without_retry_tokens_is_not_asked_to_go_on(stage: Stage) -> None:
    provider = stage.provide(CUT, prefill="assistant")
    stage.upstreams["groq"].retry_tokens = RetryTokens(0)
    assert ending(await stage.perform(question())).ending == "incomplete"
    assert len(provider.asked) == 1


async def test_a_continuation_that_breaks_off_is_gone_on_with_from_all_that_was_said(stage: Stage) -> None:
    reset = UpstreamReset("groq: the connection broke", upstream="groq", retry_after_seconds=0)
    provider = stage.provide(
        CUT, [[TextDelta(" rye")], reset], [reset], [[TextDelta(".")], Ended("stop")], prefill="prefix"
    )
    events = await stage.perform(question())
    assert text(events) == SAID + " rye."
    assert [request.messages[-1].content for request in provider.asked] == ["Mill?", SAID, SAID + " rye", SAID + " rye"]
    assert [event.offset for event in events if isinstance(event, Status)] == [3, 5, 6]


async def test_what_the_seam_still_holds_at_the_end_is_shown(stage: Stage) -> None:
    stage.provide(CUT, [[TextDelta(" wheat")], Ended("length")], prefill="assistant")
    events = await stage.perform(question())
    assert (text(events), ending(events).ending) == (SAID + " wheat", "length")


@pytest.mark.parametrize("phase", ["before its first word", "after it"])
async def test_l4_cancelling_works_during_a_continuation(stage: Stage, phase: str) -> None:
    rest: Script = ["hang"] if phase == "before its first word" else [[TextDelta(" rye")], "hang"]
    provider = stage.provide(CUT, rest, prefill="assistant")
    run = stage.prepare(question())
    await until(lambda: len(provider.asked) == 2)
    await turns(5)
    run.cancel(CANCELLED)
    events = await stage.finish(run)
    assert (ending(events).ending, provider.outcomes) == ("cancelled", ["failed", "cancelled"])


async def test_t6_the_timers_run_during_a_continuation(stage: Stage) -> None:
    limits = Timeouts(connect=5, first_token=20, between_tokens=30, total=600)
    provider = stage.provide(
        CUT, ["connected", "sent", "hang"], [[TextDelta(" rye")], "hang"], prefill="assistant", timeouts=limits
    )
    second = stage.provide(REST, name="local", prefill="assistant")
    run = stage.prepare(question(on_interruption="continue_any"))
    await until(lambda: len(provider.asked) == 2)
    stage.clock.advance(21)
    run.check_timers(stage.clock.monotonic_ns())
    events = await stage.finish(run)
    assert provider.outcomes == ["failed", "cancelled"]
    assert len(second.asked) == 1
    assert text(events) == SAID + " rye and oats."


async def test_t6_an_answer_that_falls_silent_in_the_middle_is_gone_on_with(stage: Stage) -> None:
    provider = stage.provide(
        [[TextDelta("The mill grinds wheat,")], "hang"], REST, prefill="assistant", timeouts=Timeouts(between_tokens=30)
    )
    run = stage.prepare(question())
    await until(lambda: run.stream.length == 2)
    run.check_timers(stage.clock.monotonic_ns())
    stage.clock.advance(31)
    run.check_timers(stage.clock.monotonic_ns())
    async with asyncio.timeout(5):
        events = await stage.finish(run)
    assert provider.outcomes == ["cancelled", "ended"]
    assert text(events) == SAID + " rye and oats."


async def test_an_upstream_that_is_left_alone_is_passed_over_and_its_reader_told(stage: Stage) -> None:
    nonsense = UpstreamMalformed("groq sent what is not a chunk", upstream="groq")
    first = stage.provide(*[[nonsense]] * 5, REST)
    second = stage.provide(*[REST] * 6, name="local")
    for _ in range(5):
        await stage.perform(question())
    events = await stage.perform(question())
    assert (len(first.asked), len(second.asked)) == (5, 6)
    words = "groq/groq-model failed 5 times in a row and is left alone for 30 s; asking local/local-model"
    assert events[1] == Status("failed_over", words, origin="groq/groq-model", destination="local/local-model")
    stage.clock.advance(30)
    assert not any(isinstance(event, Status) for event in await stage.perform(question()))
    assert len(first.asked) == 6
    assert stage.upstreams["groq"].circuit.state(stage.clock.monotonic_ns()) == "closed"


async def test_an_upstream_that_is_left_alone_is_asked_where_there_is_no_other(stage: Stage) -> None:
    nonsense = UpstreamMalformed("groq sent what is not a chunk", upstream="groq")
    provider = stage.provide(*[[nonsense]] * 6, REST)
    for _ in range(2):
        await stage.perform(question())
    assert stage.upstreams["groq"].circuit.state(stage.clock.monotonic_ns()) == "open"
    assert ending(await stage.perform(question())).ending == "stop"
    assert len(provider.asked) == 7


async def test_estimates_become_better_by_what_an_upstream_reports_and_stay_marked(stage: Stage) -> None:
    told = UsageKnown(reported(8, 30, by="groq"))
    answer: Script = [[TextDelta("a" * 40)], [told], Ended("stop")]
    stage.provide(*[answer] * 3, [[TextDelta("a" * 40)], Ended("stop")])
    for _ in range(3):
        assert usage(await stage.perform(question())) == told.usage
    last = usage(await stage.perform(question()))
    assert (last.prompt_tokens, last.completion_tokens, last.source) == (4, 30, "estimated")


class Left:
    """What a server left: a stream without a run, and the runs of the server after it."""

    def __init__(self, stage: Stage, **more: object) -> None:
        self.stream = stage.store.create("left", "ann", question(**{"on_disconnect": "continue", **more}))
        self.stream.append((Started("left", "fast", 1), TextDelta("The mill"), TextDelta(" grinds wheat,")))
        models = Models(stage.upstreams, {"fast": stage.candidates()})
        self.runs = Runs(stage.store, models, stage.clock, most=10)

    async def events(self) -> list[Event]:
        self.runs.open()
        self.runs.take_up([self.stream], lambda request: ())
        async with asyncio.timeout(5):
            await until(lambda: self.stream.ended is not None)
        await self.runs.close()
        return whole_generation(self.stream)


async def test_l7_a_stream_that_a_killed_server_left_is_gone_on_with(stage: Stage) -> None:
    provider = stage.provide(REST, prefill="assistant")
    events = await Left(stage).events()
    assert text(events) == SAID + " rye and oats."
    assert ending(events).ending == "stop"
    words = "the server was started again; asking groq/groq-model to go on"
    assert events[3] == Status("continued", words, destination="groq/groq-model", offset=3)
    assert provider.asked[0].messages == (Message("user", "Mill?"), Message("assistant", SAID))
    assert usage(events).completion_tokens == sum(
        estimated([], [part]).completion_tokens for part in (SAID, " rye and oats.")
    )


@pytest.mark.parametrize(
    ("prefill", "more"),
    [
        ("none", {}),
        ("assistant", {"on_disconnect": "cancel"}),
        ("assistant", {"on_disconnect": 10.0}),
        ("assistant", {"on_interruption": "end"}),
        ("assistant", {"model": "gone"}),
    ],
)
async def test_l7_a_stream_that_cannot_be_gone_on_with_ends_interrupted(
    stage: Stage, prefill: Prefill, more: dict[str, object]
) -> None:
    provider = stage.provide(REST, prefill=prefill)
    events = await Left(stage, **more).events()
    assert not provider.asked
    assert (text(events), ending(events).ending) == (SAID, "interrupted")


async def test_l7_where_going_on_fails_the_stream_ends_interrupted(stage: Stage) -> None:
    stage.provide([UpstreamRefused("groq answered 400", upstream="groq", status=400)], prefill="assistant")
    events = await Left(stage).events()
    assert (text(events), ending(events).ending) == (SAID, "interrupted")
