"""4,000 malformed handshakes, frames and messages: each gets an error or a close code, none hangs, nothing grows.

With the requests of `test_malformed_requests.py` they are 10,000. Each kind is a way of being wrong, and each of its
clients is wrong in that way for sure; chance is seeded.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

import pytest
from tests.server import test_malformed_requests
from tests.server.bare_sockets import BINARY, CLOSE, HANDSHAKE, PING, TEXT, frame
from tests.server.conftest import Process, process
from tests.server.raw import ANSWER_SECONDS, assert_nothing_grows, read_responses, request, settled
from tests.server.reader import chat

from headrace.server.socket_doors import DOORS

CLIENTS = 1800
MESSAGES = 2200
MESSAGES_A_SOCKET = 50
AT_ONCE = 150

PATHS = tuple(DOORS)
Chance = random.Random


def handshake(path: str, headers: Mapping[str, str] = {}, host: str = "Host: 127.0.0.1") -> bytes:
    lines = [f"{name}: {value}" for name, value in {**HANDSHAKE, **headers}.items()]
    return request("GET", path, b"", *lines, host=host)


def noise(chance: Chance, most: int = 60) -> bytes:
    return bytes(chance.randrange(256) for _ in range(chance.randint(1, most)))


class Sent(NamedTuple):
    """What a client sends, and how that may end."""

    data: bytes
    statuses: tuple[int, ...] = (101,)
    codes: tuple[int, ...] = ()


# -- clients that get no further than one mistake


def broken_handshake(chance: Chance) -> Sent:
    headers = chance.choice(
        [
            {"Sec-WebSocket-Key": noise(chance).hex()},
            {"Sec-WebSocket-Key": ""},
            {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
            {"Sec-WebSocket-Version": str(chance.randrange(14, 999))},
            {"Sec-WebSocket-Version": "thirteen"},
            {"Sec-WebSocket-Version": "13\r\nSec-WebSocket-Version: 8"},
            {"Host": "127.0.0.1"},
        ]
    )
    return Sent(handshake(chance.choice(PATHS), headers), statuses=(400,))


def handshake_elsewhere(chance: Chance) -> Sent:
    path = chance.choice(
        ["/nowhere", "/v1/streams//events", "/v1/streams/a/b/events", "/chat/basic", "/ws/", "/%ff/ws"]
    )
    return Sent(handshake(path), statuses=(404, 405))


def handshake_of_a_stranger(chance: Chance) -> Sent:
    path = chance.choice(PATHS)
    match chance.randrange(3):
        case 0:
            return Sent(handshake(path, host=f"Host: evil{chance.randrange(99)}.example"), codes=(4403,))
        case 1:
            return Sent(handshake(path, {"Origin": f"https://evil{chance.randrange(99)}.example"}), codes=(1008,))
        case _:
            return Sent(handshake(f"{path}?{chance.choice(['token', 'key', 'api_key'])}=x"), codes=(4401,))


def stream_that_is_not_there(chance: Chance) -> Sent:
    stream_id = chance.choice(["0" * chance.randint(1, 300), "%00", "%ff%fe", "..", "%2e%2e"])
    query = chance.choice(["", "?after=-5", "?protocol=x", "?after=%F0%9F", "?pace=x"])
    return Sent(handshake(f"/v1/streams/{stream_id}/events{query}"), codes=(4404,))


def broken_frame(chance: Chance) -> Sent:
    text = b'{"type":"ping"}'
    wrong = chance.choice(
        [
            frame(TEXT, text, masked=False),
            frame(TEXT, text, reserved=chance.randint(1, 7)),
            frame(chance.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), text),
            frame(PING, bytes(chance.randint(126, 200))),
            frame(CLOSE, bytes(chance.randint(126, 200))),
            frame(chance.choice([PING, CLOSE]), fin=False),
            frame(0, text),
            frame(TEXT, text, fin=False) + frame(TEXT, text),
            frame(TEXT, text, fin=False) + frame(CLOSE, b"\x03\xe8"),
            frame(CLOSE, b"\x03"),
            frame(CLOSE, chance.choice([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]).to_bytes(2)),
            bytes([chance.choice([0x81, 0x82, 0x89, 0x01]), chance.randrange(128)]) + noise(chance),
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"\x16\x03\x01" + noise(chance),
        ]
    )
    return Sent(handshake(chance.choice(PATHS)) + wrong, codes=(1002,))


def wrong_kind_of_message(chance: Chance) -> Sent:
    start = handshake(chance.choice(PATHS))
    broken = (
        b'{"x":"' + chance.choice([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"]) + b'"}'
    )
    size = chance.choice([(1 << 20) + 1, 1 << 32, (1 << 63) - 1])
    match chance.randrange(5):
        case 0:
            return Sent(start + frame(BINARY, noise(chance)), codes=(1003,))
        case 1:
            return Sent(start + frame(TEXT, broken), codes=(1007,))
        case 2:
            cut = chance.randrange(len(broken))
            return Sent(start + frame(TEXT, broken[:cut], fin=False) + frame(0, broken[cut:]), codes=(1007,))
        case 3:
            return Sent(start + frame(CLOSE, b"\x03\xe8" + broken), codes=(1007,))
        case _:
            return Sent(start + bytes([0x81, 0xFF]) + size.to_bytes(8) + bytes(4) + noise(chance), codes=(1009,))


def unfinished(chance: Chance) -> Sent:
    whole = frame(TEXT, json.dumps(chat(model="offline")).encode())
    begun = chance.choice([whole[: chance.randrange(1, len(whole))], frame(TEXT, b"{", fin=False)])
    return Sent(handshake(chance.choice(PATHS)) + begun, codes=(1008,))


def anything(chance: Chance) -> Sent:
    # Among all else it says goodbye now and then, and is answered with its own code.
    head = bytes([chance.choice([0x81, 0x01, 0x80, 0x88, 0x89, chance.randrange(256)]), chance.randrange(128, 256)])
    data = head + noise(chance, 300)
    return Sent(handshake(chance.choice(PATHS)) + data, codes=(*range(1000, 1015), *range(3000, 5000)))


KINDS: tuple[Callable[[Chance], Sent], ...] = (
    broken_handshake,
    handshake_elsewhere,
    handshake_of_a_stranger,
    stream_that_is_not_there,
    broken_frame,
    wrong_kind_of_message,
    unfinished,
    anything,
)
EACH = -(-CLIENTS // len(KINDS))


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that does not wait long for the rest of a message."""
    with process(tmp_path_factory.mktemp("hasty"), "[server]\nheader_seconds = 0.3\nbody_seconds = 0.3\n") as server:
        yield server


