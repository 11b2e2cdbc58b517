"""Bad input gets a 4xx with a JSON error that says what to do, and harms nobody."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.server.conftest import Process, process
from tests.server.raw import converse, health, post, read_responses, request, settled

from headrace.errors import SettingsError
from headrace.server.serving import serve
from headrace.settings import ServerSettings, Settings

CHAT = "/v1/chat/completions"
TYPED = "/chat/basic"
GOOD = b'{"model":"offline","messages":[{"role":"user","content":"What is a stream?"}]}'
LIMIT_BYTES = 4 * 1024 * 1024


@pytest.fixture(autouse=True)
def _healthy_afterwards(offline: Process) -> Iterator[None]:
    yield
    assert settled(offline.port)["status"] == "ok"


def changed(**fields: Any) -> bytes:
    """A good chat request with other values for some fields."""
    return json.dumps({**json.loads(GOOD), **fields}).encode()


def asked(**fields: Any) -> bytes:
    """A good typed request with other values for some fields."""
    return json.dumps({"query": "What is a stream?", "model": "offline", **fields}).encode()


def nested(depth: int) -> bytes:
    """A good request with one field that nests so deep."""
    return b'{"x":' + b"[" * depth + b"]" * depth + b"," + GOOD[1:]


@pytest.mark.parametrize("path", [CHAT, TYPED])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "the body is empty", id="empty"),
        pytest.param(b"  \n", "the body is empty", id="blank"),
        pytest.param(b"{", "not JSON", id="an opening brace"),
        pytest.param(GOOD[:-1], "not JSON", id="a brace short"),
        pytest.param(GOOD + b"}", "not JSON", id="a brace too many"),
        pytest.param(b"{'model': 'x'}", "not JSON", id="single quotes"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, "not JSON", id="a byte order mark"),
        pytest.param(b"[]", "not an object", id="an array"),
        pytest.param(b"null", "not an object", id="null"),
        pytest.param(b'"text"', "not an object", id="text"),
        pytest.param(b'{"query":"\xff\xfe","model":"\xff"}', "not UTF-8", id="invalid UTF-8 in a value"),
        pytest.param(b'{"\xff":1,"query":"q","model":"m"}', "not UTF-8", id="invalid UTF-8 in a name"),
        pytest.param(b'{"query":"q","unknown":"\xc3("}', "not UTF-8", id="invalid UTF-8 in an unknown field"),
        pytest.param(b'{"query":"\\ud800"}', "half a character", id="half a surrogate pair"),
        pytest.param(b"\x00" * 100, "not JSON", id="zeros"),
        pytest.param(nested(65), "nested more than 64", id="too deep"),
        pytest.param(b"[" * 1_000_000, "nested more than 64", id="a million brackets"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(offline: Process, path: str, body: bytes, words: str) -> None:
    response = converse(offline.port, post(body, path) if body else request("POST", path, b"", "Content-Length: 0",
                        "Content-Type: application/json"))[0]  # fmt: skip
    assert response.status == 400
    assert words in response.error["message"]
    assert response.error["code"] == "invalid_json"


def test_json_as_deep_as_is_allowed_is_accepted(offline: Process) -> None:
    assert converse(offline.port, post(nested(63)))[0].status == 200


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (changed(model=None), "model"),
        (changed(model=""), "model"),
        (changed(model=1), "model"),
        (changed(model=["offline"]), "model"),
        (changed(messages=None), "messages"),
        (changed(messages=[]), "messages"),
        (changed(messages="hello"), "messages"),
        (changed(messages={"role": "user"}), "messages"),
        (changed(messages=["hello"]), "messages"),
        (changed(messages=[{}]), "messages[0].role"),
        (changed(messages=[{"role": 1, "content": "q"}]), "messages[0].role"),
        (changed(messages=[{"role": "user", "content": "q"}, {"content": "q"}]), "messages[1].role"),
        (changed(messages=[{"role": "user", "content": 1}]), "messages[0].content"),
        (changed(messages=[{"role": "user", "content": {}}]), "messages[0].content"),
        (changed(messages=[{"role": "user", "content": ["q"]}]), "messages[0].content"),
        (changed(messages=[{"role": "user", "content": [{"text": "q"}]}]), "messages[0].content"),
        (changed(messages=[{"role": "user", "content": [{"type": 1}]}]), "messages[0].content"),
        (changed(messages=[{"role": "user", "content": [{"type": "text", "text": 1}]}]), "messages[0].content"),
        (changed(stream="yes"), "stream"),
        (changed(stream=1), "stream"),
        (changed(stream_options="include_usage"), "stream_options"),
        (changed(max_tokens="many"), "max_tokens"),
        (changed(max_tokens=0), "max_tokens"),
        (changed(max_tokens=-1), "max_tokens"),
        (changed(max_tokens=1.5), "max_tokens"),
        (changed(max_completion_tokens=[]), "max_completion_tokens"),
        (changed(temperature="hot"), "temperature"),
        (changed(temperature=True), "temperature"),
        (changed(top_p=[]), "top_p"),
        (changed(presence_penalty={}), "presence_penalty"),
        (changed(frequency_penalty="0"), "frequency_penalty"),
        (changed(n="2"), "n"),
        (changed(seed=1.5), "seed"),
        (changed(stop=1), "stop"),
        (changed(stop=[1]), "stop"),
        (changed(user=1), "user"),
        (changed(tools={}), "tools"),
        (changed(tools=["t"]), "tools"),
        (changed(tool_choice=1), "tool_choice"),
        (changed(response_format="json"), "response_format"),
        (changed(metadata=[]), "metadata"),
        (changed(logprobs="yes"), "logprobs"),
        (changed(top_logprobs="5"), "top_logprobs"),
        (changed(logit_bias=[]), "logit_bias"),
        (changed(headrace=1), "headrace"),
        (changed(headrace={"on_disconnect": []}), "headrace"),
        (changed(headrace={"on_disconnect": "never"}), "on_disconnect"),
        (changed(headrace={"on_disconnect": -1}), "on_disconnect"),
        (changed(headrace={"timeouts": {"first_tokn": 1}}), "headrace"),
        (changed(headrace={"timeouts": {"total": -1}}), "timeouts.total"),
        (changed(headrace={"heartbeat_seconds": "often"}), "headrace"),
        (changed(headrace={"heartbeat_seconds": -1}), "heartbeat_seconds"),
        (changed(headrace={"event_ids": "yes"}), "headrace"),
        (changed(headrace={"rationale": 1}), "headrace"),
    ],
)  # fmt: skip
def test_a_field_of_a_chat_that_cannot_be_is_named(offline: Process, body: bytes, parameter: str) -> None:
    response = converse(offline.port, post(body))[0]
    assert response.status == 400
    assert response.error["param"] == parameter
    assert response.error["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (asked(query=None), "query"),
        (asked(query=""), "query"),
        (asked(query="  "), "query"),
        (asked(query=1), "query"),
        (asked(query=["q"]), "query"),
        (asked(meta_params=True), "meta_params"),
        (asked(meta_params={"stream": "yes"}), "meta_params"),
        (asked(stream="yes"), "stream"),
        (asked(conversation_id=1), "conversation_id"),
        (asked(history="before"), "history"),
        (asked(history=[1]), "history"),
        (asked(history=[{"content": "q"}]), "history[0].role"),
        (asked(language=1), "language"),
        (asked(model=1), "model"),
        (asked(max_tokens=0), "max_tokens"),
        (asked(temperature="hot"), "temperature"),
        (asked(headrace=[]), "headrace"),
    ],
)
def test_d1_a_field_of_a_question_that_cannot_be_is_named(offline: Process, body: bytes, parameter: str) -> None:
    response = converse(offline.port, post(body, TYPED))[0]
    assert response.status == 400
    assert response.error["param"] == parameter


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Headrace-Stream: short", "22 to 128 characters"),
        ("Headrace-Stream: " + "a" * 129, "22 to 128 characters"),
        ("Headrace-Stream: " + "a/" * 20, "22 to 128 characters"),
        ("Headrace-Stream: " + "\xe9" * 30, "22 to 128 characters"),
        ("Headrace-On-Disconnect: never", '"cancel", "continue" or a number'),
        ("Headrace-On-Disconnect: nan", '"cancel", "continue" or a number'),
        ("Headrace-On-Disconnect: -1", '"cancel", "continue" or a number'),
        ("Headrace-Timeouts: total", "must be as first_token=60"),
        ("Headrace-Timeouts: whole=3", "must be as first_token=60"),
        ("Headrace-Timeouts: total=soon", "number of seconds"),
        ("Headrace-Timeouts: total=inf", "number of seconds"),
        ("Headrace-Heartbeat: often", "number of seconds"),
        ("Headrace-Event-Ids: perhaps", "true or false"),
        ("Headrace-Rationale: 2", "true or false"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_what_it_may_be(offline: Process, header: str, words: str) -> None:
    length = f"Content-Length: {len(GOOD)}"
    response = converse(offline.port, request("POST", CHAT, GOOD, "Content-Type: application/json", length, header))[0]
    assert response.status == 400
    assert words in response.error["message"]


@pytest.mark.parametrize("seconds", ["1e300", "31536000"])
def test_a_number_of_seconds_beyond_any_patience_is_taken_for_what_it_is(offline: Process, seconds: str) -> None:
    length = f"Content-Length: {len(GOOD)}"
    options = [
        f"Headrace-On-Disconnect: {seconds}",
        f"Headrace-Heartbeat: {seconds}",
        f"Headrace-Timeouts: total={seconds}",
    ]
    for body in (GOOD, changed(stream=True)):
        length = f"Content-Length: {len(body)}"
        data = request("POST", CHAT, body, "Content-Type: application/json", length, *options)
        assert converse(offline.port, data)[0].status == 200


@pytest.mark.parametrize("path", [CHAT, TYPED])
def test_an_unknown_model_is_not_found_and_the_nearest_is_named(offline: Process, path: str) -> None:
    body = changed(model="offlin") if path == CHAT else asked(model="offlin")
    response = converse(offline.port, post(body, path))[0]
    assert response.status == 404
    assert response.error["code"] == "model_not_found"
    assert 'Did you mean "offline"?' in response.error["message"]


@pytest.mark.parametrize("name", ["m" * 100_000, "\x00\x1f", "../../etc/passwd", "日本語", "\u2028", "{}%s"])
def test_an_unknown_model_may_be_called_anything(offline: Process, name: str) -> None:
    response = converse(offline.port, post(changed(model=name)))[0]
    assert response.status == 404
    assert len(response.body) < 2000


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json", "text/json5"],
)
def test_a_body_that_is_not_declared_as_json_is_refused(offline: Process, content_type: str) -> None:
    headers = [f"Content-Length: {len(GOOD)}"] + ([f"Content-Type: {content_type}"] if content_type else [])
    response = converse(offline.port, request("POST", CHAT, GOOD, *headers))[0]
    assert response.status == 415
    assert "Content-Type: application/json" in response.error["message"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON ", "application/vnd.x+json"],
)
def test_every_spelling_of_json_is_taken(offline: Process, content_type: str) -> None:
    headers = [f"Content-Length: {len(GOOD)}", f"Content-Type: {content_type}"]
    assert converse(offline.port, request("POST", CHAT, GOOD, *headers))[0].status == 200


def test_a_body_as_large_as_is_allowed_is_taken(offline: Process) -> None:
    padding = b" " * (LIMIT_BYTES - len(GOOD))
    assert converse(offline.port, post(GOOD + padding))[0].status == 200


def test_a_body_one_byte_larger_is_refused_with_the_limit(offline: Process) -> None:
    padding = b" " * (LIMIT_BYTES - len(GOOD) + 1)
    response = converse(offline.port, post(GOOD + padding))[0]
    assert response.status == 413
    assert "4194304" in response.error["message"]


def test_a_body_that_grows_too_large_in_chunks_is_refused(offline: Process) -> None:
    head = request("POST", CHAT, b"", "Content-Type: application/json", "Transfer-Encoding: chunked")
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    response = converse(offline.port, head, *[chunk] * 5, b"0\r\n\r\n")[0]
    assert response.status == 413


def test_a_hundred_megabytes_are_refused_before_they_are_sent(offline: Process) -> None:
    head = request("POST", CHAT, b"", "Content-Type: application/json", "Content-Length: 100000000")
    response = converse(offline.port, head)[0]
    assert response.status == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route_not_found"),
        ("GET", "/v1", 404, "route_not_found"),
        ("POST", "/v1/chat/completions/", 404, "route_not_found"),
        ("POST", "/v1//chat/completions", 404, "route_not_found"),
        ("POST", "/chat/nobody", 404, "route_not_found"),
        ("GET", "/%e2%80%a8/%00/%ff", 404, "route_not_found"),
        ("GET", "/" + "x" * 5000, 404, "route_not_found"),
        ("GET", "/v1/streams/none", 404, "stream_not_found"),
        ("GET", "/v1/streams/none/events", 404, "stream_not_found"),
        ("POST", "/v1/streams/none/cancel", 404, "stream_not_found"),
        ("GET", "/v1/streams/%ff%00/events", 404, "stream_not_found"),
        ("GET", "/v1/models/nothing", 404, "model_not_found"),
        ("GET", "/v1/models/no/such/thing", 404, "model_not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PUT", "/chat/basic", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PUT", "/v1/streams/none", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_served_is_said_so(offline: Process, method: str, path: str, status: int, code: str) -> None:
    response = converse(offline.port, request(method, path, b"", "Content-Length: 0"))[0]
    assert (response.status, response.error["code"]) == (status, code)


@pytest.mark.parametrize("after", ["-2", "x", "1.5", "9" * 19, "\u0661", "0x1", "%ff", "1%002"])
def test_an_offset_that_is_none_is_refused(offline: Process, after: str) -> None:
    stream = converse(offline.port, post(GOOD))[0].headers["headrace-stream"]
    path = f"/v1/streams/{stream}/events?after="
    if after.isascii():
        response = converse(offline.port, request("GET", path + after))[0]
    else:
        response = converse(offline.port, f"GET {path}{after} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())[0]
    assert response.status == 400


def test_a_wish_for_usage_that_is_neither_yes_nor_no_is_refused(offline: Process) -> None:
    stream = converse(offline.port, post(GOOD))[0].headers["headrace-stream"]
    response = converse(offline.port, request("GET", f"/v1/streams/{stream}/events?include_usage=perhaps"))[0]
    assert response.status == 400
    assert "true or false" in response.error["message"]


def test_an_unknown_protocol_is_refused_with_those_there_are(offline: Process) -> None:
    stream = converse(offline.port, post(GOOD))[0].headers["headrace-stream"]
    response = converse(offline.port, request("GET", f"/v1/streams/{stream}/events?protocol=gopher"))[0]
    assert response.status == 400
    assert all(name in response.error["message"] for name in ("openai_chat", "typed_events"))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "127.0.0.2", "\xff"]
)
def test_a_foreign_host_is_refused(offline: Process, host: str) -> None:
    response = converse(offline.port, request("GET", "/v1/models", host=f"Host: {host}"))[0]
    assert response.status == 403
    assert "server.allowed_hosts" in response.error["message"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:80"])
def test_a_name_of_this_machine_is_answered(offline: Process, host: str) -> None:
    assert converse(offline.port, request("GET", "/v1/models", host=f"Host: {host}"))[0].status == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://[::1", "", "http://127.0.0.1@evil.example"]
)
def test_a_page_of_a_foreign_origin_may_post_nothing(offline: Process, origin: str) -> None:
    headers = ["Content-Type: application/json", f"Content-Length: {len(GOOD)}", f"Origin: {origin}"]
    response = converse(offline.port, request("POST", CHAT, GOOD, *headers))[0]
    assert response.status == 403
    assert "server.allowed_origins" in response.error["message"]


def test_a_page_of_our_own_may_post(offline: Process) -> None:
    host = f"127.0.0.1:{offline.port}"
    headers = ["Content-Type: application/json", f"Content-Length: {len(GOOD)}", f"Origin: http://{host}"]
    assert converse(offline.port, request("POST", CHAT, GOOD, *headers, host=f"Host: {host}"))[0].status == 200


@pytest.mark.parametrize("value", [b"\xff\xfe", b"caf\xc3\xa9", b"a" * 200, b"", b"two words"])
def test_a_request_id_that_cannot_be_repeated_is_replaced(offline: Process, value: bytes) -> None:
    data = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: " + value + b"\r\n\r\n"
    given = converse(offline.port, data)[0].headers["x-request-id"]
    assert given == "two words" if value == b"two words" else given.startswith("req_")


# -- deadlines and limits, on a server whose own are short


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that waits half a second for headers and bodies."""
    settings = (
        "[server]\nheader_seconds = 0.5\nbody_seconds = 0.5\nbody_limit_bytes = 1000\nheader_limit_bytes = 2000\n"
    )
    with process(tmp_path_factory.mktemp("hasty"), settings) as server:
        yield server


