"""The conformance suite of stores: what `StreamStore` and `Stream` promise, as one function.

A store may acknowledge what is appended later than at once, so this waits for what it expects.
May import floors 0 to 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import msgspec

from headrace.clock import Clock
from headrace.errors import StreamExists, UnknownStream
from headrace.events import Event, TextDelta
from headrace.interfaces import Stream, StreamStore
from headrace.requests import GenerationRequest, Idempotency, Message
from headrace.testing.clock import ManualClock
from headrace.testing.generations import GENERATIONS, STARTED, ended
from headrace.testing.waiting import turns, until

OpenStore = Callable[[Clock, float], StreamStore]
"""Opens an empty store with this clock, which keeps ended streams for so many seconds."""

REQUEST = GenerationRequest("basic/model", (Message("user", "Hello?"),))
RETENTION_SECONDS = 60.0


async def check_store(open_store: OpenStore) -> None:
    """Holds a store and its streams to their roles.

    Raises:
        AssertionError: it breaks a promise; the message says which.
    """
    for check in (
        _check_creating,
        _check_owners,
        _check_listing,
        _check_paging,
        _check_finding,
        _check_deleting,
        _check_retention,
        _check_a_new_stream,
        _check_numbering,
        _check_times,
        _check_waking,
        _check_readers_that_come_and_go,
        _check_the_end,
        _check_following,
        _check_following_live,
    ):
        clock = ManualClock()
        await check(open_store(clock, RETENTION_SECONDS), clock)


def _events(count: int) -> list[Event]:
    return [TextDelta(f"word {number}") for number in range(count)]


async def _appended(stream: Stream, batch: Sequence[Event]) -> None:
    """Appends, and waits until it can be read."""
    expected = stream.length + len(batch)
    stream.append(batch)
    await until(lambda: stream.length == expected)


def _is_unknown(store: StreamStore, stream_id: str, owner: str) -> str | None:
    """What the store says of a stream it does not know; `None` where it knows it."""
    try:
        store.open(stream_id, owner)
    except UnknownStream as error:
        return error.message
    return None


async def _check_creating(store: StreamStore, clock: ManualClock) -> None:
    stream = store.create("one", "ann", REQUEST)
    assert (stream.id, stream.owner, stream.request) == ("one", "ann", REQUEST), "a stream is what was asked for"
    assert store.open("one", "ann").length == 0, "a stream can be opened at once"
    exists = False
    try:
        store.create("one", "ann", REQUEST)
    except StreamExists:
        exists = True
    assert exists, "an owner has one stream of an id"
    await _appended(stream, [STARTED])
    assert store.open("one", "ann").length == 1, "whoever opens a stream reads what was appended"


async def _check_owners(store: StreamStore, clock: ManualClock) -> None:
    store.create("id-1", "ann", REQUEST)
    foreign, unknown = _is_unknown(store, "id-1", "bob"), _is_unknown(store, "id-2", "bob")
    assert foreign is not None, "nobody opens a stream of somebody else's"
    assert unknown is not None, "nobody opens a stream that is not there"
    assert foreign.replace("id-1", "id-2") == unknown, "the two cannot be told apart"
    stream = store.create("id-1", "bob", msgspec.structs.replace(REQUEST, model="other"))
    assert stream.request.model == "other", "an id is unique per owner, and a clash tells nothing of others"
    assert store.open("id-1", "ann").request.model == REQUEST.model, "each keeps their own"


async def _check_listing(store: StreamStore, clock: ManualClock) -> None:
    talk = msgspec.structs.replace(REQUEST, conversation_id="talk")
    for stream_id, request in (("b", talk), ("a", REQUEST), ("c", talk)):
        store.create(stream_id, "ann", request)
        clock.advance(1)
    store.create("d", "bob", talk)
    assert [stream.id for stream in store.list("ann")] == ["c", "a", "b"], "an owner's streams, newest first"
    listed = store.list("ann", conversation_id="talk")
    assert [stream.id for stream in listed] == ["c", "b"], "those of one conversation, and of nobody else"
    assert not store.list("ann", conversation_id="another"), "no streams of a conversation that never was"
    assert not store.list("eve"), "no streams of somebody who has none"
    await _appended(store.open("a", "ann"), [STARTED, ended()])
    assert [stream.id for stream in store.list("ann", state="ended")] == ["a"], "those that have ended"
    assert [stream.id for stream in store.list("ann", state="running")] == ["c", "b"], "those that have not"


async def _check_paging(store: StreamStore, clock: ManualClock) -> None:
    talk = msgspec.structs.replace(REQUEST, conversation_id="talk")
    for number in range(7):
        store.create(f"s{number}", "ann", talk if number % 2 else REQUEST)
        store.create(f"s{number}", "bob", talk)
        clock.advance(1)
    await _appended(store.open("s3", "ann"), [STARTED, ended()])
    for conversation_id, expected in ((None, [6, 5, 4, 3, 2, 1, 0]), ("talk", [5, 3, 1])):
        for limit in (1, 2, 3, 7, 8):
            listed: list[str] = []
            before = None
            while page := store.list("ann", conversation_id=conversation_id, before=before, limit=limit):
                assert len(page) <= limit, "a page is no longer than was asked"
                listed += [stream.id for stream in page]
                assert len(listed) <= len(expected), "a page holds nothing that an earlier one held"
                before = listed[-1]
            assert listed == [f"s{number}" for number in expected], "pages make the list, each stream once"
    running = store.list("ann", state="running", before="s5", limit=3)
    assert [stream.id for stream in running] == ["s4", "s2", "s1"], "a page is as full as it can be"
    store.delete("s4", "ann")
    for owner, before in (("ann", "s4"), ("ann", "nothing"), ("eve", "s5")):
        unknown = False
        try:
            store.list(owner, before=before)
        except UnknownStream:
            unknown = True
        assert unknown, "a list cannot go on behind a stream that is not there, or somebody else's"


async def _check_finding(store: StreamStore, clock: ManualClock) -> None:
    def carrying(key: str) -> GenerationRequest:
        return msgspec.structs.replace(REQUEST, idempotency=Idempotency(key, "digest"))

    assert store.find("ann", "k") is None, "nothing is found where nothing is"
    first = store.create("one", "ann", carrying("k"))
    store.create("other", "ann", carrying("another"))
    store.create("two", "bob", carrying("k"))
    found = store.find("ann", "k")
    assert found is not None, "a stream is found by its key at once"
    assert (found.id, found.owner, found.request.idempotency) == ("one", "ann", Idempotency("k", "digest"))
    assert store.find("eve", "k") is None, "a key finds nobody else's stream"
    await _appended(first, [STARTED, ended("error")])
    found = store.find("ann", "k")
    assert found is not None, "a stream that has ended is found as well"
    assert found.ended == ended("error"), "and says how it ended"
    store.create("three", "ann", carrying("k"))
    found = store.find("ann", "k")
    assert found is not None, "a key that came again finds a stream"
    assert found.id == "three", "the latest that carries it"
    store.delete("one", "ann")
    assert store.find("ann", "k") is not None, "the earlier one takes nothing with it"
    store.delete("three", "ann")
    assert store.find("ann", "k") is None, "what is deleted is not found"


async def _check_deleting(store: StreamStore, clock: ManualClock) -> None:
    talk = msgspec.structs.replace(REQUEST, conversation_id="talk")
    stream = store.create("one", "ann", talk)
    store.create("two", "ann", talk)
    await _appended(stream, [STARTED, ended()])
    for stream_id, owner in (("one", "bob"), ("three", "ann")):
        unknown = False
        try:
            store.delete(stream_id, owner)
        except UnknownStream:
            unknown = True
        assert unknown, "only what is there and one's own is deleted"
    store.delete("one", "ann")
    assert _is_unknown(store, "one", "ann") is not None, "a deleted stream is unknown"
    assert [each.id for each in store.list("ann")] == ["two"], "a deleted stream is listed no more"
    assert [each.id for each in store.list("ann", conversation_id="talk")] == ["two"], "in its conversation neither"
    store.create("one", "ann", REQUEST)
    assert store.open("one", "ann").length == 0, "an id that was deleted is free"


async def _check_retention(store: StreamStore, clock: ManualClock) -> None:
    going_on, old, new = (store.create(stream_id, "ann", REQUEST) for stream_id in ("going on", "old", "new"))
    await _appended(going_on, [STARTED])
    await _appended(old, [STARTED, ended()])
    clock.advance(RETENTION_SECONDS / 2)
    await _appended(new, [STARTED, ended()])
    store.sweep()
    assert len(store.list("ann")) == 3, "nothing is forgotten before its time"
    clock.advance(RETENTION_SECONDS / 2 + 1)
    store.sweep()
    assert {stream.id for stream in store.list("ann")} == {"going on", "new"}, "what ended long ago is forgotten"
    assert _is_unknown(store, "old", "ann") is not None, "what is forgotten is unknown"


async def _check_a_new_stream(store: StreamStore, clock: ManualClock) -> None:
    stream = store.create("one", "ann", REQUEST)
    assert stream.length == 0, "a new stream is empty"
    assert stream.ended is None, "a new stream has not ended"
    assert stream.readers == 0, "a new stream has no readers"
    assert not stream.read(0), "there is nothing to read in it"
    assert not stream.times(0), "there are no times either"
    assert (stream.horizon, list(stream.beginning)) == (0, []), "nothing of a new stream was let go"
    assert not stream.said(), "nothing was said in it"


async def _check_numbering(store: StreamStore, clock: ManualClock) -> None:
    stream = store.create("one", "ann", REQUEST)
    events = _events(10)
    await _appended(stream, events[:1])
    await _appended(stream, events[1:4])
    await _appended(stream, events[4:])
    for offset in range(12):
        for limit in (1, 3, 100):
            expected = events[offset : offset + limit]
            assert list(stream.read(offset, limit)) == expected, "events are numbered from 0 in the order they came"
    many = _events(1000)
    await _appended(stream, many)
    read: list[Event] = []
    while piece := stream.read(len(read)):
        read.extend(piece)
    assert read == events + many, "however much a read gives, the next goes on behind it"
    assert list(stream.said()) == read, "all that was said is all that can be read"


async def _check_times(store: StreamStore, clock: ManualClock) -> None:
    clock.advance(5)
    stream = store.create("one", "ann", REQUEST)
    await _appended(stream, _events(1))
    clock.advance(1)
    await _appended(stream, _events(3))
    times = list(stream.times(0))
    assert len(times) == 4, "every event has a time"
    assert times == sorted(times), "times do not go back"
    assert 0 <= times[0] < 1_000_000_000 <= times[1], "times are nanoseconds since the stream was created"
    assert list(stream.times(2, 1)) == times[2:3], "times are read as events are"


async def _check_waking(store: StreamStore, clock: ManualClock) -> None:
    stream = store.create("one", "ann", REQUEST)
    seen: list[int] = []

    def wake() -> None:
        seen.append(len(stream.read(0)))

    stream.attach(wake)
    for count in (1, 5, 20):
        await _appended(stream, _events(count))
    await until(lambda: seen and seen[-1] == 26)
    assert len(seen) <= 3, "a reader is woken once for a batch, not for an event"
    assert seen == sorted(set(seen)), "whoever is woken can read what it was woken for"


async def _check_readers_that_come_and_go(store: StreamStore, clock: ManualClock) -> None:
    stream = store.create("one", "ann", REQUEST)
    woken: list[str] = []

    def first() -> None:
        woken.append("first")
        stream.detach(first)

    def second() -> None:
        woken.append("second")

    stream.attach(first)
    stream.attach(second)
    assert stream.readers == 2, "readers are counted"
    await _appended(stream, _events(1))
    await until(lambda: "second" in woken)
    assert sorted(woken) == ["first", "second"], "one that leaves while it is woken takes no other's turn"
    assert stream.readers == 1, "a reader that left is not counted"
    stream.detach(first)
    assert stream.readers == 1, "leaving twice is leaving once"
    stream.detach(second)
    await _appended(stream, _events(1))
    await turns(3)
    assert len(woken) == 2, "whoever left is not woken"


async def _check_the_end(store: StreamStore, clock: ManualClock) -> None:
    stream = store.create("one", "ann", REQUEST)
    await _appended(stream, [STARTED, *_events(2)])
    assert stream.ended is None, "a stream has not ended before its last event"
    last = ended("incomplete")
    await _appended(stream, [TextDelta("x"), last])
    assert store.open("one", "ann").ended == last, "the last event is how it ended"
    refused = False
    try:
        stream.append(_events(1))
    except ValueError:
        refused = True
    assert refused, "nothing follows the last event"
    assert stream.length == 5, "what may not follow was not appended"


async def _check_following(store: StreamStore, clock: ManualClock) -> None:
    for name, events in GENERATIONS.items():
        stream = store.create(name, "ann", REQUEST)
        await _appended(stream, events)
        for after in range(-1, len(events)):
            followed: list[Event] = []
            async with aclosing(stream.follow(after)) as pieces:
                async for offset, piece in pieces:
                    assert offset == after + 1 + len(followed), "a piece comes with the offset of its first event"
                    assert piece, "no piece is empty"
                    followed.extend(piece)
            assert followed == list(events[after + 1 :]), "a reader gets what comes after its offset, and all of it"
        assert stream.readers == 0, "whoever has read to the end is gone"


async def _check_following_live(store: StreamStore, clock: ManualClock) -> None:
    stream = store.create("one", "ann", REQUEST)
    events = [STARTED, *_events(40), ended()]

    async def follow(after: int, most: int) -> list[Event]:
        followed: list[Event] = []
        async with aclosing(stream.follow(after)) as pieces:
            async for _, piece in pieces:
                followed.extend(piece)
                if len(followed) >= most:
                    break
        return followed

    readers = [asyncio.create_task(follow(after, len(events))) for after in (-1, -1, 0, 10)]
    leaver = asyncio.create_task(follow(-1, 5))
    await until(lambda: stream.readers == 5)
    for start in range(0, len(events), 3):
        stream.append(events[start : start + 3])
        await turns(2)
    for after, reader in zip((-1, -1, 0, 10), readers, strict=True):
        assert await reader == events[after + 1 :], "readers at any offset get the same events, live"
    assert (await leaver) == events[: len(leaver.result())], "one that leaves has read the beginning"
    await until(lambda: stream.readers == 0)
