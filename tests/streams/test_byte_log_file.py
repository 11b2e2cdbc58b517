"""Byte logs that outlive their process: what was acknowledged is there again, with all that belongs to it."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from tests.streams.test_byte_logs import JSON, ME, asked, made, opened, whole

from headrace.errors import SettingsError, StoreError, StreamGone
from headrace.streams.byte_log import Appending, ByteLog, Origin
from headrace.streams.byte_log_file import ByteLogFile
from headrace.streams.byte_logs import ByteLogs
from headrace.wire.durable import Producer

pytestmark = pytest.mark.anyio


def kept_in(folder: Path) -> ByteLogs:
    return opened(file=ByteLogFile(folder / "logs.db", "process"))


def described(log: ByteLog) -> dict[str, object]:
    """All that there is to know of a log."""
    names = (
        "number", "id", "owner", "path", "content_type", "lifetime", "origin", "base", "forks", "closed", "closed_by",
        "deleted", "order", "producers", "size_bytes", "length",
    )  # fmt: skip
    return {name: getattr(log, name) for name in names} | {"content": whole(log)}


async def test_everything_is_there_again(tmp_path: Path) -> None:
    logs = kept_in(tmp_path)
    source = await made(logs, "a/ö", b"one", wanted=asked(ttl=100))
    await logs.append(source, Appending([b"two", b"\x00\xff"], False, Producer("p", 1, 0), "01"))
    fork = await made(logs, "b", b"!", wanted=asked(None, fork=Origin("a/ö", 3, 2)))
    messages = await made(logs, "c", b"1", b"[2]", wanted=asked(JSON, until="2033-05-18T03:33:20Z"))
    await logs.append(messages, Appending([b'"end"'], True, Producer("q", 0, 0)))
    await made(logs, "d", wanted=asked(closed=True))
    await logs.delete(ME, "a/ö")
    before = [described(log) for log in logs._logs.values()]
    await logs.close()

    again = kept_in(tmp_path)
    assert [described(log) for log in again._logs.values()] == before
    assert again._used_bytes == sum(log.size_bytes for log in again._logs.values())
    with pytest.raises(StreamGone):
        again.open(ME, "a/ö")
    assert await again.append(again.open(ME, "c"), Appending([b"x"], True, Producer("q", 0, 0))) == "duplicate"
    assert whole(again.open(ME, "b")) == whole(fork) == b"onetw!"
    await made(again, "e", b"new")
    await again.delete(ME, "b")
    assert sorted(path for _, path in again._logs) == ["c", "d", "e"]
    await again.close()
    with sqlite3.connect(tmp_path / "logs.db") as file:
        assert file.execute("SELECT path FROM logs ORDER BY path").fetchall() == [("c",), ("d",), ("e",)]
        assert file.execute("SELECT count(*) FROM pieces WHERE log NOT IN (SELECT number FROM logs)").fetchone() == (0,)
    file.close()


@pytest.mark.parametrize("seed", range(5))
async def test_a_restart_after_any_changes_changes_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    logs = kept_in(tmp_path)
    for step in range(120):
        living = [log for log in logs._logs.values() if not log.deleted]
        match chance.randrange(8) if living else 0:
            case 0:
                await logs.create(ME, f"n{step}", asked(chance.choice([JSON, "text/plain"])), [b"7"])
            case 1:
                origin = Origin(chance.choice(living).path, None, 0)
                await logs.create(ME, f"f{step}", asked(None, fork=origin), [b"8"])
            case 2:
                await logs.delete(ME, chance.choice(living).path)
            case _:
                pieces = [b"%d" % chance.randrange(10**9) for _ in range(chance.randrange(1, 4))]
                log = chance.choice(living)
                producer = Producer("p", 0, log.expected(Producer("p", 0, 0))) if chance.random() < 0.5 else None
                await logs.append(log, Appending(pieces, chance.random() < 0.05, producer))
        if chance.random() < 0.05:
            await logs.close()
            before = [described(log) for log in logs._logs.values()]
            logs = kept_in(tmp_path)
            assert [described(log) for log in logs._logs.values()] == before
    await logs.close()


async def test_a_full_disk_refuses_and_what_was_kept_stays(tmp_path: Path) -> None:
    logs = kept_in(tmp_path)
    log = await made(logs, "a", b"kept")
    file = logs._file
    assert file is not None
    assert file._connection is not None
    (pages,) = file._connection.execute("PRAGMA page_count").fetchone()
    file._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError):
        await logs.append(log, Appending([b"x" * 100_000], True, Producer("p", 0, 0)))
    assert (whole(log), log.closed) == (b"kept", False)
    file._connection.execute("PRAGMA max_page_count = 100000")
    assert await logs.append(log, Appending([b"x" * 100_000], True, Producer("p", 0, 0))) == "append"
    before = described(log)
    await logs.close()
    again = kept_in(tmp_path)
    assert described(again.open(ME, "a")) == before
    await again.close()


async def test_there_is_no_file_before_there_is_a_log_and_then_it_is_ones_own(tmp_path: Path) -> None:
    logs = kept_in(tmp_path)
    await logs.close()
    assert not os.listdir(tmp_path)
    logs = kept_in(tmp_path)
    await made(logs, "a")
    assert stat.S_IMODE((tmp_path / "logs.db").stat().st_mode) == 0o600
    await logs.close()


async def test_a_file_that_is_not_ours_or_newer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(SettingsError):
        kept_in(tmp_path)
    assert path.read_bytes() == b"no database" * 100
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(SettingsError):
        kept_in(tmp_path)


async def test_ten_thousand_logs_are_read_again_in_two_seconds(tmp_path: Path) -> None:
    file = ByteLogFile(tmp_path / "logs.db", "process")
    logs = opened(file=file, most=10_000, limit_bytes=1 << 30)
    for number in range(100):
        await made(logs, str(number), *[b"x" * 200] * 3)
    await logs.close()
    with sqlite3.connect(tmp_path / "logs.db") as copied:
        # A hundred that were made, a hundred times.
        columns = "id, owner, content_type, base, closed, deleted"
        for hundred in range(1, 100):
            copied.execute(
                f"INSERT INTO logs (number, path, {columns}) SELECT number + ?, path || '-' || ?, {columns}"
                " FROM logs WHERE number <= 100",
                (hundred * 100, hundred),
            )
            copied.execute(
                "INSERT INTO pieces SELECT log + ?, start, content FROM pieces WHERE log <= 100", (hundred * 100,)
            )
    copied.close()
    before = time.monotonic()
    again = opened(file=ByteLogFile(tmp_path / "logs.db", "process"), most=10_000, limit_bytes=1 << 30)
    assert time.monotonic() - before < 2
    assert len(again) == 10_000
    assert whole(again.open(ME, "7-99")) == b"x" * 600
    await again.close()