def connect(port: int, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
    with contextlib.suppress(OSError):  # it has heard enough, and its answer waits to be read
        connection.sendall(data)
    return connection


def read_status(incoming: BinaryIO) -> int:
    status = int(incoming.readline().split(b" ")[1])
    while incoming.readline().rstrip():
        pass
    return status


def read_frame(incoming: BinaryIO) -> tuple[int, bytes]:
    head = incoming.read(2)
    assert len(head) == 2, "closed without a word"
    size = head[1]
    if size >= 126:
        size = int.from_bytes(incoming.read(2 if size == 126 else 8))
    return head[0] & 15, incoming.read(size)


def read_close(incoming: BinaryIO) -> tuple[int, str]:
    opcode, payload = read_frame(incoming)
    while opcode != CLOSE:
        opcode, payload = read_frame(incoming)
    return int.from_bytes(payload[:2]) if payload else 1005, payload[2:].decode()


def check(connection: socket.socket, sent: Sent) -> int:
    """How it ended: a status of HTTP, or a close code."""
    if 101 not in sent.statuses:
        (response,) = read_responses(connection, 1)
        assert response.status in sent.statuses, (sent, response)
        assert test_malformed_requests.is_told(response), (sent, response)
        return response.status
    with connection.makefile("rb") as incoming:
        assert read_status(incoming) == 101, sent
        code, reason = read_close(incoming)
        assert code in sent.codes, (sent, code)
        assert reason or 1005 in sent.codes
        return code


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_malformed_socket_gets_a_code_that_says_what_is_wrong(hasty: Process, kind: Callable[[Chance], Sent]) -> None:
    seen: Counter[int] = Counter()
    for start in range(0, EACH, AT_ONCE):
        with contextlib.ExitStack() as stack:
            waiting = []
            for seed in range(start, min(start + AT_ONCE, EACH)):
                sent = kind(Chance(f"{kind.__name__} {seed}"))
                waiting.append((stack.enter_context(connect(hasty.port, sent.data)), sent))
            seen.update(check(connection, sent) for connection, sent in waiting)
    assert seen.total() == EACH
    assert settled(hasty.port)["status"] == "ok"
    assert not [line for line in hasty.log if line["level"] == "error" or "exception" in line]


# -- messages, one after the other on sockets that live


def malformed_message(chance: Chance) -> str:
    body = chat(model="offline", stream=True)
    wrong: dict[str, list[object]] = {
        "model": [5, [], {}, True, "", None, "nothing-of-that-name"],
        "messages": [1, "x", {}, [], [1], [[]], [{"role": 5, "content": "x"}], [{"role": "user", "content": 1}], None],
        "temperature": ["hot", [], {}],
        "max_tokens": [0, -1, 2**40, "many", {}],
        "n": [0, -1, 10**9, "two"],
        "request_id": ["", 5, [], {}, "x" * 129],
        "type": ["dance", 5, [], "resume", "auth", ""],
        "headrace": ["now", 1, [], {"timeouts": {"total": -1}}, {"timeouts": {"nine": 1}}, {"on_disconnect": "later"},
                     {"stream_id": "short"}, {"stream_id": 5}, {"idempotency_key": ""}, {"event_ids": "x"}],
    }  # fmt: skip
    match chance.randrange(4):
        case 0:
            text = json.dumps(body)
            return chance.choice(
                [
                    text[: chance.randrange(len(text))],
                    text + "}",
                    text.replace(":", "=", 1),
                    text.replace('"', "'"),
                    "",
                    " \n\t",
                    "data: " + text,
                    chance.choice(["NaN", "5", "null", "[]", '"x"', "true", "-", "\ufeff{}", "\0"]),
                    '{"a":' * 80 + "1" + "}" * 80,
                    text.replace("stream", "\\ud800"),
                    noise(chance).hex(),
                ]
            )
        case 1:
            resume: dict[str, object] = {"type": "resume", "stream_id": chance.choice(["0" * 32, "", "x", 5, [], None])}
            return json.dumps({**resume, "after": chance.choice([-2, 10**30, "x", None, 1.5, [], 3])})
        case _:
            name = chance.choice(sorted(wrong))
            return json.dumps({**body, name: chance.choice(wrong[name])})


def test_a_malformed_message_gets_an_error_that_says_what_is_wrong_and_its_socket_lives(hasty: Process) -> None:
    codes: Counter[str] = Counter()
    for number in range(MESSAGES // MESSAGES_A_SOCKET):
        path = ("/v1/chat/completions", "/openai/v1/chat/completions")[number % 2]
        messages = [malformed_message(Chance(f"message {number} {seed}")) for seed in range(MESSAGES_A_SOCKET)]
        frames = b"".join(frame(TEXT, message.encode("utf-8")) for message in messages)
        data = handshake(path) + frames + frame(TEXT, b'{"type":"ping"}')
        with connect(hasty.port, data) as connection, connection.makefile("rb") as incoming:
            assert read_status(incoming) == 101
            told = [json.loads(read_frame(incoming)[1]) for _ in range(MESSAGES_A_SOCKET + 1)]
        assert told.count({"type": "pong"}) == 1
        for answer in told:
            if "error" in answer:
                error = answer["error"]
                assert error.keys() >= {"message", "type", "code", "param"}
                assert error["message"]
                codes[error["code"]] += 1
    assert codes.total() == MESSAGES
    # All of them at once: the next one may come before it is known that there is no such model.
    assert codes.keys() == {"invalid_json", "invalid_request", "stream_not_found", "model_not_found", "busy"}
    assert settled(hasty.port)["status"] == "ok"
    assert not [line for line in hasty.log if line["level"] == "error" or "exception" in line]


def test_with_the_requests_they_are_ten_thousand() -> None:
    assert len(KINDS) * EACH + MESSAGES + test_malformed_requests.REQUESTS >= 10_000


def test_nothing_grows_with_what_is_malformed(hasty: Process) -> None:
    def visit(seed: int) -> None:
        for kind in KINDS:
            if kind not in (unfinished, anything):  # which take their time
                sent = kind(Chance(f"again {kind.__name__} {seed}"))
                with connect(hasty.port, sent.data) as connection:
                    check(connection, sent)

    assert_nothing_grows(hasty, visit)
