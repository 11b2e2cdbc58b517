"""A conversation is the list of streams that carry its id (D1)."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from headrace.events import Ended, Ending, Event, ReasoningDelta, Started, Status, TextDelta
from headrace.middleware.conversation import Conversation
from headrace.requests import GenerationRequest, Message
from headrace.streams.memory import MemoryStore
from headrace.testing.clock import ManualClock

pytestmark = pytest.mark.anyio

Say: TypeAlias = Callable[..., None]


def asked(question: str, conversation_id: str | None = "talk") -> GenerationRequest:
    return GenerationRequest("fast", (Message("user", question),), conversation_id=conversation_id)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock(), 3600)


@pytest.fixture
def say(store: MemoryStore) -> Say:
    """Puts a question and its answer into the store; an answer of `None` is still being made."""

    def put(
        question: str, *answer: Event, ending: Ending | None = "stop", owner: str = "ann", talk: str | None = "talk"
    ) -> None:
        stream = store.create(f"s{len(store.list(owner))}", owner, asked(question, talk))
        stream.append([Started(stream.id, "fast", 0), *answer])
        if ending is not None:
            stream.append([Ended(ending)])

    return put


async def put_before(
    store: MemoryStore,
    request: GenerationRequest,
    *,
    turns: int = 10,
    room: int | None = None,
    trimmed: bool = False,
) -> list[tuple[str, object]]:
    """Role and content of what is put before the question; the question itself must stand behind, untouched."""
    told: list[Status] = []
    prepared = await Conversation(store, turns, room).prepare(request, "ann", told.append)
    assert [notice.phase for notice in told] == (["trimmed"] if trimmed else [])
    assert prepared.messages[-len(request.messages) :] == request.messages
    return [(message.role, message.content) for message in prepared.messages[: -len(request.messages)]]


async def test_d1_what_was_said_before_is_put_before_the_question(store: MemoryStore, say: Say) -> None:
    say("Bread?", TextDelta("Ye"), TextDelta("s."))
    say("Rolls?", TextDelta("No."))
    assert await put_before(store, asked("Why?")) == [
        ("user", "Bread?"),
        ("assistant", "Yes."),
        ("user", "Rolls?"),
        ("assistant", "No."),
    ]


async def test_only_the_latest_turns_are_put_before_it(store: MemoryStore, say: Say) -> None:
    for number in range(5):
        say(f"Question {number}", TextDelta(f"Answer {number}"))
    assert await put_before(store, asked("Why?"), turns=2, trimmed=True) == [
        ("user", "Question 3"),
        ("assistant", "Answer 3"),
        ("user", "Question 4"),
        ("assistant", "Answer 4"),
    ]


async def test_turns_without_an_answer_do_not_count(store: MemoryStore, say: Say) -> None:
    say("Bread?", TextDelta("Yes."))
    say("Rolls?", ending="error")
    say("Cake?", ReasoningDelta("hm"), ending="cancelled")
    say("Tea?", TextDelta("Co"), ending=None)
    assert await put_before(store, asked("Why?"), turns=1) == [("user", "Bread?"), ("assistant", "Yes.")]


@pytest.mark.parametrize(("room", "shown"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 3), (None, 3)])
async def test_what_would_not_fit_the_model_is_left_out_and_that_is_told(
    store: MemoryStore, say: Say, room: int | None, shown: int
) -> None:
    for _ in range(3):
        say("x" * 20, TextDelta("y" * 20))  # five tokens each, as they are estimated
    put = await put_before(store, asked("Why?"), room=room, trimmed=shown < 3)
    assert put == [("user", "x" * 20), ("assistant", "y" * 20)] * shown


async def test_half_an_answer_was_said_too(store: MemoryStore, say: Say) -> None:
    say("Bread?", ReasoningDelta("hm"), TextDelta("Ye"), TextDelta("another", choice=1), ending="incomplete")
    assert await put_before(store, asked("Why?")) == [("user", "Bread?"), ("assistant", "Ye")]


async def test_nobody_hears_another_conversation_or_another_owner(store: MemoryStore, say: Say) -> None:
    say("Bread?", TextDelta("Yes."), talk="another talk")
    say("Rolls?", TextDelta("No."), talk=None)
    say("Cake?", TextDelta("No."), owner="bob")
    assert await put_before(store, asked("Why?")) == []


async def test_a_history_that_the_reader_sent_itself_is_all_there_is(store: MemoryStore, say: Say) -> None:
    say("Bread?", TextDelta("Yes."))
    history = (Message("user", "Cake?"), Message("assistant", "No."), Message("user", "Why?"))
    request = GenerationRequest("fast", history, conversation_id="talk")
    assert await Conversation(store, 10).prepare(request, "ann", lambda notice: None) is request


@pytest.mark.parametrize(("talk", "turns"), [(None, 10), ("talk", 0)], ids=["no conversation", "no turns"])
async def test_without_a_conversation_the_question_stands_alone(
    store: MemoryStore, say: Say, talk: str | None, turns: int
) -> None:
    say("Bread?", TextDelta("Yes."))
    request = asked("Why?", talk)
    assert await Conversation(store, turns).prepare(request, "ann", lambda notice: None) is request
