"""Goodput beyond capacity: what becomes of the answers a server has taken on when twice as many are asked for.

    benchmarks/overload --streams 60 --seconds 10

`headrace serve` with `server.max_streams` stands between a scripted upstream, whose every answer takes the same time,
and readers that arrive at random, whether earlier ones were served or not. Its capacity is what the limit allows:
streams at once divided by the time of an answer. Goodput counts answers that were whole, word by word, per second;
whoever is refused must be told 503 and when to come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from headrace.testing.upstream import DONE, Exchange, ScriptedUpstream, finish_chunk, text_chunk

WORDS = [f"{number} " for number in range(20)]
GAP_SECONDS = 0.02
FACTORS = (0.5, 1.0, 2.0, 4.0)
LEAST_SHARE = 0.9
MISSED = 7
READ_SECONDS = 20.0
REQUEST_BODY = json.dumps(
    {"model": "lab/m", "stream": True, "messages": [{"role": "user", "content": "Count."}]}
).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(REQUEST_BODY), REQUEST_BODY)
)


async def count_slowly(exchange: Exchange) -> None:
    """Answers in 20 words, 20 ms apart."""
    await exchange.head()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for place, word in enumerate(WORDS, 1):
        await asyncio.sleep(began + place * GAP_SECONDS - loop.time())
        await exchange.chunk(text_chunk(word))
    await exchange.chunk(finish_chunk() + DONE)
    await exchange.end()


async def ask(port: int) -> str:
    """What became of one request: `whole`, `refused`, or a word for what must not be."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
            outgoing.write(REQUEST)
            answer = await incoming.read()
            outgoing.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    if answer.startswith(b"HTTP/1.1 503 "):
        return "refused" if b"\r\nretry-after: " in answer else "refused without Retry-After"
    if not answer.startswith(b"HTTP/1.1 200 "):
        return answer[:40].decode("latin-1")
    frames = [line[6:] for line in answer.split(b"\n") if line.startswith(b"data: {")]
    said = "".join(json.loads(frame)["choices"][0]["delta"].get("content") or "" for frame in frames)
    return "whole" if said == "".join(WORDS) and b"data: [DONE]" in answer else "not whole"


class Result(NamedTuple):
    """What became of the load at one factor."""

    factor: float
    offered: float
    goodput: float
    outcomes: Counter[str]


async def offer(port: int, capacity: float, factor: float, seconds: float, chance: random.Random) -> Result:
    """Readers that arrive at random for so many seconds."""
    loop = asyncio.get_running_loop()
    asked: list[asyncio.Task[str]] = []
    began = arrives = loop.time()
    while (arrives := arrives + chance.expovariate(capacity * factor)) < began + seconds:
        await asyncio.sleep(arrives - loop.time())
        asked.append(loop.create_task(ask(port)))
    outcomes = Counter(await asyncio.gather(*asked))
    # The first answers are there after the time of one; the last ones as long after the last arrival.
    return Result(factor, len(asked) / seconds, outcomes["whole"] / seconds, outcomes)


@asynccontextmanager
async def served(base_url: str, streams: int) -> AsyncIterator[int]:
    """The port of a server with so much room."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "settings.toml").write_text(
            f'[server]\nmax_streams = {streams}\n[store]\nkind = "memory"\n'
            f'[[upstreams]]\nname = "lab"\nbase_url = "{base_url}"\n'
        )
        ready = folder / "ready"
        environment = {"PATH": os.environ["PATH"], "HOME": name, "OLLAMA_HOST": "127.0.0.1:1"}
        process = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on yet
            [sys.executable, "-m", "headrace", "serve", "--port", "0", "--config", "settings.toml",
             "--ready-file", str(ready)],
            cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(READ_SECONDS):
                while not ready.exists():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            yield int(str(json.loads(ready.read_bytes())["url"]).rpartition(":")[2])
        finally:
            process.terminate()
            process.wait()


async def measure(streams: int, seconds: float, seed: int) -> int:
    """Does all of it; gives the exit code."""
    capacity = streams / (len(WORDS) * GAP_SECONDS)
    chance = random.Random(seed)
    results = []
    async with ScriptedUpstream(count_slowly) as upstream, served(upstream.base_url, streams) as port:
        assert await ask(port) == "whole"
        for factor in FACTORS:
            results.append(await offer(port, capacity, factor, seconds, chance))
            upstream.exchanges.clear()
    peak = max(result.goodput for result in results)
    print(f"{streams} streams at once, answers of {len(WORDS) * GAP_SECONDS:g} s: capacity {capacity:.0f} answers/s; "
          f"{seconds:g} s each, load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, "
          f"{time.strftime('%Y-%m-%d')}")  # fmt: skip
    print("| load | offered/s | goodput/s | of its peak | refused | anything else |")
    print("| --- | --- | --- | --- | --- | --- |")
    for result in results:
        rest = result.outcomes.total() - result.outcomes["whole"] - result.outcomes["refused"]
        print(f"| {result.factor:g} × | {result.offered:.0f} | {result.goodput:.0f} | {result.goodput / peak:.0%} "
              f"| {result.outcomes['refused']} | {rest} |")  # fmt: skip
    bad = sum((result.outcomes for result in results), Counter[str]())
    bad -= Counter({"whole": bad["whole"], "refused": bad["refused"]})
    for words, number in bad.items():
        print(f"{number} × {words}")
    twice = next(result.goodput for result in results if result.factor == 2.0)
    return MISSED if bad or twice < LEAST_SHARE * peak else 0


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Goodput of a server that is offered more than it takes.")
    parser.add_argument("--streams", type=int, default=60, help="server.max_streams")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return asyncio.run(measure(given.streams, given.seconds, given.seed))


if __name__ == "__main__":
    sys.exit(main())
