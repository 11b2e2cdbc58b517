"""A page of a conversation costs what is in it, however many other streams its owner has."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from headrace.clock import SystemClock
from headrace.events import Ended, Started
from headrace.interfaces import StreamStore
from headrace.middleware.conversation import Conversation
from headrace.requests import GenerationRequest, Message
from headrace.streams.journaled import JournaledStore
from headrace.streams.memory import MemoryStore

pytestmark = pytest.mark.anyio


def question(conversation_id: str) -> GenerationRequest:
    return GenerationRequest("fast", (Message("user", "Bread?"),), conversation_id=conversation_id)


async def seconds_of_a_look(store: StreamStore) -> float:
    """How long it takes to prepare the question of a conversation that has just begun; the best of many."""
    conversation = Conversation(store, 10)
    store.create("new", "ann", question("new"))
    best = 1.0
    for _ in range(50):
        before = time.perf_counter()
        await conversation.prepare(question("new"), "ann", lambda notice: None)
        best = min(best, time.perf_counter() - before)
    store.delete("new", "ann")
    return best


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_conversation_is_found_as_quickly_among_thousands_of_streams(kind: str, tmp_path: Path) -> None:
    store: MemoryStore | JournaledStore = (
        MemoryStore(SystemClock(), 3600)
        if kind == "memory"
        else JournaledStore(SystemClock(), tmp_path / "headrace.db", 3600)
    )
    try:
        few = await seconds_of_a_look(store)
        for number in range(5000):
            stream = store.create(str(number), "ann", question(f"talk {number}"))
            stream.append([Started(str(number), "fast", 1), Ended("stop")])
        # Looking through all of them took a hundred times as long.
        assert await seconds_of_a_look(store) < few * 10 + 0.0002
    finally:
        await store.close()
