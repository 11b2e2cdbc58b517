"""Attempts: what fails before the first content is tried again unseen, or elsewhere and said so (T5, L23, L24, L27)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.errors import HeadraceError, UpstreamMalformed, UpstreamRefused, UpstreamReset, UpstreamTruncated
from headrace.events import Ended, Event, Passthrough, Started, Status, TextDelta, UsageKnown
from headrace.runs.recovery import ATTEMPTS_PER_UPSTREAM, MOST_HELD_CHUNKS
from headrace.testing.waiting import until
from headrace.usage import reported

if TYPE_CHECKING:
    from tests.runs.conftest import Script, Stage

pytestmark = pytest.mark.anyio

USAGE = UsageKnown(reported(3, 2, by="groq"))
LOGPROBS = Passthrough("openai_chat", {"logprobs": msgspec.Raw(b"{}")})
BROKEN = UpstreamReset("groq: the connection broke", upstream="groq", retry_after_seconds=0)
CUT_OFF = UpstreamTruncated("groq stopped without a finish reason", upstream="groq", retry_after_seconds=0)
BUSY = UpstreamRefused("groq answered 503", upstream="groq", status=503, retry_after_seconds=0)
NONSENSE = UpstreamMalformed("groq sent what is not a chunk", upstream="groq")
DENIED = UpstreamRefused("local answered 404", upstream="local", status=404)
GOOD: Script = [[TextDelta("Yes")], [TextDelta(", fresh"), USAGE], Ended("stop")]


def ending(events: Sequence[Event]) -> Ended:
    last = events[-1]
    assert isinstance(last, Ended)
    return last


def attempts(events: Sequence[Event]) -> int:
    timing = ending(events).timing
    assert timing is not None
    return timing.attempts


@pytest.mark.parametrize("error", [BROKEN, CUT_OFF, BUSY], ids=["reset", "truncated", "busy"])
@pytest.mark.parametrize("first", [[], [[LOGPROBS, USAGE], [LOGPROBS]]], ids=["at once", "after what was held back"])
async def test_t5_an_attempt_that_failed_before_the_first_content_leaves_no_trace(
    stage: Stage, first: list[list[Event]], error: HeadraceError
) -> None:
    provider = stage.provide([*first, error], [*first, error], GOOD)
    events = await stage.perform()
    assert provider.outcomes == ["failed", "failed", "ended"]
    assert events[1:-1] == [TextDelta("Yes"), TextDelta(", fresh"), USAGE]
    assert (ending(events).ending, attempts(events)) == ("stop", 3)


async def test_an_upstream_is_tried_three_times_and_then_the_next(stage: Stage) -> None:
    first = stage.provide(*[[BUSY]] * ATTEMPTS_PER_UPSTREAM)
    second = stage.provide(*[[BROKEN]] * (ATTEMPTS_PER_UPSTREAM - 1), GOOD, name="local")
    events = await stage.perform()
    assert (len(first.asked), len(second.asked)) == (ATTEMPTS_PER_UPSTREAM, ATTEMPTS_PER_UPSTREAM)
    assert (ending(events).ending, attempts(events)) == ("stop", 2 * ATTEMPTS_PER_UPSTREAM)


async def test_failing_over_is_told_once_and_the_reader_sees_one_start(stage: Stage) -> None:
    stage.provide([[LOGPROBS], NONSENSE])
    second = stage.provide(GOOD, name="local")
    events = await stage.perform()
    assert [type(event) for event in events] == [Started, Status, TextDelta, TextDelta, UsageKnown, Ended]
    status = events[1]
    assert isinstance(status, Status)
    assert status == Status(
        "failed_over",
        "groq/groq-model sent what is not a chunk; asking local/local-model",
        origin="groq/groq-model",
        destination="local/local-model",
    )
    assert [request.model for request in second.asked] == ["local-model"]


async def test_the_reason_of_a_failover_is_whole_where_it_does_not_begin_with_the_upstreams_name(stage: Stage) -> None:
    stage.provide([UpstreamMalformed("groqs answer is no chunk", upstream="groq")])
    stage.provide(GOOD, name="local")
    status = (await stage.perform())[1]
    assert isinstance(status, Status)
    assert status.message == "groq/groq-model: groqs answer is no chunk; asking local/local-model"


async def test_the_log_says_in_words_what_is_done_after_a_failure(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.provide([BUSY], [NONSENSE])
    stage.provide([DENIED], name="local")
    with caplog.at_level(logging.INFO, "headrace.runs"):
        await stage.perform()
    assert [record.getMessage() for record in caplog.records] == [
        "stream s0: groq answered 503; asking again in 0.00 s",
        "stream s0: groq/groq-model sent what is not a chunk; asking local/local-model",
        "stream s0: local answered 404; no further attempt",
    ]


async def test_nonsense_before_the_first_word_is_asked_for_again(stage: Stage) -> None:
    provider = stage.provide([NONSENSE], GOOD)
    events = await stage.perform()
    assert (ending(events).ending, len(provider.asked)) == ("stop", 2)
    assert not any(isinstance(event, Status) for event in events)


async def test_l24_when_all_attempts_failed_the_stream_ends_with_the_last_failure(stage: Stage) -> None:
    stage.provide([NONSENSE])
    last_error = UpstreamRefused("local answered 404: no such model", upstream="local", status=404)
    stage.provide([last_error], name="local")
    events = await stage.perform()
    assert [type(event) for event in events] == [Started, Status, UsageKnown, Ended]
    assert (ending(events).ending, ending(events).failure) == ("error", last_error.failure())


async def test_a_request_that_an_upstream_rejects_is_not_put_to_another(stage: Stage) -> None:
    rejected = UpstreamRefused("groq answered 400: temperature is too high", upstream="groq", status=400)
    stage.provide([rejected])
    second = stage.provide(GOOD, name="local")
    events = await stage.perform()
    assert not second.asked
    assert ending(events).failure == rejected.failure()


async def test_o6_an_upstream_is_unwell_after_it_failed_and_well_after_it_answered(stage: Stage) -> None:
    stage.provide([NONSENSE], GOOD)
    stage.provide(GOOD, name="local")
    groq, local = stage.upstreams["groq"], stage.upstreams["local"]
    await stage.perform()
    assert (groq.state, groq.detail) == ("unwell", NONSENSE.message)
    assert (local.state, local.detail) == ("well", None)
    await stage.perform()
    assert (groq.state, groq.detail) == ("well", None)


async def test_o6_an_upstream_that_rejects_a_bad_request_is_well(stage: Stage) -> None:
    stage.provide([UpstreamRefused("groq answered 400", upstream="groq", status=400)])
    await stage.perform()
    assert (stage.upstreams["groq"].state, stage.upstreams["groq"].detail) == ("well", None)


async def test_an_upstream_with_as_many_runs_as_it_takes_lets_the_next_wait_and_says_so(stage: Stage) -> None:
    provider = stage.provide(["hang"], GOOD, GOOD, most=1)
    first = stage.prepare()
    await until(lambda: provider.asked)
    second, third = stage.prepare(), stage.prepare()
    await until(lambda: second.stream.length == third.stream.length == 2)
    assert second.stream.read(1) == [Status("waiting", "waiting for a free place at groq")]
    assert len(provider.asked) == 1
    assert first.task is not None
    first.task.cancel()
    for run in (second, third):
        events = await stage.finish(run)
        assert [type(event) for event in events] == [Started, Status, TextDelta, TextDelta, UsageKnown, Ended]
    await until(first.task.done)


async def test_a_place_is_given_back_after_every_attempt(stage: Stage) -> None:
    provider = stage.provide([BUSY], [BUSY], GOOD, [DENIED], GOOD, most=1)
    for _ in range(3):
        events = await stage.perform()
        assert not any(isinstance(event, Status) for event in events)
    assert len(provider.asked) == 5


@pytest.mark.parametrize(
    ("held", "most"),
    [(LOGPROBS, MOST_HELD_CHUNKS), (Passthrough("openai_chat", {}, {"audio": msgspec.Raw(b"0" * (64 << 10))}), 4)],
    ids=["64 chunks", "256 KiB"],
)
async def test_l23_up_to_a_bound_what_comes_before_the_first_content_is_held(
    stage: Stage, held: Passthrough, most: int
) -> None:
    chunks: list[list[Event]] = [[held] for _ in range(most)]
    script: Script = [*chunks, BROKEN]
    provider = stage.provide(script, GOOD)
    events = await stage.perform()
    assert len(provider.asked) == 2
    assert events[1:-1] == [TextDelta("Yes"), TextDelta(", fresh"), USAGE]


@pytest.mark.parametrize(
    ("held", "most"),
    [(LOGPROBS, MOST_HELD_CHUNKS), (Passthrough("openai_chat", {}, {"audio": msgspec.Raw(b"0" * (64 << 10))}), 4)],
    ids=["64 chunks", "256 KiB"],
)
async def test_l23_beyond_it_all_is_shown_and_the_attempt_has_crossed_the_boundary(
    stage: Stage, held: Passthrough, most: int
) -> None:
    chunks: list[list[Event]] = [[held] for _ in range(most + 1)]
    script: Script = [*chunks, BROKEN]
    provider = stage.provide(script, GOOD)
    events = await stage.perform()
    assert len(provider.asked) == 1
    assert events[1:-2] == [held] * (most + 1)
    assert (ending(events).ending, ending(events).failure) == ("incomplete", BROKEN.failure())
