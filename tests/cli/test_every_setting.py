"""L52: every setting does something. Two servers, one with the defaults and one with everything changed, are looked at
through one proof for each setting; a setting without a proof fails here."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
import pytest
from tests.cli.conftest import DEADLINE_SECONDS, Command, Upstream, delta, finish
from tests.cli.test_tokenizer import with_tokenizer

from headrace.clock import SystemClock
from headrace.events import Ended, TextDelta
from headrace.requests import GenerationRequest
from headrace.runs.first_tokens import LEAST_ANSWERS
from headrace.server.wiring import open_store
from headrace.settings import Settings, StoreSettings
from headrace.streams.database import Database, Durability

REASONING = b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
LIKE_ALICE = {"Authorization": "Bearer alice"}
LIKE_BOB = {"Authorization": "Bearer bob"}


@dataclass
class Running:
    """One of the two servers."""

    url: str
    headers: dict[str, str]

    @contextmanager
    def request(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        """One request and its response, which is closed at the end whether it was read or not."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=DEADLINE_SECONDS)
        data = None if body is None else json.dumps(body)
        more = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, data, {**self.headers, **more, **headers})
        try:
            yield connection.getresponse()
        finally:
            connection.close()

    @contextmanager
    def ask(self, model: str | None, **more: object) -> Iterator[http.client.HTTPResponse]:
        """A streamed answer of `/chat/basic`."""
        body = {"query": "hi", "stream": True, **({} if model is None else {"model": model}), **more}
        with self.request("POST", "/chat/basic", body) as response:
            yield response

    def frames(self, model: str | None, **more: object) -> list[dict[str, Any]]:
        """The frames of a whole streamed answer."""
        with self.ask(model, **more) as response:
            frames = [line[6:] for line in response.read().decode().split("\n") if line.startswith("data: ")]
        return [json.loads(frame) for frame in frames if frame != "[DONE]"]

    def error_code(self, model: str) -> str:
        """The code of an answer that fails."""
        return str(self.frames(model)[-1]["code"])

    def status(self, method: str, path: str, body: object = None, **headers: str) -> int:
        """The status of a request."""
        with self.request(method, path, body, **headers) as response:
            return response.status

    def json(self, path: str) -> Any:
        """What a `GET` gives."""
        with self.request("GET", path) as response:
            return json.loads(response.read())

    def connect(self) -> socket.socket:
        """A bare connection."""
        place = urlsplit(self.url)
        assert place.hostname is not None
        return socket.create_connection((place.hostname, place.port or 0), DEADLINE_SECONDS)


