"""However a run goes, its stream is a whole generation: one `Started`, one `Ended`, and usage with its provenance."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from headrace.errors import (
    HeadraceError,
    InternalError,
    InvalidRequest,
    StoreError,
    UpstreamKeyMissing,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamReset,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from headrace.events import (
    Ended,
    Ending,
    Event,
    Passthrough,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.requests import GenerationRequest, Message, Timeouts
from headrace.testing.waiting import until
from headrace.timing import Timing
from headrace.usage import Usage, estimated, reported

if TYPE_CHECKING:
    from tests.runs.conftest import Script, Stage

pytestmark = pytest.mark.anyio

USAGE = UsageKnown(reported(3, 2, by="groq"))
LOGPROBS = Passthrough("openai_chat", {"logprobs": msgspec.Raw(b"{}")})
STATUS = Status("loading", "loading the model")
SOURCES = Sources((Source(1, "doc#1", "Bread", "Bake it.", 0.8),))


def ending(events: Sequence[Event]) -> Ended:
    last = events[-1]
    assert isinstance(last, Ended)
    return last


def usage(events: Sequence[Event]) -> Usage:
    """What the stream says in the end."""
    return [event.usage for event in events if isinstance(event, UsageKnown)][-1]


async def test_a_generation_is_what_the_provider_gave_between_the_first_event_and_the_last(stage: Stage) -> None:
    stage.provide([[TextDelta("Yes")], [TextDelta(", "), TextDelta("fresh")], [USAGE], Ended("stop")])
    request = GenerationRequest("fast", (Message("user", "Bread?"),), language="de", conversation_id="c")
    started, *middle, last = await stage.perform(request)
    assert started == Started("s0", "fast", stage.clock.unix_ns(), "de", "c")
    assert middle == [TextDelta("Yes"), TextDelta(", "), TextDelta("fresh"), USAGE]
    assert isinstance(last, Ended)
    assert (last.ending, last.failure) == ("stop", None)


async def test_the_upstream_is_asked_for_its_own_name_of_the_model(stage: Stage) -> None:
    provider = stage.provide([Ended("stop")])
    request = GenerationRequest("fast", (Message("user", "Bread?"),), max_tokens=7)
    run = stage.prepare(request)
    await stage.finish(run)
    assert provider.asked == [msgspec.structs.replace(request, model="groq-model", owner="ann")]
    assert run.stream.request == request


async def test_a_batch_is_in_the_stream_when_the_providers_write_returns(stage: Stage) -> None:
    lengths: list[int] = []

    def look() -> None:
        lengths.append(stage.store.open("s0", "ann").length)

    stage.provide([[STATUS], look, [TextDelta("a"), TextDelta("b")], look, [TextDelta("c")], look, Ended("stop")])
    await stage.perform()
    assert lengths == [2, 4, 5]


@pytest.mark.parametrize("word", ["stop", "length", "tool_calls", "content_filter"])
async def test_l15_the_upstreams_own_ending_is_passed_on(stage: Stage, word: Ending) -> None:
    stage.provide([[TextDelta("a")], Ended(word, choices=((0, word), (1, "length")))])
    last = ending(await stage.perform())
    assert (last.ending, last.failure, last.choices) == (word, None, ((0, word), (1, "length")))


# With 0 where they are tried again, so that nothing here waits; how long it would be is the table's affair.
FAILURES: list[tuple[HeadraceError, str]] = [
    (UpstreamUnreachable("no connection", upstream="groq", retry_after_seconds=0), "upstream_unreachable"),
    (UpstreamReset("the connection broke", upstream="groq", retry_after_seconds=0), "upstream_reset"),
    (UpstreamTruncated("groq stopped", upstream="groq", retry_after_seconds=0), "upstream_truncated"),
    (UpstreamMalformed("groq sent nonsense", upstream="groq"), "upstream_malformed"),
    (UpstreamKeyMissing("groq wants a key", upstream="groq"), "upstream_key_missing"),
    (UpstreamRefused("groq answered 400", upstream="groq", status=400), "upstream_rejected"),
    (
        UpstreamRefused("groq answered 429", upstream="groq", status=429, retry_after_seconds=99),
        "upstream_rate_limited",
    ),
    (UpstreamRefused("groq sent an error", upstream="groq", retry_after_seconds=0), "upstream_error"),
]


@pytest.mark.parametrize(("error", "code"), FAILURES, ids=[code for _, code in FAILURES])
async def test_l16_what_never_began_is_an_error(stage: Stage, error: HeadraceError, code: str) -> None:
    script: Script = [[LOGPROBS, USAGE], error]
    stage.provide(script, script, script)
    events = await stage.perform()
    assert [type(event) for event in events] == [Started, UsageKnown, Ended]
    last = ending(events)
    assert last.ending == "error"
    assert last.failure == error.failure()
    assert last.failure.code == code


@pytest.mark.parametrize(("error", "code"), FAILURES, ids=[code for _, code in FAILURES])
async def test_l15_what_broke_off_after_the_first_content_is_incomplete_and_stands(
    stage: Stage, error: HeadraceError, code: str
) -> None:
    stage.provide([[TextDelta("Yes")], [TextDelta(", f")], error])
    second = stage.provide([[TextDelta("another")], Ended("stop")], name="local")
    events = await stage.perform()
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("Yes"), TextDelta(", f")]
    assert (ending(events).ending, ending(events).failure) == ("incomplete", error.failure())
    assert not second.asked


@pytest.mark.parametrize("said", [[], [TextDelta("Yes")]], ids=["before content", "after content"])
@pytest.mark.parametrize("mistake", [RuntimeError("a secret detail"), KeyError("x"), ValueError(), OSError(5, "no")])
async def test_l19_a_mistake_of_ours_ends_the_stream_and_its_details_stay_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture, said: list[Event], mistake: Exception
) -> None:
    stage.provide([said, mistake] if said else [mistake])
    with caplog.at_level(logging.ERROR, "headrace.runs"):
        last = ending(await stage.perform())
    assert last.ending == "error"
    assert last.failure is not None
    assert (last.failure.code, last.failure.http_status) == ("internal_error", 500)
    assert "secret" not in last.failure.message
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [mistake]


@pytest.mark.parametrize("error", [InternalError("no"), StoreError("no")], ids=["internal", "store"])
async def test_an_error_that_is_not_the_upstreams_is_an_error_even_after_content(
    stage: Stage, error: HeadraceError
) -> None:
    stage.provide([[TextDelta("Yes")], error])
    last = ending(await stage.perform())
    assert (last.ending, last.failure) == ("error", error.failure())


class Failing:
    """Middleware that cannot prepare a request."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def prepare(self, request: GenerationRequest, owner: str, tell: object) -> GenerationRequest:
        raise self._error


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (InvalidRequest("too long", parameter="messages"), "invalid_request", 400),
        (ZeroDivisionError(), "internal_error", 500),
    ],
)
async def test_l19_a_request_that_cannot_be_prepared_ends_its_stream_and_no_upstream_is_asked(
    stage: Stage, error: Exception, code: str, status: int
) -> None:
    provider = stage.provide([Ended("stop")])
    events = await stage.finish(stage.prepare(middleware=[Failing(error)]))
    last = ending(events)
    assert last.failure is not None
    assert (last.ending, last.failure.code, last.failure.http_status) == ("error", code, status)
    assert usage(events) == Usage(0, 0, "counted", "counted", "headrace")
    assert not provider.asked


