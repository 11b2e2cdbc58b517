"""Connections that are slow, idle or half closed, on a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.server.conftest import Place, serving, until
from tests.server.reader import asking, chat, connected, encoded

from headrace.server.connection import Connection
from headrace.settings import ServerSettings, Settings
from headrace.testing.upstream import DONE, Exchange, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

LONG = "x" * 10_000
REQUEST = encoded("POST", "/v1/chat/completions", chat())


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server whose patience is short."""
    settings = ServerSettings(header_seconds=0.5, write_stall_seconds=0.2, keep_alive_seconds=0.5)
    async with serving(Settings(server=settings)) as impatient:
        yield impatient


def look(place: Place) -> None:
    """Looks at every connection's deadlines now, as the server does once a second."""
    for connection in list(place.server.server_state.connections):
        assert isinstance(connection, Connection)
        connection.check_deadlines(asyncio.get_running_loop().time())


async def say_much(exchange: Exchange) -> None:
    """Says 20 MB as fast as they are taken."""
    await exchange.head()
    for _ in range(2000):
        await exchange.chunk(text_chunk(LONG))
    await exchange.chunk(finish_chunk())
    await exchange.chunk(DONE)
    await exchange.end()


async def test_heads_have_10_seconds_bodies_and_stalled_writes_30_and_heartbeats_come_after_15() -> None:
    server = ServerSettings()
    assert (server.header_seconds, server.body_seconds, server.write_stall_seconds) == (10, 30, 30)
    assert server.heartbeat_seconds == 15


@pytest.mark.parametrize("half_closed", [False, True], ids=["silent", "half closed"])
async def test_a_reader_that_takes_nothing_is_let_go_when_its_time_is_over(place: Place, half_closed: bool) -> None:
    async with place.upstream(say_much), connected(place.port, REQUEST, receive_bytes=4096) as reader:
        await reader.head()
        connection = next(iter(place.server.server_state.connections))
        await until(lambda: bool(connection.transport.get_write_buffer_size()))
        if half_closed:
            reader.half_close()
            # It has left, whatever still waits for it: its run is stopped at once.
            await until(lambda: not len(place.house.runs), seconds=0.15)
        await place.emptied()
        await until(lambda: not place.server.server_state.connections)


async def test_a_reader_that_takes_a_little_now_and_then_is_not_let_go(place: Place) -> None:
    async with place.upstream(say_much), connected(place.port, REQUEST, receive_bytes=4096) as reader:
        await reader.head()
        # For five times as long as it may take nothing.
        end = asyncio.get_running_loop().time() + 1.0
        while asyncio.get_running_loop().time() < end:
            assert LONG.encode() in await reader.piece()
            await asyncio.sleep(0.05)
            look(place)


async def test_a_connection_that_was_idle_has_the_whole_time_for_its_next_request(place: Place) -> None:
    async with asking(place.port, "GET", "/health") as reader:
        await reader.body()
        await asyncio.sleep(0.4)  # nearly as long as headers may take
        await reader.send(encoded("GET", "/health")[:20])
        await until(lambda: len(place.server.server_state.connections) == 1)
        await asyncio.sleep(0.2)
        look(place)
        await reader.send(encoded("GET", "/health")[20:])
        await reader.head()
        assert reader.status == 200


async def test_a_connection_that_stays_idle_is_closed(place: Place) -> None:
    async with asking(place.port, "GET", "/health") as reader:
        await reader.body()
        await reader.gone()


async def test_a_connection_is_idle_even_where_the_answer_came_before_the_body(place: Place) -> None:
    request = encoded("POST", "/nowhere", b"12345678")
    async with connected(place.port, request[:-4]) as reader:
        await reader.head()
        assert reader.status == 404
        await reader.body()
        await reader.send(request[-4:])
        await reader.gone()


async def test_a_slow_reader_costs_no_memory_beyond_its_socket(place: Place) -> None:
    async with place.upstream(say_much), connected(place.port, REQUEST, receive_bytes=4096) as reader:
        await reader.head()
        connection = next(iter(place.server.server_state.connections))
        run = place.house.store.open(reader.headers["headrace-stream"], "local")
        await until(lambda: run.ended is not None or run.length > 1000)
        # What waits is bounded by the write that crossed the line, not by what was said: about 10 MB by now.
        assert connection.transport.get_write_buffer_size() < 4_000_000


async def test_what_is_left_of_a_stream_waits_for_a_slow_reader(place: Place) -> None:
    async def say(exchange: Exchange) -> None:
        await exchange.head()
        for number in range(300):
            await exchange.chunk(text_chunk(f"{number}:{LONG[:2000]};"))
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()

    async with place.upstream(say), connected(place.port, REQUEST, receive_bytes=4096) as reader:
        await reader.head()
        run = place.house.store.open(reader.headers["headrace-stream"], "local")
        await until(lambda: run.ended is not None)
        texts = "".join([text async for text in reader.texts()])
    assert texts == "".join(f"{number}:{LONG[:2000]};" for number in range(300))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_reader_that_closes_its_sending_side_has_left(place: Place, stream: bool) -> None:
    # From here it looks like any reader that closed its connection: both send a FIN and nothing else.
    async def say_one(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await exchange.left()

    async with place.upstream(say_one) as upstream:
        async with connected(place.port, encoded("POST", "/v1/chat/completions", chat(stream=stream))) as reader:
            await until(lambda: bool(upstream.exchanges))
            reader.half_close()
            await until(lambda: not len(place.house.runs), seconds=0.25)
        await upstream.emptied()
