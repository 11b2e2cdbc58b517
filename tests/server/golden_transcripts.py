"""Golden transcripts: what readers get when an upstream fails, every protocol × 12 failures, in every mode (L16).

    scripts/golden-transcripts           writes tests/server/golden/ anew
    scripts/golden-transcripts --check   says what is not as it stands there

A mode is streamed, whole, or over a WebSocket. A file holds one protocol in one mode, a section for each failure: what
was asked, every byte that came, whether HTTP calls it complete, and how the status route, the stream's log and the
request log name its end. Whoever changes what a reader is told sees it in the difference of these files. Identifiers
are chosen, and times are written as 0.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec
from tests.server.conftest import Place, serving, until
from tests.server.reader import asking
from tests.server.talking import is_last, talking

from headrace.observers.request_log import facts
from headrace.protocols import PROTOCOLS
from headrace.requests import Timeouts
from headrace.server.callers import LOCAL_OWNER
from headrace.settings import Settings, UpstreamSettings
from headrace.settings.tree import DEFAULT_TIMEOUTS
from headrace.testing.upstream import (
    DONE,
    Exchange,
    ScriptedUpstream,
    chunk,
    finish_chunk,
    frame,
    role_chunk,
    text_chunk,
)

GOLDEN = Path(__file__).parent / "golden"
TEXTS = ("One", " delta,\n", "日本語 🏝️")
SAID = ("One", " delta,\n")
USAGE = (3, 4)
# Long beside what anything here takes, short beside what a person waits: one failure of twelve is a silence.
TIMEOUTS = Timeouts(connect=2.0, first_token=1.0, between_tokens=1.0, total=2.5)


# -- the twelve failures of L16


async def _streamed(exchange: Exchange, *events: bytes, end: bool = True) -> None:
    await exchange.head()
    for event in events:
        await exchange.chunk(event)
    if end:
        await exchange.end()


def _whole(text: str, reason: str | None) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": reason}]}).encode()


ERROR = {"error": {"message": "over capacity", "type": "server_error", "code": "overloaded"}}
HALF = _whole("".join(SAID), "stop")[:40]
_BEGUN = (role_chunk(), *map(text_chunk, SAID))


async def _refuse(exchange: Exchange, status: int) -> None:
    await exchange.whole(json.dumps(ERROR).encode(), status=status)


async def status_429(exchange: Exchange, stream: bool) -> None:
    await _refuse(exchange, 429)


async def status_500(exchange: Exchange, stream: bool) -> None:
    await _refuse(exchange, 500)


async def error_first(exchange: Exchange, stream: bool) -> None:
    await (_streamed(exchange, frame(ERROR)) if stream else _refuse(exchange, 200))


async def error_mid_stream(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, *_BEGUN, frame(ERROR))
    else:
        await exchange.whole(_whole("".join(SAID), "error"))


async def reset(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, *_BEGUN, end=False)
    else:
        await exchange.head(200, {"Content-Type": "application/json", "Content-Length": "1000"}, chunked=False)
        await exchange.write(HALF)
    # What was sent is read before the reset is: a reset may overtake it.
    await asyncio.sleep(0.2)
    exchange.reset()


async def eof_without_reason(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, *_BEGUN)
    else:
        await exchange.whole(_whole("".join(SAID), None))


async def done_without_reason(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, *_BEGUN, DONE)
    else:
        # A whole answer has no such word; what is as near as it gets is a body that closes before its last chunk.
        await exchange.head(200, {"Content-Type": "application/json"})
        await exchange.write(chunk(HALF))
        exchange.close()


async def reason_without_done(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, role_chunk(), *map(text_chunk, TEXTS), finish_chunk())
    else:
        await exchange.whole(_whole("".join(TEXTS), "stop"))


async def first_token_timeout(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, role_chunk(), end=False)
    await exchange.left()


async def stall(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, *_BEGUN, end=False)
    else:
        await exchange.head(200, {"Content-Type": "application/json", "Content-Length": "1000"}, chunked=False)
        await exchange.write(HALF)
    await exchange.left()


async def malformed(exchange: Exchange, stream: bool) -> None:
    if stream:
        await _streamed(exchange, *_BEGUN, b'data: {"choices":[{"index":0,"del\n\n')
    else:
        await exchange.whole(HALF)


async def nobody(exchange: Exchange, stream: bool) -> None:
    raise AssertionError("nobody listens there")


FAILURES: Mapping[str, Callable[[Exchange, bool], Awaitable[None]]] = {
    "connection-refused": nobody,
    "status-429": status_429,
    "status-500": status_500,
    "error-first": error_first,
    "error-mid-stream": error_mid_stream,
    "reset": reset,
    "eof-without-reason": eof_without_reason,
    "done-without-reason": done_without_reason,
    "reason-without-done": reason_without_done,
    "first-token-timeout": first_token_timeout,
    "stall": stall,
    "malformed-event": malformed,
}
"""The failures, each the name of an upstream that fails so."""

FINE = {"reason-without-done"}
"""A finish reason is an end: this is no failure of the answer."""


# -- how each protocol is asked


class Door(NamedTuple):
    """Where a protocol is asked, and the body of a question."""

    path: str
    body: Mapping[str, object]


Mode: TypeAlias = Literal["streamed", "whole", "socket"]
_MESSAGES = [{"role": "user", "content": "q"}]
DOORS: Mapping[tuple[str, Mode], Door] = {
    ("openai_chat", "streamed"): Door("/v1/chat/completions", {"messages": _MESSAGES, "stream": True}),
    ("openai_chat", "whole"): Door("/v1/chat/completions", {"messages": _MESSAGES}),
    ("openai_chat", "socket"): Door("/v1/chat/completions", {"messages": _MESSAGES}),
    ("openai_completions", "streamed"): Door("/v1/completions", {"prompt": "q", "stream": True}),
    ("openai_completions", "whole"): Door("/v1/completions", {"prompt": "q"}),
    ("openai_completions", "socket"): Door("/v1/completions", {"prompt": "q"}),
    ("ollama_chat", "streamed"): Door("/api/chat", {"messages": _MESSAGES}),
    ("ollama_chat", "whole"): Door("/api/chat", {"messages": _MESSAGES, "stream": False}),
    ("ollama_generate", "streamed"): Door("/api/generate", {"prompt": "q"}),
    ("ollama_generate", "whole"): Door("/api/generate", {"prompt": "q", "stream": False}),
    ("typed_events", "streamed"): Door("/chat/basic", {"query": "q", "stream": True}),
    ("typed_events", "whole"): Door("/chat/basic", {"query": "q", "stream": False}),
    ("text", "streamed"): Door("/chat", {"prompt": "q"}),
    ("text", "whole"): Door("/chat", {"prompt": "q", "stream": False}),
    ("plain_text", "streamed"): Door("/api/query/stream", {"question": "q"}),
    ("plain_text", "whole"): Door("/api/query", {"question": "q"}),
    ("token_frames", "streamed"): Door("/api/generate/stream", {"prompt": "q"}),
    ("chat_token_frames", "streamed"): Door("/api/chat/stream", {"message": "q"}),
}
"""Every protocol and mode that has a route of its own. A protocol that has none is read where every stream can be."""


def modes() -> list[tuple[str, Mode]]:
    """Every protocol, streamed and, where it can be, whole or over a WebSocket."""
    return [
        (name, mode) for name in PROTOCOLS for mode in get_args(Mode) if (name, mode) in DOORS or mode == "streamed"
    ]


def path_of(name: str, mode: Mode) -> Path:
    """The file of a protocol in one mode."""
    return GOLDEN / f"{name}-{mode}.txt"


# -- recorded


class Recorded(NamedTuple):
    """What came of one question."""

    failure: str
    asked: str
    status: int
    content_type: str
    body: bytes
    complete: bool
    shown: Mapping[str, Any]
    """What the status route says of the stream."""
    logged: Mapping[str, Any]
    """What the request log says of it."""
    endings: int
    """How many last events the stream's log holds."""
    ending: str
    code: str | None
    """How the stream's log says that it ended."""

    def section(self) -> str:
        """As it stands in its file."""
        body = self.body.decode()
        return "\n".join(
            [
                f"=== {self.failure}",
                f">>> {self.asked}",
                f"<<< {self.status} {self.content_type}",
                body.removesuffix("\n") + ("" if body.endswith("\n") else "\n(no line end)"),
                f"<<< {'complete' if self.complete else 'broken off'}",
                f"log: {_named(self.ending, self.code)}",
                f"status route: {_named(self.shown['ending'], (self.shown.get('error') or {}).get('code'))}",
                f"request log: {_named(self.logged['ending'], self.logged.get('code'))}",
                "",
            ]
        )


