"""The store in memory: whose streams they are, and how long they are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from headrace.errors import HeadraceError, StreamExists, UnknownStream
from headrace.events import Ended, Event, TextDelta
from headrace.requests import GenerationRequest, Message
from headrace.streams.memory import MemoryStore, MemoryStream
from headrace.testing.clock import ManualClock

NewStream: TypeAlias = Callable[..., MemoryStream]


def end(stream: MemoryStream, length: int = 1) -> None:
    """Ends a stream as one of so many events."""
    events: list[Event] = [*(TextDelta("a") for _ in range(length - 1)), Ended("stop")]
    stream.append(events)


def kept(store: MemoryStore, owner: str = "ann") -> list[str]:
    return [stream.id for stream in reversed(store.list(owner))]


def test_a_stream_is_opened_by_its_owner(store: MemoryStore, new_stream: NewStream) -> None:
    stream = new_stream("s", "ann")
    assert store.open("s", "ann") is stream
    assert (stream.id, stream.owner, stream.length, stream.ended, stream.readers) == ("s", "ann", 0, None, 0)


def test_l13_a_foreign_stream_answers_exactly_as_an_unknown_one(store: MemoryStore, new_stream: NewStream) -> None:
    new_stream("s", "ann")
    attempts: list[Callable[[str, str], object]] = [store.open, store.delete]
    for attempt in attempts:
        with pytest.raises(UnknownStream) as foreign:
            attempt("s", "bob")
        with pytest.raises(UnknownStream) as unknown:
            attempt("t", "bob")
        assert foreign.value.message == unknown.value.message.replace("'t'", "'s'")
        assert foreign.value.failure().code == unknown.value.failure().code == "stream_not_found"
    assert kept(store, "ann") == ["s"]
    assert kept(store, "bob") == []


def test_two_owners_may_choose_the_same_id_and_learn_nothing_of_each_other(
    store: MemoryStore, new_stream: NewStream
) -> None:
    of_ann, of_bob = new_stream("s", "ann"), new_stream("s", "bob")
    of_ann.append([TextDelta("for Ann")])
    assert of_bob.length == 0
    store.delete("s", "bob")
    assert store.open("s", "ann") is of_ann


def test_an_id_that_is_taken_is_refused_and_the_message_says_where_it_leads(new_stream: NewStream) -> None:
    new_stream("s")
    with pytest.raises(StreamExists, match="/v1/streams/s"):
        new_stream("s")


def test_a_long_id_is_not_repeated_whole(store: MemoryStore) -> None:
    with pytest.raises(HeadraceError) as error:
        store.open("x" * 10_000, "ann")
    assert len(error.value.message) < 300


def test_streams_are_listed_newest_first_and_of_one_conversation_where_it_is_named(
    store: MemoryStore, new_stream: NewStream
) -> None:
    new_stream("a", conversation_id="c")
    new_stream("b")
    new_stream("c", conversation_id="c")
    new_stream("d", "bob", conversation_id="c")
    assert [stream.id for stream in store.list("ann")] == ["c", "b", "a"]
    assert [stream.id for stream in store.list("ann", conversation_id="c")] == ["c", "a"]
    assert not store.list("ann", conversation_id="unheard of")


def test_a_deleted_stream_is_gone_and_its_id_free(store: MemoryStore, new_stream: NewStream) -> None:
    new_stream("s")
    store.delete("s", "ann")
    with pytest.raises(UnknownStream):
        store.open("s", "ann")
    with pytest.raises(UnknownStream):
        store.delete("s", "ann")
    assert new_stream("s").length == 0


def test_who_has_a_deleted_stream_open_reads_it_to_its_end(store: MemoryStore, new_stream: NewStream) -> None:
    stream = new_stream("s")
    stream.append([TextDelta("a")])
    store.delete("s", "ann")
    end(stream)
    assert list(stream.read(0)) == [TextDelta("a"), Ended("stop")]


def test_l46_a_stream_is_forgotten_an_hour_after_its_end_and_not_before(
    store: MemoryStore, new_stream: NewStream, clock: ManualClock
) -> None:
    stream = new_stream("s")
    clock.advance(10_000)
    end(stream)
    clock.advance(3600)
    store.sweep()
    assert kept(store) == ["s"]
    clock.advance(0.001)
    store.sweep()
    assert kept(store) == []


def test_what_is_still_going_on_is_never_forgotten(
    store: MemoryStore, new_stream: NewStream, clock: ManualClock
) -> None:
    running = new_stream("running")
    running.append([TextDelta("a")] * 100)
    end(new_stream("ended"))
    clock.advance(1_000_000)
    store.sweep()
    assert kept(store) == ["running"]


def test_l46_what_ended_first_goes_first_when_too_much_is_kept(store: MemoryStore, new_stream: NewStream) -> None:
    first, second, third = new_stream("first"), new_stream("second"), new_stream("third")
    end(second, 8)
    end(first, 8)
    assert kept(store) == ["first", "second", "third"]
    end(third, 8)  # three such streams take 7.5 KB of the 6 that are kept
    assert kept(store) == ["first", "third"]


def test_the_last_stream_that_ended_is_kept_however_long_it_is(store: MemoryStore, new_stream: NewStream) -> None:
    end(new_stream("short"), 2)
    end(new_stream("long"), 100)
    assert kept(store) == ["long"]


def test_a_stream_deleted_after_its_end_takes_no_room_from_others(store: MemoryStore, new_stream: NewStream) -> None:
    end(new_stream("first"), 5)
    end(new_stream("deleted"), 14)
    store.delete("deleted", "ann")
    end(new_stream("last"), 14)
    assert kept(store) == ["first", "last"]


def test_a_stream_deleted_before_its_end_takes_no_room_from_others(store: MemoryStore, new_stream: NewStream) -> None:
    deleted = new_stream("deleted")
    store.delete("deleted", "ann")
    end(new_stream("first"), 10)
    end(deleted, 14)
    assert kept(store) == ["first"]


def test_forgetting_a_deleted_stream_spares_the_one_that_took_its_id(
    store: MemoryStore, new_stream: NewStream, clock: ManualClock
) -> None:
    end(new_stream("s"))
    store.delete("s", "ann")
    clock.advance(3000)
    end(new_stream("s"), 3)
    clock.advance(3000)
    store.sweep()
    assert kept(store) == ["s"]
    clock.advance(1000)
    store.sweep()
    assert kept(store) == []


def test_l46_a_long_answer_in_one_event_and_a_long_question_count_as_what_they_are(clock: ManualClock) -> None:
    store = MemoryStore(clock, retention_seconds=3600, retained_bytes=100_000)
    for name, question, answer in (("a", "?", "a" * 60_000), ("b", "?" * 60_000, "b"), ("c", "?", "c")):
        stream = store.create(name, "ann", GenerationRequest("fast", (Message("user", question),)))
        stream.append([TextDelta(answer), Ended("stop")])
    assert kept(store) == ["b", "c"]


def test_a_conversation_lists_its_own_streams_until_they_are_forgotten(
    store: MemoryStore, new_stream: NewStream, clock: ManualClock
) -> None:
    for name in ("first", "second"):
        end(new_stream(name, conversation_id="talk"), 2)
    end(new_stream("other", conversation_id="another"), 2)
    assert [stream.id for stream in store.list("ann", conversation_id="talk")] == ["second", "first"]
    store.delete("first", "ann")
    assert [stream.id for stream in store.list("ann", conversation_id="talk")] == ["second"]
    clock.advance(3601)
    store.sweep()
    assert list(store.list("ann", conversation_id="talk")) == []
