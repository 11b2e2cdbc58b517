"""Row D9 and lesson L32: readers behind nginx with `deploy/nginx.conf`, on its own port, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.server.conftest import DEADLINE_SECONDS, Place, process, serving, until
from tests.server.nginx import CONFIGURATION, nginx_before
from tests.server.reader import DOORS, Reader, asking, chat, connected, encoded, query, text_of
from tests.server.talking import said_in, talking

from headrace.settings import ServerSettings, Settings
from headrace.testing.upstream import (
    DONE,
    Exchange,
    ScriptedUpstream,
    answer,
    finish_chunk,
    role_chunk,
    text_chunk,
)

pytestmark = pytest.mark.anyio

TEXTS = ["One", " delta", ",\n\n", "日本語", " 🏝️", " at\u2028a time"]
# How soon a token is through (L32), and how soon the upstream sees that its reader left (L1).
THROUGH_SECONDS = 0.1
CLOSED_SECONDS = 0.25
MODEL = "lab/m"
# Every protocol that keeps a silent connection alive.
KEPT_ALIVE = {
    "/v1/chat/completions": chat(),
    "/v1/completions": {"prompt": "q", "model": MODEL, "stream": True},
    "/chat/basic": query(),
    "/chat": {"prompt": "q", "model": MODEL},
    "/api/generate/stream": {"prompt": "q", "model": MODEL},
    "/api/chat/stream": {"message": "q", "model": MODEL},
    "/api/chat": {"messages": [{"role": "user", "content": "q"}], "model": MODEL},
    "/api/generate": {"prompt": "q", "model": MODEL},
}
OPEN_AT_ONCE = {"/chat/basic", "/chat", "/api/generate/stream", "/api/chat/stream"}


@pytest.fixture(scope="module")
def nginx(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx before the server that the tests of this file share."""
    with nginx_before(tmp_path_factory.mktemp("nginx"), place.port) as port:
        yield port


class Conversation:
    """An upstream that sends a token only when a reader has the one before, and knows how long each was on its way."""

    def __init__(self) -> None:
        self._read: asyncio.Queue[str] = asyncio.Queue()
        self.seconds: list[float] = []

    def read(self, text: str) -> None:
        """A reader has this text."""
        self._read.put_nowait(text)

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        clock = asyncio.get_running_loop().time
        await exchange.head()
        await exchange.chunk(role_chunk())
        for text in TEXTS:
            sent = clock()
            await exchange.chunk(text_chunk(text))
            assert await self._read.get() == text
            self.seconds.append(clock() - sent)
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()


async def confirm(reader: Reader, conversation: Conversation) -> list[int]:
    """Reads to the end, confirming each text as it comes; gives how many came with each piece."""
    counts = []
    while piece := await reader.piece():
        texts = [
            text
            for frame in piece.split(b"\n\n")
            if frame.startswith(b"data: ") and (text := text_of(frame[6:].decode()))
        ]
        counts.append(len(texts))
        for text in texts:
            conversation.read(text)
    return counts


async def confirm_after_head(reader: Reader, conversation: Conversation) -> None:
    """The same from the beginning of the response."""
    await reader.head()
    await confirm(reader, conversation)


# -- every token at once


@pytest.mark.parametrize("protocol", DOORS)
async def test_d9_l32_a_token_is_through_before_the_next_is_sent_and_within_100_ms(
    place: Place, nginx: int, protocol: str
) -> None:
    path, body = DOORS[protocol]
    first_tokens = []
    for _ in range(5):
        conversation = Conversation()
        async with place.upstream(conversation), asking(nginx, "POST", path, body()) as reader:
            assert "x-accel-buffering" not in reader.headers, "that was for nginx"
            assert "content-encoding" not in reader.headers
            assert max(await confirm(reader, conversation)) == 1, "tokens that came apart are not glued together"
        first_tokens.append(conversation.seconds[0])
    # The middle one: what a proxy holds back it holds back each time, and a busy machine does not.
    assert statistics.median(first_tokens) < THROUGH_SECONDS


