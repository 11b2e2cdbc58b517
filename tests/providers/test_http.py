"""HTTP/1.1 to an upstream, over real sockets: what arrives, what breaks, and what becomes of the connection.

Every test runs on both event loops and, where both promise the same, on both transports.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from headrace.errors import (
    UpstreamError,
    UpstreamMalformed,
    UpstreamReset,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from headrace.providers.http import HTTPTransport
from headrace.providers.transport import Response, Transport
from headrace.testing.upstream import Exchange, ScriptedUpstream, chunk, sending
from headrace.testing.waiting import until
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

Opened = Callable[..., AbstractAsyncContextManager[Transport]]

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
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


async def heard_so_many(heard: list[bytes], count: int) -> None:
    """Returns when so many pieces were heard."""
    await until(lambda: len(heard) >= count)


def cuts(data: bytes) -> list[tuple[bytes, ...]]:
    """`data` whole, byte by byte, and in two at every place."""
    return [
        (data,),
        tuple(data[place : place + 1] for place in range(len(data))),
        *((data[:place], data[place:]) for place in range(1, len(data))),
    ]


async def each_cut(data: bytes, opened: Opened, check: Callable[[Transport], Awaitable[None]], *, close: bool) -> None:
    """Has `check` read the answer `data` once for each way to cut it; `close`: the connection ends after it."""
    pieces = iter(cuts(data))

    async def handler(exchange: Exchange) -> None:
        await sending(*next(pieces), then=Exchange.close if close else None)(exchange)

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        for _ in cuts(data):
            await check(transport)
        assert len(upstream.exchanges) == len(cuts(data))


# --- bodies


@pytest.mark.parametrize(
    ("data", "until_close"),
    [
        (OK + b"Content-Length: 11\r\n\r\nhello world", False),
        (CHUNKED + chunk(b"hello ") + chunk(b"world") + b"0\r\n\r\n", False),
        (CHUNKED + b"6;name=value\r\nhello \r\n05\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n", False),
        (OK + b"\r\nhello world", True),
        (OK + b"Connection: close\r\nContent-Length: 11\r\n\r\nhello world", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK + b"Content-Length: 11\r\n\r\nhello world", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + CHUNKED + chunk(b"hello world") + b"0\r\n\r\n", False),
        (OK + b"content-length:11\r\nContent-Encoding: identity\r\n\r\nhello world", False),
    ],
    ids=[
        "length",
        "chunked",
        "extension and trailer",
        "until EOF",
        "close",
        "HTTP/1.0",
        "103",
        "100 twice",
        "identity",
    ],
)
async def test_a_body_is_read_to_its_end_however_it_is_framed_and_cut(
    data: bytes, until_close: bool, opened: Opened
) -> None:
    async def check(transport: Transport) -> None:
        assert await body(transport) == b"hello world"

    await each_cut(data, opened, check, close=until_close)


async def test_a_body_is_heard_while_it_arrives(opened: Opened) -> None:
    heard: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        for count, piece in enumerate((b"one", b"two", b"three"), 1):
            await exchange.chunk(piece)
            await heard_so_many(heard, count)  # the next is sent when this one was heard, and not before
        await exchange.end()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        await listen(await send(transport), heard)
    assert heard == [b"one", b"two", b"three"]


async def test_what_arrives_is_heard_without_a_task_being_woken_for_it(opened: Opened, only_ours: None) -> None:
    tasks: list[object] = []
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await go_on.wait()
        await exchange.chunk(b"later")
        await exchange.end()

    def hear(pieces: Sequence[bytes]) -> bool:
        tasks.append(asyncio.current_task())
        return False

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        go_on.set()
        await response.listen(hear)
        await response.close()
    assert tasks == [None]


async def test_the_pieces_of_one_read_are_heard_together(opened: Opened, only_ours: None) -> None:
    batches: list[list[bytes]] = []

    def hear(pieces: Sequence[bytes]) -> bool:
        batches.append(list(pieces))
        return False

    handler = sending(CHUNKED + b"".join(chunk(b"%d" % number) for number in range(5)) + b"0\r\n\r\n")
    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await response.listen(hear)
        await response.close()
    assert batches == [[b"0", b"1", b"2", b"3", b"4"]]


async def test_headers_are_lower_case_and_joined_and_trailers_are_none_of_them(opened: Opened) -> None:
    data = (
        b"HTTP/1.1 103 Early Hints\r\nContent-Type: early\r\n\r\n"
        b"HTTP/1.1 418 I'm a teapot\r\nRetry-After: 1\r\nretry-after: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\nRetry-After-Ms: 1\r\n\r\n"
    )
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await listen(response, [])
    assert response.status == 418
    assert response.headers["retry-after"] == "1, 2"
    assert not {"content-type", "retry-after-ms", "Retry-After"} & set(response.headers)


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_waits_for_none(status: int, opened: Opened) -> None:
    data = b"HTTP/1.1 %d Nothing\r\n\r\n" % status
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        assert await body(transport) == b""
        assert await body(transport) == b""
        assert upstream.accepted == 1


async def test_a_listener_that_has_heard_enough_may_listen_again_for_the_rest(opened: Opened) -> None:
    heard: list[bytes] = []
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"first")
        await go_on.wait()
        await exchange.chunk(b"rest")
        await exchange.end()

    def hear_one(pieces: Sequence[bytes]) -> bool:
        heard.extend(pieces)
        return True

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await response.listen(hear_one)
        assert heard == [b"first"]
        go_on.set()
        await listen(response, heard)
    assert heard == [b"first", b"rest"]


async def test_an_exception_of_the_listener_comes_out_of_listening_and_closes_the_connection(opened: Opened) -> None:
    def hear(pieces: Sequence[bytes]) -> bool:
        raise LookupError("mine")

    handler = sending(CHUNKED + chunk(b"a"), then=None)
    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        with pytest.raises(LookupError, match="mine"):
            await response.listen(hear)
        await response.close()
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


# --- compression, which is never asked for

PLAIN = b"data: one\n\n" + bytes(range(256)) * 3


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


COMPRESSED = {
    "gzip": gzip.compress(PLAIN, mtime=0),
    "x-gzip": gzip.compress(PLAIN, mtime=0),
    "deflate": zlib.compress(PLAIN),
    "deflate, raw": raw_deflate(PLAIN),
}


async def test_no_compression_is_asked_for(opened: Opened) -> None:
    async with ScriptedUpstream(sending(OK + b"Content-Length: 0\r\n\r\n")) as upstream:
        async with opened(upstream.base_url) as transport:
            await body(transport)
        assert upstream.exchanges[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", COMPRESSED)
async def test_a_compressed_body_is_read_all_the_same(name: str, opened: Opened, only_ours: None) -> None:
    compressed = COMPRESSED[name]
    head = b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (name.partition(",")[0].encode(), len(compressed))

    async def check(transport: Transport) -> None:
        assert await body(transport) == PLAIN

    await each_cut(OK + head + compressed[:40] + compressed[40:], opened, check, close=False)


async def test_a_compressed_stream_is_heard_while_it_arrives(opened: Opened) -> None:
    heard: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.head(headers={"Content-Encoding": "gzip"})
        compressor = zlib.compressobj(wbits=31)
        for count, piece in enumerate((b"one", b"two"), 1):
            await exchange.chunk(compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH))
            await heard_so_many(heard, count)
        await exchange.chunk(compressor.flush())
        await exchange.end()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        await listen(await send(transport), heard)
    assert heard == [b"one", b"two"]


async def test_a_small_compressed_body_that_becomes_a_large_one_is_heard_in_parts(opened: Opened) -> None:
    compressed = gzip.compress(bytes(20 << 20), mtime=0)
    sizes: list[int] = []

    def hear(pieces: Sequence[bytes]) -> bool:
        sizes.append(sum(map(len, pieces)))
        return len(sizes) == 3

    data = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(compressed) + compressed
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        response = await send(transport)
        await response.listen(hear)
        assert sizes == [1 << 20] * 3
        heard: list[bytes] = []
        await listen(response, heard)
        assert sum(map(len, heard)) == 17 << 20


async def test_a_body_that_is_not_compressed_as_it_says_is_malformed(opened: Opened) -> None:
    data = OK + b"Content-Encoding: gzip\r\nContent-Length: 11\r\n\r\nhello world"
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        with pytest.raises(UpstreamMalformed):
            await body(transport)


async def test_a_compressed_body_that_stops_half_way_is_truncated(opened: Opened, only_ours: None) -> None:
    half = COMPRESSED["gzip"][:-20]
    data = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(half) + half
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        with pytest.raises(UpstreamTruncated):
            await body(transport)


async def test_an_encoding_nobody_knows_is_refused_by_name(opened: Opened, only_ours: None) -> None:
    data = OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nhi"
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        with pytest.raises(UpstreamMalformed, match="'br'"):
            await body(transport)
        await asyncio.wait_for(upstream.emptied(), CANCEL_SECONDS)


# --- what breaks

BROKEN = {
    "length": (OK + b"Content-Length: 20\r\n\r\nhello", b"hello"),
    "within a chunk": (CHUNKED + chunk(b"hel") + b"5\r\nlo", b"hello"),
    "between chunks": (CHUNKED + chunk(b"hello"), b"hello"),
    "before the last line": (CHUNKED + chunk(b"hello") + b"0\r\n", b"hello"),
}


async def heard_before(error: type[UpstreamError], transport: Transport) -> bytes:
    """What was heard before this error."""
    heard: list[bytes] = []
    with pytest.raises(error) as raised:
        await listen(await send(transport), heard)
    assert raised.value.upstream == "larch"
    assert "larch" in raised.value.message
    return b"".join(heard)


@pytest.mark.parametrize("name", BROKEN)
async def test_an_end_before_the_end_of_the_framing_is_truncation_and_what_came_is_kept(
    name: str, opened: Opened
) -> None:
    data, said = BROKEN[name]

    async def check(transport: Transport) -> None:
        assert await heard_before(UpstreamTruncated, transport) == said

    await each_cut(data, opened, check, close=True)


async def test_a_reset_is_no_end_of_a_body_that_ends_with_its_connection(opened: Opened) -> None:
    heard: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.write(OK + b"\r\nhello")
        await until(lambda: b"".join(heard) == b"hello")
        exchange.reset()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        with pytest.raises(UpstreamReset):
            await listen(await send(transport), heard)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_reset_in_the_body_is_a_reset_and_what_came_is_kept(name: str, opened: Opened) -> None:
    data, said = BROKEN[name]
    heard: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        await exchange.write(data)
        await until(lambda: b"".join(heard) == said)  # a reset may overtake what was sent before it
        exchange.reset()

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        with pytest.raises(UpstreamReset):
            await listen(await send(transport), heard)
    assert b"".join(heard) == said


@pytest.mark.parametrize("how", [Exchange.close, Exchange.reset])
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 20", OK, b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_connection_that_breaks_before_the_head_is_a_reset_and_is_not_tried_again(
    sent: bytes, how: Callable[[Exchange], None], opened: Opened
) -> None:
    async with ScriptedUpstream(sending(sent, then=how) if sent else sending(then=how)) as upstream:
        async with opened(upstream.base_url) as transport:
            with pytest.raises(UpstreamReset):
                await send(transport)
        assert len(upstream.exchanges) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n\r\n\r\n",
        OK + b"Content-Length: many\r\n\r\n",
        OK + b"no colon here\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"<html>no</html>\r\n\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_malformed_however_it_is_cut(data: bytes, opened: Opened) -> None:
    async def check(transport: Transport) -> None:
        with pytest.raises(UpstreamMalformed):
            await body(transport)

    await each_cut(data, opened, check, close=False)


async def test_a_chunk_that_is_none_spoils_nothing_that_came_before_it(opened: Opened) -> None:
    async def check(transport: Transport) -> None:
        assert await heard_before(UpstreamMalformed, transport) == b"hello"

    await each_cut(CHUNKED + chunk(b"hello") + b"xyz\r\n", opened, check, close=False)


@pytest.mark.parametrize("line", [b"X-Header: 0123456789\r\n", b"X", b"HTTP/1.1 103 Hints\r\n\r\n"])
async def test_headers_without_end_are_cut_off(line: bytes, opened: Opened) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.write(b"" if line.startswith(b"HTTP") else OK)
        while True:
            await exchange.write(line * 64)
            await asyncio.sleep(0)

    async with ScriptedUpstream(handler) as upstream, opened(upstream.base_url) as transport:
        if line.startswith(b"HTTP") and not isinstance(transport, HTTPTransport):
            pytest.skip("httpx2 waits for ever")
        with pytest.raises(UpstreamMalformed):
            await send(transport)
        await asyncio.wait_for(upstream.emptied(), 1)


async def test_another_protocol_is_not_switched_to(opened: Opened, only_ours: None) -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with ScriptedUpstream(sending(data)) as upstream, opened(upstream.base_url) as transport:
        with pytest.raises(UpstreamMalformed, match="switched"):
            await send(transport)


async def test_nobody_listening_is_unreachable_and_says_where(opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with opened(f"http://127.0.0.1:{port}/v1") as transport:
        with pytest.raises(UpstreamUnreachable, match=r"no connection to larch.*Is it running"):
            await send(transport)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 70])
async def test_a_name_that_leads_nowhere_is_unreachable(host: str, opened: Opened, only_ours: None) -> None:
    async with opened(f"http://{host}:1/v1") as transport:
        with pytest.raises(UpstreamUnreachable, match=r"larch.*Are its base_url and this machine's network right"):
            await send(transport)
