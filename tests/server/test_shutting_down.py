"""The way down after SIGTERM: nothing new, what runs may finish, and what cannot is told so."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio.to_thread
import pytest
from tests.server.bare_sockets import bare
from tests.server.conftest import DEADLINE_SECONDS, Process, process, until
from tests.server.raw import converse, request
from tests.server.reader import asking, chat, connected, encoded, query
from tests.server.talking import said_in, talking

from headrace.protocols import PROTOCOLS
from headrace.testing.upstream import DONE, Exchange, ScriptedUpstream, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio


class Lasting:
    """An upstream that says one word, and the rest when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        left = asyncio.ensure_future(exchange.left())
        go_on = asyncio.ensure_future(self.go_on.wait())
        await asyncio.wait([left, go_on], return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        go_on.cancel()
        await exchange.chunk(text_chunk(", two") + finish_chunk() + DONE)
        await exchange.end()


@asynccontextmanager
async def served(folder: Path, drain_seconds: float) -> AsyncIterator[tuple[Process, Lasting, ScriptedUpstream]]:
    """A server, and the upstream it has."""
    lasting = Lasting()
    async with ScriptedUpstream(lasting) as upstream:
        settings = (
            f"[server]\ndrain_seconds = {drain_seconds}\n"
            f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'
        )
        with process(folder, settings) as server:
            yield server, lasting, upstream


async def exit_code(server: Process) -> int:
    """How the server ended."""
    return await anyio.to_thread.run_sync(lambda: server.popen.wait(DEADLINE_SECONDS))


def ready(server: Process) -> int:
    return converse(server.port, request("GET", "/health/ready"))[0].status


async def test_on_sigterm_it_is_not_ready_and_takes_nothing_new_while_what_runs_is_finished(tmp_path: Path) -> None:
    async with served(tmp_path, 20) as (server, lasting, upstream):
        assert ready(server) == 200
        async with asking(server.port, "POST", "/v1/chat/completions", chat()) as reader:
            server.popen.send_signal(signal.SIGTERM)
            async with asyncio.timeout(1):
                await until(lambda: ready(server) == 503)
            for path, body in (("/v1/chat/completions", chat()), ("/chat/basic", query(stream=False))):
                async with asking(server.port, "POST", path, body) as refused:
                    assert refused.status == 503
                    assert (await refused.json())["error"]["code"] == "overloaded"
                    assert refused.headers["retry-after"]
            async with asking(server.port, "GET", "/health") as health:
                assert (await health.json())["status"] == "draining"
            # Somebody who lost the connection may still come back to what runs.
            async with asking(
                server.port, "GET", f"/v1/streams/{reader.headers['headrace-stream']}/events"
            ) as returned:
                assert returned.status == 200
                lasting.go_on.set()
                assert "".join([text async for text in returned.texts()]) == "One, two"
            assert "".join([text async for text in reader.texts()]) == "One, two"
        assert await exit_code(server) == 0
        assert len(upstream.exchanges) == 1


async def test_a_whole_answer_is_finished_too(tmp_path: Path) -> None:
    async with served(tmp_path, 20) as (server, lasting, upstream):
        async with connected(server.port, encoded("POST", "/v1/chat/completions", chat(stream=False))) as reader:
            await until(lambda: bool(upstream.exchanges))
            server.popen.send_signal(signal.SIGTERM)
            await until(lambda: ready(server) == 503)
            lasting.go_on.set()
            await reader.head()
            assert (await reader.json())["choices"][0]["message"]["content"] == "One, two"
        assert await exit_code(server) == 0


async def test_what_takes_longer_than_it_may_ends_incomplete_and_says_so(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with served(tmp_path, 0.5) as (server, _, upstream):
        async with (
            asking(server.port, "POST", "/chat/basic", query()) as typed,
            asking(server.port, "POST", "/v1/chat/completions", chat()) as chunks,
            connected(server.port, encoded("POST", "/v1/chat/completions", chat(stream=False))) as whole,
        ):
            await until(lambda: len(upstream.exchanges) == 3)
            signalled_at = loop.time()
            server.popen.send_signal(signal.SIGTERM)
            frames = [frame async for frame in typed.frames()]
            assert 0.4 < loop.time() - signalled_at < 2
            error = json.loads(frames[-2])
            assert (error["type"], error["ending"], error["code"]) == ("error", "incomplete", "shutting_down")
            assert error["partial"] is True
            assert frames[-1] == "[DONE]"
            frames = [frame async for frame in chunks.frames()]
            assert json.loads(frames[-2])["error"]["code"] == "shutting_down"
            assert frames[-1] == "[DONE]"
            await whole.head()
            assert whole.status == 503
            assert (await whole.json())["error"]["code"] == "shutting_down"
        assert await exit_code(server) == 0
        await upstream.emptied()
    endings = [line["ending"] for line in server.log if line["logger"] == "headrace.requests"]
    assert endings == ["incomplete"] * 3, "the log holds what ended with the server"


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, first: signal.Signals) -> None:
    loop = asyncio.get_running_loop()
    async with served(tmp_path, 60) as (server, _, upstream):
        async with asking(server.port, "POST", "/chat/basic", query()) as reader:
            server.popen.send_signal(first)
            await until(lambda: ready(server) == 503)
            forced_at = loop.time()
            server.popen.send_signal(signal.SIGINT)
            frames = [frame async for frame in reader.frames()]
            assert json.loads(frames[-2])["code"] == "shutting_down"
            assert await exit_code(server) == 0
            assert loop.time() - forced_at < 2
        await upstream.emptied()
    assert not [line for line in server.log if line["level"] == "error"]


async def test_answers_over_sockets_are_finished_and_their_sockets_closed_with_1001(tmp_path: Path) -> None:
    async with served(tmp_path, 20) as (server, lasting, _), talking(server.port) as client:
        await client.say(chat(), request_id="r")
        stream_id = (await client.hear())["headrace"]["stream_id"]
        assert said_in([await client.hear()]) == "One"
        async with talking(server.port) as idle:
            server.popen.send_signal(signal.SIGTERM)
            assert (await idle.closed())[0] == 1001
        await client.say(chat())
        assert (await client.hear())["error"]["code"] == "overloaded"
        # Somebody who lost the connection may still come back to what runs.
        async with talking(server.port) as returned:
            await returned.say(type="resume", stream_id=stream_id)
            assert (await returned.hear())["headrace"]["seq"] == 0
            lasting.go_on.set()
            for each in (client, returned):
                assert said_in(await each.answer()).endswith(", two")
                assert (await each.closed())[0] == 1001
        assert await exit_code(server) == 0
    assert not [line for line in server.log if line["level"] == "error"]


async def test_an_idle_socket_that_never_answers_does_not_hold_it_up(tmp_path: Path) -> None:
    async with served(tmp_path, 60) as (server, _, _), bare(server.port) as socket:
        server.popen.send_signal(signal.SIGTERM)
        assert (await socket.closed())[0] == 1001
        assert await exit_code(server) == 0, "in much less time than what runs is given"


async def test_an_idle_connection_does_not_hold_it_up(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with served(tmp_path, 60) as (server, _, _), asking(server.port, "GET", "/health") as reader:
        await reader.body()
        signalled_at = loop.time()
        server.popen.send_signal(signal.SIGTERM)
        assert await exit_code(server) == 0
        assert loop.time() - signalled_at < 2
        await reader.gone()


@pytest.mark.slow
async def test_a_reader_that_takes_nothing_holds_it_up_for_a_few_seconds_at_the_most(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()

    async def say_much(exchange: Exchange) -> None:
        await exchange.head()
        for _ in range(1000):
            await exchange.chunk(text_chunk("x" * 10_000))
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()

    async with ScriptedUpstream(say_much) as upstream:
        settings = f'[server]\ndrain_seconds = 0.1\n[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'
        with process(tmp_path, settings) as server:
            request = encoded("POST", "/chat/basic", query())
            async with connected(server.port, request, receive_bytes=4096) as reader:
                await reader.head()
                signalled_at = loop.time()
                server.popen.send_signal(signal.SIGTERM)
                assert await exit_code(server) == 0
                assert loop.time() - signalled_at < 10


async def test_what_is_cut_short_is_told_in_every_protocol(tmp_path: Path) -> None:
    async with served(tmp_path, 0.3) as (server, _, upstream), AsyncExitStack() as stack:
        first = await stack.enter_async_context(asking(server.port, "POST", "/chat/basic", query()))
        stream_id = first.headers["headrace-stream"]
        readers = {}
        for name in PROTOCOLS:
            path = f"/v1/streams/{stream_id}/events?protocol={name}"
            readers[name] = await stack.enter_async_context(asking(server.port, "GET", path))
        log = f"/v1/stream/generations/{stream_id}?offset=-1&live=sse"
        follower = await stack.enter_async_context(asking(server.port, "GET", log))
        await until(lambda: bool(upstream.exchanges))
        server.popen.send_signal(signal.SIGTERM)
        for name, reader in readers.items():
            if PROTOCOLS[name].framing.tells_endings:
                said = await reader.body()
                assert b"shutting down" in said, name
                assert b'"finish_reason":"stop"' not in said, name
            else:
                with pytest.raises(asyncio.IncompleteReadError):
                    await reader.body()
        # It may be let go before the stream has ended, and comes back elsewhere: it is not told that nothing follows.
        followed = await follower.body()
        assert b'"streamClosed":true' not in followed or b"shutting_down" in followed
        assert await exit_code(server) == 0