async def test_l32_plain_text_and_lines_of_json_are_through_at_once_too(place: Place, nginx: int) -> None:
    for path in ("/api/query/stream", "/api/generate"):
        conversation = Conversation()
        body = {"prompt": "q", "model": MODEL}
        async with place.upstream(conversation), asking(nginx, "POST", path, body) as reader:
            said = ""
            while piece := await reader.piece():
                text = piece.decode() if path == "/api/query/stream" else json.loads(piece)["response"]
                said += text
                if text:
                    conversation.read(text)
        assert said == "".join(TEXTS)


async def test_l32_what_headrace_says_of_buffering_is_enough_for_an_nginx_that_buffers(
    place: Place, tmp_path: Path
) -> None:
    conversation = Conversation()
    with nginx_before(tmp_path, place.port, {"proxy_buffering off;": "proxy_buffering on;"}) as port:
        async with place.upstream(conversation), asking(port, "POST", "/v1/chat/completions", chat()) as reader:
            assert max(await confirm(reader, conversation)) == 1


async def test_l32_an_nginx_that_compresses_and_buffers_is_noticed_by_these_tests(place: Place, tmp_path: Path) -> None:
    conversation = Conversation()
    careless = {
        "proxy_buffering off;": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;",
        "gzip off;": "gzip on;",
    }
    request = encoded("POST", "/v1/chat/completions", chat(), {"Accept-Encoding": "gzip"})
    with nginx_before(tmp_path, place.port, careless) as port:
        async with place.upstream(conversation), connected(port, request) as reader:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(confirm_after_head(reader, conversation), 1)
        assert not conversation.seconds, "the first token never came"
    await place.emptied()


@pytest.mark.parametrize("path", KEPT_ALIVE)
async def test_l32_no_stream_is_compressed_though_the_reader_and_nginx_would(
    place: Place, nginx: int, path: str
) -> None:
    async def speak(exchange: Exchange) -> None:
        await answer(exchange, TEXTS)

    async with (
        place.upstream(speak),
        asking(nginx, "POST", path, KEPT_ALIVE[path], {"Accept-Encoding": "gzip"}) as reader,
    ):
        assert "content-encoding" not in reader.headers
        assert "no-transform" in reader.headers["cache-control"]
        assert b"delta" in await reader.body()


# -- silence before the first token


async def until_told(exchange: Exchange, told: asyncio.Event) -> None:
    await exchange.head()
    await told.wait()
    await answer_rest(exchange)


async def answer_rest(exchange: Exchange) -> None:
    for record in (*map(text_chunk, TEXTS), finish_chunk(), DONE):
        await exchange.chunk(record)
    await exchange.end()


