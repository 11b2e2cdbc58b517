"""The fakes that ship with headrace keep what they promise: a test that stands on them stands on something."""

from __future__ import annotations

import asyncio

import pytest

from headrace.testing.clock import ManualClock
from headrace.testing.upstream import DONE, Exchange, ScriptedUpstream, answer, chunk, text_chunk
from headrace.testing.waiting import turns, until

pytestmark = pytest.mark.anyio


async def ask(upstream: ScriptedUpstream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a request was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    writer.write(b"POST /v1/x?y=1 HTTP/1.1\r\nHost: h\r\nX-Name:  value \r\nContent-Length: 7\r\n\r\n")
    writer.write(b'{"a":1}')
    return reader, writer


async def left(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def test_a_request_is_handed_on_as_it_was_sent() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.whole(b"ok")

    async with ScriptedUpstream(handler) as upstream:
        reader, writer = await ask(upstream)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(2) == b"ok"
        await left(writer)
    (exchange,) = upstream.exchanges
    assert (exchange.method, exchange.path, exchange.json()) == ("POST", "/v1/x", {"a": 1})
    assert exchange.headers["x-name"] == "value"


async def test_connections_are_counted_while_they_are_open() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.left()

    async with ScriptedUpstream(handler) as upstream:
        assert upstream.active == 0
        _, first = await ask(upstream)
        _, second = await ask(upstream)
        await until(lambda: upstream.active == 2)
        await left(first)
        await until(lambda: upstream.active == 1)
        await left(second)
        await upstream.emptied()
        assert (upstream.active, upstream.accepted) == (0, 2)


async def test_a_close_is_an_end_and_a_reset_is_a_reset() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.write(b"said")
        exchange.close() if exchange.connection == 1 else exchange.reset()

    async with ScriptedUpstream(handler) as upstream:
        reader, writer = await ask(upstream)
        assert await reader.read() == b"said"
        await left(writer)
        reader, writer = await ask(upstream)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(100)
        writer.close()


async def test_a_mistake_of_the_handler_comes_out_when_the_upstream_is_closed() -> None:
    async def handler(exchange: Exchange) -> None:
        raise LookupError("mine")

    async def serve_one() -> None:
        async with ScriptedUpstream(handler) as upstream:
            reader, writer = await ask(upstream)
            assert await reader.read() == b""
            await left(writer)

    with pytest.raises(LookupError, match="mine"):
        await serve_one()


async def test_a_handler_whose_reader_left_has_made_no_mistake() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.left()
        await exchange.write(b"too late")

    async with ScriptedUpstream(handler) as upstream:
        _, writer = await ask(upstream)
        await until(lambda: upstream.exchanges)
        await left(writer)
        await upstream.emptied()


async def test_a_test_decides_when_the_next_text_is_sent() -> None:
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await answer(exchange, ["one", "two"], (1, 2), go_on)

    async with ScriptedUpstream(handler) as upstream:
        reader, writer = await ask(upstream)
        await reader.readuntil(chunk(text_chunk("one")))
        next_byte = asyncio.ensure_future(reader.readexactly(1))
        await turns(20)
        assert not next_byte.done()
        go_on.set()
        rest = await next_byte + await reader.readuntil(b"0\r\n\r\n")
        assert rest.startswith(chunk(text_chunk("two")))
        assert b'"usage":{"prompt_tokens":1,"completion_tokens":2' in rest
        assert rest.endswith(chunk(DONE) + b"0\r\n\r\n")
        await left(writer)


async def test_a_clock_turned_by_hand_goes_when_it_is_turned_and_never_back() -> None:
    clock = ManualClock(unix_ns=5)
    clock.advance(1.5)
    assert (clock.monotonic_ns(), clock.unix_ns()) == (1_500_000_000, 1_500_000_005)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_a_condition_that_never_holds_is_a_failure() -> None:
    with pytest.raises(TimeoutError):
        await until(lambda: False, seconds=0.01)