@dataclass
class Both:
    """What a proof looks at."""

    default: Running
    changed: Running
    upstream: Upstream
    port: int
    """The one that the changed settings ask for."""
    folder: Path
    """Where the changed server runs."""

    def asked(self) -> dict[str, Any]:
        """The body of the last request that reached the upstream."""
        return self.upstream.requests[-1]


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The two servers, and the upstream that both know."""
    upstream = Upstream(
        by_model={
            "echo": [delta("abcdefgh"), finish()],
            "thinks": [REASONING, delta("so"), finish()],
            "hangs": [delta("a"), None],
            "silent": [None],
            "drips": [piece for _ in range(200) for piece in (delta("."), 0.2)],
            "breaks": [delta("One, two, three, four, five")],
            "floods": [*([delta("x" * 60_000)] * 300), finish()],
        }
    )
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    # A listener whose queue is full answers no further connection: the system drops it.
    filling = [socket.socket() for _ in range(4)]
    for each in filling:
        each.setblocking(False)
        each.connect_ex(deaf.getsockname())
    base_url = f'base_url = "http://127.0.0.1:{upstream.port}/v1"'
    patient = "timeouts = { first_token = 60, between_tokens = 60, total = 60 }"
    port, proxy = free_port(), f"http://127.0.0.1:{upstream.port}"
    changed = Command(tmp_path_factory.mktemp("changed"), {"LAB_KEY": "sk-lab", "HTTP_PROXY": proxy})
    changed.settings(
        f"""
        [server]
        host = "localhost"
        port = {port}
        auth = true
        heartbeat_seconds = 0.4
        allowed_hosts = ["app.example"]
        allowed_origins = ["https://app.example"]
        body_limit_bytes = 2000
        header_limit_bytes = 2000
        header_seconds = 0.5
        body_seconds = 0.5
        write_stall_seconds = 0.5
        keep_alive_seconds = 1.0
        max_streams = 3
        max_readers = 4
        max_readers_per_stream = 2
        long_poll_seconds = 0.2
        [store]
        max_byte_logs = 3
        byte_log_limit_bytes = 4500
        byte_logs_limit_bytes = 9000
        retention_hours = 0.0003
        path = "streams/kept.db"
        [documents]
        limit_bytes = 1000
        max_per_owner = 1
        [timeouts]
        connect = 0.3
        first_token = 0.5
        between_tokens = 0.5
        total = 1.5
        [[upstreams]]
        name = "lab"
        {base_url}
        {patient}
        api_key_env = "LAB_KEY"
        max_tokens_field = "max_completion_tokens"
        [[upstreams]]
        name = "hasty"
        {base_url}
        [[upstreams]]
        name = "single"
        {base_url}
        {patient}
        max_concurrent = 1
        [[upstreams]]
        name = "through"
        base_url = "http://127.0.0.1:1/v1"
        transport = "httpx2"
        [[upstreams]]
        name = "deaf"
        base_url = "http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        timeouts = {{ total = 30 }}
        [[upstreams]]
        name = "down"
        base_url = "http://127.0.0.1:1/v1"
        [[upstreams]]
        name = "goes-on"
        {base_url}
        prefill = "prefix"
        [[models]]
        name = "fast"
        upstreams = ["down/echo", "lab/echo"]
        [[upstreams]]
        name = "lazy"
        {base_url}
        {patient}
        min_characters_per_second = 50
        [[models]]
        name = "guarded"
        upstreams = ["lazy/drips", "lab/echo"]
        [[models]]
        name = "ends"
        upstreams = ["goes-on/breaks"]
        on_interruption = "end"
        [[models]]
        name = "prompted"
        upstreams = ["lab/breaks"]
        continue_prompt = true
        [[models]]
        name = "hedged"
        upstreams = ["lab/slows"]
        hedge = true
        [[models]]
        name = "forgets"
        upstreams = ["lab/echo"]
        context_tokens = 8
        [assistants.basic]
        model = "lab/echo"
        instructions = "Answer as a pirate."
        language = "de"
        rationale = false
        metadata = false
        chunk_size = 3
        history_turns = 1
        [[keys]]
        owner = "alice"
        hash = "{hash_of("alice")}"
        [[keys]]
        owner = "bob"
        hash = "{hash_of("bob")}"
        [[keys]]
        owner = "carol"
        hash = "{hash_of("frugal")}"
        max_streams = 1
        [[keys]]
        owner = "carol"
        hash = "{hash_of("alone")}"
        max_readers = 1
        [[keys]]
        owner = "carol"
        hash = "{hash_of("rare")}"
        requests_per_minute = 1
        """
    )
    default = Command(tmp_path_factory.mktemp("default"), {"LAB_KEY": "sk-lab"})
    default.settings(f'[[upstreams]]\nname = "lab"\n{base_url}')
    processes = [
        default.start("serve", "--config", "settings.toml", "--port", "0"),
        changed.start("serve", "--config", "settings.toml"),
    ]
    urls = []
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1].decode()
        urls.append(json.loads(line)["url"])
    yield Both(Running(urls[0], {}), Running(urls[1], LIKE_ALICE), upstream, port, changed.folder)
    for process in processes:
        process.kill()
        process.communicate()
    for each in (*filling, deaf):
        each.close()
    upstream.stop()


Proof = Callable[[Both], None]
PROOFS: dict[str, Proof] = {}


def proves(setting: str) -> Callable[[Proof], Proof]:
    """Registers the proof that changing `setting` changes what the server does."""

    def register(proof: Proof) -> Proof:
        PROOFS[setting] = proof
        return proof

    return register


@proves("server.host")
def _(both: Both) -> None:
    assert both.changed.url.startswith("http://localhost:")
    assert both.changed.status("GET", "/health") == 200


@proves("server.port")
def _(both: Both) -> None:
    assert both.changed.url == f"http://localhost:{both.port}"


@proves("server.auth")
def _(both: Both) -> None:
    assert Running(both.changed.url, {}).status("GET", "/v1/models") == 401
    assert both.default.status("GET", "/v1/models") == 200


@proves("keys.hash")
def _(both: Both) -> None:
    assert Running(both.changed.url, {"Authorization": "Bearer mallory"}).status("GET", "/v1/models") == 401
    assert both.changed.status("GET", "/v1/models") == 200


@proves("keys.owner")
def _(both: Both) -> None:
    with both.changed.ask("lab/hangs") as response:
        path = f"/v1/streams/{response.headers['Headrace-Stream']}"
        assert Running(both.changed.url, LIKE_BOB).status("GET", path) == 404
        assert both.changed.status("GET", path) == 200


@proves("keys.max_streams")
def _(both: Both) -> None:
    frugal = Running(both.changed.url, {"Authorization": "Bearer frugal"})
    with frugal.ask("lab/hangs"):
        assert frugal.status("POST", "/chat/basic", {"query": "hi"}) == 429
        assert both.changed.status("POST", "/chat/basic", {"query": "hi"}) == 200


@proves("keys.max_readers")
def _(both: Both) -> None:
    alone = Running(both.changed.url, {"Authorization": "Bearer alone"})
    with alone.ask("lab/hangs") as response:
        path = f"/v1/streams/{response.headers['Headrace-Stream']}/events"
        assert alone.status("GET", path) == 429
        assert Running(both.changed.url, {"Authorization": "Bearer frugal"}).status("GET", path) == 200


@proves("keys.requests_per_minute")
def _(both: Both) -> None:
    rare = Running(both.changed.url, {"Authorization": "Bearer rare"})
    assert [rare.status("GET", "/v1/models") for _ in range(2)] == [200, 429]


@proves("server.heartbeat_seconds")
def _(both: Both) -> None:
    with both.changed.ask("lab/silent") as response:
        while not (line := response.readline()).startswith(b":"):
            assert line, "the answer ended before a heartbeat came"


@proves("server.allowed_hosts")
def _(both: Both) -> None:
    statuses = [each.status("GET", "/health", Host="app.example") for each in (both.default, both.changed)]
    assert statuses == [403, 200]


@proves("server.allowed_origins")
def _(both: Both) -> None:
    origin = "https://app.example"
    statuses = [
        each.status("POST", "/chat/basic", {"query": "hi"}, Origin=origin) for each in (both.default, both.changed)
    ]
    assert statuses == [403, 200]


@proves("server.body_limit_bytes")
def _(both: Both) -> None:
    body = {"query": "hi", "more": "x" * 3000}
    assert [each.status("POST", "/chat/basic", body) for each in (both.default, both.changed)] == [200, 413]


@proves("server.header_limit_bytes")
def _(both: Both) -> None:
    assert both.default.status("GET", "/health", **{"X-Long": "x" * 3000}) == 200
    assert 400 <= both.changed.status("GET", "/health", **{"X-Long": "x" * 3000}) < 500


def answer_to_half(running: Running, head: bytes) -> bytes:
    """What the server says to a request that never becomes whole."""
    with running.connect() as connection:
        connection.sendall(head)
        return connection.recv(65536)


@proves("server.header_seconds")
def _(both: Both) -> None:
    assert b" 408 " in answer_to_half(both.changed, b"POST /chat/basic HTTP/1.1\r\nHost: localhost\r\n")


@proves("server.body_seconds")
def _(both: Both) -> None:
    head = b"POST /chat/basic HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice\r\n"
    assert b" 408 " in answer_to_half(
        both.changed, head + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )


@proves("server.write_stall_seconds")
def _(both: Both) -> None:
    body = b'{"query": "hi", "stream": true, "model": "lab/floods"}'
    head = b"POST /chat/basic HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice\r\n"
    with both.changed.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        beginning = b""
        while b"\r\n\r\n" not in beginning:
            beginning += connection.recv(4096)
        read = len(beginning)
        stream_id = beginning.lower().partition(b"headrace-stream: ")[2].partition(b"\r\n")[0].decode()
        # From here on it takes nothing, until the server has had enough of that.
        deadline = time.monotonic() + DEADLINE_SECONDS
        while both.changed.json(f"/v1/streams/{stream_id}")["readers"]:
            assert time.monotonic() < deadline, "the connection is still open"
            time.sleep(0.05)
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 20):
                read += len(piece)
    assert 0 < read < 18_000_000, "the connection was closed, and what had not been taken is not there"


@proves("server.keep_alive_seconds")
def _(both: Both) -> None:
    for running, closes in ((both.changed, True), (both.default, False)):
        with running.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536)
            connection.settimeout(DEADLINE_SECONDS if closes else 2.2)
            if closes:
                assert connection.recv(1) == b""
            else:
                with pytest.raises(TimeoutError):
                    connection.recv(1)


@proves("server.max_streams")
def _(both: Both) -> None:
    with both.changed.ask("lab/hangs"), both.changed.ask("lab/hangs"), both.changed.ask("lab/hangs"):
        assert both.changed.status("POST", "/chat/basic", {"query": "hi", "stream": True}) == 503
        assert both.default.status("POST", "/chat/basic", {"query": "hi", "stream": True}) == 200


@contextmanager
def readers_of_one_stream(running: Running, count: int) -> Iterator[str]:
    """A stream that goes on, with so many readers, and where its events are."""
    with ExitStack() as stack:
        response = stack.enter_context(running.ask("lab/hangs"))
        path = f"/v1/streams/{response.headers['Headrace-Stream']}/events"
        for _ in range(count - 1):
            assert stack.enter_context(running.request("GET", path)).status == 200
        yield path


@proves("server.max_readers")
def _(both: Both) -> None:
    for running, status in ((both.changed, 503), (both.default, 200)):
        with readers_of_one_stream(running, 2), readers_of_one_stream(running, 2):
            assert running.status("POST", "/chat/basic", {"query": "hi", "stream": True}) == status


@proves("server.max_readers_per_stream")
def _(both: Both) -> None:
    for running, status in ((both.changed, 503), (both.default, 200)):
        with readers_of_one_stream(running, 2) as path:
            assert running.status("GET", path) == status


def statuses_of_documents(running: Running, *texts: str) -> list[int]:
    """How adding these texts is answered."""
    return [
        running.status("POST", f"/v1/documents?name={place}.txt", text, **{"Content-Type": "text/plain"})
        for place, text in enumerate(texts)
    ]


@proves("documents.limit_bytes")
def _(both: Both) -> None:
    assert [statuses_of_documents(each, "word " * 300) for each in (both.default, both.changed)] == [[201], [413]]


@proves("documents.max_per_owner")
def _(both: Both) -> None:
    assert statuses_of_documents(both.default, "One.", "Two.") == [201, 201]
    assert statuses_of_documents(both.changed, "One.", "Two.") == [201, 409]


@proves("store.path")
def _(both: Both) -> None:
    assert (both.folder / "streams" / "kept.db").stat().st_size > 0
    assert not (both.folder / ".local").exists()


@proves("store.retention_hours")
def _(both: Both) -> None:
    with both.changed.ask("lab/echo") as response:
        response.read()
        path = f"/v1/streams/{response.headers['Headrace-Stream']}"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while both.changed.status("GET", path) == 200:
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.1)  # what is waited for is the retention
    with both.default.ask("lab/echo") as response:
        response.read()
        path = f"/v1/streams/{response.headers['Headrace-Stream']}"
    time.sleep(2.5)  # longer than the changed retention and its sweep
    assert both.default.status("GET", path) == 200


@contextmanager
def byte_logs(running: Running, *contents: str) -> Iterator[list[str]]:
    """Streams of its own with such contents; gives their addresses."""
    paths = [f"/v1/stream/of-settings-{number}" for number in range(len(contents))]
    try:
        for path, content in zip(paths, contents, strict=True):
            assert running.status("PUT", path, content or None) == 201
        yield paths
    finally:
        for path in paths:
            assert running.status("DELETE", path) == 204


def refusal(running: Running, method: str, path: str, body: object = None) -> tuple[int, str]:
    """Status and message of a request that is refused; an empty message for one that is not."""
    with running.request(method, path, body) as response:
        text = response.read()
        return response.status, json.loads(text)["error"]["message"] if text else ""


@proves("server.long_poll_seconds")
def _(both: Both) -> None:
    with byte_logs(both.changed, "") as (path,):
        assert both.changed.status("GET", f"{path}?offset=now&live=long-poll") == 204
    with byte_logs(both.default, "") as (path,), both.default.connect() as connection:
        connection.sendall(b"GET %b?offset=now&live=long-poll HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        connection.settimeout(1.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)


@proves("store.max_byte_logs")
def _(both: Both) -> None:
    for running, status in ((both.default, 201), (both.changed, 503)):
        with byte_logs(running, "", "", ""):
            said = refusal(running, "PUT", "/v1/stream/one-more")
            assert said[0] == status
            assert ("store.max_byte_logs" in said[1]) == (status == 503)
    assert both.default.status("DELETE", "/v1/stream/one-more") == 204


@proves("store.byte_log_limit_bytes")
def _(both: Both) -> None:
    for running, status in ((both.default, 204), (both.changed, 413)):
        with byte_logs(running, "x" * 1500) as (path,):
            said = refusal(running, "POST", path, "x" * 1500)
            assert said[0] == status
            assert ("store.byte_log_limit_bytes" in said[1]) == (status == 413)


@proves("store.byte_logs_limit_bytes")
def _(both: Both) -> None:
    for running, status in ((both.default, 204), (both.changed, 503)):
        with byte_logs(running, "x" * 1500, "x" * 1000, "x") as (_, _, path):
            said = refusal(running, "POST", path, "x" * 1500)
            assert said[0] == status
            assert ("store.byte_logs_limit_bytes" in said[1]) == (status == 503)


@proves("timeouts.connect")
def _(both: Both) -> None:
    assert both.changed.error_code("deaf/echo") == "connect_timeout"


@proves("timeouts.first_token")
def _(both: Both) -> None:
    assert both.changed.error_code("hasty/silent") == "first_token_timeout"


@proves("timeouts.between_tokens")
def _(both: Both) -> None:
    assert both.changed.error_code("hasty/hangs") == "between_tokens_timeout"


@proves("timeouts.total")
def _(both: Both) -> None:
    assert both.changed.error_code("hasty/drips") == "total_timeout"


@proves("upstreams.timeouts")
def _(both: Both) -> None:
    with both.changed.ask("lab/drips") as response:
        started = time.monotonic()
        while time.monotonic() - started < 2.5:
            assert response.readline(), "what ends `hasty` after 1.5 s does not end `lab`"


@proves("upstreams.name")
def _(both: Both) -> None:
    assert both.changed.frames("hasty/echo")[0]["model"] == "hasty/echo"
    assert both.default.status("POST", "/chat/basic", {"query": "hi", "model": "hasty/echo"}) == 404


@proves("upstreams.base_url")
def _(both: Both) -> None:
    before = len(both.upstream.requests)
    both.default.frames("lab/echo")
    assert len(both.upstream.requests) == before + 1
    assert both.changed.error_code("down/echo") == "upstream_unreachable"


@proves("upstreams.api_key_env")
def _(both: Both) -> None:
    both.changed.frames("lab/echo")
    assert both.upstream.headers[-1]["authorization"] == "Bearer sk-lab"
    both.default.frames("lab/echo")
    assert "authorization" not in both.upstream.headers[-1]


@proves("upstreams.max_concurrent")
def _(both: Both) -> None:
    with both.changed.ask("single/hangs") as first, both.changed.ask("single/echo") as second:
        assert first.readline()
        while b'"token"' not in first.readline():
            pass
        asked = len(both.upstream.requests)
        assert both.asked()["model"] == "hangs"
        assert both.changed.status("POST", f"/v1/streams/{first.headers['Headrace-Stream']}/cancel", {}) == 200
        assert b"abc" in second.read()
        assert len(both.upstream.requests) == asked + 1


@proves("upstreams.max_tokens_field")
def _(both: Both) -> None:
    for running, name in ((both.default, "max_tokens"), (both.changed, "max_completion_tokens")):
        running.frames("lab/echo", max_tokens=9)
        assert {key: value for key, value in both.asked().items() if key.startswith("max")} == {name: 9}


@proves("upstreams.transport")
def _(both: Both) -> None:
    # Both lead to a port where nobody listens, past which only a proxy leads: HTTP_PROXY is the upstream itself.
    assert both.changed.error_code("down/echo") == "upstream_unreachable"
    assert both.changed.frames("through/echo")[-1]["finish_reason"] == "stop"


@proves("models.name")
def _(both: Both) -> None:
    assert both.default.status("POST", "/chat/basic", {"query": "hi", "model": "fast"}) == 404
    with both.changed.request("GET", "/v1/models") as response:
        assert "fast" in [model["id"] for model in json.load(response)["data"]]


@proves("models.upstreams")
def _(both: Both) -> None:
    assert both.changed.frames("fast")[-1]["finish_reason"] == "stop", "the first is down, the second answers"


def asked_for(both: Both, running: Running, model: str) -> list[Any]:
    """The last message of each request that an answer that breaks off comes to."""
    before = len(both.upstream.requests)
    assert running.error_code(model) == "upstream_truncated"
    return [request["messages"][-1] for request in both.upstream.requests[before:]]


@proves("upstreams.min_characters_per_second")
def _(both: Both) -> None:
    frames = both.changed.frames("guarded")
    assert next(frame for frame in frames if frame["type"] == "status")["to"] == "lab/echo"
    assert frames[-1]["content"] == "abcdefgh"


@proves("upstreams.prefill")
def _(both: Both) -> None:
    assert len(asked_for(both, both.default, "lab/breaks")) == 1
    _, again, *_ = asked_for(both, both.changed, "goes-on/breaks")
    assert again == {"role": "assistant", "content": "One, two, three, four, five", "prefix": True}


@proves("models.on_interruption")
def _(both: Both) -> None:
    assert len(asked_for(both, both.changed, "ends")) == 1


@proves("models.continue_prompt")
def _(both: Both) -> None:
    assert len(asked_for(both, both.changed, "lab/breaks")) == 1
    _, again, *_ = asked_for(both, both.changed, "prompted")
    assert (again["role"], "cut off" in again["content"]) == ("user", True)


@proves("models.hedge")
def _(both: Both) -> None:
    scripts = both.upstream.by_model
    asked = ((both.default, "lab/slows"), (both.changed, "hedged"))
    scripts["slows"] = scripts["echo"]
    for _ in range(LEAST_ANSWERS):
        assert [running.frames(model)[-1]["type"] for running, model in asked] == ["metadata", "done"]
    scripts["slows"] = [0.5, *scripts["echo"]]
    frames = [running.frames(model) for running, model in asked]
    told = [[frame["phase"] for frame in each if frame["type"] == "status"] for each in frames]
    assert told == [[], ["retrying"]]


@proves("models.context_tokens")
def _(both: Both) -> None:
    for model, trimmed, asked in (("lab/echo", [], 2), ("forgets", ["trimmed"], 1)):
        conversation = both.changed.frames(model, query="one " * 8)[0]["conversation_id"]
        frames = both.changed.frames(model, query="two", conversation_id=conversation)
        assert [frame["phase"] for frame in frames if frame["type"] == "status"] == trimmed
        assert len([each for each in both.asked()["messages"] if each["role"] == "user"]) == asked


@proves("assistants.model")
def _(both: Both) -> None:
    assert [running.frames(None)[0]["model"] for running in (both.default, both.changed)] == ["offline", "lab/echo"]


@proves("assistants.instructions")
def _(both: Both) -> None:
    both.changed.frames("lab/echo")
    assert "Answer as a pirate." in both.asked()["messages"][0]["content"]
    both.default.frames("lab/echo")
    assert [message["role"] for message in both.asked()["messages"]] == ["user"]


@proves("assistants.language")
def _(both: Both) -> None:
    languages = [running.frames("lab/echo")[0]["language"] for running in (both.default, both.changed)]
    assert languages == [None, "de"]


def types(running: Running, model: str) -> list[str]:
    return [frame["type"] for frame in running.frames(model)]


@proves("assistants.rationale")
def _(both: Both) -> None:
    assert "rationale" in types(both.default, "lab/thinks")
    assert "rationale" not in types(both.changed, "lab/thinks")


@proves("assistants.metadata")
def _(both: Both) -> None:
    assert "metadata" in types(both.default, "lab/echo")
    assert "metadata" not in types(both.changed, "lab/echo")


@proves("assistants.chunk_size")
def _(both: Both) -> None:
    for running, pieces in ((both.default, ["abcdefgh"]), (both.changed, ["abc", "def", "gh"])):
        assert [frame["content"] for frame in running.frames("lab/echo") if frame["type"] == "token"] == pieces


@proves("assistants.history_turns")
def _(both: Both) -> None:
    for running, texts in ((both.default, ["one", "two", "three"]), (both.changed, ["two", "three"])):
        conversation = running.frames("lab/echo", query="one")[0]["conversation_id"]
        running.frames("lab/echo", query="two", conversation_id=conversation)
        running.frames("lab/echo", query="three", conversation_id=conversation)
        assert [each["content"] for each in both.asked()["messages"] if each["role"] == "user"] == texts


@pytest.mark.parametrize("setting", list(PROOFS))
def test_l52_changing_a_setting_changes_what_the_server_does(both: Both, setting: str) -> None:
    PROOFS[setting](both)


# These need a process of their own; each is the test of that name.
ELSEWHERE = {
    "server.drain_seconds": "test_draining_takes_no_longer_than_the_settings_allow",
    "logging.level": "test_the_log_level_is_kept",
    "logging.format": "test_the_log_format_is_kept",
    "store.kind": "test_a_store_in_memory_leaves_no_file",
    "store.durability": "test_durability_is_what_the_file_is_opened_with",
    "store.retention_megabytes": "test_the_file_may_grow_as_large_as_is_said",
    "store.stream_limit_megabytes": "test_a_stream_in_memory_may_grow_as_long_as_is_said",
    "upstreams.provider": "test_what_can_only_be_one_thing_is_refused_as_another",
    "models.tokenizer": "test_t4_an_answer_is_counted_by_the_tokenizer_that_its_model_names",
}


def every_setting() -> set[str]:
    """Every field of the tree, `section.field`."""
    found = set()
    for section in msgspec.structs.fields(Settings):
        kind = section.type
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        found |= {f"{section.name}.{field}" for field in kind.__struct_fields__}
    return found


def test_l52_no_setting_is_without_a_proof() -> None:
    assert every_setting() == set(PROOFS) | set(ELSEWHERE)
    assert not set(PROOFS) & set(ELSEWHERE)
    assert all(callable(globals()[name]) for name in ELSEWHERE.values())


@pytest.mark.parametrize("seconds", ["0", "30"])
def test_draining_takes_no_longer_than_the_settings_allow(command: Command, upstreams: Any, seconds: str) -> None:
    upstream = upstreams(delta("a"), 2.5, delta("b"), finish())
    process = command.start(
        "serve",
        "--port",
        "0",
        "--config",
        command.settings(upstream.toml),
        variables={"HEADRACE_DRAIN_SECONDS": seconds},
    )
    assert process.stdout is not None
    running = Running(json.loads(process.stdout.readline())["url"], {})
    with running.ask("lab/m") as response:
        while b'"token"' not in response.readline():
            pass
        process.send_signal(signal.SIGTERM)
        rest = response.read()
    assert (b'"content":"b"' in rest) == (seconds == "30")
    assert (b'"ending":"incomplete"' in rest) == (seconds == "0")
    process.communicate(timeout=DEADLINE_SECONDS)


def logged(command: Command, *flags: str) -> str:
    """What a server says on stderr that has answered one question."""
    process = command.start("serve", "--port", "0", *flags)
    assert process.stdout is not None
    Running(json.loads(process.stdout.readline())["url"], {}).frames("offline")
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=DEADLINE_SECONDS)[1].decode()


def test_the_log_level_is_kept(command: Command) -> None:
    assert "answered" in logged(command)
    assert logged(command, "--log-level", "error") == ""


def test_the_log_format_is_kept(command: Command) -> None:
    assert json.loads(logged(command).splitlines()[0])["level"] == "info"
    assert " info    answered stream=" in logged(command, "--log-format", "text")


def test_a_store_in_memory_leaves_no_file(command: Command) -> None:
    logged(command)
    assert (command.folder / ".local/share/headrace/headrace.db").exists()
    (command.folder / "memory").mkdir()
    command.folder /= "memory"
    command.variables["HEADRACE_STORE_KIND"] = "memory"
    logged(command)
    assert not (command.folder / ".local").exists()


@pytest.mark.parametrize(("durability", "level"), [("memory", 1), ("process", 1), ("power", 2)])
def test_durability_is_what_the_file_is_opened_with(
    tmp_path: Path, durability: Durability, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[Database, Durability]] = []
    whole = Database.open

    def remembered(path: Path, durability: Durability) -> Database:
        opened.append((whole(path, durability), durability))
        return opened[-1][0]

    monkeypatch.setattr(Database, "open", remembered)

    async def open_and_close() -> int:
        settings = StoreSettings(path=str(tmp_path / "headrace.db"), durability=durability)
        store = open_store(settings, SystemClock())
        stream = store.create("s", "ann", GenerationRequest("fast", ()))
        stream.append([TextDelta("a")])
        shown = stream.length
        (found,) = opened[0][0]._connection.execute("PRAGMA synchronous").fetchone()
        await store.close()
        assert shown == (1 if durability == "memory" else 0)
        return int(found)

    assert asyncio.run(open_and_close()) == level
    assert opened[0][1] == durability


def test_the_file_may_grow_as_large_as_is_said(tmp_path: Path) -> None:
    async def kept(megabytes: int) -> int:
        store = open_store(
            StoreSettings(path=str(tmp_path / f"{megabytes}.db"), retention_megabytes=megabytes), SystemClock()
        )
        for number in range(30):
            store.create(str(number), "ann", GenerationRequest("fast", ())).append(
                [TextDelta("x" * 100_000), Ended("stop")]
            )
        await store.close()
        store = open_store(
            StoreSettings(path=str(tmp_path / f"{megabytes}.db"), retention_megabytes=megabytes), SystemClock()
        )
        store.sweep()
        left = len(store.list("ann"))
        await store.close()
        return left

    assert asyncio.run(kept(100)) == 30
    assert asyncio.run(kept(1)) < 30


def test_a_stream_in_memory_may_grow_as_long_as_is_said() -> None:
    def horizon(megabytes: int) -> int:
        store = open_store(StoreSettings(kind="memory", stream_limit_megabytes=megabytes), SystemClock())
        stream = store.create("s", "ann", GenerationRequest("fast", ()))
        stream.append([TextDelta("x" * 1000)] * 3000)
        store.sweep()
        return stream.horizon

    assert horizon(64) == 0
    assert 0 < horizon(1) < 3000


@pytest.mark.parametrize("text", ["store.kind = 'redis'", "[[upstreams]]\nname = 'groq'\nprovider = 'anthropic'"])
def test_what_can_only_be_one_thing_is_refused_as_another(command: Command, text: str) -> None:
    told = command.run("serve", "--port", "0", "--config", command.settings(text))
    assert told.returncode == 2
    assert "redis" in told.stderr or "anthropic" in told.stderr


def test_t4_an_answer_is_counted_by_the_tokenizer_that_its_model_names(command: Command, upstreams: Any) -> None:
    named = with_tokenizer(command, upstreams)
    asked = command.run("ask", "--json", "--config", named, "-m", "fast", "Is there bread?")
    assert asked.returncode == 0, asked.stderr
    usage = json.loads(asked.stdout)["usage"]
    told = [usage[name] for name in ("prompt_tokens", "completion_tokens", "source", "by")]
    assert told == [4, 4, "counted", "headrace"]
