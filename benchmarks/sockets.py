"""What an answer costs over a WebSocket, beside the same answer as server-sent events.

    benchmarks/sockets --streams 480 --rounds 3

`headrace serve` stands between a scripted upstream, which says a word every tenth of a second, and clients of three
kinds: one request as server-sent events each, one WebSocket each, and one WebSocket for every 16 answers. Told are the
processor time of the server's process per token, as the kernel counts it, and the memory it takes per stream while all
are open. Every answer has to end well. Kinds take turns, each with a server of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from headrace.testing.upstream import DONE, Exchange, ScriptedUpstream, finish_chunk, text_chunk

WORDS = 20
GAP_SECONDS = 0.1
READ_SECONDS = 30.0
KINDS = {"server-sent events": 0, "WebSocket, one answer each": 1, "WebSocket, 16 answers each": 16}
ASKED = {"model": "lab/m", "stream": True, "messages": [{"role": "user", "content": "Count."}]}
BODY = json.dumps(ASKED).encode()
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
UPGRADE = (
    b"GET /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ENDS = b'"finish_reason":"stop"'


class Result(NamedTuple):
    """One round of one kind."""

    token_microseconds: float
    stream_kib: float


class Process(NamedTuple):
    """A running server."""

    port: int
    id: int

    def processor_ns(self) -> int:
        """How long its threads were on a core."""
        tasks = Path(f"/proc/{self.id}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def resident_kib(self) -> float:
        """What it holds."""
        return int(Path(f"/proc/{self.id}/statm").read_text().split()[1]) * 4


@asynccontextmanager
async def served(base_url: str) -> AsyncIterator[Process]:
    """A server that keeps its streams in memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = f'[store]\nkind = "memory"\n[[upstreams]]\nname = "lab"\nbase_url = "{base_url}"\n'
        (folder / "settings.toml").write_text(settings + "max_concurrent = 5000\n")
        ready = folder / "ready"
        command = [sys.executable, "-m", "headrace", "serve", "--port", "0", "--config", "settings.toml"]
        process = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on yet
            [*command, "--ready-file", str(ready)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": name, "OLLAMA_HOST": "127.0.0.1:1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(READ_SECONDS):
                while not ready.exists():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            yield Process(int(str(json.loads(ready.read_bytes())["url"]).rpartition(":")[2]), process.pid)
        finally:
            process.terminate()
            process.wait()


def requests(lanes: int) -> bytes:
    """What one client sends: a request of HTTP, or a handshake and a message for each of its lanes."""
    if not lanes:
        return POST
    messages = [json.dumps({**ASKED, "request_id": str(number)}).encode() for number in range(lanes)]
    # Masked with nothing, which is a mask as well.
    return UPGRADE + b"".join(struct.pack("!BBHI", 0x81, 0xFE, len(each), 0) + each for each in messages)


async def read(port: int, lanes: int) -> int:
    """How many answers of one client ended well."""
    incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
    try:
        outgoing.write(requests(lanes))
        said = bytearray()
        async with asyncio.timeout(READ_SECONDS):
            while said.count(ENDS) < max(1, lanes) and (piece := await incoming.read(65536)):
                said += piece
        return said.count(ENDS)
    finally:
        outgoing.transport.abort()


async def measure(lanes: int, streams: int) -> Result:
    """One round of one kind."""
    go_on = asyncio.Event()
    begun = 0

    async def count(exchange: Exchange) -> None:
        nonlocal begun
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        begun += 1
        await go_on.wait()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(WORDS):
            await asyncio.sleep(max(0.0, began + number * GAP_SECONDS - loop.time()))
            await exchange.chunk(text_chunk(f" word {number}"))
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()

    async with ScriptedUpstream(count) as upstream, served(upstream.base_url) as server:
        go_on.set()
        assert await read(server.port, lanes) == max(1, lanes)  # whatever is done but once
        go_on.clear()
        begun, before_kib = 0, server.resident_kib()
        clients = [asyncio.create_task(read(server.port, lanes)) for _ in range(streams // max(1, lanes))]
        async with asyncio.timeout(READ_SECONDS):
            while begun < streams:  # noqa: ASYNC110 - the upstream counts
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        open_kib, before_ns = server.resident_kib(), server.processor_ns()
        go_on.set()
        ended = sum(await asyncio.gather(*clients))
        spent_ns = server.processor_ns() - before_ns
    assert ended == streams, f"{ended} of {streams} answers ended well"
    return Result(spent_ns / 1000 / streams / WORDS, (open_kib - before_kib) / streams)


def told(values: list[float]) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


async def main(streams: int, rounds: int) -> None:
    """Does all of it."""
    found: dict[str, list[Result]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, lanes in KINDS.items():
            found[kind].append(await measure(lanes, streams))
    print(
        f"{streams} streams of {WORDS} words, one every {GAP_SECONDS:g} s; {rounds} rounds, load of the machine"
        f" {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    )
    print("| | CPU per token, µs | memory per stream, KiB |")
    print("| --- | --- | --- |")
    for kind, results in found.items():
        tokens, memory = [each.token_microseconds for each in results], [each.stream_kib for each in results]
        print(f"| {kind} | {told(tokens)} | {told(memory)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What an answer costs over a WebSocket.")
    parser.add_argument("--streams", type=int, default=480, help="a multiple of 16")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(main(given.streams, given.rounds))
