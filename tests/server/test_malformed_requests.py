"""6,000 malformed requests, over every route: each gets a 4xx with a JSON error, none hangs, and the server stays well.

Each kind is a way of being wrong, and each of its requests is wrong in that way for sure; chance is seeded. With those
of `test_malformed_sockets.py` they are 10,000.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from tests.server.conftest import Process, process
from tests.server.raw import ANSWER_SECONDS, Response, assert_nothing_grows, read_responses, request, settled
from tests.server.test_openapi import EXAMPLES

REQUESTS = 6000
AT_ONCE = 125

BODIES = {
    name.removeprefix("POST ").replace("{assistant}", "basic"): media["example"] for name, media in EXAMPLES.items()
}
PATHS = tuple(BODIES)
# Whose bodies may be declared as anything, or as nothing.
LOOSE = ("/api/generate", "/api/chat")
Chance = random.Random


def sent(chance: Chance, body: bytes, *headers: str, path: str | None = None) -> bytes:
    """A request with this body, declared as JSON unless `headers` say otherwise."""
    given = headers or ("Content-Type: application/json",)
    return request("POST", path or chance.choice(PATHS), body, *given, f"Content-Length: {len(body)}")


def good(chance: Chance) -> tuple[str, bytes]:
    path = chance.choice(PATHS)
    return path, json.dumps(BODIES[path]).encode()


def noise(chance: Chance, most: int = 60) -> bytes:
    return bytes(chance.randrange(256) for _ in range(chance.randint(1, most)))


# -- HTTP


def broken_first_line(chance: Chance) -> bytes:
    path = chance.choice(PATHS)
    line = chance.choice(
        [
            f"POST{path} HTTP/1.1",
            f"P\x00ST {path} HTTP/1.1",
            f"POST {path} HTTP/9.{chance.randrange(100)}",
            f"POST {path} SPDY/{chance.randrange(10)}",
            f"BREW{chance.randrange(1000)} {path} HTTP/1.1",
            f"POST {path}",
            "\x16\x03\x01\x02\x00\x01",
            "",
            ": : :",
        ]
    )
    return f"{line}\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{{}}".encode("latin-1")


def broken_headers(chance: Chance) -> bytes:
    path, body = good(chance)
    line = chance.choice(
        [
            "no colon at all",
            "Bad Name: x",
            "X-Nul: a\x00b",
            ": nameless",
            "X-Control: a\x01b\x7fc",
            f"X-Long: {'x' * 40_000}",
            "Host: 127.0.0.2",
            "Host : 127.0.0.1",
        ]
    )
    return request("POST", path, body, "Content-Type: application/json", line, f"Content-Length: {len(body)}")


def no_host_that_is_ours(chance: Chance) -> bytes:
    path, body = good(chance)
    host = chance.choice(
        ["", "Host: evil.example", "Host: 127.0.0.1.evil.example", "Host: [::2]", "Host: \xff\xfe", "Host:"]
    )
    return request("POST", path, body, "Content-Type: application/json", f"Content-Length: {len(body)}", host=host)


def broken_length(chance: Chance) -> bytes:
    path, body = good(chance)
    size = len(body)
    line = chance.choice(
        [
            "Content-Length: -1",
            "Content-Length: many",
            f"Content-Length: {10 ** chance.randint(20, 300)}",
            f"Content-Length: {size}\r\nContent-Length: {size + 1}",
            f"Content-Length: {size}\r\nTransfer-Encoding: chunked",
            "Content-Length: 0x10",
            f"Content-Length: +{size}",
            f"Content-Length: {size} {size}",
        ]
    )
    return request("POST", path, body, "Content-Type: application/json", line)


def broken_chunks(chance: Chance) -> bytes:
    path, body = good(chance)
    chunks = chance.choice(
        [
            b"zz\r\n%b\r\n0\r\n\r\n" % body,
            b"-5\r\n%b\r\n0\r\n\r\n" % body,
            b"%x\r\n%b0\r\n\r\n" % (len(body), body + b"xx"),
            b"%x\r\n%b\r\n0\r\n\r\n" % (2**70 + chance.randrange(99), body),
            b"\r\n\r\n\r\n",
            b"5;\x00\x01=\xff\r\n{}\r\n",
            b"0x5\r\n{   }\r\n0\r\n\r\n",
        ]
    )
    return request("POST", path, chunks, "Content-Type: application/json", "Transfer-Encoding: chunked")


def unfinished(chance: Chance) -> bytes:
    path, body = good(chance)
    whole = sent(chance, body, path=path)
    if chance.random() < 0.3:
        return whole[: chance.randrange(1, len(whole) - len(body))]
    return whole[: -chance.randint(1, len(body))]


# -- bodies


def no_json(chance: Chance) -> bytes:
    _, body = good(chance)
    text = chance.choice(
        [
            body[: chance.randrange(len(body))],
            body + b"}",
            body.replace(b":", b"=", 1),
            body.replace(b'"', b"'"),
            b"",
            b"   \n\t ",
            b"model=offline&prompt=hi",
            b"<xml/>",
            b"\xef\xbb\xbf" + noise(chance),
            b"{" + noise(chance) + b"}",
            b'{"prompt": NaN, "query": Infinity}',
            b'{"model": "offline",}',
            b"// a comment\n{",
        ]
    )
    return sent(chance, text)


def no_object(chance: Chance) -> bytes:
    value: object = chance.choice([None, True, 0, -1.5, "text", [], [[]], ["a", 1], [{}], "{}", 10**400])
    return sent(chance, json.dumps(value).encode())


def nested_too_deep(chance: Chance) -> bytes:
    depth = chance.choice([65, 100, 1000, 50_000])
    opened, closed = chance.choice([("[", "]"), ('{"a":', "}")])
    inner = "1" if opened != "[" else ""
    path, body = good(chance)
    closing = closed * depth if chance.random() < 0.7 else ""
    return sent(chance, body[:-1] + f', "x": {opened * depth}{inner}{closing}}}'.encode(), path=path)


def no_utf8(chance: Chance) -> bytes:
    path, body = good(chance)
    return chance.choice(
        [
            sent(chance, body.replace(b"stream", b"str\xff\xfeeam"), path=path),
            sent(chance, body.replace(b"stream", b"\xed\xa0\x80"), path=path),
            sent(chance, body.replace(b"stream", b"\xc0\xaf"), path=path),
            sent(chance, body.decode().encode("utf-16"), path=path),
            sent(chance, body.replace(b"stream", rb"\ud800"), path=path),
        ]
    )


def wrong_types(chance: Chance) -> bytes:
    path = chance.choice(PATHS)
    body = dict(BODIES[path])
    wrong: dict[str, list[object]] = {
        "model": [5, [], {}, True],
        "stream": ["yes", 1, [], {}],
        "headrace": ["now", 1, [], {"timeouts": {"total": -1}}, {"timeouts": {"nine": 1}}, {"on_disconnect": "later"},
                     {"heartbeat_seconds": -1}, {"event_ids": "x"}],
    }  # fmt: skip
    if path in LOOSE or path == "/api/generate/stream":
        wrong |= {"options": [1, "x", {"num_predict": "many"}, {"seed": 1.5}], "format": [1, "xml"], "think": [[], {}],
                  "tools": ["x", [1]]}  # fmt: skip
    else:
        wrong |= {
            "max_tokens": [0, -1, 2**40, 10**30, "many", 1.5, {}],
            "temperature": ["hot", [], {}],
            "n": [0, -1, 10**9, "two"],
            "stop": [1, {}, [1]],
            "tools": ["x", {}, [1]],
            "response_format": ["json", 1],
            "metadata": [1, "x", []],
            "top_logprobs": ["x", []],
            "seed": ["x", {}],
        }
    if path.endswith("/chat/completions") or path == "/api/chat":
        wrong["messages"] = [
            *(1, "x", {}, [1], [[]]),
            *([{"role": 5, "content": "x"}], [{"content": "x"}], [{"role": "user", "content": 1}]),
        ]
    name = chance.choice(sorted(wrong))
    if path == "/api/query" and name == "stream":
        name = "model"  # one type is as good as another
    body[name] = chance.choice(wrong[name])
    return sent(chance, json.dumps(body).encode(), path=path)


# -- what stands round the body


def wrong_content_type(chance: Chance) -> bytes:
    path = chance.choice([path for path in PATHS if path not in LOOSE])
    body = json.dumps(BODIES[path]).encode()
    kind = chance.choice(
        [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "json",
            "",
            "*/*",
            "application/json, text/plain",
            "\xff\xff",
            "text/json",
        ]
    )
    return sent(chance, body, f"Content-Type: {kind}", path=path)


def wrong_options(chance: Chance) -> bytes:
    path, body = good(chance)
    header = chance.choice(
        [
            "Headrace-Stream: short",
            "Headrace-Stream: " + "x" * 200,
            "Headrace-Stream: ../../../../etc/passwd-and-more",
            "Headrace-Timeouts: soon",
            "Headrace-Timeouts: total=-1",
            "Headrace-Timeouts: total=1e999",
            "Headrace-Timeouts: nine=9",
            "Headrace-Heartbeat: often",
            "Headrace-Heartbeat: nan",
            "Headrace-On-Disconnect: perhaps",
            "Headrace-On-Disconnect: -5",
            "Headrace-Rationale: maybe",
            "Headrace-Event-Ids: \xe9",
            "Headrace-Early-Headers: maybe",
            "Origin: https://evil.example",
            "Origin: null",
        ]
    )
    return sent(chance, body, "Content-Type: application/json", header, path=path)


def wrong_address(chance: Chance) -> bytes:
    path = chance.choice(
        [
            f"/v1/streams/{'0' * chance.randint(0, 300)}",
            "/v1/streams/%00",
            "/v1/streams/%ff%fe/events",
            "/v1/streams/x/events?after=-1",
            f"/v1/streams/x/events?after={'9' * 40}",
            "/v1/streams/x/events?protocol=%F0%9F%92%A9",
            "/v1/models/" + "%2F" * chance.randint(1, 50) + "x",
            "/v1/models/%",
            "/pages/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "//",
            f"/{'a/' * chance.randint(1, 500)}",
            "/chat/basic/",
            "/docs/",
        ]
    )
    return request(chance.choice(["GET", "DELETE", "PATCH", "PUT", "TRACE"]), path)


KINDS: tuple[Callable[[Chance], bytes], ...] = (
    broken_first_line,
    broken_headers,
    no_host_that_is_ours,
    broken_length,
    broken_chunks,
    unfinished,
    no_json,
    no_object,
    nested_too_deep,
    no_utf8,
    wrong_types,
    wrong_content_type,
    wrong_options,
    wrong_address,
)
EACH = -(-REQUESTS // len(KINDS))


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that does not wait long for the rest of a request."""
    with process(tmp_path_factory.mktemp("hasty"), "[server]\nheader_seconds = 0.3\nbody_seconds = 0.3\n") as server:
        yield server


