"""Streams on a file: nothing is shown before it is kept, and what was kept is there after the process is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.errors import SettingsError, StoreInUse, UnknownStream
from headrace.events import Ended, Event, Started, TextDelta
from headrace.interfaces import Stream
from headrace.requests import GenerationRequest, Message
from headrace.streams.journaled import JournaledStore
from headrace.testing.generations import GENERATIONS
from headrace.testing.waiting import turns, until

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest("fast", (Message("user", "Bread?"),), conversation_id="talk")

OpenStore = Callable[..., Awaitable[JournaledStore]]


def words(start: int, count: int) -> list[Event]:
    return [TextDelta(f"word {number} ") for number in range(start, start + count)]


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Opens a store on `headrace.db` of the test's folder, or on another file; closes what is still open."""
    opened: list[JournaledStore] = []

    async def open_at(path: Path | None = None, *, retention_seconds: float = 3600, **choices: Any) -> JournaledStore:
        store = JournaledStore(SystemClock(), path or tmp_path / "headrace.db", retention_seconds, **choices)
        opened.append(store)
        return store

    yield open_at
    for store in opened:
        if store not in closed:
            await store.close()
    closed.clear()


closed: list[JournaledStore] = []


async def close(store: JournaledStore) -> None:
    """Closes a store before the end of its test."""
    closed.append(store)
    await store.close()


def crashed_copy(tmp_path: Path) -> Path:
    """The file as a process that is killed now would leave it."""
    copy = tmp_path / "copy"
    copy.mkdir(exist_ok=True)
    for name in ("headrace.db", "headrace.db-wal"):
        if (tmp_path / name).exists():
            shutil.copy(tmp_path / name, copy / name)
    return copy / "headrace.db"


async def test_nothing_is_shown_before_it_is_written_down(open_store: OpenStore) -> None:
    store = await open_store()
    stream = store.create("s", "ann", REQUEST)
    stream.append(words(0, 3))
    assert (stream.length, stream.read(0), len(stream.appended())) == (0, [], 3)
    await until(lambda: stream.length == 3)


