"""A soak: a real server under mixed protocols and faults for as long as one likes, and what it holds afterwards.

    scripts/soak --minutes 30

`headrace serve` runs in a process of its own, between an upstream that answers, breaks, refuses and falls silent and
readers that read, leave, return, stall and cancel. Every text is compared with what the upstream said. Memory is
measured once a second; a line is laid through what was measured after the warm-up. At the end no reader is left,
and neither may a task, a descriptor or a request to the upstream be.

Exit code 1: a text was wrong, something was left, or memory grew by more than `MOST_GROWTH_MIB` in the time measured,
by twice the error of that growth at the least.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import operator
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from websockets.asyncio.client import connect

from headrace.testing.upstream import DONE, Exchange, ScriptedUpstream, finish_chunk, role_chunk, text_chunk

MOST_GROWTH_MIB = 16.0
"""What memory kept apart and given back piece by piece may come to, and much less than if visits left anything."""
WARM_UP = 0.35
"""The part of the time after which memory is looked at: by then all kinds of streams were kept and forgotten."""
LEAST_WARM_UP_SECONDS = 20.0
LONG_AT_ONCE = 3
"""How many read a long answer at once. Nearly all memory is theirs, and what a process once had it seldom gives back:
with any number of them, the highest there ever were would come at any time, and look like growth."""
READ_SECONDS = 15.0
"""How long a reader waits for the next piece: heartbeats come every second."""
PATIENCE_SECONDS = 8.0
"""How long a reader that has stalled reads on: its window is small, and a long answer takes a while through it."""
TASKS_FILE = "SOAK_TASKS_FILE"

SETTINGS = """
[server]
drain_seconds = 1
header_seconds = 2
write_stall_seconds = 4
heartbeat_seconds = 1
keep_alive_seconds = 5
[store]
retention_hours = 0.003
[timeouts]
connect = 1
first_token = 2
between_tokens = 2
total = 20
[[upstreams]]
name = "lab"
base_url = "{base_url}"
max_concurrent = 200
"""

# -- the upstream

WORDS = 60
LONG = 20_000


def words(count: int) -> list[str]:
    """What the upstream says: pieces that a careless cut would tear or lose."""
    return [f"{number}° 東{'🏝' if number % 7 == 0 else ''} " for number in range(count)]


class Upstream:
    """Answers as the model's name says, and counts the requests it has in hand."""

    def __init__(self) -> None:
        self.active = 0
        self.asked = 0

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        self.active += 1
        self.asked += 1
        try:
            await self._answer(exchange, exchange.json())
        finally:
            self.active -= 1

    async def _answer(self, exchange: Exchange, asked: dict[str, Any]) -> None:
        model = str(asked["model"])
        if model == "refuses":
            await exchange.whole(b'{"error":{"message":"out of memory"}}', 500)
        elif not asked.get("stream"):
            await self._whole(exchange, model)
        elif model == "silent":
            await exchange.left()
        else:
            await self._stream(exchange, model)

    async def _whole(self, exchange: Exchange, model: str) -> None:
        if model != "well":
            exchange.reset()
            return
        message = {"role": "assistant", "content": "".join(words(WORDS))}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"id": "soak", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        await exchange.whole(json.dumps(body).encode())

    async def _stream(self, exchange: Exchange, model: str) -> None:
        await exchange.head()
        await exchange.chunk(role_chunk())
        for place, word in enumerate(words(LONG if model == "long" else WORDS)):
            if place == WORDS // 2 and model == "resets":
                exchange.reset()
                return
            if place == WORDS // 2 and model == "stops":
                exchange.close()
                return
            if place == WORDS // 2 and model == "hangs":
                await exchange.left()
                return
            await exchange.chunk(text_chunk(word))
            if model != "long":
                await asyncio.sleep(0.01)
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()


# -- what readers speak


class Door(NamedTuple):
    """A route, and how its answer is heard."""

    path: str
    asks: Callable[[str], dict[str, Any]]
    hears: Callable[[bytes], tuple[str, bool]]
    """The text in a body as far as it came, and whether it says that it is whole."""


def events(body: bytes) -> list[tuple[str, str]]:
    """Name and data of each whole server-sent event."""
    found = []
    for event in body.split(b"\n\n")[:-1]:
        name, data = "", []
        for line in event.decode().split("\n"):
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
        if data:
            found.append((name, "\n".join(data)))
    return found