def is_told(answer: Response) -> bool:
    """Whether this is an error as every route, or Ollama's, writes it."""
    body = json.loads(answer.body)
    error = body["error"]
    if isinstance(error, str):
        return bool(error and body["code"])
    return bool(error["message"] and error["code"] and error["type"])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_malformed_request_gets_an_error_that_says_what_is_wrong(
    hasty: Process, kind: Callable[[Chance], bytes]
) -> None:
    seen: Counter[int] = Counter()
    for start in range(0, EACH, AT_ONCE):
        with contextlib.ExitStack() as stack:
            waiting = []
            for seed in range(start, min(start + AT_ONCE, EACH)):
                data = kind(Chance(f"{kind.__name__} {seed}"))
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", hasty.port), ANSWER_SECONDS))
                with contextlib.suppress(OSError):  # it has heard enough, and its answer waits to be read
                    connection.sendall(data)
                waiting.append((data, connection))
            for data, connection in waiting:
                answers = read_responses(connection, 1)
                assert answers, data[:300]
                (answer,) = answers
                assert 400 <= answer.status < 500, (data[:500], answer)
                assert answer.headers["content-type"] == "application/json", (data[:300], answer)
                assert is_told(answer), (data[:300], answer)
                seen[answer.status] += 1
    assert seen.total() == EACH
    assert settled(hasty.port)["status"] == "ok"
    assert not [line for line in hasty.log if line["level"] == "error" or "exception" in line]


def test_the_kinds_come_to_thousands_of_requests() -> None:
    assert len(KINDS) * EACH >= REQUESTS


def test_nothing_grows_with_what_is_malformed(hasty: Process) -> None:
    def visit(seed: int) -> None:
        # Not the unfinished ones, which take their time.
        data = [kind(Chance(f"again {kind.__name__} {seed}")) for kind in KINDS if kind is not unfinished]
        for each in data:
            with socket.create_connection(("127.0.0.1", hasty.port), ANSWER_SECONDS) as connection:
                with contextlib.suppress(OSError):
                    connection.sendall(each)
                assert read_responses(connection, 1)

    assert_nothing_grows(hasty, visit)
