"""Planted secrets: what upstreams and readers say in the wrong place is in no log, no answer, no record and no file.

The upstream here repeats the key it was asked with, wherever something can be put: as services do that explain
what is wrong with a key, and as no service does. The reader's secrets are sent where they belong and where they do not.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest
from tests.server.conftest import DEADLINE_SECONDS, HEADRACE, Process, process
from tests.server.reader import chat, connected, encoded

from headrace.protocols import PROTOCOLS
from headrace.testing.upstream import Exchange, ScriptedUpstream, finish_chunk, frame, text_chunk

pytestmark = pytest.mark.anyio

UPSTREAM_KEY = "planted0upstream0key0123456789abcdef"
"""Looks like no service's key, so that nothing recognises it by its beginning."""
WRONG_KEY = "planted0wrong0key0123456789abcdef"
WRONG_COOKIE = "planted0cookie0123456789abcdef"

AT_ONCE = 40
"""How many failures are asked for together: what may pass by itself is tried again, after a pause."""

Answer = Callable[[Exchange], Awaitable[None]]


def error_object(**more: str) -> bytes:
    return json.dumps({"error": {"message": f"bad key: {UPSTREAM_KEY}", **more}}).encode()


def refusing(status: int, body: bytes, **headers: str) -> Answer:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(body, status, {name.replace("_", "-"): value for name, value in headers.items()})

    return refuse


def raw(data: bytes) -> Answer:
    async def send(exchange: Exchange) -> None:
        await exchange.write(data)
        exchange.close()

    return send


def streaming(*chunks: bytes, cut: bool = False) -> Answer:
    async def stream(exchange: Exchange) -> None:
        await exchange.head()
        for chunk in chunks:
            await exchange.chunk(chunk)
        if cut:
            exchange.close()
        else:
            await exchange.end()

    return stream


JSON = {"Content_Type": "application/json"}
WAYS: dict[str, Answer] = {
    **{f"status {status}": refusing(status, error_object(), **JSON) for status in (400, 401, 403, 404, 409, 422, 429)},
    **{f"status {status}": refusing(status, error_object(), **JSON) for status in (500, 502, 503, 529)},
    "in a code": refusing(400, error_object(code=UPSTREAM_KEY, type=UPSTREAM_KEY, param=UPSTREAM_KEY), **JSON),
    "as text": refusing(401, f"no such key {UPSTREAM_KEY}".encode(), Content_Type="text/plain"),
    "as a text in JSON": refusing(401, json.dumps({"detail": f"Bearer {UPSTREAM_KEY}"}).encode(), **JSON),
    "in a list": refusing(401, json.dumps([{"error": {"message": UPSTREAM_KEY}}]).encode(), **JSON),
    "redirect": refusing(302, b"", Location=f"http://127.0.0.1:1/{UPSTREAM_KEY}"),
    "retry-after": refusing(429, error_object(), Retry_After=UPSTREAM_KEY, **JSON),
    "another content type": refusing(200, UPSTREAM_KEY.encode(), Content_Type=f"text/{UPSTREAM_KEY}"),
    "another encoding": refusing(200, UPSTREAM_KEY.encode(), Content_Encoding=UPSTREAM_KEY),
    "another transfer": raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {UPSTREAM_KEY}\r\n\r\n0\r\n\r\n".encode()),
    "not HTTP": raw(f"HTTP/1.1 {UPSTREAM_KEY} {UPSTREAM_KEY}\r\n\r\n".encode()),
    "reason": raw(f"HTTP/1.1 401 {UPSTREAM_KEY}\r\nContent-Length: 0\r\n\r\n".encode()),
    "header": raw(f"HTTP/1.1 200 OK\r\n{UPSTREAM_KEY} \x00: {UPSTREAM_KEY}\r\n\r\n".encode()),
    "length": raw(f"HTTP/1.1 200 OK\r\nContent-Length: {UPSTREAM_KEY}\r\n\r\n".encode()),
    "chunk size": raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{UPSTREAM_KEY}\r\n".encode()
    ),
    "error event first": streaming(frame({"error": {"message": UPSTREAM_KEY, "code": UPSTREAM_KEY}})),
    "error event": streaming(text_chunk("half"), frame({"error": {"message": UPSTREAM_KEY, "code": UPSTREAM_KEY}})),
    "named error event": streaming(b"event: error\ndata: " + UPSTREAM_KEY.encode() + b"\n\n"),
    "broken JSON first": streaming(b"data: {" + UPSTREAM_KEY.encode() + b"\n\n"),
    "broken JSON": streaming(text_chunk("half"), b"data: {" + UPSTREAM_KEY.encode() + b"\n\n"),
    "wrong types": streaming(text_chunk("half"), frame({"choices": UPSTREAM_KEY})),
    "finish reason": streaming(text_chunk("whole"), finish_chunk(UPSTREAM_KEY)),
    "comment and cut": streaming(text_chunk("half"), b": " + UPSTREAM_KEY.encode() + b"\n\n", cut=True),
    "id and type": streaming(b"id: " + UPSTREAM_KEY.encode() + b"\nevent: " + UPSTREAM_KEY.encode() + b"\n\n"),
}

PATHS: dict[str, Callable[..., dict[str, object]]] = {
    "/v1/chat/completions": chat,
    "/chat/basic": lambda **more: {"query": "q", **more},
    "/api/chat": lambda **more: {"messages": [{"role": "user", "content": "q"}], **more},
    "/api/query": lambda **more: {"question": "q", **more},
}


