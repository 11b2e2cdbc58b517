"""The connection under a WebSocket: frames, pings, deadlines, slow clients, and what is left when it is gone."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from typing import cast

import pytest
from tests.server.bare_sockets import BINARY, CLOSE, PING, PONG, TEXT, BareSocket, bare, frame
from tests.server.conftest import Place, serving, until
from tests.server.reader import chat
from tests.server.talking import CHAT, is_last, said_in, talking

from headrace.server.delivery import Delivery
from headrace.server.socket_connection import (
    MESSAGE_LIMIT_BYTES,
    PONG_SECONDS,
    QUEUE_BYTES,
    SocketConnection,
)
from headrace.server.socket_frames import MESSAGES
from headrace.server.socket_lane import Lane
from headrace.server.socket_session import MOST_LANES, Session
from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

PING_MESSAGE = frame(TEXT, b'{"type":"ping"}')
PONG_MESSAGE = (TEXT, b'{"type":"pong"}')
LONG = "0123456789" * 1000
KIB = 1 << 10


async def say(exchange: Exchange) -> None:
    await answer(exchange, ["Hello", " you"])


async def say_and_hold(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


async def say_much(exchange: Exchange) -> None:
    """Says 20 MB as fast as they are taken."""
    await exchange.head()
    for _ in range(2000):
        await exchange.chunk(text_chunk(LONG))
    await exchange.chunk(finish_chunk())
    await exchange.chunk(DONE)
    await exchange.end()


def only_connection(place: Place) -> SocketConnection:
    (connection,) = place.server.server_state.connections
    assert isinstance(connection, SocketConnection)
    return connection


def look(place: Place, seconds: float) -> None:
    """Looks at the connection's deadlines as if so many seconds had passed."""
    only_connection(place).check_deadlines(asyncio.get_running_loop().time() + seconds)


@pytest.fixture(autouse=True)
async def alone(place: Place) -> None:
    """Each test begins without a connection of the one before."""
    await until(lambda: not place.server.server_state.connections)


# -- frames


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_a_message_may_come_in_any_number_of_frames_with_pings_between_them(place: Place, size: int) -> None:
    message = json.dumps({"type": "ping", "x": "日本語"}, ensure_ascii=False).encode()
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    async with bare(place.port) as socket:
        for number, piece in enumerate(pieces):
            opcode = TEXT if number == 0 else 0
            await socket.send(frame(opcode, piece, fin=number == len(pieces) - 1), frame(PING, b"x"))
        heard = [await socket.next() for _ in range(len(pieces) + 1)]
    assert Counter(heard) == {(PONG, b"x"): len(pieces), PONG_MESSAGE: 1}


async def test_frames_may_come_cut_anywhere(place: Place) -> None:
    async with bare(place.port) as socket:
        for byte in PING_MESSAGE:
            await socket.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await socket.next() == PONG_MESSAGE


async def test_a_binary_message_closes_with_1003(place: Place) -> None:
    async with bare(place.port) as socket:
        await socket.send(frame(BINARY, b"{}"))
        code, reason = await socket.closed()
        assert code == 1003
        assert "text" in reason
    async with bare(place.port) as socket:
        await socket.send(frame(BINARY, b"{", fin=False))
        assert (await socket.closed())[0] == 1003


@pytest.mark.parametrize("cut", [None, 12])
async def test_what_is_not_utf8_closes_with_1007(place: Place, cut: int | None) -> None:
    message = b'{"type": "\xff\xfe"}'
    async with bare(place.port) as socket:
        await socket.send(*([frame(TEXT, message)] if cut is None else halves(message, cut)))
        code, reason = await socket.closed()
        assert code == 1007
        assert "UTF-8" in reason


def halves(message: bytes, cut: int) -> list[bytes]:
    return [frame(TEXT, message[:cut], fin=False), frame(0, message[cut:])]


async def test_a_character_cut_between_two_frames_is_whole(place: Place) -> None:
    message = '{"type":"ping","x":"é"}'.encode()
    async with bare(place.port) as socket:
        await socket.send(*halves(message, message.index(b"\xc3") + 1))
        assert await socket.next() == PONG_MESSAGE