async def read_in_silence(port: int, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of one answer, as far as it came."""
    said = b""
    async with connected(port, encoded("POST", path, KEPT_ALIVE[path], headers)) as reader:
        await reader.head()
        with contextlib.suppress(asyncio.IncompleteReadError):
            while piece := await reader.piece():
                said += piece
                if "content-length" in reader.headers:
                    break
    return reader.status, said


async def all_in_silence(port: int, headers: dict[str, str]) -> dict[str, tuple[int, bytes]]:
    """The answers of every protocol, asked for at the same time."""
    answers = await asyncio.gather(*(read_in_silence(port, path, headers) for path in KEPT_ALIVE))
    return dict(zip(KEPT_ALIVE, answers, strict=True))


def assert_exact(answers: dict[str, tuple[int, bytes]]) -> None:
    for path, (status, body) in answers.items():
        assert status == 200, path
        assert body.count(b"delta") >= 1, path


async def test_l30_heartbeats_carry_a_silence_past_the_limit_of_nginx_and_without_them_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.server.serving.SWEEP_SECONDS", 0.05)
    async with serving(Settings(server=ServerSettings(heartbeat_seconds=0.2))) as place:
        with nginx_before(tmp_path, place.port, {"proxy_read_timeout 630s;": "proxy_read_timeout 1s;"}) as port:
            for headers, survives in (({}, True), ({"Headrace-Heartbeat": "0"}, False)):
                told = asyncio.Event()
                asyncio.get_running_loop().call_later(2.5, told.set)
                async with place.upstream(partial(until_told, told=told)):
                    answers = await all_in_silence(port, headers)
                if survives:
                    assert_exact(answers)
                else:
                    told.set()
                    # Those that open at once are cut off.
                    assert {path for path, (status, _) in answers.items() if status != 504} == OPEN_AT_ONCE
                    assert not [path for path, (_, said) in answers.items() if b"delta" in said]
                await place.emptied()


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_d9_l30_90_seconds_of_silence_survive_an_idle_limit_of_20_with_settings_untouched(tmp_path: Path) -> None:
    async def fall_silent(exchange: Exchange) -> None:
        await exchange.head()
        await asyncio.sleep(90)  # what the lesson says: nothing else happens meanwhile
        await answer_rest(exchange)

    async def ask() -> None:
        async with ScriptedUpstream(fall_silent) as upstream:
            settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'
            with (
                process(tmp_path, settings) as headrace,
                nginx_before(
                    tmp_path / "nginx", headrace.port, {"proxy_read_timeout 630s;": "proxy_read_timeout 20s;"}
                ) as port,
            ):
                assert_exact(await all_in_silence(port, {}))

    asyncio.run(ask())


def test_nginx_waits_longer_than_headraces_own_timers() -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    seconds = float(text.partition("proxy_read_timeout ")[2].partition("s;")[0])
    assert seconds > (Settings().timeouts.total or 0)
    kept = float(text.partition("keepalive_timeout ")[2].partition("s;")[0])
    assert kept < ServerSettings().keep_alive_seconds


# -- leaving, coming back, and what else has to get through


@pytest.mark.parametrize("spoken", [False, True], ids=["before the first token", "mid-stream"])
async def test_l1_a_reader_that_leaves_nginx_stops_the_upstream(place: Place, nginx: int, spoken: bool) -> None:
    silent = asyncio.Event()

    async def fall_silent(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(role_chunk())
        if spoken:
            await exchange.chunk(text_chunk("One"))
        silent.set()
        await exchange.left()

    async with place.upstream(fall_silent) as upstream:
        async with connected(nginx, encoded("POST", "/v1/chat/completions", chat())) as reader:
            await silent.wait()
            if spoken:
                await reader.head()
                assert b"One" in await reader.piece()
        left_at = asyncio.get_running_loop().time()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await upstream.emptied()
        assert asyncio.get_running_loop().time() - left_at < CLOSED_SECONDS
    await place.emptied()


async def test_l6_a_stream_is_resumed_and_cancelled_through_nginx(place: Place, nginx: int) -> None:
    spoken = asyncio.Event()

    async def speak_and_hold(exchange: Exchange) -> None:
        await exchange.head()
        for text in TEXTS:
            await exchange.chunk(text_chunk(text))
        spoken.set()
        await exchange.left()

    headers = {"Headrace-Event-Ids": "true", "Headrace-On-Disconnect": "continue"}
    async with place.upstream(speak_and_hold):
        async with asking(nginx, "POST", "/v1/chat/completions", chat(), headers) as reader:
            stream = f"/v1/streams/{reader.headers['headrace-stream']}"
            await spoken.wait()
        events = f"{stream}/events?protocol=openai_chat"
        async with asking(nginx, "GET", events, headers={**headers, "Last-Event-ID": "3"}) as returned:
            said: list[str] = []
            async for text in returned.texts():
                said.append(text)
                if len(said) == len(TEXTS) - 3:
                    break
            assert said == TEXTS[3:], "the start is event 0"
            async with asking(nginx, "POST", f"{stream}/cancel") as cancelled:
                assert cancelled.status == 200
            assert b"cancelled" in await returned.body()
    await place.emptied()


async def test_t8_a_body_that_headrace_cuts_off_is_cut_off_behind_nginx(place: Place, nginx: int) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half an answer"))
        exchange.close()

    body = {"question": "q", "model": MODEL}
    async with place.upstream(break_off), asking(nginx, "POST", "/api/query/stream", body) as reader:
        assert await reader.piece() == b"half an answer"
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.piece()


async def test_an_error_of_headrace_is_its_own_behind_nginx(place: Place, nginx: int) -> None:
    large = chat("x" * (place.house.settings.server.body_limit_bytes + 1))
    for body, status in ((chat(model="nothing-of-that-name"), 404), (large, 413)):
        async with asking(nginx, "POST", "/v1/chat/completions", body) as reader:
            assert reader.status == status
            assert (await reader.json())["error"]["code"]


# -- WebSockets


async def test_chat_over_a_websocket_gets_through_token_by_token(place: Place, nginx: int) -> None:
    said = asyncio.Event()

    async def one_by_one(exchange: Exchange) -> None:
        await exchange.head()
        for text in TEXTS:
            await exchange.chunk(text_chunk(text))
            await said.wait()
            said.clear()
        await exchange.chunk(finish_chunk())
        await exchange.end()

    async with place.upstream(one_by_one), talking(nginx) as client:
        await client.say(chat())
        assert (await client.hear())["headrace"]["seq"] == 0
        for text in TEXTS:
            # The upstream says no more until this was read.
            assert said_in([await client.hear()]) == text
            said.set()
        assert (await client.hear())["choices"][0]["finish_reason"] == "stop"
    await place.emptied()


async def test_l30_pings_carry_a_websocket_past_the_limit_of_nginx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.server.serving.SWEEP_SECONDS", 0.05)
    async with serving(Settings(server=ServerSettings(heartbeat_seconds=0.2))) as place:
        with nginx_before(tmp_path, place.port, {"proxy_read_timeout 630s;": "proxy_read_timeout 1s;"}) as port:
            told = asyncio.Event()
            asyncio.get_running_loop().call_later(2.5, told.set)
            async with place.upstream(partial(until_told, told=told)), talking(port) as client:
                await client.say(chat())
                assert said_in(await client.answer()) == "".join(TEXTS)
            async with place.upstream(say_and_hold), talking(port) as client:
                await client.say(chat(headrace={"heartbeat_seconds": 0}))
                with pytest.raises(AssertionError, match="without a word"):
                    await client.closed()
            await place.emptied()


async def test_a_websocket_is_resumed_and_refused_through_nginx(place: Place, nginx: int) -> None:
    async with place.upstream(say_and_hold) as upstream:
        async with talking(nginx) as client:
            await client.say(chat(headrace={"on_disconnect": 5}))
            stream_id = (await client.hear())["headrace"]["stream_id"]
            await client.hear()
            client.cut()
        await until(lambda: not place.house.deliveries)
        assert upstream.active == 1
        async with talking(nginx) as client:
            await client.say(type="resume", stream_id=stream_id, after=0)
            assert said_in([await client.hear()]) == "One"
            await client.say({"type": "cancel"})
            assert (await client.hear())["error"]["code"] == "cancelled"
    async with talking(nginx, origin="https://evil.example") as client:
        assert (await client.closed())[0] == 1008
    async with talking(nginx, origin="http://127.0.0.1") as client:
        await client.say({"type": "ping"})
        assert await client.hear() == {"type": "pong"}, "pages of the public name are its own"
    await place.emptied()


async def say_and_hold(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


@contextlib.asynccontextmanager
async def bare_server() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that keeps every head it is sent, agrees to upgrades, and sends back what comes after; its port."""
    heads: list[bytes] = []
    connections = 0

    async def serve(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await incoming.readuntil(b"\r\n\r\n"):
                heads.append(b"%d " % connections + head)
                if b"upgrade: websocket" not in head.lower():
                    outgoing.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    continue
                outgoing.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                while piece := await incoming.read(1024):
                    outgoing.write(piece)
        outgoing.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1]), heads
    finally:
        server.close()


async def test_connections_to_headrace_are_kept_and_a_websocket_is_upgraded(tmp_path: Path) -> None:
    async with bare_server() as (port, heads):
        with nginx_before(tmp_path, port) as nginx:
            for _ in range(2):
                async with asking(nginx, "GET", "/health") as reader:
                    assert await reader.body() == b"ok"
            assert [head[:2] for head in heads] == [b"1 ", b"1 "], "both on one connection"
            assert b"connection:" not in heads[0].lower()
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            async with asking(nginx, "GET", "/ws", headers=upgrade) as reader:
                assert reader.status == 101
                assert b"connection: upgrade\r\n" in heads[-1].lower()
                await reader.send(b"both ways")
                async with asyncio.timeout(DEADLINE_SECONDS):
                    assert await reader._incoming.readexactly(9) == b"both ways"
    await until(lambda: len(heads) == 3)
