"""A store on a file does what a plain model does, whatever fails and whenever the process is killed.

Every statement that writes may fail as on a full disk, and before and after each the file is copied as a killed process
would leave it. A copy must hold all that readers had been shown by then.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.events import Ended, Event, TextDelta
from headrace.interfaces import Stream
from headrace.requests import GenerationRequest, Message
from headrace.runs.restart import end_interrupted
from headrace.streams import checkpoints, journal
from headrace.streams.database import Database
from headrace.streams.journaled import JournaledStore
from headrace.testing.waiting import turns

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest("fast", (Message("user", "Bread?"),), conversation_id="talk")
Shown = dict[int, tuple[str, int, bool]]
Seen = tuple[frozenset[int], Shown]
WRITES = ("write_group", "write_streams", "delete_streams", "drop_groups")


class Plan:
    """What becomes of each write: it is done, or fails; and whether the file is copied before and after it."""

    def __init__(self, path: Path, chance: Random) -> None:
        self.path = path
        self.chance = chance
        self.failing = 0.0
        self.copying = 0.0
        self.seen: Callable[[], Seen] = lambda: (frozenset(), {})
        self.copies: list[tuple[Path, Seen]] = []

    def copied(self) -> None:
        if self.chance.random() >= self.copying:
            return
        folder = self.path.parent / f"copy {len(self.copies)}"
        folder.mkdir()
        seen = self.seen()
        for suffix in ("", "-wal"):
            if (source := self.path.with_name(self.path.name + suffix)).exists():
                shutil.copy(source, folder / source.name)
        self.copies.append((folder / self.path.name, seen))


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Puts itself before every write of every store of the test."""
    made = Plan(tmp_path / "headrace.db", Random(0))
    for name in WRITES:
        monkeypatch.setattr(Database, name, planned(getattr(Database, name), made))
    monkeypatch.setattr(Database, "checkpoint", now_and_then(Database.checkpoint, made))
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", 20_000)
    monkeypatch.setattr(checkpoints, "MOST_LOG_BYTES", 100_000)
    monkeypatch.setattr(journal, "REST_SECONDS", 0.0)
    monkeypatch.setattr(journal, "SLICE_EVENTS", 60)
    monkeypatch.setattr(journal, "SLICE_GROUPS", 3)
    monkeypatch.setattr(journal, "SLICE_DELETIONS", 2)
    return made


