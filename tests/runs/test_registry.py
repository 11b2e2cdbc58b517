"""All runs of a process: how many there may be, what becomes of those whose readers left, and the way down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.errors import Overloaded, StreamExists, UnknownModel, UnknownStream, UpstreamTimeout
from headrace.events import Ended, Failure, TextDelta
from headrace.identifiers import is_stream_id
from headrace.interfaces import Observer, Stream
from headrace.requests import Disconnect, GenerationRequest, Message, Timeouts
from headrace.runs import Models, Runs, registry
from headrace.testing.waiting import turns, until

if TYPE_CHECKING:
    from tests.runs.conftest import Script, Stage

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest("groq/m", (Message("user", "Bread?"),), stream=True)
GOOD: Script = [[TextDelta("Yes")], Ended("stop")]
GOING_ON: Script = [[TextDelta("Yes")], "hang"]


@asynccontextmanager
async def opened(stage: Stage, *, observers: Sequence[Observer] = (), most: int = 100) -> AsyncIterator[Runs]:
    """The runs of a process with the upstreams of the stage."""
    runs = Runs(stage.store, Models(stage.upstreams), stage.clock, observers=observers, most=most)
    runs.open()
    try:
        yield runs
    finally:
        await runs.close()


async def finished(stream: Stream) -> Ended:
    """Waits for the stream's end."""
    await until(lambda: stream.ended is not None)
    assert stream.ended is not None
    return stream.ended


async def test_a_stream_is_there_before_its_run_takes_its_first_step(stage: Stage) -> None:
    stage.provide(GOOD)
    async with opened(stage) as runs:
        stream = runs.start(REQUEST, "ann")
        assert (stream.length, stream.owner, stream.request) == (0, "ann", REQUEST)
        assert is_stream_id(stream.id)
        assert stage.store.open(stream.id, "ann") is stream
        assert len(runs) == 1
        assert (await finished(stream)).ending == "stop"
        assert len(runs) == 0


async def test_a_reader_may_choose_the_id_of_its_stream_once(stage: Stage) -> None:
    stage.provide(GOOD, GOOD)
    async with opened(stage) as runs:
        stream = runs.start(REQUEST, "ann", stream_id="x" * 22)
        assert stream.id == "x" * 22
        with pytest.raises(StreamExists):
            runs.start(REQUEST, "ann", stream_id="x" * 22)
        assert runs.start(REQUEST, "bob", stream_id="x" * 22) is not stream


async def test_a_model_that_is_nowhere_leaves_no_stream_behind(stage: Stage) -> None:
    async with opened(stage) as runs:
        with pytest.raises(UnknownModel):
            runs.start(REQUEST, "ann")
        assert (len(runs), list(stage.store.list("ann"))) == (0, [])


async def test_beyond_its_capacity_a_server_says_when_to_come_back_and_starts_nothing(stage: Stage) -> None:
    provider = stage.provide(GOING_ON, GOING_ON, GOOD)
    async with opened(stage, most=2) as runs:
        first, second = runs.start(REQUEST, "ann"), runs.start(REQUEST, "bob")
        with pytest.raises(Overloaded, match="2 streams") as refusal:
            runs.start(REQUEST, "ann")
        assert refusal.value.retry_after_seconds == 1
        assert len(stage.store.list("ann")) == 1
        await until(lambda: len(provider.asked) == 2)
        runs.cancel(first)
        await until(lambda: len(runs) == 1)
        third = runs.start(REQUEST, "ann")
        assert (await finished(third)).ending == "stop"
        assert second.ended is None


async def test_l4_cancelling_ends_a_stream_for_everybody_and_twice_is_the_same_as_once(stage: Stage) -> None:
    provider = stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(REQUEST, "ann")
        await until(lambda: stream.length == 2)
        runs.cancel(stream)
        runs.cancel(stream)
        assert (await finished(stream)).ending == "cancelled"
        runs.cancel(stream)
        assert provider.outcomes == ["cancelled"]


@pytest.mark.parametrize("policy", [None, "cancel"])
async def test_l1_a_run_whose_last_reader_left_is_cancelled(stage: Stage, policy: Disconnect | None) -> None:
    provider = stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(msgspec.structs.replace(REQUEST, on_disconnect=policy), "ann")
        await until(lambda: stream.length == 2)
        runs.reader_left(stream)
        ended = await finished(stream)
        assert ended.ending == "cancelled"
        assert ended.failure is not None
        assert (ended.failure.code, "reader left" in ended.failure.message) == ("cancelled", True)
        assert provider.outcomes == ["cancelled"]


async def test_a_run_goes_on_while_one_reader_is_left(stage: Stage) -> None:
    stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(REQUEST, "ann")
        await until(lambda: stream.length == 2)
        stream.attach(nothing)
        runs.reader_left(stream)
        await turns(10)
        assert stream.ended is None
        stream.detach(nothing)
        runs.reader_left(stream)
        assert (await finished(stream)).ending == "cancelled"


