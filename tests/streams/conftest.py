"""What the tests of streams share: a clock turned by hand, streams on it, and events to put into them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace.events import Ended, Event, Started, TextDelta
from headrace.requests import GenerationRequest, Message
from headrace.streams.memory import MemoryStore, MemoryStream
from headrace.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    """A store that keeps ended streams for an hour, and at most 6,000 bytes of them."""
    return MemoryStore(clock, retention_seconds=3600, retained_bytes=6000)


@pytest.fixture
def new_stream(store: MemoryStore) -> Callable[..., MemoryStream]:
    """Makes a stream, by default of an owner and an id that say nothing."""

    def make(stream_id: str = "s", owner: str = "ann", *, conversation_id: str | None = None) -> MemoryStream:
        request = GenerationRequest("fast", (Message("user", "Bread?"),), conversation_id=conversation_id)
        return store.create(stream_id, owner, request)

    return make


@pytest.fixture(scope="session")
def said() -> tuple[Event, ...]:
    """A short generation, from its first event to its last."""
    return (Started("s", "fast", 0), TextDelta("Yes"), TextDelta(","), TextDelta(" fresh"), Ended("stop"))