def hears_events(text: Callable[[dict[str, Any]], str], last: Callable[[dict[str, Any]], bool]) -> Any:
    """How frames of JSON are heard: the text in one, and whether it ends a whole answer."""

    def hear(body: bytes) -> tuple[str, bool]:
        said, whole = "", False
        for _, data in events(body):
            if data != "[DONE]":
                frame = json.loads(data)
                said += text(frame)
                whole = whole or last(frame)
        return said, whole

    return hear


def hears_lines(text: Callable[[dict[str, Any]], str]) -> Any:
    """How lines of JSON are heard."""

    def hear(body: bytes) -> tuple[str, bool]:
        said, whole = "", False
        for line in body.split(b"\n")[:-1]:
            frame = json.loads(line)
            said += text(frame)
            whole = whole or (frame.get("done") is True and "error" not in frame)
        return said, whole

    return hear


def hear_text_events(body: bytes) -> tuple[str, bool]:
    """Text itself in each event; the end of a whole one is the end of the body."""
    heard = events(body)
    return "".join(data for name, data in heard if not name), not any(name == "error" for name, _ in heard)


def of_choices(frame: dict[str, Any]) -> str:
    """The text of a chunk of OpenAI's."""
    return "".join(each.get("text") or each.get("delta", {}).get("content") or "" for each in frame.get("choices", []))


def finishes(frame: dict[str, Any]) -> bool:
    """Whether a chunk of OpenAI's carries a finish reason."""
    return any(each.get("finish_reason") for each in frame.get("choices", []))


def messages(model: str) -> dict[str, Any]:
    """A chat with one message."""
    return {"model": f"lab/{model}", "stream": True, "messages": [{"role": "user", "content": "Count."}]}


def prompt(model: str) -> dict[str, Any]:
    """A prompt alone, under the three names it has."""
    return {"model": f"lab/{model}", "stream": True, "prompt": "Count."}


TYPED = hears_events(
    lambda frame: frame["content"] if frame["type"] == "token" else "", lambda frame: frame["type"] == "done"
)
DOORS: Sequence[Door] = (
    Door("/v1/chat/completions", messages, hears_events(of_choices, finishes)),
    Door("/v1/completions", prompt, hears_events(of_choices, finishes)),
    Door("/chat/basic", lambda model: {"model": f"lab/{model}", "query": "Count.", "stream": True}, TYPED),
    Door("/chat", prompt, hear_text_events),
    Door("/api/query/stream", prompt, lambda body: (body.decode(errors="ignore"), True)),
    Door(
        "/api/generate/stream",
        prompt,
        hears_events(lambda frame: frame.get("token", ""), lambda frame: frame["done"] and "error" not in frame),
    ),
    Door("/api/chat/stream", lambda model: {"model": f"lab/{model}", "message": "Count."}, TYPED),
    Door("/api/generate", prompt, hears_lines(lambda frame: frame.get("response", ""))),
    Door("/api/chat", messages, hears_lines(lambda frame: frame.get("message", {}).get("content", ""))),
)

# -- readers


class Cut(Exception):
    """The body ended before its framing did."""