HALVES = {
    "nothing at all": (b"", "headers"),
    "half a request line": (b"POST /v1/chat/comp", "headers"),
    "half the headers": (b"GET /health HTTP/1.1\r\nHost: local", "headers"),
    "all but a byte of the body": (post(GOOD)[:-1], "body"),
    "half a chunk": (
        request("POST", CHAT, b"", "Content-Type: application/json", "Transfer-Encoding: chunked") + b"5\r\n{",
        "body",
    ),
    "half of a second request": (request("GET", "/health") + request("GET", "/health")[:20], "headers"),
}


def test_half_a_request_is_answered_when_its_time_is_over(hasty: Process) -> None:
    # All at once: each takes until its deadline is looked at.
    with contextlib.ExitStack() as stack:
        connections = {}
        for name, (data, _) in HALVES.items():
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", hasty.port), 10))
            connection.sendall(data)
            connections[name] = connection
        for name, (_, what) in HALVES.items():
            *before, response = read_responses(connections[name], 3)
            assert [each.status for each in before] == ([200] if name == "half of a second request" else []), name
            assert response.status == 408, name
            assert response.error["message"] == f"the {what} did not arrive within 0.5 s", name
            assert response.headers["connection"] == "close"
    assert health(hasty.port)["streams"] == 0


