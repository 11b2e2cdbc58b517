"""The official JavaScript client follows a generation, each token before the next one is there."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Place, serving
from tests.server.reader import asking, query

from headrace.testing.upstream import DONE, Exchange, finish_chunk, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

TEXTS = ["One", " two", "\n\n", "日本語 🏝️", ' "quoted" ', "end"]


class Gate:
    """An upstream that says each token when it is told to."""

    def __init__(self) -> None:
        self.open: asyncio.Queue[None] = asyncio.Queue()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(role_chunk())
        for text in TEXTS:
            await self.open.get()
            await exchange.chunk(text_chunk(text))
        await self.open.get()
        for record in (finish_chunk(), DONE):
            await exchange.chunk(record)
        await exchange.end()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with serving() as own:
        yield own


@asynccontextmanager
async def following(packages: Path, url: str, offset: str, mode: str) -> AsyncIterator[Process]:
    """The client, following; what it read is on its standard output."""
    client = await asyncio.create_subprocess_exec(
        "node", "follow.mjs", url, offset, mode, cwd=packages, stdout=PIPE, stderr=PIPE
    )
    try:
        yield client
    finally:
        if client.returncode is None:
            client.kill()
        await client.communicate()


async def batches(client: Process) -> AsyncIterator[dict[str, Any]]:
    """What the client reads, as it reads it."""
    assert client.stdout is not None
    while line := await client.stdout.readline():
        yield json.loads(line)
    assert client.stderr is not None
    assert await client.wait() == 0, (await client.stderr.read()).decode()


@pytest.mark.parametrize("mode", ["sse", "long-poll"])
async def test_the_official_client_follows_a_generation_token_by_token(packages: Path, place: Place, mode: str) -> None:
    gate = Gate()
    async with place.upstream(gate), asking(place.port, "POST", "/chat/basic", query()) as reader:
        url = f"{place.url}/v1/stream/generations/{reader.headers['headrace-stream']}"
        messages: list[dict[str, Any]] = []
        offsets: list[str] = []
        async with following(packages, url, "-1", mode) as client:
            gate.open.put_nowait(None)
            async for batch in batches(client):
                offsets.append(batch["offset"])
                for message in batch["items"]:
                    messages.append(message)
                    if message["type"] == "token":
                        gate.open.put_nowait(None)  # the next token is there only after this one was read
        assert [each["content"] for each in messages if each["type"] == "token"] == TEXTS
        assert messages[0]["type"] == "start"
        assert messages[-1] | {"offset": 0} == {
            "type": "done", "content": "".join(TEXTS), "sources": [], "finish_reason": "stop", "offset": 0
        }  # fmt: skip
        assert offsets == sorted(offsets)
        # Whoever leaves in the middle goes on from there with what is left, and nothing twice.
        middle = offsets[len(offsets) // 2]
        async with following(packages, url, middle, mode) as again:
            rest = [message async for batch in batches(again) for message in batch["items"]]
        assert rest
        assert rest == messages[-len(rest) :]
        assert messages[-len(rest) - 1]["offset"] < rest[0]["offset"]