class Response:
    """The head of a response, and its body as it comes."""

    def __init__(self, incoming: asyncio.StreamReader, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._incoming = incoming

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body, chunk by chunk.

        Raises:
            Cut: it was broken off.
        """
        try:
            if "chunked" not in self.headers.get("transfer-encoding", ""):
                yield await self._incoming.readexactly(int(self.headers.get("content-length", "0")))
                return
            while piece := await self._chunk():
                yield piece
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Cut from error

    async def _chunk(self) -> bytes:
        async with asyncio.timeout(READ_SECONDS):
            size_bytes = int(await self._incoming.readuntil(b"\r\n"), 16)
            return (await self._incoming.readexactly(size_bytes + 2))[:-2]


@contextlib.asynccontextmanager
async def asking(
    port: int,
    method: str,
    path: str,
    body: object = None,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    slow: bool = False,
) -> AsyncIterator[Response]:
    """A response; whatever of it was not read is left."""
    connection = socket.socket()
    if slow:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    incoming, outgoing = await asyncio.open_connection(sock=connection, limit=65536)
    try:
        data = b"" if body is None else json.dumps(body).encode()
        lines = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        outgoing.write(f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode() + data)
        async with asyncio.timeout(READ_SECONDS):
            head = await incoming.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1")[:-4].split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        yield Response(incoming, int(first.split(" ")[1]), found)
    finally:
        outgoing.transport.abort()


class Readers:
    """Readers of every kind, until they are told to stop."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = port
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._chance = chance
        self._long = asyncio.Semaphore(LONG_AT_ONCE)
        self._kinds = (self.reads, self.reads, self.leaves, self.returns, self.stalls, self.cancels, self.asks_whole,
                       self.follows_log, self.talks_nonsense, self.talks)  # fmt: skip

    async def go_on(self, until: float) -> None:
        """One reader after the other."""
        while time.monotonic() < until:
            kind = self._chance.choice(self._kinds)
            try:
                await kind()
                self.outcomes[kind.__name__] += 1
            except TimeoutError:
                self.wrong.append(f"{kind.__name__}: nothing for {READ_SECONDS:g} s")
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.wrong.append(f"{kind.__name__}: {type(error).__name__}")

    def model(self) -> str:
        """What is asked for: most answers are good."""
        return self._chance.choice(["well"] * 6 + ["resets", "stops", "hangs", "refuses", "silent"])

    async def reads(self) -> None:
        """To the end, whatever that is."""
        door, model = self._chance.choice(DOORS), self.model()
        async with asking(self.port, "POST", door.path, door.asks(model)) as response:
            body, cut = await self._read(response)
        self._judge(door, model, response, body, cut)

    async def leaves(self) -> None:
        """After a piece or a few."""
        door, model = self._chance.choice(DOORS), self.model()
        async with asking(self.port, "POST", door.path, door.asks(model)) as response:
            await self._read(response, self._chance.randint(1, 20))

    async def returns(self) -> None:
        """Leaves, comes back to the offset it had reached, and has every word once."""
        headers = {"Headrace-Event-Ids": "true"}
        body = {"model": "lab/well", "query": "Count.", "stream": True}
        async with asking(self.port, "POST", "/chat/basic", body, headers=headers) as response:
            read, _ = await self._read(response, self._chance.randint(1, 40))
        for _ in range(20):
            if TYPED(read)[1]:
                break
            seen = [line[4:] for line in read.decode().split("\n") if line.startswith("id: ")]
            path = f"/v1/streams/{response.headers['headrace-stream']}/events"
            more = {**headers, "Last-Event-ID": seen[-1] if seen else "-1"}
            async with asking(self.port, "GET", path, headers=more) as again:
                read += (await self._read(again, self._chance.randint(1, 60)))[0]
        if TYPED(read) != ("".join(words(WORDS)), True):
            self.wrong.append(f"returns: {TYPED(read)[0]!r}")

    async def stalls(self) -> None:
        """Takes nothing for a while in the middle of a long answer; some are closed for it, some go on."""
        if self._long.locked():
            self.outcomes["found no room to stall"] += 1
            return
        async with self._long:
            await self._stalls()

    async def _stalls(self) -> None:
        door = self._chance.choice(DOORS[:4])
        async with asking(self.port, "POST", door.path, door.asks("long"), slow=True) as response:
            before, _ = await self._read(response, 3)
            await asyncio.sleep(self._chance.choice([0.5, 1.5, 7.0]))
            rest, cut = await self._read(response, seconds=PATIENCE_SECONDS)
        said, _ = door.hears(before + rest)
        if not "".join(words(LONG)).startswith(said):
            self.wrong.append(f"stalls: {said[-100:]!r}")
        self.outcomes["cut off for stalling" if cut else "read on after stalling"] += 1

    async def cancels(self) -> None:
        """Ends its own stream, and reads that it did."""
        door = self._chance.choice(DOORS)
        async with asking(self.port, "POST", door.path, door.asks("hangs")) as response:
            path = f"/v1/streams/{response.headers['headrace-stream']}/cancel"
            async with asking(self.port, "POST", path) as cancelled:
                await self._read(cancelled)
            body, cut = await self._read(response)
        self._judge(door, "hangs", response, body, cut)

    async def asks_whole(self) -> None:
        """Wants no stream."""
        model = self.model()
        async with asking(self.port, "POST", "/v1/chat/completions", {**messages(model), "stream": False}) as response:
            body, _ = await self._read(response)
        if response.status == 200:
            said = json.loads(body)["choices"][0]["message"]["content"]
            if said != "".join(words(WORDS)):
                self.wrong.append(f"asks_whole: {said!r}")
        elif model == "well" or not json.loads(body)["error"]["code"]:
            self.wrong.append(f"asks_whole: {model} was answered {response.status}")

    async def follows_log(self) -> None:
        """Over Durable Streams, by server-sent events."""
        async with asking(self.port, "POST", "/chat/basic", DOORS[2].asks("well")) as response:
            path = f"/v1/stream/generations/{response.headers['headrace-stream']}?offset=-1&live=sse"
            async with asking(self.port, "GET", path) as log:
                body, _ = await self._read(log)
        frames = [each for name, data in events(body) if name == "data" for each in json.loads(data)]
        said = "".join(frame["content"] for frame in frames if frame["type"] == "token")
        if said != "".join(words(WORDS)):
            self.wrong.append(f"follows_log: {said!r}")

    async def talks(self) -> None:
        """Over a WebSocket: two answers at once and a mistake between them, cut off again and again, and resumed."""
        said: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
        mistake = self._chance.choice(["{", '{"type": "cancel", "request_id": "three"}', '{"type": "ping"}'])
        for visit in range(20):
            waiting = {name for name, heard in said.items() if not heard or not finishes(heard[-1])}
            asked = [json.dumps(self._asks_on(name, said[name])) for name in sorted(waiting)]
            if not visit:
                asked.insert(1, mistake)
            # By itself the library stops reading behind 16 messages, and does not hear the goodbye it then waits for.
            async with connect(f"ws://127.0.0.1:{self.port}/v1/chat/completions", proxy=None, max_queue=None) as talk:
                for message in asked:
                    await talk.send(message)
                for _ in range(self._chance.randint(2, 100)):
                    if not waiting:
                        break
                    async with asyncio.timeout(READ_SECONDS):
                        message = json.loads(await talk.recv())
                    name = message.get("request_id")
                    if "choices" in message:
                        said[name].append(message)
                        if finishes(message):
                            waiting.discard(name)
                    elif name in said:
                        self.wrong.append(f"talks: {message}")
                        return
                if self._chance.random() < 0.5:
                    talk.transport.abort()
            if not waiting:
                break
        for heard in said.values():
            text = "".join(map(of_choices, heard))
            if text != "".join(words(WORDS)):
                self.wrong.append(f"talks: {text!r}")

    def _asks_on(self, name: str, heard: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What has an answer go on: the request, again where nothing of its answer was heard."""
        if not heard:
            return {**messages("well"), "request_id": name}
        place = heard[-1]["headrace"]
        return {"type": "resume", "request_id": name, "stream_id": place["stream_id"], "after": place["seq"]}

    async def talks_nonsense(self) -> None:
        """What is no request of ours, or only half of one."""
        incoming, outgoing = await asyncio.open_connection("127.0.0.1", self.port)
        nonsense = [
            b"\x16\x03\x01\x00",
            b"GET / HTTP/1.1\r\nHost: loc",
            b"POST /chat HTTP/1.1\r\nHost: localhost\r\n\r\n{",
        ]
        outgoing.write(self._chance.choice(nonsense))
        async with asyncio.timeout(READ_SECONDS):
            answer = await incoming.read()
        outgoing.transport.abort()
        if not answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408", b"HTTP/1.1 415")):
            self.wrong.append(f"talks_nonsense: {answer[:100]!r}")

    async def _read(
        self, response: Response, most: int | None = None, *, seconds: float = math.inf
    ) -> tuple[bytes, bool]:
        """The body, or so many pieces of it, or what comes in so many seconds; and whether it was cut off."""
        body, count, until = bytearray(), 0, time.monotonic() + seconds
        try:
            async with contextlib.aclosing(response.pieces()) as pieces:
                async for piece in pieces:
                    body += piece
                    count += 1
                    if count == most or time.monotonic() > until:
                        break
        except Cut:
            return bytes(body), True
        return bytes(body), False

    def _judge(self, door: Door, model: str, response: Response, body: bytes, cut: bool) -> None:
        if response.status >= 400:
            if model == "well":
                self.wrong.append(f"{door.path}: {response.status} {body[:200]!r}")
            return
        said, whole = door.hears(body)
        whole = whole and not cut
        wanted = "".join(words(WORDS))
        if whole != (model == "well") or (said != wanted if whole else not wanted.startswith(said)):
            self.wrong.append(f"{door.path}, {model}: whole={whole}, {said[-60:]!r}")


# -- the server


class Server:
    """`headrace serve` in a process of its own, and what it holds."""

    def __init__(self, folder: Path, base_url: str) -> None:
        (folder / "settings.toml").write_text(SETTINGS.format(base_url=base_url), encoding="utf-8")
        self._tasks = folder / "tasks"
        self._ready = folder / "ready"
        self.log = folder / "log"
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OLLAMA_HOST": "127.0.0.1:1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "serve", "--port", "0", "--config", "settings.toml",
                 "--ready-file", str(self._ready)],
                cwd=folder, env={**environment, TASKS_FILE: str(self._tasks)},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

    async def port(self) -> int:
        """Where it listens, once it does."""
        async with asyncio.timeout(READ_SECONDS):
            while not self._ready.exists():
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)
        return int(str(json.loads(self._ready.read_bytes())["url"]).rpartition(":")[2])

    def resident_mib(self) -> float:
        """Its memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / (1 << 20)

    def cpu_seconds(self) -> float:
        """Its time on the processor."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    async def tasks(self) -> int:
        """How many tasks it has."""
        self._tasks.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR2)
        async with asyncio.timeout(READ_SECONDS):
            while not (self._tasks.exists() and (text := self._tasks.read_text())):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        return int(text)

    def complaints(self) -> list[str]:
        """What it logged of faults of its own."""
        lines = [json.loads(line) for line in self.log.read_bytes().splitlines() if line.startswith(b"{")]
        return [str(line.get("message")) for line in lines if line["level"] == "error" or "exception" in line]


def serve() -> int:
    """`headrace serve`, which says how many tasks it has when it is asked with SIGUSR2."""
    from headrace.cli import main as headrace

    def count(*_: object) -> None:
        Path(os.environ[TASKS_FILE]).write_text(str(len(asyncio.all_tasks())))

    signal.signal(signal.SIGUSR2, count)
    headrace()
    return 0


# -- all of it


class Line(NamedTuple):
    """A straight line through what was measured."""

    slope: float
    """Per minute."""
    error: float
    """The slope's standard error, with regard to how much neighbouring measurements resemble each other."""


def line_through(samples: Sequence[tuple[float, float]]) -> Line:
    """The line of least squares through pairs of seconds and MiB."""
    minutes = [seconds / 60 for seconds, _ in samples]
    values = [mib for _, mib in samples]
    slope, start = statistics.linear_regression(minutes, values)
    rest = [value - start - slope * minute for minute, value in zip(minutes, values, strict=True)]
    squares = sum(each * each for each in rest) or 1e-9
    mean = statistics.fmean(minutes)
    spread = sum((minute - mean) ** 2 for minute in minutes)
    # What resembles the measurement before it tells less that is new: as for a process of first order.
    alike = min(0.99, max(0.0, sum(map(operator.mul, rest, rest[1:])) / squares))
    return Line(slope, (squares / max(1, len(samples) - 2) / spread * (1 + alike) / (1 - alike)) ** 0.5)


async def settled(server: Server, upstream: Upstream, before: tuple[int, int]) -> tuple[int, int]:
    """Tasks and descriptors once nothing more of the readers goes away, as few as before or after 20 s."""
    held = (0, 0)
    for _ in range(40):
        await asyncio.sleep(0.5)
        held = (await server.tasks(), server.descriptors())
        if upstream.active == 0 and held[0] <= before[0] and held[1] <= before[1]:
            break
    return held


async def soak(minutes: float, count: int, seed: int) -> int:
    """Does all of it; gives the exit code."""
    upstream = Upstream()
    with tempfile.TemporaryDirectory() as folder:
        async with ScriptedUpstream(upstream) as scripted:
            server = Server(Path(folder), scripted.base_url)
            try:
                return await _soak(server, upstream, scripted, minutes, count, seed)
            finally:
                if server.process.poll() is None:
                    server.process.kill()
                server.process.wait()


async def _soak(
    server: Server, upstream: Upstream, scripted: ScriptedUpstream, minutes: float, count: int, seed: int
) -> int:
    readers = Readers(await server.port(), random.Random(seed))
    await readers.reads()  # what is made once is made
    async with asking(readers.port, "GET", "/v1/conversations") as response:
        assert response.status == 200  # and the file of the conversations is open
    before = (await server.tasks(), server.descriptors())
    began = time.monotonic()
    until = began + minutes * 60
    going = [asyncio.create_task(readers.go_on(until)) for _ in range(count)]
    samples: list[tuple[float, float]] = []
    loads: list[float] = []
    cpu_before = server.cpu_seconds()
    while time.monotonic() < until:
        await asyncio.sleep(1)
        samples.append((time.monotonic() - began, server.resident_mib()))
        loads.append(os.getloadavg()[0])
        scripted.exchanges.clear()  # ours, not the server's
    await asyncio.gather(*going)
    elapsed = time.monotonic() - began
    cpu_seconds = server.cpu_seconds() - cpu_before
    tasks, descriptors = await settled(server, upstream, (before[0], before[1] + scripted.active))
    pooled = scripted.active
    last_mib = server.resident_mib()
    complaints = server.complaints()
    server.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, READ_SECONDS)

    warm_up = max(LEAST_WARM_UP_SECONDS, minutes * 60 * WARM_UP)
    warm = [sample for sample in samples if sample[0] >= warm_up]
    if len(warm) < 10:
        print(
            f"{minutes:g} min are too short to measure memory: the warm-up alone takes {warm_up:.0f} s", file=sys.stderr
        )
        return 2
    line = line_through(warm)
    measured = (warm[-1][0] - warm[0][0]) / 60
    print(f"{minutes:g} min, {count} readers at once, seed {seed}; {sum(readers.outcomes.values())} visits, "
          f"{upstream.asked} requests upstream")  # fmt: skip
    print("visits      " + ", ".join(f"{name} {number}" for name, number in sorted(readers.outcomes.items())))
    print(f"memory      {warm[0][1]:.1f} → {warm[-1][1]:.1f} MiB over the {measured:.1f} min after the warm-up, "
          f"highest {max(mib for _, mib in samples):.1f}, {last_mib:.1f} at rest")  # fmt: skip
    print(f"slope       {line.slope:+.3f} ± {line.error:.3f} MiB/min over {len(warm)} measurements")
    print(f"tasks       {before[0]} before, {tasks} after")
    print(f"descriptors {before[1]} before, {descriptors} after, {pooled} of them kept open to the upstream")
    print(f"upstream    {upstream.active} requests in hand")
    print(f"processor   {cpu_seconds / elapsed * 100:.0f} % of one core; load of the machine "
          f"{statistics.median(loads):.1f} (median) on {os.cpu_count()} cores")  # fmt: skip
    print(f"server      exit code {code}, {len(complaints)} faults logged")
    faults = [*readers.wrong, *complaints]
    if upstream.active:
        faults.append(f"{upstream.active} requests upstream were left")
    if tasks > before[0]:
        faults.append(f"{tasks - before[0]} tasks were left")
    if descriptors > before[1] + pooled:
        faults.append(f"{descriptors - before[1] - pooled} descriptors were left")
    if (line.slope - 2 * line.error) * measured > MOST_GROWTH_MIB:
        faults.append(f"memory grew by {line.slope * measured:.1f} MiB")
    if code:
        faults.append(f"the server ended with {code}")
    print(f"wrong       {len(faults)}")
    for fault in faults[:20]:
        print(f"  {fault}")
    return 1 if faults else 0


def main() -> int:
    """Reads the command line."""
    if sys.argv[1:2] == ["serve"]:
        return serve()
    parser = argparse.ArgumentParser(description="Mixed traffic with faults, and what a server holds afterwards.")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--readers", type=int, default=30, help="how many at once")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return asyncio.run(soak(given.minutes, given.readers, given.seed))


if __name__ == "__main__":
    sys.exit(main())
