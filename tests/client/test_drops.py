"""Both clients where connections break: at any byte, in any way, before the headers and after them (row I8)."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.client.faces import Face
from tests.client.weather import Break, How, Weather
from tests.server.conftest import HEADRACE, Place, Process, process, serving, until
from tests.upstream_answers import TEXTS, WHOLE, say_everything

from headrace.client import AsyncClient, Resuming, StreamFailed
from headrace.errors import UnknownStream, UpstreamError, UpstreamMalformed
from headrace.testing.upstream import (
    DONE,
    Exchange,
    ScriptedUpstream,
    answer,
    finish_chunk,
    text_chunk,
)

pytestmark = pytest.mark.anyio

SOON = Resuming(attempts=40, seconds=10.0, first_delay_seconds=0.002, longest_delay_seconds=0.01)


async def a_whole_stream(place: Place, face: Face) -> tuple[str, list[object]]:
    """The id of a stream that has ended, and its events as an unbroken reader gets them."""
    async with place.upstream(say_everything), face(place.url) as client, client.stream("hi", model="lab/m") as stream:
        return stream.id, [event async for event in stream]


@pytest.mark.parametrize("seed", range(4))
async def test_i8_cut_at_any_byte_again_and_again_nothing_is_missed_and_nothing_comes_twice(
    face: Face, place: Place, weather: Weather, seed: int
) -> None:
    chance = random.Random(seed)
    ways: list[How] = ["reset", "end"]
    weather.plan = lambda number: Break(chance.randrange(1100), chance.choice(ways))
    async with place.upstream(say_everything) as upstream, face(weather.url, resuming=SOON) as client:
        for reading in range(1, 13):
            async with client.stream("hi", model="lab/m") as stream:
                events = [event async for event in stream]
            stored = place.house.store.open(stream.id, "local")
            assert stream.final.text == WHOLE
            assert (stream.final.reasoning, stream.final.ending) == ("Hm.", "stop")
            assert stream.offset == stored.length - 1
            assert len(events) == stored.length, "each event once"
            assert len(upstream.exchanges) == reading, "and asked for once"
    assert weather.broken > 40


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_i8_cut_once_anywhere_in_the_answer_or_its_headers_nothing_changes(
    face: Face, place: Place, weather: Weather, how: How
) -> None:
    stream_id, whole = await a_whole_stream(place, face)
    # At every byte what is decided is the same in both, and tested without a network (`test_pieces.py`).
    every = 5 if face.__name__ == "AsyncClient" else 23
    cut, resumed = 0, 0
    async with face(weather.url, resuming=SOON) as client:
        while True:
            weather.break_once(cut, how)
            async with client.resume(stream_id) as stream:
                assert [event async for event in stream] == whole
            if weather.is_due:
                break  # it lay behind the last byte
            resumed += stream.stats.resumed
            cut += every
    assert cut > 1000
    assert resumed > 1000 / every


async def test_a_drop_before_the_headers_asks_for_no_second_answer(face: Face, place: Place, weather: Weather) -> None:
    weather.break_once(0)
    async with place.upstream(say_everything) as upstream, face(weather.url, resuming=SOON) as client:
        async with client.stream("hi", model="lab/m") as stream:
            assert "".join([text async for text in stream.text]) == WHOLE
        assert len(upstream.exchanges) == 1
    assert weather.broken == 1


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_a_drop_in_the_middle_is_taken_up_live(face: Face, place: Place, weather: Weather, how: How) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    async with place.upstream(on_demand) as upstream, face(weather.url, resuming=SOON) as client:
        read = []
        async with client.stream("hi", model="lab/m") as stream:
            async for text in stream.text:
                read.append(text)
                weather.break_once(20, how)  # within the frame that comes next
                gap.set()
        assert len(upstream.exchanges) == 1
    assert read == TEXTS
    assert stream.stats.resumed >= len(TEXTS) - 1


async def test_a_way_that_has_fallen_silent_is_left_for_another(face: Face, place: Place, weather: Weather) -> None:
    weather.break_once(500, "silence")
    async with (
        place.upstream(say_everything),
        face(weather.url, resuming=SOON, heartbeat_seconds=0.1) as client,
        client.stream("hi", model="lab/m") as stream,
    ):
        assert "".join([text async for text in stream.text]) == WHOLE
    assert (stream.stats.resumed, weather.broken) == (1, 1)


async def test_heartbeats_keep_a_silent_answer_alive(face: Face, place: Place, weather: Weather) -> None:
    async def think(exchange: Exchange) -> None:
        await exchange.head()
        await asyncio.sleep(3.0)  # what is tested: longer than silence is borne
        await answer_rest(exchange)

    async def answer_rest(exchange: Exchange) -> None:
        for data in (text_chunk(WHOLE), finish_chunk(), DONE):
            await exchange.chunk(data)
        await exchange.end()

    async with (
        place.upstream(think),
        face(weather.url, resuming=SOON, heartbeat_seconds=0.1) as client,
        client.stream("hi", model="lab/m") as stream,
    ):
        assert [text async for text in stream.text] == [WHOLE]
    assert (stream.stats.resumed, weather.connections) == (0, 1)


async def test_it_gives_up_within_its_bounds_and_says_what_it_has(face: Face, place: Place, weather: Weather) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    bounds = Resuming(attempts=4, first_delay_seconds=0.002)
    async with place.upstream(on_demand), face(weather.url, resuming=bounds) as client:
        async with client.stream("hi", model="lab/m") as stream:
            texts = stream.text
            assert await anext(texts) == TEXTS[0]
            weather.plan = lambda number: Break(0)
            weather.break_once(20)
            gap.set()
            with pytest.raises(UpstreamError) as raised:
                await anext(texts)
        assert weather.connections == 4
        error = raised.value
        assert (error.stream_id, error.partial, error.after_first_token) == (stream.id, TEXTS[0], True)
        assert error.retryable
        # Somebody with more patience takes it up where it was left.
        weather.plan = lambda number: None
        async with client.resume(stream.id, after=stream.offset) as again:
            gap.set()
            read = []
            async for text in again.text:
                read.append(text)
                gap.set()
    assert read == TEXTS[1:]


async def test_a_stream_that_a_restarted_server_has_lost_is_an_error_and_nobody_waits(
    face: Face, place: Place, weather: Weather
) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    async with serving() as anew, place.upstream(on_demand), face(weather.url, resuming=SOON) as client:
        async with client.stream("hi", model="lab/m") as stream:
            texts = stream.text
            assert await anext(texts) == TEXTS[0]
            weather.port = anew.port
            weather.break_once(20)
            gap.set()
            with pytest.raises(UnknownStream, match=r"is gone: .* does not know it any more") as raised:
                await anext(texts)
        place.house.cancel(place.house.store.open(stream.id, "local"))
    error = raised.value
    assert (error.stream_id, error.partial, error.retryable) == (stream.id, TEXTS[0], False)
    assert stream.final.ending is None


async def test_a_server_that_is_full_is_asked_again_when_it_says(face: Face) -> None:
    asked: list[str] = []

    async def full_at_first(exchange: Exchange) -> None:
        asked.append(exchange.headers["headrace-stream"])
        if len(asked) < 3:
            body = b'{"error":{"message":"no room","code":"overloaded"}}'
            await exchange.whole(body, 503, {"Content-Type": "application/json", "Retry-After-Ms": "20"})
            return
        await exchange.head()
        for offset, frame in enumerate(
            [b'{"type":"start","stream_id":"s","model":"m"}', b'{"type":"token","content":"at last"}']
        ):
            await exchange.chunk(b"id: %d\ndata: %b\n\n" % (offset, frame))
        await exchange.chunk(b'data: {"type":"done"}\n\nid: 2\ndata: [DONE]\n\n')
        await exchange.end()

    async with (
        ScriptedUpstream(full_at_first) as server,
        face(server.origin, resuming=SOON) as client,
        client.stream("hi") as stream,
    ):
        assert [text async for text in stream.text] == ["at last"]
    assert len(asked) == 3
    assert len(set(asked)) == 1


async def test_what_is_no_event_is_not_asked_for_again(face: Face) -> None:
    async def nonsense(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b"data: <html>\n\n")
        await exchange.left()

    async with ScriptedUpstream(nonsense) as server, face(server.origin, resuming=SOON) as client:
        async with client.stream("hi") as stream:
            with pytest.raises(UpstreamMalformed, match="no typed event"):
                await anext(stream.text)
        assert len(server.exchanges) == 1


async def test_a_cancel_that_is_lost_on_its_way_is_sent_again(face: Face, place: Place, weather: Weather) -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half an answer"))
        await exchange.left()

    async with place.upstream(hang) as upstream, face(weather.url, resuming=Resuming(seconds=60)) as client:
        async with client.stream("hi", model="lab/m") as stream:
            assert await anext(stream.text) == "half an answer"
            weather.plan = lambda number: Break(0) if number < 3 else None
        # Not by the minute that the server would wait for this reader to return.
        await until(lambda: not upstream.active, 5.0)
    assert weather.connections == 4


async def test_l7_of_a_server_that_was_killed_and_started_again_the_reader_gets_all_that_was_kept_and_why_it_ended(
    face: Face, weather: Weather, tmp_path: Path
) -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half an "))
        await exchange.chunk(text_chunk("answer"))
        await exchange.left()

    # Until there is a server again, nothing answers at all.
    patient = Resuming(attempts=1000, seconds=20.0, first_delay_seconds=0.01, longest_delay_seconds=0.05)
    async with ScriptedUpstream(hang) as upstream, AsyncExitStack() as stack:
        settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'

        async def server() -> Process:
            started = await asyncio.to_thread(lambda: stack.enter_context(process(tmp_path, settings)))
            weather.port = started.port
            return started

        killed = await server()
        client = await stack.enter_async_context(face(weather.url, resuming=patient))
        stream = await stack.enter_async_context(client.stream("hi", model="lab/m"))
        texts = stream.text
        assert [await anext(texts), await anext(texts)] == ["half an ", "answer"]
        killed.popen.kill()
        await asyncio.to_thread(killed.popen.wait)
        (tmp_path / "ready").unlink()
        waiting = asyncio.ensure_future(anext(texts))
        await server()
        with pytest.raises(StreamFailed) as raised:
            await waiting
        error = raised.value
        assert (error.ending, error.partial, error.stream_id) == ("interrupted", "half an answer", stream.id)
        assert stream.stats.resumed == 1
        assert stream.final.usage is not None


async def test_a_reader_that_is_called_away_in_the_middle_of_a_read_goes_on_behind_what_it_had(
    place: Place, weather: Weather
) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    read: list[str] = []
    async with (
        place.upstream(on_demand),
        AsyncClient(weather.url, resuming=SOON) as client,
        client.stream("hi", model="lab/m") as stream,
    ):
        texts = stream.text
        while len(read) < len(TEXTS):
            waiting = asyncio.ensure_future(anext(texts))
            await asyncio.sleep(0)
            if len(read) % 2:
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                waiting = asyncio.ensure_future(anext(texts))
            if read:
                gap.set()
            read.append(await waiting)
    assert read == TEXTS


async def test_ask_at_a_server_survives_a_drop(place: Place, weather: Weather, tmp_path: Path) -> None:
    weather.break_once(700)
    command = [HEADRACE, "ask", "-q", "-m", "lab/m", "--url", weather.url, "hi"]
    async with place.upstream(say_everything) as upstream:
        asked = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await asked.communicate()
        assert (asked.returncode, said.decode(), len(upstream.exchanges)) == (0, WHOLE + "\n", 1)
    assert weather.broken == 1
