"""One stream in memory: what is appended is read by everybody, from any offset, woken once a batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TypeAlias

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import SystemClock
from headrace.events import Ended, Event, Started, TextDelta
from headrace.interfaces import Stream
from headrace.requests import GenerationRequest
from headrace.streams.memory import READ_LIMIT, MemoryStore, MemoryStream
from headrace.testing.clock import ManualClock

NewStream: TypeAlias = Callable[..., MemoryStream]


def stand_alone() -> MemoryStream:
    """A stream for tests that Hypothesis runs many times over, which share their fixtures."""
    return MemoryStore(SystemClock(), 3600).create("s", "ann", GenerationRequest("fast", ()))


def deltas(count: int) -> list[Event]:
    return [TextDelta(str(number)) for number in range(count)]


def test_events_are_numbered_from_0_in_the_order_they_came(new_stream: NewStream, said: tuple[Event, ...]) -> None:
    stream = new_stream()
    stream.append(said[:1])
    stream.append(said[1:3])
    assert stream.length == 3
    assert [list(stream.read(offset, 1)) for offset in range(4)] == [[said[0]], [said[1]], [said[2]], []]


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [(0, 100, slice(0, 5)), (0, 2, slice(0, 2)), (3, 100, slice(3, 5)), (5, 100, slice(0, 0)), (99, 1, slice(0, 0))],
)
def test_a_read_gives_what_there_is_from_its_offset_on(
    new_stream: NewStream, said: tuple[Event, ...], offset: int, limit: int, expected: slice
) -> None:
    stream = new_stream()
    stream.append(said)
    assert tuple(stream.read(offset, limit)) == said[expected]


def test_a_single_read_is_bounded(new_stream: NewStream) -> None:
    stream = new_stream()
    stream.append(deltas(READ_LIMIT + 1))
    assert len(stream.read(0)) == READ_LIMIT
    assert len(stream.times(0)) == READ_LIMIT


def test_what_was_read_does_not_change_when_more_comes(new_stream: NewStream, said: tuple[Event, ...]) -> None:
    stream = new_stream()
    stream.append(said[:2])
    read = stream.read(0)
    stream.append(said[2:])
    assert tuple(read) == said[:2]


def test_a_batch_that_its_writer_uses_again_stays_as_it_was_appended(new_stream: NewStream) -> None:
    stream = new_stream()
    batch: list[Event] = [TextDelta("a")]
    stream.append(batch)
    batch[:] = [TextDelta("b")]
    assert list(stream.read(0)) == [TextDelta("a")]


def test_the_events_of_a_batch_carry_the_time_since_the_stream_was_created(
    new_stream: NewStream, clock: ManualClock, said: tuple[Event, ...]
) -> None:
    stream = new_stream()
    stream.append(said[:1])
    clock.advance(0.25)
    stream.append(said[1:4])
    clock.advance(1)
    stream.append(said[4:])
    assert list(stream.times(0)) == [0, 250_000_000, 250_000_000, 250_000_000, 1_250_000_000]
    assert list(stream.times(3, 1)) == [250_000_000]


def test_a_batch_wakes_each_reader_once(new_stream: NewStream, said: tuple[Event, ...]) -> None:
    stream = new_stream()
    woken: list[tuple[str, int]] = []
    stream.attach(lambda: woken.append(("first", stream.length)))
    stream.append(said[:3])
    stream.attach(lambda: woken.append(("second", stream.length)))
    stream.append(said[3:4])
    # Woken when the whole batch can be read, in the order they came.
    assert woken == [("first", 3), ("first", 4), ("second", 4)]


def test_the_ending_is_known_by_the_time_readers_are_woken_for_it(
    new_stream: NewStream, said: tuple[Event, ...]
) -> None:
    stream = new_stream()
    seen: list[Ended | None] = []
    stream.attach(lambda: seen.append(stream.ended))
    stream.append(said[:-1])
    stream.append(said[-1:])
    assert seen == [None, Ended("stop")]


@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_reader_that_leaves_while_woken_harms_no_other(
    new_stream: NewStream, said: tuple[Event, ...], others: int
) -> None:
    stream = new_stream()
    woken: list[str] = []

    def leave() -> None:
        woken.append("leaver")
        stream.detach(leave)

    stream.attach(leave)
    for _ in range(others):
        stream.attach(lambda: woken.append("other"))
    stream.append(said[:1])
    stream.append(said[1:2])
    assert woken == ["leaver", *["other"] * others * 2]
    assert stream.readers == others


def test_a_reader_that_comes_while_others_are_woken_is_woken_from_the_next_batch_on(
    new_stream: NewStream, said: tuple[Event, ...]
) -> None:
    stream = new_stream()
    seen_by_the_newcomer: list[int] = []

    def newcomer() -> None:
        seen_by_the_newcomer.append(stream.length)

    def bring() -> None:
        if stream.readers == 1:
            stream.attach(newcomer)

    stream.attach(bring)
    stream.append(said[:1])
    assert seen_by_the_newcomer == []
    stream.append(said[1:2])
    assert seen_by_the_newcomer == [2]


def test_leaving_twice_is_the_same_as_once(new_stream: NewStream) -> None:
    stream = new_stream()
    woken: list[str] = []

    def one() -> None:
        woken.append("one")

    def other() -> None:
        woken.append("other")

    stream.attach(one)
    stream.attach(other)
    stream.detach(one)
    stream.detach(one)
    assert stream.readers == 1
    stream.append([TextDelta("a")])
    assert woken == ["other"]


@pytest.mark.parametrize("late", [(TextDelta("more"),), (Ended("stop"),)], ids=["text", "a second ending"])
def test_an_ended_stream_refuses_more(new_stream: NewStream, said: tuple[Event, ...], late: tuple[Event, ...]) -> None:
    stream = new_stream()
    stream.append(said)
    with pytest.raises(ValueError, match="stream s has ended"):
        stream.append(late)
    assert stream.length == len(said)
    assert stream.ended == said[-1]


@pytest.mark.anyio
async def test_following_from_every_offset_gives_everything_after_it(
    new_stream: NewStream, said: tuple[Event, ...]
) -> None:
    stream = new_stream()
    stream.append(said)
    for after in range(-1, len(said)):
        assert await followed(stream, after) == list(enumerate(said))[after + 1 :]


@pytest.mark.anyio
async def test_following_from_beyond_the_end_of_an_ended_stream_ends(
    new_stream: NewStream, said: tuple[Event, ...]
) -> None:
    stream = new_stream()
    stream.append(said)
    assert await followed(stream, 100) == []


@pytest.mark.anyio
async def test_many_readers_each_get_everything_as_it_comes(new_stream: NewStream, said: tuple[Event, ...]) -> None:
    stream = new_stream()
    got: dict[int, list[tuple[int, Event]]] = {}

    async def follow(number: int) -> None:
        got[number] = await followed(stream, number % 3 - 1)

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(follow, number)
        for event in said:
            await checkpoint()
            stream.append([event])
    assert got == {number: list(enumerate(said))[number % 3 :] for number in range(30)}
    assert stream.readers == 0


@pytest.mark.anyio
async def test_a_reader_that_was_slow_takes_everything_there_is_in_one_piece(
    new_stream: NewStream, said: tuple[Event, ...]
) -> None:
    stream = new_stream()
    stream.append(said[:1])
    async with aclosing(stream.follow()) as pieces:
        assert await anext(pieces) == (0, [said[0]])
        for event in said[1:4]:
            stream.append([event])
        assert await anext(pieces) == (1, list(said[1:4]))


@pytest.mark.anyio
async def test_a_follower_counts_as_a_reader_until_it_is_closed(new_stream: NewStream, said: tuple[Event, ...]) -> None:
    stream = new_stream()
    stream.append(said[:1])
    async with aclosing(stream.follow()) as pieces:
        assert stream.readers == 0
        await anext(pieces)
        assert stream.readers == 1
    assert stream.readers == 0


@pytest.mark.anyio
async def test_a_follower_that_is_cancelled_while_it_waits_has_left(new_stream: NewStream) -> None:
    stream = new_stream()
    async with anyio.create_task_group() as group:
        group.start_soon(followed, stream, -1)
        while not stream.readers:
            await checkpoint()
        group.cancel_scope.cancel()
    assert stream.readers == 0


@pytest.mark.anyio
@given(
    texts=st.lists(st.text(min_size=1), max_size=20),
    sizes=st.lists(st.integers(1, 5), min_size=25, max_size=25),
    after=st.integers(-1, 25),
    turns=st.lists(st.integers(0, 2), min_size=25, max_size=25),
)
async def test_l6_however_events_were_batched_every_reader_gets_them_once_and_in_order(
    texts: list[str], sizes: list[int], after: int, turns: list[int]
) -> None:
    stream = stand_alone()
    events: list[Event] = [Started("s", "fast", 0), *map(TextDelta, texts), Ended("stop")]
    got: list[list[tuple[int, Event]]] = []

    async def follow() -> None:
        got.append(await followed(stream, after))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        rest = events
        for size, turns_given in zip(sizes, turns, strict=True):
            if rest:
                stream.append(rest[:size])
                rest = rest[size:]
            for _ in range(turns_given):
                await checkpoint()
    assert got == [list(enumerate(events))[after + 1 :]]


async def followed(stream: Stream, after: int) -> list[tuple[int, Event]]:
    """All that a reader gets, each event with the offset it was told."""
    got: list[tuple[int, Event]] = []
    async with aclosing(stream.follow(after)) as pieces:
        async for offset, events in pieces:
            assert events
            got.extend(enumerate(events, offset))
    return got
