"""The connections to an upstream: kept, used again, closed; when they are marked, and where they lead.

Every test runs on both event loops and, where both promise the same, on both transports.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from headrace.clock import Clock, SystemClock
from headrace.errors import SettingsError, UpstreamReset
from headrace.providers import http, http_connection
from headrace.providers.http import HTTPTransport
from headrace.providers.transport import Response, Transport
from headrace.testing.clock import ManualClock
from headrace.testing.upstream import Exchange, ScriptedUpstream, sending
from headrace.testing.waiting import turns, until
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

Opened = Callable[..., AbstractAsyncContextManager[Transport]]

OK = b"HTTP/1.1 200 OK\r\n"
CANCEL_SECONDS = 0.1


async def send(transport: Transport) -> Response:
    return await transport.send("POST", "/chat/completions", b'{"model":"m"}', Marks(0))


async def listen(response: Response, heard: list[bytes]) -> None:
    """Hears everything to the end, and closes."""

    def hear(pieces: Sequence[bytes]) -> bool:
        heard.extend(pieces)
        return False

    try:
        await response.listen(hear)
    finally:
        await response.close()


async def body(transport: Transport) -> bytes:
    """The whole body of one exchange."""
    heard: list[bytes] = []
    await listen(await send(transport), heard)
    return b"".join(heard)


# --- the connections that are kept


async def respond(exchange: Exchange) -> None:
    await exchange.whole(b"{}")


async def test_a_connection_is_used_again(opened: Opened) -> None:
    async with ScriptedUpstream(respond) as upstream, opened(upstream.base_url) as transport:
        for _ in range(3):
            assert await body(transport) == b"{}"
        assert upstream.accepted == 1
        assert [exchange.path for exchange in upstream.exchanges] == ["/v1/chat/completions"] * 3


async def test_requests_at_once_have_a_connection_each_however_many(opened: Opened) -> None:
    everybody_is_here = asyncio.Event()
    count = 130  # more than the hundred that httpx2 would have by itself

    async def handler(exchange: Exchange) -> None:
        if len(upstream.exchanges) == count:
            everybody_is_here.set()
        await everybody_is_here.wait()
        await exchange.whole(b"{}")

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        async with asyncio.timeout(20):
            bodies = await asyncio.gather(*(body(transport) for _ in range(count)))
        assert bodies == [b"{}"] * count
        assert upstream.accepted == count


async def test_closing_the_transport_closes_what_it_kept(opened: Opened) -> None:
    async with ScriptedUpstream(respond) as upstream:
        async with opened(upstream.base_url) as transport:
            await body(transport)
            assert upstream.active == 1
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


async def test_a_kept_connection_that_the_upstream_closed_is_not_used(opened: Opened) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.whole(b"{}")
        if exchange.connection == 1:
            exchange.close()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        await body(transport)
        await upstream.emptied()
        await turns(3)
        assert await body(transport) == b"{}"
        assert len(upstream.exchanges) == 2


@pytest.mark.parametrize("how", [Exchange.close, Exchange.reset])
async def test_a_request_is_sent_again_where_a_kept_connection_gave_no_byte(
    how: Callable[[Exchange], None], opened: Opened, only_ours: None
) -> None:
    async def handler(exchange: Exchange) -> None:
        if len(upstream.exchanges) == 2:
            how(exchange)
        else:
            await exchange.whole(b"{}")

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        assert await body(transport) == b"{}"
        assert await body(transport) == b"{}"
        assert [exchange.connection for exchange in upstream.exchanges] == [1, 1, 2]
        assert upstream.exchanges[1].body == upstream.exchanges[2].body


@pytest.mark.parametrize("how", [Exchange.close, Exchange.reset])
async def test_a_request_is_sent_again_only_once(
    how: Callable[[Exchange], None], opened: Opened, only_ours: None
) -> None:
    async def handler(exchange: Exchange) -> None:
        if len(upstream.exchanges) == 1:
            await exchange.whole(b"{}")
        else:
            how(exchange)

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        await body(transport)
        with pytest.raises(UpstreamReset):
            await send(transport)
        assert len(upstream.exchanges) == 3


async def test_a_request_is_not_sent_again_once_a_byte_has_come(opened: Opened) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.whole(b"{}") if len(upstream.exchanges) == 1 else await sending(b"H", then=Exchange.reset)(
            exchange
        )

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        await body(transport)
        with pytest.raises(UpstreamReset):
            await send(transport)
        assert len(upstream.exchanges) == 2


@pytest.mark.parametrize("junk", [b"x", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_bytes_on_an_idle_connection_end_it(junk: bytes, opened: Opened) -> None:
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.whole(b"{}")
        if exchange.connection == 1:
            await go_on.wait()
            await exchange.write(junk)

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        assert await body(transport) == b"{}"
        go_on.set()
        await turns(20)
        assert await body(transport) == b"{}"
        assert [exchange.connection for exchange in upstream.exchanges] == [1, 2]


async def test_bytes_after_the_end_of_a_body_are_not_the_next_response(opened: Opened, only_ours: None) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"

    async def handler(exchange: Exchange) -> None:
        await exchange.write(OK + b"Content-Length: 2\r\n\r\n{}" + (smuggled if exchange.connection == 1 else b""))

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        assert await body(transport) == b"{}"
        assert await body(transport) == b"{}"
        assert upstream.accepted == 2


async def test_a_connection_that_idled_too_long_is_not_used(opened: Opened, only_ours: None) -> None:
    clock = ManualClock()
    async with ScriptedUpstream(respond) as upstream, opened(upstream.base_url, clock) as transport:
        await body(transport)
        clock.advance(http.IDLE_SECONDS - 1)
        await body(transport)
        assert upstream.accepted == 1
        clock.advance(http.IDLE_SECONDS + 1)
        await body(transport)
        assert upstream.accepted == 2
        await until(lambda: upstream.active == 1)


async def test_connections_that_a_busy_hour_left_behind_are_closed(opened: Opened, only_ours: None) -> None:
    clock = ManualClock()
    everybody_is_here = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        if len(upstream.exchanges) == 5:
            everybody_is_here.set()
        await everybody_is_here.wait()
        await exchange.whole(b"{}")

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url, clock) as transport:
        await asyncio.gather(*(body(transport) for _ in range(5)))
        for _ in range(6):
            clock.advance(http.IDLE_SECONDS / 2)
            await body(transport)
        await until(lambda: upstream.active == 1)
        assert upstream.accepted == 5


async def test_a_response_that_was_not_read_to_its_end_costs_its_connection(opened: Opened) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"a")
        await exchange.left()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await response.listen(lambda pieces: True)
        await response.close()
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


async def test_a_released_connection_is_kept_when_the_end_of_its_body_comes(opened: Opened, only_ours: None) -> None:
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"[DONE]")
        if len(upstream.exchanges) == 1:
            await go_on.wait()
            await exchange.chunk(b"nobody listens to this")
        await exchange.end()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await response.listen(lambda pieces: True)
        response.release()
        await response.close()
        go_on.set()
        await turns(20)
        assert await body(transport) == b"[DONE]"
        assert upstream.accepted == 1


async def test_what_comes_after_enough_was_heard_does_not_cost_a_released_connection(
    opened: Opened, only_ours: None
) -> None:
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"[DONE]")
        await go_on.wait()
        await exchange.chunk(b"nobody listens to this")
        await exchange.end()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await response.listen(lambda pieces: True)
        go_on.set()
        await turns(20)
        response.release()
        await response.close()
        assert await body(transport) == b"[DONE]nobody listens to this"
        assert upstream.accepted == 1


async def test_a_released_connection_whose_body_does_not_end_is_closed(
    opened: Opened, only_ours: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "RELEASE_SECONDS", 0.02)

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"[DONE]")
        await exchange.left()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await response.listen(lambda pieces: True)
        response.release()
        await response.close()
        assert upstream.active == 1
        await asyncio.wait_for(upstream.emptied(), 1)


async def test_closing_the_transport_closes_released_connections_too(opened: Opened, only_ours: None) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"[DONE]")
        await exchange.left()

    async with ScriptedUpstream(handler) as upstream:
        async with opened(upstream.base_url) as transport:
            response = await send(transport)
            await response.listen(lambda pieces: True)
            response.release()
            await response.close()
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


async def test_a_response_that_outlives_its_transport_leaves_no_connection(opened: Opened, only_ours: None) -> None:
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await go_on.wait()
        await exchange.chunk(b"late")
        await exchange.end()

    async with ScriptedUpstream(handler) as upstream:
        async with opened(upstream.base_url) as transport:
            response = await send(transport)
        go_on.set()
        heard: list[bytes] = []
        await listen(response, heard)
        assert heard == [b"late"]
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


# --- bodies nobody takes


async def test_a_body_that_nobody_listens_to_stops_being_read(opened: Opened) -> None:
    size = 64 << 20
    piece = bytes(1 << 16)
    sent = 0

    async def handler(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.head(headers={"Content-Length": str(size)}, chunked=False)
        while sent < size:
            await exchange.write(piece)
            sent += len(piece)
            await asyncio.sleep(0)

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await turns(3000)
        assert sent < size / 2  # what fits the buffers of two sockets, and ours
        pieces_heard: list[int] = []

        def hear(pieces: Sequence[bytes]) -> bool:
            pieces_heard.append(sum(map(len, pieces)))
            return False

        await response.listen(hear)
        await response.close()
    assert sum(pieces_heard) == size
    assert max(pieces_heard) <= http_connection.MOST_UNREAD_BYTES + (1 << 18)  # and what one read more may bring


# --- addresses and marks


async def test_ipv6_is_an_address_like_any_other(opened: Opened) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with ScriptedUpstream(respond, host="::1") as upstream, opened(upstream.base_url) as transport:
        assert await body(transport) == b"{}"
        assert upstream.exchanges[0].headers["host"] == f"[::1]:{upstream.port}"


async def test_a_request_says_what_it_has_to(opened: Opened) -> None:
    async with ScriptedUpstream(respond) as upstream:
        async with opened(upstream.origin + "/a/b/") as transport:
            await body(transport)
        (exchange,) = upstream.exchanges
    assert (exchange.method, exchange.path) == ("POST", "/a/b/chat/completions")
    assert exchange.headers["host"] == f"127.0.0.1:{upstream.port}"
    assert exchange.headers["authorization"] == "Bearer k"
    assert exchange.json() == {"model": "m"}


async def test_a_cookie_set_for_one_request_is_not_sent_with_another(opened: Opened) -> None:
    data = OK + b"Set-Cookie: who=reader-one\r\nSet-Cookie: odd=\xbd\r\nContent-Length: 0\r\n\r\n"
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        await body(transport)
        await body(transport)
        assert not any("cookie" in exchange.headers for exchange in upstream.exchanges)


async def test_the_marks_are_taken_when_things_happen(opened: Opened) -> None:
    clock = ManualClock()
    marks = Marks(0)

    async def handler(exchange: Exchange) -> None:
        assert marks.connected_ns == 0
        assert marks.sent_ns == 0
        assert marks.first_byte_ns is None
        clock.advance(1)
        await exchange.write(b"HTTP/1.1 200 ")
        await turns(3)
        clock.advance(1)
        await exchange.write(b"OK\r\nContent-Length: 0\r\n\r\n")

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url, clock) as transport:
        response = await transport.send("POST", "/x", b"", marks)
        await response.close()
        if isinstance(transport, HTTPTransport):
            assert marks.first_byte_ns == 1_000_000_000
        else:
            assert marks.first_byte_ns == 2_000_000_000  # httpx2 tells no earlier


async def test_nothing_is_connected_until_there_is_a_connection(opened: Opened) -> None:
    marks = Marks(0)
    async with ScriptedUpstream(respond) as upstream, opened(f"https://127.0.0.1:{upstream.port}/v1") as transport:
        task = asyncio.ensure_future(transport.send("POST", "/x", b"", marks))
        await until(lambda: upstream.active)
        await turns(3)
        assert marks.connected_ns is None
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    "base_url",
    ["ftp://x/v1", "127.0.0.1:80", "http://", "http://x:99999/v1", "http://x:port/v1", "http://[::1/v1", "http://x/ü"],
)
async def test_an_address_that_is_none_is_a_mistake_in_the_settings(base_url: str) -> None:
    with pytest.raises(SettingsError, match="base_url of upstream 'larch'"):
        HTTPTransport("larch", base_url, {}, SystemClock())


@pytest.mark.parametrize("key", ["secret\nkey", "secret\r", "secret\0", "secret \u4e2d"])
async def test_a_key_that_is_no_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(SettingsError) as refused:
        HTTPTransport("larch", "http://x/v1", {"Authorization": f"Bearer {key}"}, SystemClock())
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def clock_of(transport: Clock) -> Clock:
    """Says to the type checker that a hand-turned clock is a clock."""
    return transport


def test_a_clock_turned_by_hand_is_a_clock() -> None:
    assert clock_of(ManualClock()).monotonic_ns() == 0
