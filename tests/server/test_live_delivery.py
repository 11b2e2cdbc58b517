"""A delta reaches the reader before the upstream has sent the next: the upstream waits until the reader has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread
import openai
import pytest
import requests
from tests.server.conftest import DEADLINE_SECONDS, Place
from tests.server.reader import DOORS, asking, chat, text_of

from headrace.testing.upstream import DONE, Exchange, finish_chunk, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

TEXTS = ["One", " delta", ",\n\n", "日本語", " 🏝️", " at\u2028a time"]


class Conversation:
    """An upstream that sends a piece of text only when a reader has confirmed the one before."""

    def __init__(self) -> None:
        self._read: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.finished = False

    def read(self, text: str) -> None:
        """A reader has this text."""
        self._read.put_nowait(text)

    def read_in_thread(self, text: str) -> None:
        """The same, from any thread."""
        self._loop.call_soon_threadsafe(self._read.put_nowait, text)

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        await exchange.head()
        await exchange.chunk(role_chunk())
        async with asyncio.timeout(DEADLINE_SECONDS):
            for text in TEXTS:
                await exchange.chunk(text_chunk(text))
                assert await self._read.get() == text
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()
        self.finished = True


@asynccontextmanager
async def conversing(place: Place) -> AsyncIterator[Conversation]:
    """An upstream that converses with a reader; by the end everything was confirmed."""
    conversation = Conversation()
    async with place.upstream(conversation):
        yield conversation
    assert conversation.finished


@pytest.mark.parametrize("protocol", DOORS)
async def test_a_delta_reaches_a_bare_socket_before_the_upstream_sends_the_next(place: Place, protocol: str) -> None:
    path, body = DOORS[protocol]
    async with conversing(place) as conversation, asking(place.port, "POST", path, body()) as reader:
        async for text in reader.texts():
            conversation.read(text)


@pytest.mark.parametrize("protocol", DOORS)
async def test_a_delta_reaches_curl_before_the_upstream_sends_the_next(place: Place, protocol: str) -> None:
    path, body = DOORS[protocol]
    arguments = ["-sN", f"{place.url}{path}", "-H", "Content-Type: application/json", "-d", json.dumps(body())]
    async with conversing(place) as conversation:
        curl = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
        assert curl.stdout is not None
        async for line in curl.stdout:
            if line.startswith(b"data: ") and (text := text_of(line[6:].decode().rstrip("\n"))):
                conversation.read(text)
        assert await curl.wait() == 0


@pytest.mark.parametrize("protocol", DOORS)
async def test_a_delta_reaches_requests_before_the_upstream_sends_the_next(place: Place, protocol: str) -> None:
    path, body = DOORS[protocol]

    def read(confirm: Callable[[str], None]) -> None:
        with requests.post(f"{place.url}{path}", json=body(), stream=True, timeout=DEADLINE_SECONDS) as answer:
            for line in answer.iter_lines(chunk_size=None, delimiter=b"\n"):
                if line.startswith(b"data: ") and (text := text_of(line[6:].decode())):
                    confirm(text)

    async with conversing(place) as conversation:
        await anyio.to_thread.run_sync(read, conversation.read_in_thread)


def read_by_sdk(url: str, confirm: Callable[[str], None]) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "q"}], stream=True, timeout=DEADLINE_SECONDS
        )
        for chunk in stream:
            if text := chunk.choices[0].delta.content:
                confirm(text)


async def test_i1_a_delta_reaches_the_openai_sdk_before_the_upstream_sends_the_next(place: Place) -> None:
    async with conversing(place) as conversation:
        await anyio.to_thread.run_sync(read_by_sdk, place.url, conversation.read_in_thread)


async def test_i1_a_delta_reaches_the_async_openai_sdk_before_the_upstream_sends_the_next(place: Place) -> None:
    async with (
        conversing(place) as conversation,
        openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key="none", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "q"}], stream=True, timeout=DEADLINE_SECONDS
        )
        async for chunk in stream:
            if text := chunk.choices[0].delta.content:
                conversation.read(text)


async def test_l32_three_deltas_with_gaps_arrive_as_three_writes(place: Place) -> None:
    async with conversing(place) as conversation, asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
        read = 0
        while piece := await reader.piece():
            texts = [text for frame in piece.split(b"\n\n") if frame and (text := text_of(frame[6:].decode()))]
            assert len(texts) <= 1, "deltas that came apart are not glued together"
            for text in texts:
                conversation.read(text)
                read += 1
    assert read == len(TEXTS)