async def test_l3_under_the_policy_continue_leaving_writes_no_ending(stage: Stage) -> None:
    spoken = asyncio.Event()
    stage.provide([[TextDelta("Yes")], spoken, [TextDelta(", fresh")], Ended("stop")])
    async with opened(stage) as runs:
        stream = runs.start(msgspec.structs.replace(REQUEST, on_disconnect="continue"), "ann")
        await until(lambda: stream.length == 2)
        runs.reader_left(stream)
        stage.clock.advance(1_000_000)
        runs.look_after()
        await turns(10)
        assert (stream.ended, stream.readers) == (None, 0)
        spoken.set()
        assert (await finished(stream)).ending == "stop"


async def test_l3_under_the_policy_continue_the_cancel_call_still_cancels(stage: Stage) -> None:
    stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(msgspec.structs.replace(REQUEST, on_disconnect="continue"), "ann")
        await until(lambda: stream.length == 2)
        runs.reader_left(stream)
        runs.cancel(stream)
        assert (await finished(stream)).ending == "cancelled"


async def test_l3_with_a_grace_a_run_is_cancelled_when_nobody_has_returned_in_time(stage: Stage) -> None:
    stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(msgspec.structs.replace(REQUEST, on_disconnect=10), "ann")
        await until(lambda: stream.length == 2)
        runs.reader_left(stream)
        await pass_time(stage, runs, 9.9)
        assert (stream.ended, runs.cancelled_after_grace) == (None, 0)
        await pass_time(stage, runs, 0.1)
        assert (await finished(stream)).ending == "cancelled"
        assert runs.cancelled_after_grace == 1


async def test_l3_returning_within_the_grace_changes_nothing(stage: Stage) -> None:
    stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(msgspec.structs.replace(REQUEST, on_disconnect=10), "ann")
        await until(lambda: stream.length == 2)
        runs.reader_left(stream)
        await pass_time(stage, runs, 5)
        stream.attach(nothing)
        await pass_time(stage, runs, 100)
        assert (stream.ended, runs.cancelled_after_grace) == (None, 0)


async def test_l3_a_reader_that_left_again_is_given_the_whole_grace_again(stage: Stage) -> None:
    stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(msgspec.structs.replace(REQUEST, on_disconnect=10), "ann")
        await until(lambda: stream.length == 2)
        runs.reader_left(stream)
        stream.attach(nothing)
        await pass_time(stage, runs, 9)
        stream.detach(nothing)
        runs.reader_left(stream)
        await pass_time(stage, runs, 9)
        assert stream.ended is None
        await pass_time(stage, runs, 1)
        assert (await finished(stream)).ending == "cancelled"


@pytest.mark.parametrize("grace", [10, 1e300])
async def test_a_grace_is_over_with_its_run(stage: Stage, grace: float) -> None:
    spoken = asyncio.Event()
    stage.provide([[TextDelta("Yes")], spoken, Ended("stop")])
    async with opened(stage) as runs:
        stream = runs.start(msgspec.structs.replace(REQUEST, on_disconnect=grace), "ann")
        await until(lambda: stream.length == 2)
        runs.reader_left(stream)
        spoken.set()
        await finished(stream)
        runs.reader_left(stream)
        await pass_time(stage, runs, 100)
        assert stream.ended is not None
        assert stream.ended.ending == "stop"


