"""What is known of conversations beside their streams is written a little later, and no answer shows that."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.clock import SystemClock
from headrace.errors import UnknownConversation
from headrace.events import Ended, Started, TextDelta
from headrace.requests import GenerationRequest, Message
from headrace.streams.conversations import MANY_EVENTS, TITLE_CHARACTERS, Conversations, title_of
from headrace.streams.journaled import JournaledStore
from headrace.streams.memory import MemoryStore

pytestmark = pytest.mark.anyio


def put(store: MemoryStore | JournaledStore, stream_id: str, *pieces: str) -> None:
    request = GenerationRequest("fast", (Message("user", "Bread?"),), conversation_id="talk")
    stream = store.create(stream_id, "ann", request)
    stream.append([Started(stream_id, "fast", 0), *map(TextDelta, pieces), Ended("stop")])


async def test_a_stream_that_is_forgotten_before_it_was_written_down_is_not_listed() -> None:
    conversations = Conversations()
    store = MemoryStore(SystemClock(), 3600, conversations=conversations)
    put(store, "s1", "Yes")
    store.delete("s1", "ann")
    assert await conversations.list("ann") == []
    await store.close()
    await conversations.close()


async def test_what_was_not_written_yet_is_written_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "talks"
    for word in ("sluice", "weir"):
        conversations = Conversations(path)
        store = MemoryStore(SystemClock(), 3600, conversations=conversations)
        put(store, word, f"The {word}.")
        await store.close()
        await conversations.close()
    again = Conversations(path)
    (found,) = await again.list("ann", words="weir bre")
    assert (found.id, found.title, found.streams) == ("talk", "Bread?", 2)
    await again.close()


async def test_a_long_answer_is_found_as_a_short_one(tmp_path: Path) -> None:
    conversations = Conversations(tmp_path / "talks")
    store = JournaledStore(SystemClock(), tmp_path / "headrace.db", 3600, conversations=conversations)
    put(store, "long", *["so "] * MANY_EVENTS, "tailrace")
    (found,) = await conversations.list("ann", words="tailrace")
    assert found.stream_id == "long"
    with pytest.raises(UnknownConversation):
        await conversations.find("bob", "talk")
    await store.close()
    await conversations.close()


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("  Why\n so?  ", "Why so?"),
        ("", ""),
        ("word " * 30, "word word word word word word word word word word word word…"),
        ("去" * 100, "去" * TITLE_CHARACTERS + "…"),
    ],
)
def test_a_title_is_the_beginning_of_the_question_cut_where_a_word_ends(question: str, title: str) -> None:
    assert title_of(question) == title
