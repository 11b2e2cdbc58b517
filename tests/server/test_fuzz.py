"""Requests that nobody would send on purpose: never a 5xx, never a hang, and the server stays well."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.conftest import Process, process
from tests.server.raw import ANSWER_SECONDS, Response, converse, post, read_responses, request, settled

ROUTES = ("/v1/chat/completions", "/chat/basic")
FIELDS = (
    "model", "messages", "query", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "n",
    "stop", "tools", "tool_choice", "response_format", "metadata", "logprobs", "logit_bias", "seed", "user", "headrace",
    "meta_params", "history", "conversation_id", "language", "unknown",
)  # fmt: skip
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | st.sampled_from(["offline", "user", "cancel"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "timeouts", "total", "stream", "name", *FIELDS])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TRIES = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MOST_GROWTH_MIB = 12.0
"""Streams that ended are kept for a day: some thousand of those mutants are good requests."""
MANY_TRIES = settings(TRIES, max_examples=2000, derandomize=False)


@pytest.fixture(autouse=True)
def _healthy_afterwards(offline: Process) -> Iterator[None]:
    yield
    assert settled(offline.port)["status"] == "ok"
    assert faults(offline) == []


def check(answers: list[Response]) -> None:
    """Every answer is one that a reader can do something with."""
    assert answers, "an answer came"
    for answer in answers:
        assert answer.status < 500, answer
        if answer.status >= 400:
            assert answer.error["message"]


def good(path: str) -> dict[str, Any]:
    if path == "/chat/basic":
        return {"query": "What is a stream?", "model": "offline"}
    return {"model": "offline", "messages": [{"role": "user", "content": "What is a stream?"}]}


def try_fields(offline: Process, path: str, fields: dict[str, Any]) -> None:
    body = json.dumps({**good(path), **fields}).encode()
    check(converse(offline.port, post(body, path)))


def try_bytes(offline: Process, path: str, body: bytes) -> None:
    headers = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    check(converse(offline.port, request("POST", path, body, *headers)))


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A request with a few of its bytes changed, doubled, taken away or cut off."""
    mutant = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(mutant)) if mutant else 0
        match chance.randrange(6):
            case 0:
                mutant[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                mutant[at:at] = chance.choice([b"\r\n", b"\n", b"\x00", b":", b" ", b"\xff", b'"', b"{", b"[" * 100])
            case 2:
                del mutant[at : at + chance.randint(1, 30)]
            case 3:
                mutant[at:at] = mutant[at : at + chance.randint(1, 60)]
            case 4:
                mutant[at : at + 1] = chance.choice(string.ascii_letters).encode()
            case _:
                del mutant[at:]
    return bytes(mutant)


def try_mutants(server: Process, seeds: range) -> None:
    """Sends so many mutants at once; each is answered, the unfinished ones when their time is over."""
    with contextlib.ExitStack() as stack:
        connections = []
        for seed in seeds:
            chance = random.Random(seed)
            path = chance.choice(ROUTES)
            body = json.dumps({**good(path), "stream": chance.random() < 0.5}).encode()
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), ANSWER_SECONDS))
            connection.sendall(mutated(post(body, path), chance))
            connections.append(connection)
        for connection in connections:
            check(read_responses(connection, 1))
    assert settled(server.port)["status"] == "ok"
    assert faults(server) == []


def faults(server: Process) -> list[dict[str, object]]:
    return [line for line in server.log if line["level"] == "error" or "exception" in line]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that does not wait long for the rest of a request."""
    with process(tmp_path_factory.mktemp("hasty"), "[server]\nheader_seconds = 0.5\nbody_seconds = 0.5\n") as server:
        yield server


@pytest.mark.parametrize("path", ROUTES)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
@TRIES
def test_any_fields_are_answered(offline: Process, path: str, fields: dict[str, Any]) -> None:
    try_fields(offline, path, fields)


@given(body=st.binary(max_size=200), path=st.sampled_from(ROUTES))
@TRIES
def test_any_bytes_are_answered(offline: Process, path: str, body: bytes) -> None:
    try_bytes(offline, path, body)


@given(body=JSON, path=st.sampled_from(ROUTES))
@settings(TRIES, max_examples=40)
def test_any_json_is_answered(offline: Process, path: str, body: Any) -> None:
    try_bytes(offline, path, json.dumps(body).encode())


def test_any_mutant_of_a_request_is_answered(hasty: Process) -> None:
    try_mutants(hasty, range(300))


@given(
    path=st.text(st.characters(codec="latin-1", exclude_characters="\r\n \x00"), max_size=60),
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PUT"]),
)
@settings(TRIES, max_examples=60)
def test_any_path_is_answered(offline: Process, method: str, path: str) -> None:
    data = request(method, f"/{path}", b"", "Content-Length: 0", "Connection: close")
    answers = converse(offline.port, data, head_only=method == "HEAD")
    if method != "HEAD":
        check(answers)
    else:
        assert answers[0].status < 500


@given(value=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00"), max_size=60),
       name=st.sampled_from(["Headrace-Stream", "Headrace-Timeouts", "Headrace-Heartbeat", "Headrace-On-Disconnect",
                             "Headrace-Event-Ids", "Headrace-Early-Headers", "Origin", "Content-Type", "X-Request-Id",
                             "Authorization", "Last-Event-ID", "Expect", "Accept", "Cookie"]))  # fmt: skip
@TRIES
def test_any_header_is_answered(offline: Process, name: str, value: str) -> None:
    body = json.dumps(good("/chat/basic")).encode()
    headers = ["Content-Type: application/json", f"Content-Length: {len(body)}", f"{name}: {value}"]
    check(converse(offline.port, request("POST", "/chat/basic", body, *headers)))


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5), path=st.sampled_from(ROUTES))
@MANY_TRIES
def test_any_fields_are_answered_again_and_again(offline: Process, path: str, fields: dict[str, Any]) -> None:
    try_fields(offline, path, fields)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_10000_mutants_are_answered_and_leave_nothing_behind(hasty: Process) -> None:
    # With keep-alive over, nothing of a connection is left; what is made once is made by the first two thousand.
    try_thousands(hasty, 1000, 3000)
    before = held(hasty)
    try_thousands(hasty, 3000, 11_000)
    after = held(hasty)
    print(f"descriptors {before[0]} → {after[0]}, resident {before[1]:.1f} → {after[1]:.1f} MiB over 8,000 mutants")
    assert after[0] <= before[0]
    assert after[1] - before[1] < MOST_GROWTH_MIB


def try_thousands(server: Process, start: int, stop: int) -> None:
    for first in range(start, stop, 500):
        try_mutants(server, range(first, first + 500))


def held(server: Process) -> tuple[int, float]:
    """Descriptors and MiB of memory of a server whose connections have gone."""
    folder = Path(f"/proc/{server.popen.pid}")
    deadline = time.monotonic() + ANSWER_SECONDS
    descriptors = len(os.listdir(folder / "fd"))
    while time.monotonic() < deadline:
        time.sleep(0.5)  # until as many are open as before
        now = len(os.listdir(folder / "fd"))
        if now >= descriptors:
            break
        descriptors = now
    return descriptors, int((folder / "statm").read_text().split()[1]) * 4096 / (1 << 20)