async def test_whatever_a_reader_has_seen_survives_a_crash_at_that_moment(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = await open_store()
    stream = store.create("s", "ann", REQUEST)
    seen: list[tuple[int, list[Event]]] = []

    def wake() -> None:
        # In the reader's own wake-up: nothing can have been written between.
        copy = crashed_copy(tmp_path)
        connection = sqlite3.connect(copy)
        count = sum(1 for _ in connection.execute("SELECT sequence FROM journal"))
        connection.close()
        seen.append((count, list(stream.read(0))))

    stream.attach(wake)
    for start in range(0, 9, 3):
        stream.append(words(start, 3))
        await until(lambda start=start: stream.length == start + 3)  # type: ignore[misc]
    stream.detach(wake)
    assert [len(events) for _, events in seen] == [3, 6, 9]
    again = await open_store(crashed_copy(tmp_path))
    assert list(again.open("s", "ann").read(0)) == words(0, 9)


@pytest.mark.parametrize("journal_bytes", [1, 400, 1 << 20])
async def test_what_was_going_on_is_there_after_a_restart(
    open_store: OpenStore, tmp_path: Path, journal_bytes: int
) -> None:
    store = await open_store(journal_bytes=journal_bytes, remembered_bytes=0)
    for name, events in GENERATIONS.items():
        stream = store.create(name, "ann", REQUEST)
        for start in range(0, len(events), 2):
            stream.append(events[start : start + 2])
            await turns(1)
    going_on = store.create("going on", "bob", REQUEST)
    going_on.append([Started("going on", "fast", 1), *words(0, 700)])
    await store.flush()
    again = await open_store(crashed_copy(tmp_path), journal_bytes=journal_bytes, remembered_bytes=0)
    assert [stream.id for stream in again.unfinished] == ["going on"]
    assert list(again.unfinished[0].appended()) == [Started("going on", "fast", 1), *words(0, 700)]
    for name, events in GENERATIONS.items():
        found = again.open(name, "ann")
        assert everything(found) == list(events)
        assert found.ended == events[-1]
        assert len(all_times(found)) == len(events)
        assert all_times(found) == sorted(all_times(found))
    again.unfinished[0].append([Ended("interrupted")])
    await close(again)
    third = await open_store(tmp_path / "copy" / "headrace.db")
    assert third.unfinished == []
    assert everything(third.open("going on", "bob"))[-1] == Ended("interrupted")


def everything(stream: Stream) -> list[Event]:
    events: list[Event] = []
    while piece := stream.read(len(events)):
        events.extend(piece)
    return events


def all_times(stream: Stream) -> list[int]:
    times: list[int] = []
    while piece := stream.times(len(times)):
        times.extend(piece)
    return times


async def test_a_stream_of_the_file_is_read_in_pieces_at_every_offset(open_store: OpenStore) -> None:
    store = await open_store(remembered_bytes=0)
    said = [Started("s", "fast", 1), *words(0, 1500), Ended("stop")]
    store.create("s", "ann", REQUEST).append(said)
    await close(store)
    again = await open_store()
    stream = again.open("s", "ann")
    assert stream.length == len(said)
    for offset in range(len(said) + 2):
        piece = list(stream.read(offset, 7))
        assert piece == said[offset : offset + len(piece)]
        assert bool(piece) == (offset < len(said))
    assert stream.request.conversation_id == "talk"
    assert [each.id for each in again.list("ann", conversation_id="talk")] == ["s"]


async def in_the_file(store: JournaledStore, name: str, count: int) -> Stream:
    """A stream that has ended, so many words long, and is read from the file alone."""
    stream = store.create(name, "ann", REQUEST)
    for start in range(0, count, 100):
        stream.append(words(start, 100))
    stream.append([Ended("stop")])
    await store.flush()
    store._journal.compact()
    await store.flush()
    store.sweep()
    found = store.open(name, "ann")
    assert found is not stream
    return found


async def test_a_reader_of_the_file_reads_a_deleted_stream_to_its_end(open_store: OpenStore) -> None:
    store = await open_store(remembered_bytes=0)
    stream = await in_the_file(store, "s", 2000)
    following = stream.follow()
    first, events = await anext(following)
    found = list(events)
    store.delete("s", "ann")
    await store.flush()
    assert store._reading.numbered(1) is None
    async for first, events in following:
        assert first == len(found)
        found += events
    assert found == [*words(0, 2000), Ended("stop")]
    assert len(all_times(stream)) == 2001


async def test_a_stream_that_was_deleted_unread_is_unknown(open_store: OpenStore) -> None:
    store = await open_store(remembered_bytes=0)
    stream = await in_the_file(store, "s", 2000)
    store.delete("s", "ann")
    await store.flush()
    with pytest.raises(UnknownStream):
        stream.read(1000)


async def test_closing_twice_is_closing_once(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store()
    store.create("s", "ann", REQUEST).append([*words(0, 3), Ended("stop")])
    await asyncio.gather(store.close(), store.close())
    await close(store)
    again = await open_store()
    assert again.open("s", "ann").length == 4


async def test_what_was_deleted_does_not_come_back(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store(journal_bytes=1)
    for name in ("kept", "gone", "gone at once"):
        store.create(name, "ann", REQUEST).append([Started(name, "fast", 1), Ended("stop")])
    await store.flush()
    store.delete("gone", "ann")
    store.create("late", "ann", REQUEST).append([Started("late", "fast", 1)])
    store.delete("late", "ann")
    await store.flush()
    again = await open_store(crashed_copy(tmp_path))
    assert sorted(stream.id for stream in again.list("ann")) == ["gone at once", "kept"]
    assert again.unfinished == []


async def test_an_old_stream_is_forgotten_on_the_file_too(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store()
    store.create("s", "ann", REQUEST).append([Started("s", "fast", 1), Ended("stop")])
    await close(store)
    again = await open_store(retention_seconds=0)
    again.sweep()
    assert again.list("ann") == []
    await close(again)
    connection = sqlite3.connect(tmp_path / "headrace.db")
    left = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("streams", "chunks")]
    connection.close()
    assert left == [0, 0]


async def test_the_oldest_go_where_the_file_grows_too_large(open_store: OpenStore) -> None:
    store = await open_store(journal_bytes=1, remembered_bytes=0, retained_bytes=2 << 20)
    for number in range(60):
        said: list[Event] = [Started("s", "fast", 1), TextDelta("x" * 100_000), TextDelta("."), Ended("stop")]
        store.create(f"{number:03}", "ann", REQUEST).append(said)
        await store.flush()
        store.sweep()
    await store.flush()
    left = [stream.id for stream in store.list("ann")]
    assert 8 <= len(left) < 30
    assert left == [f"{number:03}" for number in range(59, 59 - len(left), -1)]


async def test_a_second_process_is_kept_out(open_store: OpenStore, tmp_path: Path) -> None:
    await open_store()
    program = (
        "import asyncio, sys, pathlib\n"
        "from headrace.clock import SystemClock\n"
        "from headrace.errors import StoreInUse\n"
        "from headrace.streams.journaled import JournaledStore\n"
        "async def main():\n"
        "    JournaledStore(SystemClock(), pathlib.Path(sys.argv[1]), 1)\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except StoreInUse as error:\n"
        "    print(error.holder)\n"
    )
    asked = subprocess.run(  # noqa: ASYNC221 - nothing else is to happen meanwhile
        [sys.executable, "-c", program, str(tmp_path / "headrace.db")], capture_output=True, text=True, timeout=30
    )
    assert asked.stdout.strip() == str(os.getpid()), asked.stderr


async def test_a_file_under_a_second_name_is_the_same_file(open_store: OpenStore, tmp_path: Path) -> None:
    await open_store()
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(tmp_path / "headrace.db")
    with pytest.raises(StoreInUse):
        await open_store(link)


async def test_a_file_of_something_else_is_left_alone(open_store: OpenStore, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(SettingsError, match="something else"):
        await open_store(other)
    text = tmp_path / "text"
    text.write_text("not a database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(SettingsError, match="cannot be kept"):
        await open_store(text)
    connection = sqlite3.connect(tmp_path / "newer.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SettingsError, match="newer headrace"):
        await open_store(tmp_path / "newer.db")


async def test_a_damaged_file_is_refused_by_name(open_store: OpenStore, tmp_path: Path) -> None:
    await close(await open_store())
    connection = sqlite3.connect(tmp_path / "headrace.db")
    connection.execute("INSERT INTO journal VALUES (1, x'00')")
    connection.commit()
    connection.close()
    with pytest.raises(SettingsError, match=r"headrace\.db is damaged.*HEADRACE_STORE_PATH"):
        await open_store()


async def test_a_store_refused_can_be_opened_once_it_is_free(open_store: OpenStore) -> None:
    store = await open_store()
    with pytest.raises(StoreInUse):
        await open_store()
    await close(store)
    await open_store()


async def test_nobody_else_on_the_machine_can_read_the_file(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store(tmp_path / "new" / "headrace.db")
    store.create("s", "ann", REQUEST).append(words(0, 3))
    await store.flush()
    for path in (tmp_path / "new").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


FULL_DISK = """
import asyncio, pathlib, resource, signal, sys
from headrace.clock import SystemClock
from headrace.events import Started, TextDelta, Ended
from headrace.requests import GenerationRequest, Message
from headrace.streams.journaled import JournaledStore

REQUEST = GenerationRequest("fast", (Message("user", "Bread?"),))

async def main():
    # A file that may not grow: the write fails as on a full disk, and SQLite gives the same error.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = JournaledStore(SystemClock(), pathlib.Path(sys.argv[1]), 3600)
    told = []
    store.tell_failures(lambda stream: told.append(stream.id))
    streams = [store.create(str(number), "ann", REQUEST) for number in range(5)]
    for stream in streams:
        stream.append([Started(stream.id, "fast", 1)])
    await store.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    shown = {}
    for turn in range(200):
        for stream in streams:
            stream.append([TextDelta(f"{turn} " + "x" * 2000)])
        await store.flush()
        if streams[0].ended:
            break
    assert all(stream.ended and stream.ended.failure.code == "store_failed" for stream in streams), streams[0].ended
    assert sorted(told) == ["0", "1", "2", "3", "4"], told
    assert store.failure
    for stream in streams:
        shown[stream.id] = stream.length - 1
    # There is room again: new streams are kept.
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    late = store.create("late", "ann", REQUEST)
    late.append([Started("late", "fast", 1), Ended("stop")])
    await store.flush()
    assert late.ended == Ended("stop") and store.failure is None
    print(shown["0"], flush=True)
    if sys.argv[2] == "crash":
        import os
        os._exit(0)
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["crash", "close"])
async def test_a_full_disk_ends_streams_with_a_clear_error_and_spoils_nothing(
    open_store: OpenStore, tmp_path: Path, way: str
) -> None:
    path = tmp_path / "headrace.db"
    done = subprocess.run(  # noqa: ASYNC221 - as above
        [sys.executable, "-c", FULL_DISK, str(path), way], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    shown = int(done.stdout)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    again = await open_store()
    assert again.open("late", "ann").ended == Ended("stop")
    for number in range(5):
        events = everything(again.open(str(number), "ann"))
        texts = [event.text for event in events if isinstance(event, TextDelta)]
        assert texts[: shown - 1] == [f"{turn} " + "x" * 2000 for turn in range(shown - 1)]
        if way == "close":
            assert isinstance(events[-1], Ended)


async def test_ten_thousand_streams_are_no_reason_to_wait_at_a_start(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store(journal_bytes=1 << 18)
    for number in range(10_000):
        stream = store.create(str(number), "ann", REQUEST)
        stream.append([Started(str(number), "fast", 1), *words(0, 3)])
        if number % 100:
            stream.append([Ended("stop")])
        if number % 500 == 0:
            await asyncio.sleep(0)
    await store.flush()
    copy = crashed_copy(tmp_path)
    loop = asyncio.get_running_loop()
    before = loop.time()
    again = await open_store(copy)
    took = loop.time() - before
    assert len(again.unfinished) == 100
    assert took < 2, f"{took:.2f} s"
