"""More than a server takes: who comes beyond its limits is told when to come back, and those inside notice nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Place, serving, until
from tests.server.reader import Reader, asking, connected, encoded, query
from tests.server.test_leaving import ROUTES

from headrace.settings import ServerSettings, Settings
from headrace.testing.upstream import Exchange, answer, text_chunk

pytestmark = pytest.mark.anyio

OVERLOAD = Path(__file__).parents[2] / "benchmarks" / "overload.py"
MOST_READERS = 4
MOST_OF_ONE = 2


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server with little room."""
    limits = ServerSettings(max_streams=3, max_readers=MOST_READERS, max_readers_per_stream=MOST_OF_ONE)
    async with serving(Settings(server=limits)) as narrow:
        yield narrow


class Lasting:
    """An upstream that says one word, and nothing more until its reader leaves."""

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await exchange.left()


def told(status: int, headers: dict[str, str], body: Any) -> str:
    """What an error says, once it is one that tells when to come back."""
    assert status == 503
    assert headers["retry-after"] == "1"
    error = body["error"]
    if isinstance(error, str):
        assert body["code"] == "overloaded"
        return error
    assert error["code"] == "overloaded"
    return str(error["message"])


async def refused(reader: Reader) -> str:
    return told(reader.status, reader.headers, await reader.json())


async def start(place: Place, stack: AsyncExitStack) -> str:
    """A stream that goes on, read by one; gives where its events are."""
    reader = await stack.enter_async_context(asking(place.port, "POST", "/chat/basic", query()))
    assert reader.status == 200
    return f"/v1/streams/{reader.headers['headrace-stream']}/events"


@pytest.mark.parametrize("path", ROUTES)
async def test_one_stream_more_than_a_server_takes_is_told_when_to_come_back(place: Place, path: str) -> None:
    async with place.upstream(Lasting()) as upstream, AsyncExitStack() as stack:
        for _ in range(3):
            await start(place, stack)
        async with asking(place.port, "POST", path, ROUTES[path]) as reader:
            assert "max_streams" in await refused(reader)
        await until(lambda: upstream.active == 3)
        assert len(upstream.exchanges) == 3, "nobody was asked for what is refused"
    await place.emptied()


@pytest.mark.parametrize("path", ROUTES)
async def test_one_reader_more_than_a_server_takes_starts_nothing(place: Place, path: str) -> None:
    async with place.upstream(Lasting()) as upstream, AsyncExitStack() as stack:
        for events in [await start(place, stack) for _ in range(MOST_READERS - MOST_OF_ONE)]:
            await stack.enter_async_context(asking(place.port, "GET", events))
        assert len(place.house.readers) == MOST_READERS
        async with asking(place.port, "POST", path, ROUTES[path]) as reader:
            assert "(max_readers)" in await refused(reader)
        assert len(place.house.runs) == len(upstream.exchanges) == 2
    await place.emptied()
    assert len(place.house.readers) == 0


WAYS: dict[str, Callable[[str], str]] = {
    "events": lambda events: events,
    "ndjson": lambda events: f"{events}?protocol=ollama_chat",
    "durable events": lambda events: f"/v1/stream/generations/{events.split('/')[3]}?offset=-1&live=sse",
    "long-poll": lambda events: f"/v1/stream/generations/{events.split('/')[3]}?offset=-1&live=long-poll",
}


@pytest.mark.parametrize("way", WAYS)
async def test_one_reader_more_than_a_stream_takes_harms_none_of_the_others(place: Place, way: str) -> None:
    gap = asyncio.Event()

    async def say(exchange: Exchange) -> None:
        await answer(exchange, ["One", " two"], gap=gap)

    async with place.upstream(say), asking(place.port, "POST", "/chat/basic", query()) as first:
        events = f"/v1/streams/{first.headers['headrace-stream']}/events"
        async with asking(place.port, "GET", events) as second:
            async with asking(place.port, "GET", WAYS[way](events)) as third:
                assert "(max_readers_per_stream)" in await refused(third)
            gap.set()
            for reader in (first, second):
                assert "".join([text async for text in reader.texts()]) == "One two"
        await until(lambda: not len(place.house.readers))
        async with asking(place.port, "GET", WAYS[way](events)) as third:
            assert third.status == 200, "there is room again"
            await third.body()
    await place.emptied()


async def test_a_reader_that_waits_for_a_whole_answer_is_one_too(place: Place) -> None:
    request = encoded("POST", "/chat/basic", query(stream=False))
    async with place.upstream(Lasting()), connected(place.port, request):
        await until(lambda: len(place.house.readers) == 1)
    await until(lambda: not len(place.house.readers))
    await place.emptied()


def test_at_twice_the_load_as_many_answers_become_whole_as_ever() -> None:
    command = [sys.executable, str(OVERLOAD), "--streams", "30", "--seconds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