def _named(ending: str, code: str | None) -> str:
    return ending if code is None else f"{ending}, {code}"


_VARYING = (
    (re.compile(rb'("(?:created|[a-z_]*duration|[a-z_]*_ms|[a-z_]*_ns)":)-?[0-9.e-]+'), rb"\g<1>0"),
    (re.compile(rb'"20\d\d-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)"'), rb'"2000-01-01T00:00:00Z"'),
    (re.compile(rb'("conversation_id":)"[0-9a-f]{32}"'), rb'\g<1>"CONVERSATION"'),
    # What asyncio, uvloop, Python's own JSON and the system say of a fault is theirs.
    (re.compile(rb"127\.0\.0\.1:\d+ \(.*?\)\. Is it"), b"127.0.0.1:PORT (REASON). Is it"),
    (re.compile(rb"not a chunk \(.*?: line \d+ column \d+ \(char \d+\)\)"), b"not a chunk (REASON)"),
)


def normalised(body: bytes) -> bytes:
    """`body` without what is never the same twice: times, ports, and the reasons that others word."""
    for pattern, instead in _VARYING:
        body = pattern.sub(instead, body)
    return body


class _Read(NamedTuple):
    """What a reader got."""

    asked: str
    status: int
    content_type: str
    body: bytes
    complete: bool