@pytest.mark.parametrize("pieces", [1, 7], ids=["in one packet", "in seven"])
@pytest.mark.parametrize("where", ["url", "one header", "many headers", "no end"])
def test_headers_beyond_the_limit_are_refused(hasty: Process, where: str, pieces: int) -> None:
    match where:
        case "url":
            data = request("GET", "/" + "x" * 2000)
        case "one header":
            data = request("GET", "/health", b"", "X: " + "x" * 2000)
        case "many headers":
            data = request("GET", "/health", b"", *[f"X-{number}: x" for number in range(400)])
        case _:
            data = request("GET", "/health", b"", "X: " + "x" * 3000)[:-4]
    size = -(-len(data) // pieces)
    response = converse(hasty.port, *[data[start : start + size] for start in range(0, len(data), size)])[0]
    assert response.status == 431
    assert response.error["message"] == "the headers are larger than 2000 bytes"


def test_headers_just_below_the_limit_are_taken(hasty: Process) -> None:
    head = request("GET", "/health", b"", "X: ")
    data = request("GET", "/health", b"", "X: " + "x" * (1990 - len(head)))
    assert converse(hasty.port, data)[0].status == 200


def test_many_small_requests_at_once_are_not_taken_for_large_headers(hasty: Process) -> None:
    one = request("GET", "/health")
    with socket.create_connection(("127.0.0.1", hasty.port), 10) as connection:
        connection.sendall(one * 100 + one[:10])
        assert [answer.status for answer in read_responses(connection, 100)] == [200] * 100
        connection.sendall(one[10:])
        assert [answer.status for answer in read_responses(connection, 1)] == [200]


def test_limits_are_those_of_the_settings(hasty: Process) -> None:
    assert converse(hasty.port, post(GOOD + b" " * 1000))[0].status == 413


def test_no_trace_of_a_fault_of_our_own_is_in_the_log(offline: Process) -> None:
    assert [line for line in offline.log if line["level"] == "error" or "exception" in line] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_l53_an_open_address_without_keys_is_refused(host: str) -> None:
    def opened(url: str, port: int) -> None:
        raise AssertionError(f"{url} was opened")

    with pytest.raises(SettingsError, match="auth"):
        serve(Settings(server=ServerSettings(host=host, port=0)), {}, opened)
