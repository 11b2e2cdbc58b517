"""Both clients over real sockets: what they give, what they raise, what leaving does. Drops are in `test_drops.py`."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tests.client.faces import Face
from tests.server.conftest import Place, serving, until

import headrace
from headrace.client import StreamFailed
from headrace.errors import (
    HeadraceError,
    InvalidRequest,
    StreamExists,
    UnknownModel,
    UnknownStream,
    UpstreamMalformed,
    UpstreamUnreachable,
)
from headrace.events import FINISHED, Ended, Started, TextDelta
from headrace.settings import KeySettings, ServerSettings, Settings
from headrace.testing.upstream import Exchange, ScriptedUpstream, answer, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

TEXTS = ["One", " two", ",\n\n", "日本語 🏝️", "\u2028", '"quoted"', " end"]
WHOLE = "".join(TEXTS)


async def say(exchange: Exchange) -> None:
    await answer(exchange, TEXTS, (3, 9))


async def hang(exchange: Exchange) -> None:
    """Two pieces, and then nothing for as long as anybody waits."""
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.chunk(text_chunk("Once upon"))
    await exchange.chunk(text_chunk(" a time"))
    await exchange.left()


async def break_off(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    exchange.reset()


async def test_the_text_comes_and_then_the_whole_answer(face: Face, place: Place) -> None:
    async with place.upstream(say), face(place.url) as client, client.stream("hi", model="lab/m") as stream:
        texts = [text async for text in stream.text]
        assert "".join(texts) == WHOLE
    final = stream.final
    assert (final.text, final.ending, final.model, final.failure) == (WHOLE, "stop", "lab/m", None)
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens, final.usage.source) == (3, 9, "reported")
    assert final.timing is not None
    assert final.timing.time_to_first_token_ns is not None
    stored = place.house.store.open(stream.id, "local")
    assert stream.offset == stored.length - 1


async def test_the_events_come_typed_from_the_first_to_the_last(face: Face, place: Place) -> None:
    async with place.upstream(say), face(place.url) as client, client.stream("hi", model="lab/m") as stream:
        events = [event async for event in stream]
    assert isinstance(events[0], Started)
    assert events[0].stream_id == stream.id
    assert isinstance(events[-1], Ended)
    assert [event.text for event in events if isinstance(event, TextDelta)] == TEXTS


async def test_pieces_say_their_offsets_and_the_json_they_came_as(face: Face, place: Place) -> None:
    async with place.upstream(say), face(place.url) as client, client.stream("hi", model="lab/m") as stream:
        pieces = [piece async for piece in stream.pieces]
    offsets = [piece.offset for piece in pieces]
    assert offsets == sorted(set(offsets))
    assert pieces[0].records[0].startswith(b'{"type":"start"')
    assert [record[:15] for record in pieces[-1].records] == [b'{"type":"done",', b'{"type":"metada']
    assert stream.final.text == WHOLE


async def test_messages_are_put_to_the_model_with_the_system_before_them(face: Face, place: Place) -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "and now?"},
    ]
    async with place.upstream(say) as upstream, face(place.url) as client:
        async with client.stream(messages, model="lab/m", system="be brief", fields={"temperature": 0}) as stream:
            assert "".join([text async for text in stream.text]) == WHOLE
        asked = upstream.exchanges[0].json()
    assert [(each["role"], each["content"]) for each in asked["messages"]] == [
        ("system", "be brief"),
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "and now?"),
    ]
    assert asked["temperature"] == 0


@pytest.mark.parametrize("prompt", [[], [{"role": "assistant", "content": "x"}], [{"role": "user", "content": [1]}]])
async def test_messages_that_end_with_no_question_are_refused_before_they_are_sent(face: Face, prompt: object) -> None:
    async with face("http://127.0.0.1:1") as client:
        with pytest.raises(InvalidRequest, match="the last message must be the user's"):
            client.stream(prompt)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://[::1", "http://x:99999"])
def test_an_address_that_is_none_is_refused_with_an_example(face: Face, url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"As in: http://127\.0\.0\.1:8000"):
        face(url)


async def test_leaving_the_block_of_ones_own_stream_cancels_it_up_to_the_upstream(face: Face, place: Place) -> None:
    async with place.upstream(hang) as upstream, face(place.url) as client:
        async with client.stream("hi", model="lab/m") as stream:
            async for _ in stream.text:
                break
        await until(lambda: not upstream.active)
        await until(lambda: place.house.store.open(stream.id, "local").ended is not None)
    assert stream.final.ending is None, "its end was not read here"


async def test_leaving_a_stream_that_is_only_watched_lets_it_go_on(face: Face, place: Place) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    async with place.upstream(on_demand), face(place.url) as client, client.stream("hi", model="lab/m") as stream:
        texts = stream.text
        read = [await anext(texts)]
        async with client.resume(stream.id) as watched:
            assert await anext(watched.text) == TEXTS[0]
        stored = place.house.store.open(stream.id, "local")
        await until(lambda: stored.readers == 1)
        for text in TEXTS[1:]:
            gap.set()
            read.append(await anext(texts))
            assert read[-1] == text
        assert [text async for text in texts] == []
    assert stream.final.ending == "stop"


async def test_a_stream_that_was_detached_goes_on_and_is_taken_up_where_it_was_left(face: Face, place: Place) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    async with place.upstream(on_demand), face(place.url) as client:
        async with client.stream("hi", model="lab/m", on_disconnect="continue") as stream:
            first = await anext(stream.text)
            stream.detach()
            assert [event async for event in stream] == []
        stored = place.house.store.open(stream.id, "local")
        await until(lambda: stored.readers == 0)
        assert stored.ended is None
        async with client.resume(stream.id, after=stream.offset) as again:
            rest = []
            gap.set()
            async for text in again.text:
                rest.append(text)
                gap.set()
    assert [first, *rest] == TEXTS
    assert (again.final.ending, again.offset) == ("stop", stored.length - 1)


async def test_a_stream_that_was_to_be_cancelled_goes_on_once_it_was_detached(face: Face, place: Place) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    brief = headrace.Resuming(seconds=0.3)  # how long the server would wait for somebody to return
    async with place.upstream(on_demand) as upstream, face(place.url, resuming=brief) as client:
        async with client.stream("hi", model="lab/m") as stream:
            first = await anext(stream.text)
            stream.detach()
        stored = place.house.store.open(stream.id, "local")
        await until(lambda: stored.readers == 0)
        before = place.house.runs.cancelled_after_grace
        # Another, whose grace begins later and is over: so was its own, had it one.
        async with client.stream("hi", model="lab/m", on_exit="detach", on_disconnect=0.3) as other:
            await anext(other.text)
        await until(lambda: place.house.runs.cancelled_after_grace == before + 1)
        # The run is over before its upstream has seen the connection close.
        await until(lambda: upstream.active == 1)
        assert stored.ended is None
        async with client.resume(stream.id, after=stream.offset) as again:
            gap.set()
            rest = []
            async for text in again.text:
                rest.append(text)
                gap.set()
    assert [first, *rest] == TEXTS


async def test_detaching_holds_to_what_was_said_of_leaving(face: Face, place: Place) -> None:
    async with place.upstream(hang) as upstream, face(place.url) as client:
        async with client.stream("hi", model="lab/m", on_disconnect="cancel") as stream:
            stream.detach()
        await until(lambda: not upstream.active)


async def test_on_exit_detach_says_so_to_the_server_when_it_asks(face: Face, place: Place) -> None:
    async with place.upstream(hang), face(place.url) as client:
        async with client.stream("hi", model="lab/m", on_exit="detach") as stream:
            assert place.house.store.open(stream.id, "local").request.on_disconnect == "continue"
        stored = place.house.store.open(stream.id, "local")
        await until(lambda: stored.readers == 0)
        assert stored.ended is None
        await client.cancel(stream.id)
        await until(lambda: stored.ended is not None)


async def test_a_client_asks_to_be_waited_for_as_long_as_it_tries_to_come_back(face: Face, place: Place) -> None:
    resuming = headrace.Resuming(seconds=12.5)
    async with (
        place.upstream(hang),
        face(place.url, resuming=resuming) as client,
        client.stream("hi", model="lab/m") as stream,
    ):
        assert place.house.store.open(stream.id, "local").request.on_disconnect == 12.5


async def test_resuming_behind_any_event_gives_the_rest(face: Face, place: Place) -> None:
    async with place.upstream(say), face(place.url) as client:
        async with client.stream("hi", model="lab/m") as stream:
            pieces = [piece async for piece in stream.pieces]
        for place_of, piece in enumerate(pieces):
            async with client.resume(stream.id, after=piece.offset) as again:
                assert [each async for each in again.pieces] == pieces[place_of + 1 :]
            assert again.offset == pieces[-1].offset


@pytest.mark.parametrize("beyond", [0, 1, 10**9])
async def test_resuming_behind_the_end_gives_nothing_and_fails_nothing(face: Face, place: Place, beyond: int) -> None:
    async with place.upstream(say), face(place.url) as client:
        async with client.stream("hi", model="lab/m") as stream:
            assert [text async for text in stream.text] == TEXTS
        async with client.resume(stream.id, after=stream.offset + beyond) as again:
            assert [event async for event in again] == []


async def test_cancelling_ends_it_for_everybody_and_is_no_surprise_to_who_did_it(face: Face, place: Place) -> None:
    async with place.upstream(hang) as upstream, face(place.url) as client:
        async with client.stream("hi", model="lab/m") as stream, client.resume(stream.id) as watched:
            assert await anext(stream.text) == "Once upon"
            await stream.cancel()
            await stream.cancel()
            assert [text async for text in stream.text] == [" a time"]
            with pytest.raises(StreamFailed) as raised:
                [text async for text in watched.text]
        await until(lambda: not upstream.active)
    assert stream.final.ending == "cancelled"
    error = raised.value
    assert (error.ending, error.failure().code, error.retryable) == ("cancelled", "cancelled", False)
    assert (error.stream_id, error.partial, error.after_first_token) == (stream.id, "Once upon a time", True)


async def test_half_an_answer_is_never_taken_for_a_whole_one(face: Face, place: Place) -> None:
    async with place.upstream(break_off), face(place.url) as client, client.stream("hi", model="lab/m") as stream:
        texts = stream.text
        assert await anext(texts) == "half an answer"
        with pytest.raises(StreamFailed) as raised:
            await anext(texts)
    assert raised.value.ending == stream.final.ending
    assert raised.value.ending not in FINISHED
    assert (raised.value.partial, raised.value.after_first_token) == ("half an answer", True)
    assert raised.value.failure() == stream.final.failure
    async with face(place.url) as client, client.resume(stream.id) as again:
        with pytest.raises(StreamFailed):
            [event async for event in again]
        assert [event async for event in again] == [], "it is raised once"


async def test_a_refusal_is_raised_where_the_block_begins(face: Face, place: Place) -> None:
    async with face(place.url) as client:
        with pytest.raises(UnknownModel) as raised:
            async with client.stream("hi", model="nobody/knows"):
                pass
        assert not raised.value.retryable
        with pytest.raises(UnknownStream):
            async with client.resume("0123456789abcdef0123456789abcdef"):
                pass
        with pytest.raises(UnknownStream):
            await client.cancel("0123456789abcdef0123456789abcdef")


async def test_an_id_that_is_taken_is_an_error_and_not_somebody_elses_answer(face: Face, place: Place) -> None:
    mine = "my-own-128-random-bits-0001" if face.__name__ == "AsyncClient" else "my-own-128-random-bits-0002"
    async with place.upstream(say), face(place.url) as client:
        async with client.stream("hi", model="lab/m", stream_id=mine) as stream:
            assert stream.id == mine
        with pytest.raises(StreamExists):
            async with client.stream("hi", model="lab/m", stream_id=mine):
                pass


async def test_a_question_with_the_key_of_another_joins_its_stream(face: Face, place: Place) -> None:
    key = f"the-same-{face.__name__}"
    async with place.upstream(say) as upstream, face(place.url) as client:
        async with client.stream("hi", model="lab/m", idempotency_key=key) as first:
            assert [text async for text in first.text] == TEXTS
        async with client.stream("hi", model="lab/m", idempotency_key=key) as second:
            assert [text async for text in second.text] == TEXTS
        assert (second.id, len(upstream.exchanges)) == (first.id, 1)
        with pytest.raises(HeadraceError) as raised:
            async with client.stream("something else", model="lab/m", idempotency_key=key):
                pass
    assert raised.value.code == "idempotency_key_reused"


async def test_a_key_is_sent_and_never_told(face: Face) -> None:
    digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # SHA-256 of "key"
    settings = Settings(server=ServerSettings(auth=True), keys=(KeySettings("me", digest),))
    async with serving(settings) as place, place.upstream(say):
        async with face(place.url, key="key") as client, client.stream("hi", model="lab/m") as stream:
            assert [text async for text in stream.text] == TEXTS
        async with face(place.url, key="wrong-secret") as client:
            with pytest.raises(HeadraceError) as raised:
                async with client.stream("hi", model="lab/m"):
                    pass
    assert raised.value.code == "invalid_api_key"
    assert "wrong-secret" not in str(raised.value)


async def test_where_nothing_answers_it_is_said_soon(face: Face) -> None:
    async with face("http://127.0.0.1:1", resuming=headrace.Resuming(first_delay_seconds=0.001)) as client:
        with pytest.raises(UpstreamUnreachable, match="connection refused") as raised:
            async with client.stream("hi"):
                pass
    assert (raised.value.retryable, raised.value.after_first_token, raised.value.partial) == (True, False, "")


async def test_what_is_no_headrace_server_is_told_apart(face: Face) -> None:
    async def other(exchange: Exchange) -> None:
        await exchange.whole(b"<html>", headers={"Content-Type": "text/html"})

    async with ScriptedUpstream(other) as elsewhere, face(elsewhere.origin) as client:
        with pytest.raises(UpstreamMalformed, match="no headrace server"):
            async with client.stream("hi"):
                pass


async def test_a_stream_is_read_inside_its_block(face: Face, place: Place) -> None:
    async with place.upstream(hang), face(place.url) as client:
        stream = client.stream("hi", model="lab/m")
        with pytest.raises(RuntimeError, match="inside its block"):
            await anext(stream.text)
        async with stream:
            pass
        assert [event async for event in stream] == []


async def test_i5_what_a_reader_sees_is_measured(face: Face, place: Place) -> None:
    async with place.upstream(say), face(place.url) as client, client.stream("hi", model="lab/m") as stream:
        assert [text async for text in stream.text] == TEXTS
    stats = stream.stats
    assert stats.time_to_first_token_seconds is not None
    assert 0 < stats.time_to_first_token_seconds <= stats.total_seconds
    assert (stats.tokens, stats.deltas, stats.resumed) == (9, len(TEXTS), 0)
    assert stats.mean_gap_seconds is not None
    assert stream.stats == stats, "the clock stands still when it has ended"


def test_importing_the_client_imports_httpx2_and_msgspec_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import headrace; headrace.Client; headrace.AsyncClient;"
        "new = set(sys.modules) - before; print(*sorted(new))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    tops = {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names
    # What httpx2 imports for itself is its own.
    assert tops - {"idna", "typing_extensions", "certifi", "h11", "httpcore2", "anyio"} == {
        "headrace",
        "httpx2",
        "msgspec",
    }
    rooms = {name.split(".")[1] for name in done.stdout.split() if name.startswith("headrace.")}
    assert not rooms & {
        "cli",
        "interfaces",
        "library",
        "protocols",
        "providers",
        "runs",
        "server",
        "settings",
        "streams",
    }