class Adding:
    """Middleware that puts a message in front."""

    def __init__(self, text: str) -> None:
        self._message = Message("system", text)

    async def prepare(self, request: GenerationRequest, owner: str, tell: object) -> GenerationRequest:
        assert owner == "ann"
        return msgspec.structs.replace(request, messages=(self._message, *request.messages))


async def test_middleware_prepares_the_request_in_its_order_and_the_stream_keeps_it_as_it_was_asked(
    stage: Stage,
) -> None:
    provider = stage.provide([Ended("stop")])
    run = stage.prepare(middleware=[Adding("first"), Adding("second")])
    await stage.finish(run)
    assert [message.content for message in provider.asked[0].messages] == ["second", "first", "Bread?"]
    assert [message.content for message in run.stream.request.messages] == ["Bread?"]


async def test_l42_time_to_first_token_runs_from_the_sending_to_the_first_content(stage: Stage) -> None:
    clock = stage.clock
    stage.provide(
        [
            lambda: clock.advance(1),
            "connected",
            lambda: clock.advance(2),
            "sent",
            lambda: clock.advance(4),
            "first_byte",
            [STATUS],
            [LOGPROBS],
            lambda: clock.advance(8),
            [ReasoningDelta("hm")],
            lambda: clock.advance(16),
            [TextDelta("Yes")],
            lambda: clock.advance(32),
            Ended("stop"),
        ]
    )
    run = stage.prepare()
    clock.advance(64)
    assert ending(await stage.finish(run)).timing == Timing(
        total_ns=127_000_000_000,
        queue_ns=64_000_000_000,
        connect_ns=1_000_000_000,
        first_byte_ns=4_000_000_000,
        time_to_first_token_ns=12_000_000_000,
        first_token_kind="reasoning",
        attempts=1,
    )


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        (TextDelta("a"), "text"),
        (ReasoningDelta("a"), "reasoning"),
        (ToolCallDelta(0, "call_0", "bake"), "tool_call"),
    ],
)
async def test_l42_the_first_token_is_named_by_its_kind(stage: Stage, delta: Event, kind: str) -> None:
    stage.provide([[LOGPROBS, delta, TextDelta("b")], Ended("stop")])
    timing = ending(await stage.perform()).timing
    assert timing is not None
    assert timing.first_token_kind == kind