async def test_t6_all_runs_are_looked_after_by_themselves(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SWEEP_SECONDS", 0)
    stage.provide(GOING_ON, GOING_ON, timeouts=Timeouts(between_tokens=30))
    async with opened(stage) as runs:
        streams = [runs.start(REQUEST, "ann") for _ in range(2)]
        await until(lambda: all(stream.length == 2 for stream in streams))
        await turns(10)
        stage.clock.advance(31)
        failure = UpstreamTimeout("between_tokens", 30, upstream="groq").failure()
        assert [(await finished(stream)).failure for stream in streams] == [failure, failure]


async def test_l19_a_hundred_neighbours_of_a_run_that_failed_finish_untouched(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.provide([[TextDelta("Yes")], RuntimeError()], *[GOOD] * 100)
    with caplog.at_level(logging.CRITICAL, "headrace.runs"):
        async with opened(stage, most=200) as runs:
            streams = [runs.start(REQUEST, "ann") for _ in range(101)]
            endings = [(await finished(stream)).ending for stream in streams]
    assert endings == ["error"] + ["stop"] * 100


class Unable:
    """A middleware with a mistake."""

    async def prepare(self, request: GenerationRequest, owner: str, tell: object) -> GenerationRequest:
        raise RuntimeError("a mistake of ours")


async def test_l19_a_mistake_in_middleware_ends_its_stream_and_a_hundred_neighbours_finish_untouched(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.provide(*[GOOD] * 100)
    with caplog.at_level(logging.CRITICAL, "headrace.runs"):
        async with opened(stage, most=200) as runs:
            streams = [runs.start(REQUEST, "ann", middleware=(Unable(),))]
            streams += [runs.start(REQUEST, "ann") for _ in range(100)]
            ended = [await finished(stream) for stream in streams]
    assert [each.ending for each in ended] == ["error"] + ["stop"] * 100
    failure = ended[0].failure
    assert failure is not None
    assert failure.code == "internal_error"
    assert "a mistake of ours" not in failure.message


class Remembering:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def ended(self, stream: Stream) -> None:
        assert stream.ended is not None
        self.seen.append((stream.id, stream.ended.ending))


class Raising:
    """An observer that cannot do its work."""

    def ended(self, stream: Stream) -> None:
        raise RuntimeError(f"no room for {stream.id}")


async def test_an_observer_that_raises_harms_neither_the_run_nor_the_next_observer(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.provide(GOOD, GOING_ON)
    remembering = Remembering()
    with caplog.at_level(logging.ERROR, "headrace.runs"):
        async with opened(stage, observers=[Raising(), remembering]) as runs:
            first, second = runs.start(REQUEST, "ann"), runs.start(REQUEST, "ann")
            await until(lambda: second.length == 2 and first.ended is not None)
            runs.cancel(second)
            await until(lambda: len(runs) == 0)
    assert remembering.seen == [(first.id, "stop"), (second.id, "cancelled")]
    assert [record.getMessage() for record in caplog.records] == [
        f"an observer failed on stream {stream.id}" for stream in (first, second)
    ]


async def test_draining_takes_nothing_new_and_lets_what_is_in_progress_finish(stage: Stage) -> None:
    spoken = asyncio.Event()
    stage.provide([[TextDelta("Yes")], spoken, [TextDelta(", fresh")], Ended("stop")], GOOD)
    async with opened(stage) as runs:
        stream = runs.start(REQUEST, "ann")
        await until(lambda: stream.length == 2)
        draining = asyncio.create_task(runs.drain(60))
        await until(lambda: runs.draining)
        with pytest.raises(Overloaded, match="shutting down") as refusal:
            runs.start(REQUEST, "ann")
        assert refusal.value.retry_after_seconds == 5
        spoken.set()
        await draining
        assert stream.ended is not None
        assert stream.ended.ending == "stop"


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_what_is_not_finished_when_draining_is_over_ends_incomplete(stage: Stage, seconds: float) -> None:
    provider = stage.provide(GOING_ON, GOING_ON)
    async with opened(stage) as runs:
        first = runs.start(REQUEST, "ann")
        await until(lambda: first.length == 2)
        second = runs.start(REQUEST, "ann")  # which may not have taken its first step
        await runs.drain(seconds)
        for stream in (first, second):
            assert stream.ended is not None
            assert stream.ended.ending == "incomplete"
            assert failure_of(stream).code == "shutting_down"
            assert failure_of(stream).retryable
        assert len(runs) == 0
    assert set(provider.outcomes) == {"cancelled"}


async def test_closing_ends_what_is_in_progress_and_twice_is_the_same_as_once(stage: Stage) -> None:
    stage.provide(GOING_ON)
    async with opened(stage) as runs:
        stream = runs.start(REQUEST, "ann")
        await until(lambda: stream.length == 2)
        await runs.close()
        assert failure_of(stream).code == "shutting_down"
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "headrace runs"]


async def test_runs_without_anything_in_progress_drain_at_once(stage: Stage) -> None:
    async with opened(stage) as runs:
        await asyncio.wait_for(runs.drain(600), 1)


def failure_of(stream: Stream) -> Failure:
    assert stream.ended is not None
    assert stream.ended.failure is not None
    return stream.ended.failure


def nothing() -> None:
    """A reader that only is there."""


async def pass_time(stage: Stage, runs: Runs, seconds: float) -> None:
    stage.clock.advance(seconds)
    runs.look_after()
    await turns(10)


# -- deleting


async def test_the_id_of_a_stream_that_was_deleted_is_free_once_its_run_has_ended(stage: Stage) -> None:
    stage.provide(GOING_ON, GOING_ON, GOOD)
    async with opened(stage) as runs:
        first = runs.start(REQUEST, "ann", stream_id="x" * 22)
        await until(lambda: first.length > 1)
        stage.store.delete(first.id, "ann")
        with pytest.raises(StreamExists):
            runs.start(REQUEST, "ann", stream_id=first.id)
        runs.cancel(first)
        await until(lambda: not len(runs))
        second = runs.start(REQUEST, "ann", stream_id=first.id)
        await until(lambda: second.length > 1)
        assert len(runs) == 1, "the end of the first took nothing of the second with it"
        runs.cancel(second)
        assert (await finished(second)).ending == "cancelled"


async def test_deleting_a_running_stream_cancels_it_first(stage: Stage) -> None:
    stage.provide(GOING_ON, GOOD)
    async with opened(stage) as runs:
        stream = runs.start(REQUEST, "ann", stream_id="x" * 22)
        await until(lambda: stream.length > 1)
        await runs.delete(stream)
        assert len(runs) == 0
        assert stream.ended is not None, "whoever holds it reads it to its end"
        assert stream.ended.ending == "cancelled"
        with pytest.raises(UnknownStream):
            stage.store.open(stream.id, "ann")
        with pytest.raises(UnknownStream):
            await runs.delete(stream)
        again = runs.start(REQUEST, "ann", stream_id="x" * 22)
        assert (await finished(again)).ending == "stop"