@pytest.mark.parametrize("pieces", [1, 2, 300])
async def test_a_message_of_1_mib_is_taken_and_a_larger_one_closes_with_1009(place: Place, pieces: int) -> None:
    assert MESSAGE_LIMIT_BYTES == 1 << 20
    for size, taken in ((MESSAGE_LIMIT_BYTES, True), (MESSAGE_LIMIT_BYTES + 1, False)):
        message = b'{"type":"ping","x":"%b"}' % (b"x" * (size - 22))
        assert len(message) == size
        step = -(-size // pieces)
        cut = [message[start : start + step] for start in range(0, size, step)]
        async with bare(place.port) as socket:
            # One after the other and no mask, as far as the XOR goes: a million bytes take a while in Python.
            for number, piece in enumerate(cut):
                head = frame(TEXT if number == 0 else 0, piece[:0], fin=number == len(cut) - 1)[:1]
                await socket.send(head, bytes([0xFF]), len(piece).to_bytes(8), bytes(4), piece)
            if taken:
                assert await socket.next() == PONG_MESSAGE
            else:
                code, _ = await socket.closed()
                assert code == 1009


async def test_who_still_sends_what_is_too_large_gets_to_read_why(place: Place) -> None:
    async with bare(place.port) as socket:
        await socket.send(bytes([0x81, 0xFF]), (1 << 40).to_bytes(8), bytes(4))
        for _ in range(64):
            await socket.send(bytes(64 * KIB))
        assert (await socket.closed())[0] == 1009


WRONG_FRAMES = {
    "not masked": frame(TEXT, b"{}", masked=False),
    "reserved bits": frame(TEXT, b"{}", reserved=4),
    "an unknown opcode": frame(3, b"{}"),
    "a long ping": frame(PING, bytes(126)),
    "a ping in pieces": frame(PING, b"x", fin=False),
    "a rest without a beginning": frame(0, b"{}"),
    "a beginning within a message": frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a close of one byte": frame(CLOSE, b"\x03"),
    "a close with a code that is none": frame(CLOSE, (1005).to_bytes(2)),
}


@pytest.mark.parametrize("wrong", WRONG_FRAMES)
async def test_frames_that_break_the_rules_close_with_1002(place: Place, wrong: str) -> None:
    async with bare(place.port) as socket:
        await socket.send(PING_MESSAGE, WRONG_FRAMES[wrong])
        assert await socket.next() == PONG_MESSAGE, "what came before it is answered"
        assert (await socket.closed())[0] == 1002
        await socket.ended()


@pytest.mark.parametrize("payload", [b"", (1000).to_bytes(2), (3999).to_bytes(2) + "bye 🏝️".encode()])
async def test_a_goodbye_is_answered_with_the_same(place: Place, payload: bytes) -> None:
    async with bare(place.port) as socket:
        await socket.send(frame(CLOSE, payload))
        assert await socket.next() == (CLOSE, payload)
        await socket.ended()


async def test_a_request_and_a_goodbye_in_one_packet_start_what_shall_go_on(place: Place) -> None:
    body = chat(headrace={"stream_id": "said-and-left-000000001", "on_disconnect": "continue"})
    async with place.upstream(say), bare(place.port) as socket:
        await socket.send(frame(TEXT, json.dumps(body).encode()), frame(CLOSE))
        await socket.ended()
        await until(lambda: any(each.ended for each in place.house.store.list("local")))
        (stream,) = [each for each in place.house.store.list("local") if each.id == "said-and-left-000000001"]
        await until(lambda: stream.ended is not None)
        assert stream.ended is not None
        assert stream.ended.ending == "stop"


async def test_nothing_is_said_behind_a_goodbye(place: Place) -> None:
    async with bare(place.port) as socket:
        await socket.send(frame(BINARY, b"x"))
        assert (await socket.closed())[0] == 1003
        await socket.send(frame(PING, b"x"))
        await socket.send(frame(CLOSE, b"\x03\xeb"))
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await socket.next()
        assert caught.value.partial == b""


async def test_nothing_is_heard_after_a_close(place: Place) -> None:
    async with place.upstream(say) as upstream, bare(place.port) as socket:
        await socket.send(frame(BINARY), frame(TEXT, json.dumps(chat()).encode()))
        assert (await socket.closed())[0] == 1003
        await socket.send(frame(TEXT, json.dumps(chat()).encode()), frame(CLOSE, (1003).to_bytes(2)))
        await socket.ended()
        assert not upstream.exchanges


# -- time


async def test_l31_a_ping_comes_every_15_seconds_and_who_does_not_answer_is_closed_after_20(place: Place) -> None:
    async with bare(place.port) as socket:
        look(place, 14)
        look(place, 15.1)
        assert await socket.next() == (PING, b"")
        await socket.send(frame(PONG))
        await socket.send(PING_MESSAGE)
        assert await socket.next() == PONG_MESSAGE
        look(place, 30.2)
        assert await socket.next() == (PING, b"")
        look(place, 30.2 + PONG_SECONDS - 0.1 - 15)
        assert PONG_SECONDS == 20.0
        look(place, 30.2 + PONG_SECONDS + 0.1)
        assert (await socket.closed())[0] == 1011


@pytest.mark.parametrize(("asked", "pinged"), [(0, False), (5, True), (None, False)])
async def test_l31_a_request_chooses_how_often_it_is_pinged(place: Place, asked: int | None, pinged: bool) -> None:
    async with place.upstream(say_and_hold), bare(place.port) as socket:
        body = chat(headrace={} if asked is None else {"heartbeat_seconds": asked})
        await socket.send(frame(TEXT, json.dumps(body).encode()))
        while b"One" not in (await socket.next())[1]:
            pass
        look(place, 6)
        await socket.send(PING_MESSAGE)
        assert await socket.next() == ((PING, b"") if pinged else PONG_MESSAGE)
        if asked == 0:
            look(place, 1000)
            await socket.send(PING_MESSAGE)
            assert await socket.next() == PONG_MESSAGE
    await place.emptied()


async def test_a_message_that_is_begun_has_to_come_in_time(place: Place) -> None:
    whole = frame(TEXT, b'{"type":"ping"}')
    for begun in (whole[:1], whole[:2], whole[:9], whole + whole[:6], frame(TEXT, b"{", fin=False)):
        async with bare(place.port) as socket:
            await socket.send(begun)
            connection = only_connection(place)
            await until(lambda connection=connection: connection._unfinished_since is not None)  # type: ignore[misc]  # mypy infers no default
            look(place, 29)
            look(place, 31)
            code, reason = await socket.closed()
            assert code == 1008
            assert "30 s" in reason
        await until(lambda: not place.server.server_state.connections)


async def test_who_says_no_goodbye_in_return_is_cut_off(place: Place) -> None:
    async with bare(place.port) as socket:
        await socket.send(frame(BINARY))
        assert (await socket.closed())[0] == 1003
        look(place, 4)
        assert place.server.server_state.connections
        look(place, 6)
        await socket.ended()
    await until(lambda: not place.server.server_state.connections)


@pytest.mark.parametrize("half_closed", [False, True])
async def test_l2_leaving_is_seen_at_once_even_while_nothing_is_said(place: Place, half_closed: bool) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.left()

    async with place.upstream(silent) as upstream, bare(place.port) as socket:
        body = chat(headrace={"on_disconnect": "cancel"})
        await socket.send(frame(TEXT, json.dumps(body).encode()))
        await socket.next()
        await until(lambda: upstream.active == 1)
        if half_closed:
            socket.reader.half_close()
        else:
            socket.reader.leave()
        async with asyncio.timeout(0.25):
            await upstream.emptied()


# -- slow clients


async def test_l46_a_client_that_takes_nothing_costs_no_memory_beyond_its_socket(place: Place) -> None:
    async with place.upstream(say_much), bare(place.port, receive_bytes=4096) as socket:
        body = chat(headrace={"on_disconnect": "continue"})
        for name in range(8):
            await socket.send(frame(TEXT, json.dumps({**body, "request_id": str(name)}).encode()))
        await until(lambda: len(place.house.runs) == 8)
        await until(lambda: not len(place.house.runs), 60)
        connection = only_connection(place)
        assert connection.paused
        # A piece for each lane at the most, and what one write may be more than it should.
        assert connection._transport.get_write_buffer_size() < 16 * 80 * KIB


async def test_answers_that_a_slow_client_has_not_taken_are_in_progress(place: Place) -> None:
    async with place.upstream(say) as upstream, talking(place.port) as client:
        await client.say(type="ping")
        await client.hear()
        connection = only_connection(place)
        connection.pause_writing()  # as the transport says it
        for number in range(MOST_LANES + 1):
            await client.say(chat(), request_id=str(number))
        error = await client.hear()
        assert (error["error"]["code"], error["request_id"]) == ("busy", str(MOST_LANES))
        await until(lambda: len(upstream.exchanges) == MOST_LANES and not len(place.house.runs))
        for name in (str(MOST_LANES), "0"):
            await client.say(chat(), request_id=name)
            assert (await client.hear())["error"]["code"] == "busy"
        connection.resume_writing()
        ended: set[str] = set()
        while len(ended) < MOST_LANES:
            message = await client.hear()
            assert "error" not in message
            if is_last(message):
                ended.add(message["request_id"])


async def test_a_slow_client_is_served_from_the_log_when_it_has_caught_up(place: Place) -> None:
    async with place.upstream(say_much), bare(place.port, receive_bytes=4096) as socket:
        for name in ("a", "b"):
            await socket.send(frame(TEXT, json.dumps(chat(request_id=name)).encode()))
        await until(lambda: len(place.house.runs) == 2)
        await until(lambda: not len(place.house.runs), 60)
        said: dict[str, int] = Counter()
        ended: set[str] = set()
        while len(ended) < 2:
            _, payload = await socket.next()
            message = json.loads(payload)
            said[message["request_id"]] += len(said_in([message]))
            if message["choices"][0]["finish_reason"]:
                ended.add(message["request_id"])
        assert said == {"a": 2000 * len(LONG), "b": 2000 * len(LONG)}


async def test_a_client_that_takes_nothing_is_let_go_when_its_time_is_over(place: Place) -> None:
    async with place.upstream(say_much), bare(place.port, receive_bytes=4096) as socket:
        await socket.send(frame(TEXT, json.dumps(chat(headrace={"on_disconnect": "cancel"})).encode()))
        await until(lambda: bool(place.server.server_state.connections) and only_connection(place).paused)
        look(place, 29)
        assert place.house.deliveries
        look(place, 31)
        await until(lambda: not place.server.server_state.connections)
    await place.emptied()


async def test_who_asks_without_ever_reading_is_not_heard_any_more(place: Place) -> None:
    async with bare(place.port, receive_bytes=4096) as socket:
        connection = only_connection(place)
        # Each is answered with more bytes than it has.
        wrong = frame(TEXT, b"{") * 4000

        async def flood() -> None:
            while True:
                await socket.send(wrong)

        flooding = asyncio.create_task(flood())
        await until(lambda: connection._deaf)
        waiting = connection._transport.get_write_buffer_size()
        assert QUEUE_BYTES < waiting < QUEUE_BYTES + 4 * len(wrong) + (1 << 20)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        opcode, payload = await socket.next()
        assert (opcode, json.loads(payload)["error"]["code"]) == (TEXT, "invalid_json")
        await until_heard_again(socket, connection)


async def test_who_pings_without_ever_reading_is_not_heard_any_more(place: Place) -> None:
    async with bare(place.port, receive_bytes=4096) as socket:
        connection = only_connection(place)
        pings = frame(PING, b"x" * 125) * 1000

        async def flood() -> None:
            while True:
                await socket.send(pings)

        flooding = asyncio.create_task(flood())
        await until(lambda: connection._transport.get_write_buffer_size() > QUEUE_BYTES)
        await until(lambda: connection._deaf, 5)
        assert connection._transport.get_write_buffer_size() < QUEUE_BYTES + len(pings) + (1 << 20)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        assert await socket.next() == (PONG, b"x" * 125)


async def until_heard_again(socket: BareSocket, connection: SocketConnection) -> None:
    while connection._deaf:
        await socket.next()


async def test_a_stream_of_20_mb_is_replayed_in_pieces(place: Place) -> None:
    writes: list[int] = []
    async with place.upstream(say_much), talking(place.port, max_size=None) as client:
        await client.say(chat(headrace={"stream_id": "replayed-in-pieces-0001"}))
        assert len(said_in(await client.answer())) == 2000 * len(LONG)
        connection = only_connection(place)
        write = connection.write

        def watched(data: bytes) -> None:
            writes.append(len(data))
            write(data)

        connection.write = watched  # type: ignore[method-assign]  # to see what is written at once
        await client.say(type="resume", stream_id="replayed-in-pieces-0001")
        assert len(said_in(await client.answer())) == 2000 * len(LONG)
    assert max(writes[20:]) <= 64 * KIB
    assert sum(writes) > 2000 * len(LONG)


async def test_what_one_read_of_the_upstream_held_is_one_write_of_many_messages(place: Place) -> None:
    async def at_once(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.write(b"")
        await exchange.chunk(b"".join(text_chunk(str(number)) for number in range(50)))
        await exchange.left()

    writes: list[bytes] = []
    async with place.upstream(at_once), talking(place.port) as client:
        await client.say(type="ping")
        await client.hear()
        connection = only_connection(place)
        write = connection.write

        def watched(data: bytes) -> None:
            writes.append(data)
            write(data)

        connection.write = watched  # type: ignore[method-assign]  # to see what is written at once
        await client.say(chat())
        while said_in([await client.hear()]) != "49":
            pass
        # The start, and what each read held: mostly one, on a crowded machine a few. Never one for each of the fifty.
        assert len(writes) < 10
    await place.emptied()


# -- the server's own way down, and what is left


async def test_idle_sockets_are_closed_with_1001_while_the_server_drains(place: Place) -> None:
    async with (
        serving() as leaving,
        leaving.upstream(say_and_hold),
        talking(leaving.port) as idle,
        talking(leaving.port) as busy,
    ):
        await busy.say(chat())
        while said_in([await busy.hear()]) != "One":
            pass
        leaving.house.runs.draining = True
        for connection in list(leaving.server.server_state.connections):
            cast("SocketConnection", connection).check_deadlines(asyncio.get_running_loop().time())
        assert (await idle.closed())[0] == 1001
        await busy.say(chat(), request_id="new")
        refused = await busy.hear()
        assert (refused["request_id"], refused["error"]["code"]) == ("new", "overloaded")
        await busy.say({"type": "cancel"})
        assert (await busy.hear())["error"]["code"] == "cancelled"
        assert (await busy.closed())[0] == 1001


async def test_a_server_that_ends_tells_what_it_ended_and_closes_with_1001() -> None:
    async with (
        serving() as leaving,
        leaving.upstream(say_and_hold),
        talking(leaving.port) as idle,
        talking(leaving.port) as busy,
    ):
        await busy.say(chat())
        while said_in([await busy.hear()]) != "One":
            pass
        leaving.server.should_exit = True
        assert (await busy.hear())["error"]["code"] == "shutting_down"
        for client in (busy, idle):
            code, reason = await client.closed()
            assert code == 1001
            assert "come back" in reason


async def test_sockets_leave_nothing_behind(place: Place) -> None:
    async def visit(number: int) -> None:
        async with talking(place.port, "/ws" if number % 2 else CHAT) as client:
            match number % 4:
                case 0:
                    await client.say(chat(headrace={"on_disconnect": "cancel"}))
                    await client.hear()
                    client.cut()
                case 1:
                    await client.say(chat())
                    await client.answer()
                case 2:
                    await client.say(b"binary")
                    await client.closed()
                case _:
                    await client.say("{")
                    await client.hear()

    async with place.upstream(say):
        await asyncio.gather(*(visit(number) for number in range(20)))
        await place.emptied()
        await until(lambda: not place.server.server_state.connections)
        tasks = len(asyncio.all_tasks())
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await asyncio.gather(*(visit(number) for number in range(40)))
            await place.emptied()
            await until(lambda: not place.server.server_state.connections)
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            kinds = (SocketConnection, Session, Lane, Delivery)
            left = Counter(type(each).__name__ for each in gc.get_objects() if type(each) in kinds)
        finally:
            gc.enable()
    # Without the garbage collector: a client of 200 visits may be the one that is going now.
    assert not [name for name, count in left.items() if count > 2], left


async def test_a_message_is_a_frame_of_text_of_its_own() -> None:
    assert MESSAGES.frame((b"{}", b"x" * 200)) == b"\x81\x02{}" + b"\x81\x7e\x00\xc8" + b"x" * 200
    assert MESSAGES.frame_with_id((b"{}",), 7) == b"\x81\x02{}"
    assert MESSAGES.frame(()) == b""
