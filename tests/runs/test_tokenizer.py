"""Tokens counted with a tokenizer from a file, where an upstream reports none (T4, L20, L21)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import tokenizers
from tests.runs.conftest import Stage
from tokenizers import models, pre_tokenizers

from headrace.errors import SettingsError, UpstreamRefused, UpstreamReset
from headrace.events import Ended, Event, ReasoningDelta, TextDelta, ToolCallDelta, UsageKnown
from headrace.requests import GenerationRequest, Message, Timeouts
from headrace.runs import Candidate, Run, Tokenizer, tokenizer
from headrace.runs.registry import CANCELLED
from headrace.usage import Usage, estimated, reported

pytestmark = pytest.mark.anyio

LONG = "bread " * 200_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A tokenizer whose tokens are words and signs, which it knows none of; with the limits of its training."""
    made = tokenizers.Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_truncation(2)
    made.enable_padding(length=7)
    file = tmp_path / "tokenizer.json"
    made.save(str(file))
    return file


@pytest.fixture
def counts(path: Path) -> Tokenizer:
    return Tokenizer.open(str(path), "fast")


def counted(prompt: int, completion: int) -> Usage:
    return Usage(prompt, completion, "counted", "counted", "headrace")


class CountingStage(Stage):
    """A stage whose models have a tokenizer."""

    def __init__(self, counts: Tokenizer) -> None:
        super().__init__()
        self._counts = counts

    def candidates(self) -> list[Candidate]:
        return [Candidate(each.upstream, each.model, self._counts) for each in super().candidates()]


@pytest.fixture
def counting(counts: Tokenizer) -> CountingStage:
    return CountingStage(counts)


def usages(events: list[Event]) -> list[Usage]:
    return [event.usage for event in events if isinstance(event, UsageKnown)]


async def test_the_words_of_each_message_and_of_the_whole_answer_are_counted(counts: Tokenizer) -> None:
    # Five and four, not cut to two nor filled up to seven; and a word that came in two pieces is one.
    assert await counts.usage(["one two three", "four five"], ["six se", "ven", "", " eight nine"]) == counted(5, 4)


async def test_no_text_is_no_token(counts: Tokenizer) -> None:
    assert await counts.usage([], []) == counted(0, 0)
    assert await counts.usage(["", " "], [""]) == counted(0, 0)


async def test_a_long_text_is_counted_while_the_event_loop_goes_on(counts: Tokenizer) -> None:
    counting = asyncio.create_task(counts.usage([LONG], ["bread"]))
    turns = 0
    while not counting.done():
        await asyncio.sleep(0)
        turns += 1
    assert counting.result() == counted(200_000, 1)
    assert turns > 10


async def test_t4_what_nobody_reports_is_counted_and_marked(counting: CountingStage) -> None:
    said: list[Event] = [ReasoningDelta("Why "), ReasoningDelta("not"), TextDelta(" Yes,"), TextDelta(" bread")]
    counting.provide([said, [ToolCallDelta(0, "c", " bake", " 1")], Ended("stop")])
    request = GenerationRequest("fast", (Message("system", "Be kind"), Message("user", "Bread?")), stream=True)
    assert usages(await counting.perform(request)) == [counted(4, 7)]


async def test_t4_what_the_upstream_reports_is_not_counted(counting: CountingStage) -> None:
    counting.provide([[TextDelta("Yes"), UsageKnown(reported(30, 12, by="groq"))], Ended("stop")])
    assert usages(await counting.perform()) == [reported(30, 12, by="groq")]


async def test_l20_a_cut_answer_is_counted_as_far_as_it_came(counting: CountingStage) -> None:
    counting.provide([[TextDelta("Yes, bread")], UpstreamReset("groq broke off", upstream="groq")])
    assert usages(await counting.perform()) == [counted(2, 3)]


async def test_l20_what_was_refused_at_once_has_spent_nothing_with_a_tokenizer_too(counting: CountingStage) -> None:
    counting.provide([UpstreamRefused("groq answered 401", upstream="groq", status=401)])
    assert usages(await counting.perform()) == [counted(0, 0)]


@pytest.fixture
def held(counting: CountingStage, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a count has begun; no count ends."""
    begun = asyncio.Event()

    async def usage(*_: object) -> Usage:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(tokenizer.Tokenizer, "usage", usage)
    return begun


async def answered(stage: Stage, begun: asyncio.Event) -> Run:
    """A run that has its whole answer, and counts."""
    stage.provide([[TextDelta("Yes")], Ended("stop")], timeouts=Timeouts(between_tokens=1, total=5))
    run = stage.prepare()
    await asyncio.wait_for(begun.wait(), 10)
    return run


async def test_cancelling_while_tokens_are_counted_waits_for_no_count_and_changes_no_ending(
    counting: CountingStage, held: asyncio.Event
) -> None:
    run = await answered(counting, held)
    run.cancel(CANCELLED)
    events = await counting.finish(run)
    assert usages(events) == [estimated(["Bread?"], ["Yes"])]
    assert isinstance(events[-1], Ended)
    assert events[-1].ending == "stop"


async def test_a_run_that_somebody_else_cancels_while_it_counts_ends_its_stream_and_is_cancelled(
    counting: CountingStage, held: asyncio.Event
) -> None:
    run = await answered(counting, held)
    assert run.task is not None
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await counting.finish(run)
    assert run.stream.ended is not None
    assert run.stream.ended.ending == "stop"


async def test_no_timer_runs_and_no_time_passes_for_the_answer_while_tokens_are_counted(
    counting: CountingStage, held: asyncio.Event
) -> None:
    run = await answered(counting, held)
    counting.clock.advance(10_000)
    run.check_timers(counting.clock.monotonic_ns())
    assert run.task is not None
    assert not run.task.cancelling()
    run.cancel(CANCELLED)
    ended = (await counting.finish(run))[-1]
    assert isinstance(ended, Ended)
    assert ended.ending == "stop"
    assert ended.timing is not None
    assert ended.timing.total_ns < 10_000 * 10**9


async def test_where_counting_fails_the_usage_is_estimated(
    counting: CountingStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counting.provide([[TextDelta("a half of a pair: \ud800")], Ended("stop")])
    [usage] = usages(await counting.perform())
    assert usage.source == "estimated"
    assert "could not be counted" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "wrong.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        Tokenizer.open(str(file), "fast")
    assert error.value.message.startswith(f'the tokenizer of model "fast", {file}, is no tokenizer.json: ')


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError) as error:
        Tokenizer.open("/nowhere/t.json", "fast")
    assert error.value.message == (
        'the tokenizer of model "fast", /nowhere/t.json, cannot be read: No such file or directory'
    )


def test_a_file_of_the_home_folder_may_be_named_with_a_tilde(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(path.parent))
    Tokenizer.open("~/tokenizer.json", "fast")
