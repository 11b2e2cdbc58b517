"""Byte logs in memory: what is written is read, in order and once; forks share; lives end; limits hold."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from headrace.errors import (
    BodyTooLarge,
    InvalidRequest,
    Overloaded,
    StoreError,
    StreamConflict,
    StreamGone,
    UnknownStream,
)
from headrace.streams.byte_log import LOG_OVERHEAD_BYTES, PIECE_OVERHEAD_BYTES, Appending, ByteLog, Origin, Verdict
from headrace.streams.byte_log_file import ByteLogFile
from headrace.streams.byte_logs import MOST_PRODUCERS, ByteLogs, Creating
from headrace.testing.clock import ManualClock
from headrace.wire.durable import Lifetime, Producer

pytestmark = pytest.mark.anyio

ME = "me"
JSON = "application/json"


def opened(
    *, log_limit_bytes: int = 1 << 20, limit_bytes: int = 1 << 21, most: int = 100, file: ByteLogFile | None = None
) -> ByteLogs:
    """A store, which is empty unless it has a file."""
    return ByteLogs(ManualClock(), log_limit_bytes=log_limit_bytes, limit_bytes=limit_bytes, most=most, file=file)


def clock_of(logs: ByteLogs) -> ManualClock:
    clock = logs._clock
    assert isinstance(clock, ManualClock)
    return clock


def asked(
    content_type: str | None = "text/plain", *, ttl: int | None = None, until: str | None = None, closed: bool = False,
    fork: Origin | None = None,
) -> Creating:  # fmt: skip
    return Creating(content_type, Lifetime(ttl, until), closed, fork)


async def made(logs: ByteLogs, path: str, *pieces: bytes, wanted: Creating | None = None) -> ByteLog:
    log, new = await logs.create(ME, path, wanted or asked(), list(pieces))
    assert new
    return log


def whole(log: ByteLog, limit_bytes: int = 7) -> bytes:
    """All of a log, read in small pieces."""
    pieces: list[bytes] = []
    position = 0
    while True:
        found, after = log.read(position, limit_bytes)
        if not found:
            assert position == after == log.length
            return (b"," if log.kind == "json" else b"").join(pieces)
        assert position < after
        pieces += found
        position = after


async def test_what_is_appended_is_read_from_any_position() -> None:
    logs = opened()
    log = await made(logs, "a", b"first")
    for piece in (b"second", b"", b"3"):
        assert await logs.append(log, Appending([piece] if piece else [], False)) == "append"
    for position in range(log.length + 1):
        assert b"".join(log.read(position, 100)[0]) == b"firstsecond3"[position:]
    assert whole(log) == b"firstsecond3"


async def test_in_json_mode_messages_are_whole_and_begin_where_others_end() -> None:
    logs = opened()
    log = await made(logs, "a", b"1", b'"twenty"', b"[3]", wanted=asked(JSON))
    starts = [position for position in range(log.length + 1) if log.begins_at(position)]
    assert starts == [0, 2, 11, 15]
    assert log.read(0, 1) == ([b"1"], 2)
    assert log.read(2, 1) == ([b'"twenty"'], 11)
    assert whole(log) == b'1,"twenty",[3]'


async def test_readers_are_woken_by_an_append_a_close_and_a_deletion() -> None:
    logs = opened()
    log = await made(logs, "a")
    woken: list[tuple[int, bool, bool]] = []
    log.attach(lambda: woken.append((log.length, log.closed, log.deleted)))
    await logs.append(log, Appending([b"abc"]))
    await logs.append(log, Appending([], True))
    await logs.delete(ME, "a")
    assert woken == [(3, False, False), (3, True, False), (3, True, True)]


async def test_a_log_of_another_owner_is_as_one_that_is_not_there() -> None:
    logs = opened()
    await made(logs, "a", b"secret")
    with pytest.raises(UnknownStream) as unknown:
        logs.open("you", "a")
    with pytest.raises(UnknownStream) as missing:
        opened().open("you", "a")
    assert unknown.value.message == missing.value.message
    with pytest.raises(UnknownStream):
        await logs.delete("you", "a")
    with pytest.raises(UnknownStream):
        await logs.create("you", "b", asked(fork=Origin("a", None, 0)), [])
    assert (await logs.create("you", "a", asked(), []))[1]


# -- producers


P = Producer


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ([], P("p", 0, 0), "append"),
        ([], P("p", 7, 0), "append"),
        ([], P("p", 0, 1), "gap"),
        ([P("p", 0, 0)], P("p", 0, 1), "append"),
        ([P("p", 0, 0)], P("p", 0, 0), "duplicate"),
        ([P("p", 0, 0), P("p", 0, 1)], P("p", 0, 0), "duplicate"),
        ([P("p", 0, 0)], P("p", 0, 2), "gap"),
        ([P("p", 1, 0)], P("p", 0, 1), "fenced"),
        ([P("p", 0, 0)], P("p", 1, 0), "append"),
        ([P("p", 0, 0)], P("p", 1, 1), "epoch_begins_late"),
        ([P("p", 0, 0)], P("q", 0, 0), "append"),
        ([P("p", 0, 0)], P("q", 0, 1), "gap"),
    ],
)
async def test_what_a_producer_sends_is_appended_once_and_in_order(
    before: list[Producer], now: Producer, verdict: Verdict
) -> None:
    logs = opened()
    log = await made(logs, "a")
    for producer in before:
        assert await logs.append(log, Appending([b"x"], False, producer)) == "append"
    assert await logs.append(log, Appending([b"y"], False, now)) == verdict
    assert whole(log) == b"x" * len(before) + (b"y" if verdict == "append" else b"")


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (Appending([b"y"]), "closed"),
        (Appending([b"y"], True), "closed"),
        (Appending([], True), "duplicate"),
        (Appending([b"z"], True, P("p", 1, 1)), "duplicate"),  # the closing one again, whatever it says now
        (Appending([b"z"], False, P("p", 1, 0)), "duplicate"),  # one that was taken before the end
        (Appending([b"z"], True, P("p", 1, 0)), "closed"),
        (Appending([b"z"], True, P("p", 1, 2)), "closed"),
        (Appending([b"z"], True, P("q", 1, 1)), "closed"),
        (Appending([b"z"], True, P("p", 0, 9)), "fenced"),
    ],
)
async def test_nothing_follows_the_end(now: Appending, verdict: Verdict) -> None:
    logs = opened()
    log = await made(logs, "a")
    await logs.append(log, Appending([b"1"], False, P("p", 1, 0)))
    await logs.append(log, Appending([b"2"], True, P("p", 1, 1)))
    assert await logs.append(log, now) == verdict
    assert whole(log) == b"12"


async def test_the_order_of_a_writer_must_rise_as_text_does() -> None:
    logs = opened()
    log = await made(logs, "a")
    orders = ["09", "10", "2", "10", "2", "3"]
    verdicts = [await logs.append(log, Appending([b"x"], False, None, order)) for order in orders]
    assert verdicts == ["append", "append", "append", "out_of_order", "out_of_order", "append"]


async def test_producers_are_remembered_up_to_a_number() -> None:
    logs = opened()
    log = await made(logs, "a")
    for number in range(MOST_PRODUCERS):
        await logs.append(log, Appending([b"x"], False, P(f"p{number}", 0, 0)))
    with pytest.raises(StreamConflict):
        await logs.append(log, Appending([b"x"], False, P("one more", 0, 0)))
    assert await logs.append(log, Appending([b"x"], False, P("p7", 0, 1))) == "append"


# -- forks


async def test_a_fork_has_its_beginning_from_its_source_and_goes_its_own_way() -> None:
    logs = opened()
    source = await made(logs, "a", b"one", b"two")
    fork = await made(logs, "b", b"!", wanted=asked(None, fork=Origin("a", 3, 1)))
    await logs.append(source, Appending([b"three"]))
    await logs.append(fork, Appending([b"?"]))
    assert (whole(source), whole(fork)) == (b"onetwothree", b"onet!?")
    assert fork.size_bytes < LOG_OVERHEAD_BYTES + 2 * (PIECE_OVERHEAD_BYTES + 2), "the shared part is not copied"


@pytest.mark.parametrize("content_type", ["text/plain", JSON])
async def test_chains_of_forks_read_as_their_contents_put_together(content_type: str) -> None:
    chance = random.Random(7)
    logs = opened()
    logs_made: list[tuple[ByteLog, list[bytes]]] = [(await made(logs, "0", wanted=asked(content_type)), [])]
    for number in range(1, 60):
        log, content = chance.choice(logs_made)
        if chance.random() < 0.6:
            pieces = [b"%d" % chance.randrange(10**6) for _ in range(chance.randrange(1, 4))]
            await logs.append(log, Appending(pieces))
            content.extend(pieces)
        else:
            kept = chance.randrange(len(content) + 1)
            comma = content_type == JSON
            position = sum(len(piece) + comma for piece in content[:kept])
            further = chance.randrange(len(content) - kept + 1) if comma else 0
            origin = Origin(log.path, position, further)
            fork = await made(logs, str(number), wanted=asked(None, fork=origin))
            logs_made.append((fork, content[: kept + further]))
    for log, content in logs_made:
        for limit in (1, 5, 1000):
            assert whole(log, limit) == (b"," if content_type == JSON else b"").join(content)


async def test_a_source_is_kept_for_its_forks_and_goes_with_the_last() -> None:
    logs = opened()
    await made(logs, "a", b"A")
    await made(logs, "b", b"B", wanted=asked(fork=Origin("a", None, 0)))
    leaf = await made(logs, "c", b"C", wanted=asked(fork=Origin("b", None, 0)))
    for path in ("a", "b"):
        await logs.delete(ME, path)
        with pytest.raises(StreamGone):
            logs.open(ME, path)
        with pytest.raises(StreamGone):
            await logs.delete(ME, path)
        with pytest.raises(StreamConflict):
            await logs.create(ME, path, asked(), [])
        with pytest.raises(StreamConflict):
            await logs.create(ME, "d", asked(fork=Origin(path, None, 0)), [])
    assert whole(leaf) == b"ABC"
    await logs.delete(ME, "c")
    assert len(logs) == 0
    assert logs._used_bytes == 0


async def test_a_fork_that_is_refused_holds_nothing() -> None:
    logs = opened()
    await made(logs, "a", b"text")
    with pytest.raises(StreamConflict):
        await logs.create(ME, "b", asked(JSON, fork=Origin("a", None, 0)), [])
    for origin in (Origin("a", 5, 0), Origin("a", 4, 1), Origin("a", 10**31, 0)):
        with pytest.raises(InvalidRequest):
            await logs.create(ME, "b", asked(fork=origin), [])
    await logs.delete(ME, "a")
    with pytest.raises(UnknownStream):
        logs.open(ME, "a")


async def test_a_chain_of_a_thousand_forks_is_read_and_taken_apart() -> None:
    logs = opened(most=2000, limit_bytes=1 << 23)
    await made(logs, "0", b"x")
    for number in range(1, 1000):
        await made(logs, str(number), b"x", wanted=asked(fork=Origin(str(number - 1), None, 0)))
    assert whole(logs.open(ME, "999"), 1 << 16) == b"x" * 1000
    for number in range(1000):
        await logs.delete(ME, str(number))
    assert len(logs) == 0


# -- lives


async def test_a_log_that_nobody_uses_lives_its_seconds() -> None:
    logs = opened()
    log = await made(logs, "a", wanted=asked(ttl=10))
    clock_of(logs).advance(9)
    logs.use(log)
    clock_of(logs).advance(9)
    assert logs.open(ME, "a") is log
    clock_of(logs).advance(1)
    with pytest.raises(UnknownStream):
        logs.open(ME, "a")
    assert (await logs.create(ME, "a", asked(JSON), []))[1], "the path is free again"


async def test_a_log_that_is_followed_is_not_idle() -> None:
    logs = opened()
    log = await made(logs, "a", wanted=asked(ttl=10))
    log.attach(print)
    clock_of(logs).advance(60)
    assert logs.open(ME, "a") is log
    log.detach(print)
    with pytest.raises(UnknownStream):
        logs.open(ME, "a")


async def test_the_sweep_forgets_what_has_lived_and_tells_its_readers() -> None:
    logs = opened()
    log = await made(logs, "a", b"x", wanted=asked(until="2023-11-14T22:13:21Z"))  # 1,700,000,001 s, a second on
    await made(logs, "b")
    await made(logs, "c", wanted=asked(ttl=1))
    woken: list[bool] = []
    log.attach(lambda: woken.append(log.deleted))
    logs.sweep()
    clock_of(logs).advance(1)
    logs.sweep()
    await logs.close()
    assert (len(logs), woken) == (1, [True])


async def test_an_instant_is_not_moved_by_use() -> None:
    logs = opened()
    unix_seconds = clock_of(logs).unix_ns() // 10**9
    assert unix_seconds < 2_000_000_000
    log = await made(logs, "a", wanted=asked(until="2033-05-18T03:33:20Z"))  # 2,000,000,000 s
    clock_of(logs).advance(2_000_000_000 - unix_seconds - 1)
    logs.use(logs.open(ME, "a"))
    assert log.lifetime.expires_at == "2033-05-18T03:33:20Z"
    clock_of(logs).advance(2)
    with pytest.raises(UnknownStream):
        logs.open(ME, "a")


async def test_a_writer_whose_log_was_deleted_under_its_hands_is_told() -> None:
    logs = opened()
    log = await made(logs, "a")
    await logs.delete(ME, "a")
    await made(logs, "a", b"new")
    with pytest.raises(UnknownStream):
        await logs.append(log, Appending([b"old"]))
    assert whole(logs.open(ME, "a")) == b"new"


# -- asking for what is there


@pytest.mark.parametrize(
    ("again", "same"),
    [
        (asked(), True),
        (asked("TEXT/plain; charset=utf-8"), True),
        (asked(JSON), False),
        (asked(None), False),
        (asked(ttl=1), False),
        (asked(closed=True), False),
        (asked(fork=Origin("b", None, 0)), False),
    ],
)
async def test_a_log_is_created_once_and_confirmed_where_it_is_as_asked_for(again: Creating, same: bool) -> None:
    logs = opened()
    log = await made(logs, "a", b"x")
    if same:
        assert await logs.create(ME, "a", again, [b"y"]) == (log, False)
    else:
        with pytest.raises(StreamConflict):
            await logs.create(ME, "a", again, [b"y"])
    assert whole(log) == b"x"


# -- limits


async def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    piece = b"x" * 1000
    logs = opened(log_limit_bytes=LOG_OVERHEAD_BYTES + 2500, limit_bytes=2 * LOG_OVERHEAD_BYTES + 3500, most=2)
    log = await made(logs, "a", piece, piece)
    with pytest.raises(BodyTooLarge):
        await logs.append(log, Appending([piece]))
    other = await made(logs, "b", piece)
    with pytest.raises(Overloaded):
        await logs.append(other, Appending([piece]))
    with pytest.raises(Overloaded):
        await logs.create(ME, "c", asked(), [])
    assert (whole(log), whole(other)) == (2 * piece, piece)
    await logs.delete(ME, "a")
    assert await logs.append(other, Appending([piece])) == "append", "what was deleted makes room"
    await logs.delete(ME, "b")
    assert logs._used_bytes == 0


async def test_a_log_that_is_full_can_be_closed() -> None:
    logs = opened(log_limit_bytes=LOG_OVERHEAD_BYTES + 60)
    log = await made(logs, "a", b"x" * 10)
    with pytest.raises(BodyTooLarge):
        await logs.append(log, Appending([b"x" * 10]))
    assert await logs.append(log, Appending([], True)) == "append"


async def test_a_change_that_cannot_be_kept_is_not_done(tmp_path: Path) -> None:
    logs = opened(file=ByteLogFile(tmp_path / "logs.db", "process"))
    log = await made(logs, "a", b"kept")
    fork = await made(logs, "b", wanted=asked(fork=Origin("a", None, 0)))
    used = logs._used_bytes
    with sqlite3.connect(tmp_path / "logs.db") as other:
        other.execute("DROP TABLE pieces")
    for change in (
        logs.append(log, Appending([b"lost"], True, P("p", 0, 0), "1")),
        logs.create(ME, "c", asked(), [b"lost"]),
        logs.delete(ME, "b"),
    ):
        with pytest.raises(StoreError):
            await change
    assert (whole(log), log.closed, log.order, log.producers) == (b"kept", False, None, {})
    assert not fork.deleted
    assert (len(logs), logs._used_bytes, log.forks) == (2, used, 1)
    other.close()
    await logs.close()
