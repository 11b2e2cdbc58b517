"""SQLite's log is copied into the file beside the writing, by the rule that keeps older SQLites from spoiling it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.events import Ended, TextDelta
from headrace.requests import GenerationRequest
from headrace.streams import checkpoints
from headrace.streams.database import Database
from headrace.streams.journaled import JournaledStore
from headrace.testing.waiting import turns, until

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest("fast", ())
WRITES = ("write_group", "write_streams", "delete_streams", "drop_groups")


@pytest.fixture
def at_every_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", 1)


def opened(path: Path, **choices: Any) -> JournaledStore:
    return JournaledStore(SystemClock(), path / "headrace.db", 3600, **choices)


async def test_readers_are_shown_what_is_written_while_a_checkpoint_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_every_write: None
) -> None:
    whole = Database.checkpoint
    begun, let = threading.Event(), threading.Event()

    def slow(database: Database) -> int:
        begun.set()
        assert let.wait(10)
        return whole(database)

    monkeypatch.setattr(Database, "checkpoint", slow)
    store = opened(tmp_path)
    stream = store.create("s", "ann", REQUEST)
    await until(begun.is_set)
    for number in range(5):
        stream.append([TextDelta(str(number))])
        await until(lambda number=number: stream.length == number + 1)  # type: ignore[misc]
    let.set()
    await store.close()


async def test_a_checkpoint_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_every_write: None
) -> None:
    whole = Database.checkpoint
    results: list[bool] = []

    def failing(database: Database) -> int:
        results.append(len(results) > 1)
        if not results[-1]:
            raise sqlite3.OperationalError("disk I/O error")
        return whole(database)

    monkeypatch.setattr(Database, "checkpoint", failing)
    store = opened(tmp_path)
    stream = store.create("s", "ann", REQUEST)
    while len(results) < 3:
        stream.append([TextDelta("word")])
        await turns(3)
    await store.flush()
    assert store.failure is None
    assert stream.length == len(stream.appended())
    await store.close()


class Watch:
    """Writes down in one list when each write, and each checkpoint, begins and ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.copied_by_writer = 0
        self._lock = threading.Lock()
        for name in WRITES:
            monkeypatch.setattr(Database, name, self._watched(getattr(Database, name)))
        monkeypatch.setattr(Database, "checkpoint", self._watched_checkpoint(Database.checkpoint))

    def _tell(self, word: str) -> None:
        with self._lock:
            self.told.append(word)

    def _watched(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def performed(*arguments: Any) -> Any:
            self._tell("write")
            result = write(*arguments)
            self._tell("written")
            return result

        return performed

    def _watched_checkpoint(self, checkpoint: Callable[[Database], int]) -> Callable[[Database], int]:
        def performed(database: Database) -> int:
            if threading.current_thread().name != "headrace checkpoints":
                self._tell("copy")
                self.copied_by_writer += 1
                size_bytes = checkpoint(database)
                self._tell("copied")
            else:
                self._tell("checkpoint")
                size_bytes = checkpoint(database)
                self._tell("checkpointed")
            return size_bytes

        return performed


async def write_for_a_while(store: JournaledStore) -> None:
    """Streams that begin, go on, end and are deleted."""
    for number in range(150):
        stream = store.create(str(number), "ann", REQUEST)
        for _ in range(6):
            stream.append([TextDelta("x" * 1000)] * 3)
            await store.flush()
        stream.append([Ended("stop")])
        if number % 5 == 4:
            store.delete(str(number - 3), "ann")
    await store.flush()


async def test_no_checkpoint_begins_on_a_log_that_may_begin_anew_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_every_write: None
) -> None:
    # Of the log something has to be left to copy: a write that began after the last copying had ended.
    monkeypatch.setattr(checkpoints, "MOST_LOG_BYTES", 200_000)
    watch = Watch(monkeypatch)
    store = opened(tmp_path, journal_bytes=20_000)
    await write_for_a_while(store)
    await store.close()
    begun = 0
    fresh, under_way, of_write = False, False, False
    for word in watch.told:
        match word:
            case "write":
                of_write = not under_way
            case "written":
                fresh = fresh or of_write
            case "checkpoint":
                assert fresh
                begun += 1
                fresh, under_way, of_write = False, True, False
            case "checkpointed":
                under_way = fresh = False
            case "copy":
                assert not under_way
            case _:
                fresh = False
    assert begun > 10
    assert watch.copied_by_writer > 3


async def test_the_log_begins_anew_though_every_checkpoint_is_overtaken_by_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", 50_000)
    monkeypatch.setattr(checkpoints, "MOST_LOG_BYTES", 200_000)
    whole, write_group = Database.checkpoint, Database.write_group
    copied, written, over = threading.Event(), threading.Event(), threading.Event()

    def overtaken(database: Database) -> int:
        beside = threading.current_thread().name == "headrace checkpoints"
        written.clear()
        size_bytes = whole(database)
        if beside and not over.is_set():
            copied.set()
            assert written.wait(10)
            copied.clear()
        return size_bytes

    def overtaking(database: Database, sequence: int, entries: bytes) -> None:
        write_group(database, sequence, entries)
        written.set()

    monkeypatch.setattr(Database, "checkpoint", overtaken)
    monkeypatch.setattr(Database, "write_group", overtaking)
    store = opened(tmp_path)
    kept = store._journal._checkpoints
    stream = store.create("s", "ann", REQUEST)
    for _ in range(300):
        stream.append([TextDelta("x" * 10_000)])
        await store.flush()
        await until(lambda: copied.is_set() or not kept._busy)
    assert kept._writing.written_bytes > 3_000_000
    assert (tmp_path / "headrace.db-wal").stat().st_size < 1_000_000
    over.set()
    written.set()
    await store.close()