@pytest.mark.parametrize("last", [Ended("stop"), Ended("length")], ids=["stop", "length"])
async def test_t4_reported_usage_is_kept_as_it_is(stage: Stage, last: Ended) -> None:
    stage.provide([[TextDelta("Yes")], [USAGE], last])
    events = await stage.perform()
    assert [event for event in events if isinstance(event, UsageKnown)] == [USAGE]


async def test_t4_where_an_upstream_reports_none_usage_is_estimated_from_all_that_was_said(stage: Stage) -> None:
    stage.provide(
        [
            [ReasoningDelta("think")],
            [TextDelta("Yes"), TextDelta(" 今天")],
            [ToolCallDelta(0, "call_0", "bake", '{"at":'), ToolCallDelta(0, arguments="6}")],
            Ended("tool_calls"),
        ]
    )
    parts = msgspec.Raw(b'[{"type":"text","text":"Bread"},{"type":"image_url","image_url":{"url":"x"}}]')
    request = GenerationRequest("fast", (Message("system", "Short."), Message("user", parts), Message("tool")))
    events = await stage.perform(request)
    assert usage(events) == estimated(["Short.", "Bread", ""], ["think", "Yes", " 今天", 'bake{"at":', "6}"])
    # It stands before the ending, where every reader finds it.
    assert isinstance(events[-2], UsageKnown)


async def test_l22_usage_that_came_before_the_last_content_says_nothing_of_the_whole_answer(stage: Stage) -> None:
    stage.provide([[USAGE], [TextDelta("Yes"), USAGE, TextDelta(", fresh")], Ended("stop")])
    assert usage(await stage.perform()) == estimated(["Bread?"], ["Yes", ", fresh"])


async def test_l20_what_a_cut_answer_reported_so_far_is_kept(stage: Stage) -> None:
    stage.provide([[TextDelta("Yes"), USAGE, TextDelta(", f")], UpstreamReset("broke", upstream="groq")])
    assert usage(await stage.perform()) == USAGE.usage


async def test_l20_a_cut_answer_without_a_report_is_estimated(stage: Stage) -> None:
    stage.provide([[TextDelta("Yes")], UpstreamReset("broke", upstream="groq")])
    assert usage(await stage.perform()) == estimated(["Bread?"], ["Yes"])