class Guarded:
    """A server that asks for keys, with every answer it gave."""

    def __init__(self, server: Process, folder: Path, key: str) -> None:
        self.server = server
        self.folder = folder
        self.key = key
        self.said: list[bytes] = []

    async def send(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> bytes:
        """Everything the server says to this request, head and all, until it closes."""
        shown = {"Authorization": f"Bearer {self.key}"} if headers is None else headers
        data = encoded(method, path, body, {"Connection": "close", **shown})
        async with connected(self.server.port, data) as reader:
            answer = b""
            async with asyncio.timeout(DEADLINE_SECONDS):
                while piece := await reader._incoming.read(65536):
                    answer += piece
        self.said.append(answer)
        return answer

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Everything it said and wrote: answers, the log, and the bytes of every file it has."""
        for number, answer in enumerate(self.said):
            yield f"answer {number}: {answer[:300]!r}", answer
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.name != "upstream-keys.json":
                yield str(path), path.read_bytes()


def headrace(folder: Path, *arguments: str, stdin: str = "") -> str:
    made = subprocess.run(
        [HEADRACE, *arguments],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    return made.stdout.strip()


async def test_l18_planted_secrets_are_in_no_answer_no_log_no_record_and_no_file(tmp_path: Path) -> None:
    async def speak(exchange: Exchange) -> None:
        assert dict(exchange.headers)["authorization"] == f"Bearer {UPSTREAM_KEY}"
        await WAYS[exchange.json()["model"].replace("_", " ")](exchange)

    key = headrace(tmp_path, "keys", "create", "ann")
    async with ScriptedUpstream(speak) as upstream:
        settings = (
            "[server]\nauth = true\n[logging]\nlevel = 'debug'\n"
            f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\napi_key_env = "LAB_API_KEY"\n'
        )
        (tmp_path / "settings.toml").write_text(settings)
        headrace(tmp_path, "keys", "set", "lab", "--config", "settings.toml", stdin=UPSTREAM_KEY)
        with ExitStack() as stack:
            server = stack.enter_context(process(tmp_path, settings))
            guarded = Guarded(server, tmp_path, key)
            cookie = await misuse(guarded)
            streams = await provoke(guarded)
            assert len(streams) > 0.8 * len(WAYS) * len(PATHS) * 2
            await look_at(guarded, streams)
            server.stop()
        secrets = {"upstream's key": UPSTREAM_KEY, "reader's key": key, "wrong key": WRONG_KEY}
        secrets |= {"cookie": cookie, "wrong cookie": WRONG_COOKIE}
        found = []
        for where, content in guarded.written():
            if where.startswith("answer"):
                content = content.replace(b"set-cookie: headrace_session=%b;" % cookie.encode(), b"")
            found += [f"the {name} is in {where}" for name, secret in secrets.items() if secret.encode() in content]
        assert not found, "\n".join(found)
        assert len(guarded.said) > 200
        assert (tmp_path / "log").stat().st_size > 10_000, "something was logged"


async def misuse(guarded: Guarded) -> str:
    """Sends a reader's secrets to the right places and to wrong ones; gives the value of a cookie."""
    answer = await guarded.send("POST", "/login", {"key": guarded.key}, {})
    found = re.search(rb"headrace_session=([^;]+);", answer)
    assert found is not None
    cookie = found[1].decode()
    for key in (guarded.key, WRONG_KEY):
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"Authorization": f"Basic {key}"},
            {"Authorization": key},
            {"X-Api-Key": key},
            {"Api-Key": key},
            {"Cookie": f"headrace_session={key}"},
        ):
            for method, path in (("GET", "/v1/models"), ("GET", "/nowhere"), ("DELETE", "/v1/models")):
                await guarded.send(method, path, None, headers)
        for name in ("key", "api_key", "token"):
            for path in ("/v1/models", "/health", "/nowhere", "/login", "/v1/streams/none/events"):
                assert b" 400 " in await guarded.send("GET", f"{path}?{name}={key}")
        for body in (
            {"key": [key]},
            {"keys": key},
            f'{{"key": "{key}'.encode(),
            key.encode(),
            f'{{"key": {key}}}'.encode(),
        ):
            assert b" 400 " in await guarded.send("POST", "/login", body, {})
    await guarded.send("POST", "/login", {"key": WRONG_KEY}, {})
    for value in (cookie, WRONG_COOKIE):
        for path in ("/v1/models", "/nowhere", "/v1/streams/none"):
            await guarded.send("GET", path, None, {"Cookie": f"headrace_session={value}"})
    assert b" 200 " in await guarded.send("POST", "/logout", {}, {"Cookie": f"headrace_session={cookie}"})
    return cookie


async def provoke(guarded: Guarded) -> list[str]:
    """Asks in several protocols, streamed and whole, for every failure; gives the streams that came of it."""
    several = asyncio.Semaphore(AT_ONCE)

    async def ask(way: str, path: str, stream: bool) -> bytes:
        async with several:
            return await guarded.send("POST", path, PATHS[path](model=f"lab/{way.replace(' ', '_')}", stream=stream))

    answers = await asyncio.gather(*(ask(*each) for each in product(WAYS, PATHS, (True, False))))
    found = [re.search(rb"headrace-stream: (\S+)", answer) for answer in answers]
    return [each[1].decode() for each in found if each is not None]


async def look_at(guarded: Guarded, streams: list[str]) -> None:
    """Reads back what is kept of the streams, and what is told of the upstreams."""
    for number, stream_id in enumerate(streams):
        await guarded.send("GET", f"/v1/streams/{stream_id}")
        protocol = list(PROTOCOLS)[number % len(PROTOCOLS)]
        await guarded.send("GET", f"/v1/streams/{stream_id}/events?protocol={protocol}")
    for path in ("/health", "/v1/streams", "/v1/models", "/openapi.json"):
        await guarded.send("GET", path)