def planned(write: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    def performed(*arguments: Any) -> Any:
        plan.copied()
        if plan.chance.random() < plan.failing:
            raise sqlite3.OperationalError("database or disk is full")
        result = write(*arguments)
        plan.copied()
        if plan.chance.random() < plan.failing / 4:
            raise sqlite3.OperationalError("disk I/O error")  # it is there all the same
        return result

    return performed


def now_and_then(checkpoint: Callable[[Database], int], plan: Plan) -> Callable[[Database], int]:
    # By turns and not by chance: it runs on a thread of its own, and the chances of the others shall stay as they are.
    count = 0

    def performed(database: Database) -> int:
        nonlocal count
        count += 1
        if plan.failing and count % 3 == 0:
            raise sqlite3.OperationalError("disk I/O error")
        return checkpoint(database)

    return performed


def everything(stream: Stream) -> list[Event]:
    events: list[Event] = []
    while piece := stream.read(len(events)):
        events.extend(piece)
    return events


class Model:
    """What was done, kept as plainly as can be."""

    def __init__(self, store: JournaledStore, chance: Random) -> None:
        self.store = store
        self.chance = chance
        self.made: list[Any] = []
        # Those that are there, by id, and how many words each was given.
        self.there: dict[str, Any] = {}
        self.words: dict[Any, int] = {}
        # Those that were deleted; and of them those whose deletion was written down, which never come back.
        self.deleted: list[int] = []
        self.gone: frozenset[int] = frozenset()

    def step(self) -> None:
        match self.chance.choice(["create", "append", "append", "append", "append", "end", "delete", "compact"]):
            case "create":
                name = str(self.chance.randrange(8))
                if name not in self.there:
                    stream = self.store.create(name, "ann", REQUEST)
                    self.there[name] = stream
                    self.words[stream] = 0
                    self.made.append(stream)
            case "append":
                going_on = [each for each in self.made if not each._closed]
                if going_on:
                    stream = self.chance.choice(going_on)
                    count = self.chance.choice([1, 2, 3, 100])
                    first = self.words[stream]
                    stream.append([TextDelta(f"{stream.number} {first + each}") for each in range(count)])
                    self.words[stream] = first + count
            case "end":
                going_on = [each for each in self.made if not each._closed]
                if going_on:
                    self.chance.choice(going_on).append([Ended("stop")])
            case "delete" if self.there:
                name = self.chance.choice(sorted(self.there))
                self.store.delete(name, "ann")
                self.deleted.append(self.there.pop(name).number)
            case "compact":
                self.store._journal.compact()
            case _:
                pass

    def seen(self) -> Seen:
        """What readers had been shown of what is there: by number its id, its length, whether it had ended well.

        And what must not be there.
        """
        return self.gone, {
            stream.number: (name, stream.length, stream.ended == Ended("stop"))
            for name, stream in list(self.there.items())
            if stream.length and not stream._broken
        }

    def check(self) -> None:
        """Every question is answered as the model answers it."""
        names = [each.id for each in self.store.list("ann", conversation_id="talk", limit=100)]
        assert names == [each.id for each in sorted(self.there.values(), key=lambda each: -each.number)]
        running = self.store.list("ann", state="running", limit=100)
        assert {each.id for each in running} == {name for name, each in self.there.items() if each.ended is None}
        for name, stream in self.there.items():
            assert everything(self.store.open(name, "ann")) == stream.read(0, 10_000)
            right(stream.number, everything(stream))


def right(number: int, events: list[Event]) -> None:
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert texts == [f"{number} {each}" for each in range(len(texts))]
    assert all(isinstance(event, TextDelta) for event in events[: len(texts)])


async def check_copy(path: Path, gone: frozenset[int], seen: Shown) -> None:
    store = JournaledStore(SystemClock(), path, 3600)
    try:
        numbers: list[int] = [each.number for each in store.list("ann", limit=100)]  # type: ignore[attr-defined]
        assert numbers == sorted(numbers, reverse=True)
        assert not gone.intersection(numbers)
        end_interrupted(store.unfinished)
        await store.flush()
        for number, (name, length, whole) in seen.items():
            assert number in numbers
            events = everything(store.open(name, "ann"))
            right(number, events)
            assert len(events) >= length
            assert isinstance(events[-1], Ended)
            assert not whole or (len(events) == length and events[-1] == Ended("stop"))
        assert store.list("ann", state="running") == ()
    finally:
        await store.close()


async def play(plan: Plan, seed: int, *, steps: int = 60, failing: float, copying: float) -> None:
    chance = plan.chance = Random(seed)
    path = plan.path
    store = JournaledStore(SystemClock(), path, 3600, journal_bytes=2000, remembered_bytes=0)
    model = Model(store, chance)
    plan.seen = model.seen
    plan.failing, plan.copying = failing, copying
    for _ in range(steps):
        model.step()
        if chance.random() < 0.5:
            await store.flush()
            if not failing:
                model.gone = frozenset(model.deleted)
        else:
            await turns(chance.randrange(4))
        if chance.random() < 0.1:
            store.sweep()
            model.check()
    await store.flush()
    model.check()
    plan.failing = plan.copying = 0.0
    for stream in model.made:
        if not stream._closed:
            stream.append([Ended("stop")])
    await store.flush()
    seen = {name: list(stream.read(0, 10_000)) for name, stream in model.there.items()}
    for _ in range(3):
        store._journal.compact()
        await store.flush()
    store.sweep()
    model.check()
    assert not any(stream.number in store._ended for stream in model.made)
    assert not store._streams, "what ended is left to the file"
    await store.close()
    again = JournaledStore(SystemClock(), path, 3600)
    assert again.unfinished == []
    assert {each.id: everything(each) for each in again.list("ann", limit=100)} == seen
    await again.close()


@pytest.mark.parametrize("seed", range(40))
async def test_a_store_on_a_file_does_what_a_plain_model_does(plan: Plan, seed: int) -> None:
    await play(plan, seed, failing=0.0, copying=0.0)


@pytest.mark.parametrize("seed", range(40))
async def test_writes_that_fail_at_any_moment_spoil_nothing(plan: Plan, seed: int) -> None:
    await play(plan, seed, failing=0.2, copying=0.0)


@pytest.mark.parametrize("seed", range(12))
async def test_what_was_shown_is_there_after_a_kill_between_any_two_writes(plan: Plan, seed: int) -> None:
    await play(plan, seed, failing=0.05 * (seed % 2), copying=0.2)
    copies, plan.copies = plan.copies, []
    for path, (gone, seen) in copies:
        await check_copy(path, gone, seen)