async def record(place: Place, name: str, mode: Mode, failure: str) -> Recorded:
    """Asks, reads to the end, and looks at all that is kept of it."""
    stream_id = hashlib.sha256(f"{name} {mode == 'streamed'} {failure}".encode()).hexdigest()[:32]
    if mode == "socket":
        stream_id = hashlib.sha256(f"{name} over a WebSocket {failure}".encode()).hexdigest()[:32]
        read = await _read_socket(place, DOORS[name, mode], stream_id, failure)
    else:
        read = await _read_response(place, name, DOORS.get((name, mode)), stream_id, failure)
    kept = place.house.store.open(stream_id, LOCAL_OWNER)
    await until(lambda: kept.ended is not None)
    assert kept.ended is not None
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}") as shown:
        known = await shown.json()
    return Recorded(
        failure,
        *read._replace(body=normalised(read.body)),
        known,
        facts(kept),
        sum(type(event).__name__ == "Ended" for event in kept.read(0)),
        kept.ended.ending,
        None if kept.ended.failure is None else kept.ended.failure.code,
    )


async def _read_response(place: Place, name: str, door: Door | None, stream_id: str, failure: str) -> _Read:
    path, body = door or DOORS["openai_chat", "streamed"]
    asked = {"model": f"{failure}/m", **body}
    headers = {"Headrace-Stream": stream_id}
    if door is None:
        async with asking(place.port, "POST", path, asked, headers) as reader:
            await reader.body()
        method, path, told, headers = "GET", f"/v1/streams/{stream_id}/events?protocol={name}", None, {}
    else:
        method, told = "POST", asked
    read, complete = b"", True
    async with asking(place.port, method, path, told, headers) as reader:
        try:
            while piece := await reader.piece():
                read += piece
                if "content-length" in reader.headers:
                    break
        except asyncio.IncompleteReadError:
            complete = False
    said = f"{method} {path}" + ("" if told is None else f" {json.dumps(told)}")
    return _Read(said, reader.status, reader.headers["content-type"], read, complete)


async def _read_socket(place: Place, door: Door, stream_id: str, failure: str) -> _Read:
    asked = {"model": f"{failure}/m", **door.body}
    async with talking(place.port, door.path) as client:
        await client.say({**asked, "headrace": {"stream_id": stream_id}})
        texts = [await client.text()]
        while not is_last(json.loads(texts[-1])):
            texts.append(await client.text())
    return _Read(f"WebSocket {door.path} {json.dumps(asked)}", 101, "messages", "\n\n".join(texts).encode(), True)


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody gets meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


async def recorded() -> dict[tuple[str, Mode], list[Recorded]]:
    """Every transcript: all of them at once, since most of them wait."""

    async def fail(exchange: Exchange) -> None:
        failure = exchange.path.split("/")[1]
        await FAILURES[failure](exchange, bool(exchange.json().get("stream")))

    with _closed_port() as closed:
        async with ScriptedUpstream(fail) as upstream:
            origins = {
                name: f"http://127.0.0.1:{closed}" if call is nobody else upstream.origin
                for name, call in FAILURES.items()
            }
            upstreams = tuple(
                UpstreamSettings(name, base_url=f"{origin}/{name}/v1", timeouts=TIMEOUTS.over(DEFAULT_TIMEOUTS))
                for name, origin in origins.items()
            )
            async with serving(msgspec.structs.replace(Settings(), upstreams=upstreams)) as place:
                wanted = [(name, mode, failure) for name, mode in modes() for failure in FAILURES]
                found = await asyncio.gather(*(record(place, *each) for each in wanted))
    by_mode: dict[tuple[str, Mode], list[Recorded]] = {}
    for (name, mode, _), one in zip(wanted, found, strict=True):
        by_mode.setdefault((name, mode), []).append(one)
    return by_mode


def written(sections: list[Recorded]) -> str:
    """The text of a file."""
    return "\n".join(one.section() for one in sections)


def main(arguments: list[str]) -> int:
    """Writes the files, or checks them."""
    wrong = 0
    by_mode = asyncio.run(recorded())
    GOLDEN.mkdir(exist_ok=True)
    for (name, mode), sections in by_mode.items():
        path, text = path_of(name, mode), written(sections)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        wrong += 1
        print(path.relative_to(Path.cwd()), "is not as it is now" if "--check" in arguments else "written")
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    for path in set(GOLDEN.glob("*.txt")) - {path_of(*mode) for mode in by_mode}:
        wrong += 1
        print(path.relative_to(Path.cwd()), "belongs to no protocol")
    return int(bool(wrong and "--check" in arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
