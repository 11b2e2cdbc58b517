"""A stream that has become long while it goes on: it loses whole events, and nothing of what they said."""

from __future__ import annotations

import pytest

from headrace.errors import BelowHorizon
from headrace.events import Ended, Event, ReasoningDelta, Started, TextDelta, ToolCallDelta
from headrace.folding import fold
from headrace.requests import GenerationRequest, Message
from headrace.streams.memory import MemoryStore, MemoryStream
from headrace.testing.clock import ManualClock

LIMIT_BYTES = 100_000
REQUEST = GenerationRequest("m", (Message("user", "q"),))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock(), 3600, stream_limit_bytes=LIMIT_BYTES)


def grown(store: MemoryStore, count: int, text: str = "日本語 🏝️ ") -> tuple[MemoryStream, list[Event]]:
    """A stream with so many deltas that goes on, and its events."""
    stream = store.create("s", "ann", REQUEST)
    events: list[Event] = [Started("s", "m", 0), *(TextDelta(f"{number} {text}") for number in range(count))]
    for start in range(0, len(events), 100):
        stream.append(events[start : start + 100])
        store.sweep()
    return stream, events


def test_l10_a_long_stream_is_shortened_at_an_event(store: MemoryStore) -> None:
    stream, events = grown(store, 3000)
    assert 0 < stream.horizon < len(events) == stream.length
    assert list(stream.read(stream.horizon, 10**6)) == events[stream.horizon :], "what is left was not cut"
    assert fold(stream.said()).text == fold(events).text, "nothing that was said is lost, and no character is half"
    assert len(stream.beginning) == 2, "what is gone is one text behind the first event"
    assert len(stream.times(0, 10**6)) == len(events)


def test_below_the_horizon_nothing_is_read(store: MemoryStore) -> None:
    stream, _ = grown(store, 3000)
    for offset in (0, 1, stream.horizon - 1):
        with pytest.raises(BelowHorizon, match=f"after={stream.horizon - 1}"):
            stream.read(offset)
    assert stream.read(stream.horizon, 1)


def test_what_is_left_stays_within_the_limit(store: MemoryStore) -> None:
    stream, events = grown(store, 20_000)
    left = stream.read(stream.horizon, 10**6)
    assert sum(130 + len(event.text) for event in left if isinstance(event, TextDelta)) <= LIMIT_BYTES
    assert len(left) > 100, "and is no less than half of it was, a sweep ago"
    assert fold(stream.said()).text == fold(events).text


def test_a_stream_within_the_limit_is_left_alone(store: MemoryStore) -> None:
    stream, events = grown(store, 500)
    assert (stream.horizon, list(stream.beginning)) == (0, [])
    assert list(stream.read(0, 10**6)) == events


def test_one_event_larger_than_the_limit_stays_as_long_as_it_is_the_last(store: MemoryStore) -> None:
    stream = store.create("s", "ann", REQUEST)
    large = TextDelta("x" * (2 * LIMIT_BYTES))
    stream.append([Started("s", "m", 0), TextDelta("a"), large])
    store.sweep()
    assert list(stream.read(stream.horizon)) == [large]
    stream.append([TextDelta("b"), Ended("stop")])
    assert fold(stream.said()).text == "a" + large.text + "b"
    assert list(stream.read(stream.length - 2, 2)) == [TextDelta("b"), Ended("stop")]


def test_reasoning_and_tool_calls_are_joined_as_well(store: MemoryStore) -> None:
    stream = store.create("s", "ann", REQUEST)
    stream.append([Started("s", "m", 0), *[ReasoningDelta("think ")] * 1000])
    stream.append([ToolCallDelta(0, "c", "f", "["), *[ToolCallDelta(0, arguments="1,")] * 1000])
    stream.append([TextDelta("so "), *[TextDelta("on ")] * 1000])
    store.sweep()
    kinds = [type(event) for event in stream.beginning]
    assert kinds == [Started, ReasoningDelta, ToolCallDelta, TextDelta]
    answer = fold(stream.said())
    assert answer.reasoning == "think " * 1000
    assert "".join(answer.choices[0].tool_calls[0].arguments) == "[" + "1," * 1000


async def read_after(stream: MemoryStream, after: int) -> list[Event]:
    return [event async for _, piece in stream.follow(after) for event in piece]


@pytest.mark.anyio
async def test_whoever_follows_from_the_horizon_gets_the_rest(store: MemoryStore) -> None:
    stream, events = grown(store, 3000)
    stream.append([Ended("stop")])
    assert await read_after(stream, stream.horizon - 1) == [*events[stream.horizon :], Ended("stop")]
    with pytest.raises(BelowHorizon):
        await read_after(stream, -1)


def test_what_has_ended_is_shortened_no_more_and_forgotten_whole(store: MemoryStore) -> None:
    stream, _ = grown(store, 3000)
    horizon = stream.horizon
    stream.append([*[TextDelta("more ")] * 3000, Ended("stop")])
    store.sweep()
    assert stream.horizon == horizon
    store.delete("s", "ann")
    store.sweep()
    assert not store.list("ann")
