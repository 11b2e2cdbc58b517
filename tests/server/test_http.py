"""HTTP/1.1 as it is spoken outside of tutorials, and bytes that are no HTTP at all."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator

import pytest
from tests.server.conftest import DEADLINE_SECONDS, Process
from tests.server.raw import converse, post, read_responses, request, settled

CHAT = "/v1/chat/completions"
GOOD = b'{"model":"offline","messages":[{"role":"user","content":"What is a stream?"}]}'
STREAMED = GOOD[:-1] + b',"stream":true}'


@pytest.fixture(autouse=True)
def _healthy_afterwards(offline: Process) -> Iterator[None]:
    yield
    assert settled(offline.port)["status"] == "ok"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,  # TLS
        b"\x00" * 50,
        b"\xff" * 50,
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTX/1.1\r\n\r\n",
        b"GET  / HTTP/1.1 \r\n\r\n",
        b"FETCH / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX Y: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabXX",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://127.0.0.1:99999/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_are_answered_in_json_and_the_connection_closes(offline: Process, data: bytes) -> None:
    answers = converse(offline.port, data, responses=2)
    assert len(answers) == 1, "nothing is said after it, and the connection is closed"
    assert answers[0].status in range(400, 500)
    assert answers[0].error["message"]


def test_a_request_in_single_bytes_is_a_request(offline: Process) -> None:
    data = post(GOOD)
    assert converse(offline.port, *[data[at : at + 1] for at in range(len(data))])[0].status == 200


@pytest.mark.parametrize("sizes", [[1], [7], [10_000], [3, 1, 50]])
def test_a_body_in_chunks_of_any_size_is_a_body(offline: Process, sizes: list[int]) -> None:
    head = request("POST", CHAT, b"", "Content-Type: application/json", "Transfer-Encoding: chunked")
    body, at, turn = b"", 0, 0
    while at < len(GOOD):
        piece = GOOD[at : at + sizes[turn % len(sizes)]]
        body += b"%x;extension=1\r\n%b\r\n" % (len(piece), piece)
        at += len(piece)
        turn += 1
    assert converse(offline.port, head, body + b"0\r\nTrailer: x\r\n\r\n")[0].status == 200


def test_a_client_that_asks_first_is_told_to_go_on(offline: Process) -> None:
    head = request("POST", CHAT, b"", "Content-Type: application/json", f"Content-Length: {len(GOOD)}",
                   "Expect: 100-continue")  # fmt: skip
    with socket.create_connection(("127.0.0.1", offline.port), 10) as connection:
        connection.sendall(head)
        assert read_responses(connection, 1)[0].status == 100
        connection.sendall(GOOD)
        assert read_responses(connection, 1)[0].status == 200


@pytest.mark.parametrize("stream", [GOOD, STREAMED])
def test_curl_asks_first_and_gets_its_answer(offline: Process, stream: bytes) -> None:
    arguments = ["-sS", "-H", "Expect: 100-continue", "-H", "Content-Type: application/json", "--data-binary", "@-"]
    curl = subprocess.run(
        ["curl", *arguments, f"{offline.url}{CHAT}", "--expect100-timeout", str(DEADLINE_SECONDS)],
        input=stream,
        capture_output=True,
        timeout=DEADLINE_SECONDS / 2,
    )
    assert curl.returncode == 0, curl.stderr
    assert b'"finish_reason":"stop"' in curl.stdout


def test_a_client_that_asks_first_is_refused_without_being_told_to_go_on(offline: Process) -> None:
    head = request("POST", CHAT, b"", "Content-Type: application/json", "Content-Length: 100000000",
                   "Expect: 100-continue")  # fmt: skip
    assert converse(offline.port, head)[0].status == 413


def test_pipelined_requests_are_answered_in_their_order(offline: Process) -> None:
    data = b"".join(request("GET", "/health", b"", f"X-Request-Id: {number}") for number in range(20))
    data += post(GOOD) + post(STREAMED) + request("GET", "/nowhere") + request("GET", "/health/ready")
    answers = converse(offline.port, data, responses=24)
    assert [answer.headers["x-request-id"] for answer in answers[:20]] == [str(number) for number in range(20)]
    assert [answer.status for answer in answers[20:]] == [200, 200, 404, 200]
    assert answers[21].body.endswith(b"data: [DONE]\n\n")


def test_garbage_behind_a_request_costs_only_its_own_connection(offline: Process) -> None:
    answers = converse(offline.port, post(STREAMED) + b"\x00garbage\r\n\r\n", responses=2)
    assert answers[-1].status == 400
    assert answers[-1].error["code"] == "invalid_http"


def test_head_has_the_headers_of_get_and_no_body(offline: Process) -> None:
    for path in ("/health", "/v1/models", "/nowhere"):
        whole = converse(offline.port, request("GET", path))[0]
        head, again = converse(offline.port, request("HEAD", path) * 2, responses=2, head_only=True)
        assert head.status == again.status == whole.status
        assert head.headers["content-length"] == str(len(whole.body))


def test_head_of_a_stream_has_its_headers_and_reads_nothing(offline: Process) -> None:
    stream = converse(offline.port, post(GOOD))[0].headers["headrace-stream"]
    path = f"/v1/streams/{stream}/events"
    answers = converse(offline.port, request("HEAD", path) + request("HEAD", path), responses=2, head_only=True)
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("body", [GOOD, STREAMED])
def test_http_1_0_gets_a_plain_body_that_ends_with_the_connection(offline: Process, body: bytes) -> None:
    data = post(body).replace(b"HTTP/1.1", b"HTTP/1.0")
    answers = converse(offline.port, data, responses=2)
    assert len(answers) == 1
    assert answers[0].status == 200
    assert "transfer-encoding" not in answers[0].headers
    assert answers[0].headers["connection"] == "close"
    if body is STREAMED:
        assert answers[0].body.startswith(b"data: {")
        assert answers[0].body.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(answers[0].body)["choices"]


def test_http_1_0_without_a_host_is_refused_in_json(offline: Process) -> None:
    answer = converse(offline.port, b"GET /health HTTP/1.0\r\n\r\n")[0]
    assert answer.status == 400
    assert "Host header" in answer.error["message"]


def test_two_hosts_are_none(offline: Process) -> None:
    answer = converse(offline.port, request("GET", "/health", b"", "Host: evil.example"))[0]
    assert answer.status == 400
    assert answer.error["code"] == "invalid_http"


def test_a_wrong_method_is_told_the_right_ones(offline: Process) -> None:
    answer = converse(offline.port, request("DELETE", "/health"))[0]
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_an_absolute_url_is_a_path_with_more_before_it(offline: Process) -> None:
    assert converse(offline.port, request("GET", "http://127.0.0.1/health"))[0].status == 200
    assert (
        converse(offline.port, request("GET", "http://evil.example/health", host="Host: evil.example"))[0].status == 403
    )


@pytest.mark.parametrize("target", ["*", "/%68ealth", "/health?x=%00&y=\x7f", "/health?" + "x" * 5000])
def test_odd_targets_are_answered(offline: Process, target: str) -> None:
    answer = converse(offline.port, request("OPTIONS" if target == "*" else "GET", target))[0]
    assert answer.status == 200 or answer.error


@pytest.mark.parametrize("cut", ["in one packet", "head and body apart", "in single bytes"])
@pytest.mark.parametrize("protocol", ["websocket", "h2c", "anything"])
def test_an_upgrade_that_is_not_offered_is_not_made(offline: Process, protocol: str, cut: str) -> None:
    # Java's HttpClient wishes for h2c with every first request, bodies and all.
    wish = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]
    length = f"Content-Length: {len(GOOD)}"
    data = request("POST", CHAT, GOOD, "Content-Type: application/json", length, *wish)
    size = {"in one packet": len(data), "head and body apart": len(data) - len(GOOD), "in single bytes": 1}[cut]
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with socket.create_connection(("127.0.0.1", offline.port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request("GET", "/health", b"", *wish))
        assert read_responses(connection, 1)[0].status == 200
        for piece in pieces:
            connection.sendall(piece)
        assert read_responses(connection, 1)[0].status == 200
        connection.sendall(request("GET", "/health"))
        assert read_responses(connection, 1)[0].status == 200
    assert "upgrade" not in offline.log_path.read_text().lower()


def test_a_connection_serves_many_requests(offline: Process) -> None:
    with socket.create_connection(("127.0.0.1", offline.port), 10) as connection:
        for number in range(30):
            connection.sendall(post(STREAMED if number % 2 else GOOD))
            answer = read_responses(connection, 1)[0]
            assert answer.status == 200
            assert (b"data: [DONE]" in answer.body) == bool(number % 2)


def test_a_connection_closes_after_the_answer_where_that_was_asked(offline: Process) -> None:
    length = f"Content-Length: {len(STREAMED)}"
    data = request("POST", CHAT, STREAMED, "Content-Type: application/json", length, "Connection: close")
    answers = converse(offline.port, data, responses=2)
    assert len(answers) == 1
    assert answers[0].headers["connection"] == "close"
    assert answers[0].body.endswith(b"data: [DONE]\n\n")


def test_readers_that_leave_at_once_leave_nothing_behind(offline: Process) -> None:
    for data in (b"", b"G", post(GOOD)[:-1], post(GOOD), post(STREAMED)):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", offline.port), 10) as connection:
                connection.sendall(data)


def test_no_trace_of_a_fault_of_our_own_is_in_the_log(offline: Process) -> None:
    assert [line for line in offline.log if line["level"] == "error" or "exception" in line] == []