async def test_l20_where_nothing_was_sent_nothing_was_spent(stage: Stage) -> None:
    stage.provide(["connected", UpstreamKeyMissing("groq wants a key", upstream="groq")])
    assert usage(await stage.perform()) == Usage(0, 0, "counted", "counted", "headrace")


@pytest.mark.parametrize(
    ("status", "spent"),
    [(400, False), (401, False), (429, False), (408, True), (500, True), (None, True)],
)
async def test_l20_a_request_that_was_refused_at_once_has_spent_nothing(
    stage: Stage, status: int | None, spent: bool
) -> None:
    stage.provide(*[[UpstreamRefused("groq refused", upstream="groq", status=status, retry_after_seconds=0)]] * 3)
    nothing = Usage(0, 0, "counted", "counted", "headrace")
    assert usage(await stage.perform()) == (estimated(["Bread?"], []) if spent else nothing)


async def test_l20_what_an_earlier_attempt_may_have_spent_is_not_forgotten(stage: Stage) -> None:
    broke = UpstreamReset("groq broke off", upstream="groq", retry_after_seconds=0)
    stage.provide([broke], [UpstreamRefused("groq answered 401", upstream="groq", status=401)])
    assert usage(await stage.perform()) == estimated(["Bread?"], [])


async def test_l21_a_provider_that_forgets_to_say_when_it_sent_has_spent_tokens_all_the_same(stage: Stage) -> None:
    stage.provide(["connected", [TextDelta("Yes")], Ended("stop")])
    assert usage(await stage.perform()) == estimated(["Bread?"], ["Yes"])


async def test_a_request_whose_parts_cannot_be_read_ends_all_the_same(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.provide([[TextDelta("Yes")], Ended("stop")])
    request = GenerationRequest("fast", (Message("user", msgspec.Raw(b'[{"text":5}]')),))
    with caplog.at_level(logging.ERROR, "headrace.runs"):
        events = await stage.perform(request)
    assert ending(events).ending == "stop"
    assert usage(events).source == "estimated"


async def test_a_run_without_a_word_ends_with_what_it_held_back(stage: Stage) -> None:
    stage.provide([[LOGPROBS], [STATUS], [USAGE], Ended("stop")])
    events = await stage.perform()
    assert events[1:-1] == [STATUS, LOGPROBS, USAGE]


async def test_what_was_held_back_comes_before_the_first_content_in_its_order(stage: Stage) -> None:
    stage.provide([[LOGPROBS], [SOURCES, USAGE], [LOGPROBS, TextDelta("Yes"), USAGE], Ended("stop")])
    events = await stage.perform()
    assert events[1:-1] == [SOURCES, LOGPROBS, USAGE, LOGPROBS, TextDelta("Yes"), USAGE]


async def test_what_a_person_may_want_to_know_is_told_at_once(stage: Stage) -> None:
    spoke = asyncio.Event()
    stage.provide([[STATUS], [SOURCES], spoke, [TextDelta("Yes")], Ended("stop")], timeouts=Timeouts())
    run = stage.prepare()
    await until(lambda: run.stream.length == 3)
    assert list(run.stream.read(1)) == [STATUS, SOURCES]
    spoke.set()
    await stage.finish(run)


@pytest.mark.parametrize("nonsense", [None, Ended("error"), Ended("cancelled")], ids=repr)
async def test_a_provider_from_elsewhere_that_makes_up_an_ending_is_told_as_a_mistake(
    stage: Stage, caplog: pytest.LogCaptureFixture, nonsense: Ended | None
) -> None:
    provider = stage.provide([[TextDelta("Yes")], Ended("stop")])
    generate = provider.generate

    async def generate_nonsense(*arguments: Any) -> Ended | None:
        await generate(*arguments)
        return nonsense

    vars(provider)["generate"] = generate_nonsense
    with caplog.at_level(logging.CRITICAL, "headrace.runs"):
        last = ending(await stage.perform())
    assert last.ending == "error"
    assert last.failure is not None
    assert last.failure.code == "internal_error"
