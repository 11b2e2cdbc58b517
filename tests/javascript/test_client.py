"""`@headrace/client` in node, Deno and Bun against a real headrace: leaving, returning, cancelling (rows D10, I8)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.client.weather import Break, How, Weather
from tests.javascript.conftest import ROOT, Runtime, play, scenario
from tests.server.conftest import Place, Process, process, pytest_pyfunc_call, serving, until
from tests.upstream_answers import TEXTS, WHOLE, hang, say_everything

from headrace.testing.upstream import (
    DONE,
    Exchange,
    ScriptedUpstream,
    answer,
    finish_chunk,
    text_chunk,
)

__all__ = ["pytest_pyfunc_call"]
pytestmark = pytest.mark.anyio

SOON = {"attempts": 40, "knocks": 40, "seconds": 20, "firstDelaySeconds": 0.002, "longestDelaySeconds": 0.01}


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that headrace is served on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    async with serving() as shared:
        yield shared


@pytest.fixture
async def weather(place: Place) -> AsyncIterator[Weather]:
    async with Weather(place.port) as way:
        yield way


# -- nothing is missed, and nothing comes twice


@pytest.mark.parametrize("seed", range(2))
async def test_i8_cut_at_any_byte_again_and_again_the_text_is_exact(
    runtime: Runtime, place: Place, weather: Weather, seed: int
) -> None:
    chance = random.Random(seed)
    ways: list[How] = ["reset", "end"]
    weather.plan = lambda number: Break(chance.randrange(1100), chance.choice(ways))
    async with place.upstream(say_everything) as upstream:
        answers = await play(runtime, "ask", url=weather.url, times=20, client={"resuming": SOON})
        assert len(upstream.exchanges) == 20, "each is asked for once"
    for each in answers:
        stored = place.house.store.open(each["id"], "local")
        assert each["error"] is None
        assert (each["text"], each["final"]["text"], each["final"]["reasoning"]) == (WHOLE, WHOLE, "Hm.")
        assert each["final"]["toolCalls"] == [{"id": "c1", "name": "f", "arguments": "{}"}]
        assert (each["offset"], each["final"]["ending"]) == (stored.length - 1, "stop")
    assert weather.broken > 40


async def test_a_character_that_is_cut_in_half_stays_one(runtime: Runtime, tmp_path: Path) -> None:
    frames = [f'data: {{"type":"token","content":"{text!s}"}}\n\n' for text in ("日本語", "🏝️", "é")]
    body = "".join(f"id: {offset}\n{frame}" for offset, frame in enumerate(frames)) + ": heartbeat\r\n\r\n"
    (tmp_path / "body").write_bytes(body.encode())
    told = await play(runtime, "everyCut", body=str(tmp_path / "body"))
    assert [event["offset"] for event in told["events"]] == [0, 1, 2]
    assert "".join(event["frames"][0]["content"] for event in told["events"]) == "日本語🏝️é"
    assert told["bytes"] == len(body.encode())
    assert (told["differing"], told["single"]) == ([], True)


async def test_from_every_offset_the_rest_comes_and_no_more(runtime: Runtime, place: Place) -> None:
    async with place.upstream(say_everything):
        told = await play(runtime, "everyOffset", url=place.url)
    events = [event for _, event in told["given"]]
    assert [event["type"] for event in events[:3]] == ["start", "rationale", "token"]
    assert len(told["rests"]) == told["last"] + 2
    for after, rest in told["rests"]:
        assert rest == [event for offset, event in told["given"] if offset > after], after


async def test_who_leaves_in_the_middle_of_a_read_goes_on_behind_the_event_that_was_given(
    runtime: Runtime, place: Place
) -> None:
    async with place.upstream(say_everything):
        read = await play(runtime, "middle", url=place.url)
    # The last event is told in several frames; who leaves behind the first of them has had it.
    assert [kind for _, kind, _ in read] == ["start", "rationale", *["token"] * len(TEXTS), "tool_call", "done"]
    offsets = [offset for offset, _, _ in read]
    assert offsets == sorted(set(offsets))
    assert [ending for _, _, ending in read] == [None] * (len(read) - 1) + ["stop"]


async def test_i8_of_a_server_that_was_killed_and_started_again_all_that_was_kept_is_read(
    runtime: Runtime, weather: Weather, tmp_path: Path
) -> None:
    # Until there is a server again, nothing answers at all.
    patient = {"attempts": 1000, "seconds": 60, "firstDelaySeconds": 0.01, "longestDelaySeconds": 0.05}
    async with ScriptedUpstream(hang) as upstream, AsyncExitStack() as stack:
        settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'

        async def server() -> Process:
            started = await asyncio.to_thread(lambda: stack.enter_context(process(tmp_path, settings)))
            weather.port = started.port
            return started

        killed = await server()
        async with scenario(runtime, "follow", url=weather.url, client={"resuming": patient}) as reader:
            assert (await reader.until(lambda told: "piece" in told))["piece"] == "half an "
            assert (await reader.until(lambda told: "piece" in told))["piece"] == "answer"
            killed.popen.kill()
            await asyncio.to_thread(killed.popen.wait)
            await reader.until(lambda told: "connection" in told and told["connection"]["name"] == "waiting")
            await server()
            last = await reader.end()
    error = last["error"]
    assert (error["name"], error["ending"]) == ("StreamFailed", "interrupted")
    assert (error["partial"], error["afterFirstToken"], error["streamId"]) == ("half an answer", True, last["id"])
    assert last["final"]["text"] == "half an answer"
    assert (last["resumed"], last["connection"]) == (1, "elsewhere")


@pytest.mark.parametrize("headers", [False, True])
async def test_a_question_whose_answer_was_lost_on_its_way_is_not_asked_twice(
    runtime: Runtime, place: Place, weather: Weather, headers: bool
) -> None:
    weather.plan = lambda number: Break(100 if headers else 0) if number < 3 else None
    async with place.upstream(say_everything) as upstream:
        (told,) = await play(runtime, "ask", url=weather.url, client={"resuming": SOON})
        assert len(upstream.exchanges) == 1
    assert (told["text"], told["error"]) == (WHOLE, None)
    assert weather.broken == 3


async def test_two_questions_with_one_idempotency_key_are_one_stream(runtime: Runtime, place: Place) -> None:
    async with place.upstream(say_everything) as upstream:
        told = await play(runtime, "ask", url=place.url, times=2, options={"idempotencyKey": "once"})
        assert len(upstream.exchanges) == 1
    assert [each["text"] for each in told] == [WHOLE, WHOLE]
    assert told[0]["id"] == told[1]["id"]


async def test_a_way_that_has_fallen_silent_is_left_for_another(
    runtime: Runtime, place: Place, weather: Weather
) -> None:
    weather.break_once(500, "silence")
    async with place.upstream(say_everything):
        client = {"resuming": SOON, "heartbeatSeconds": 0.1}
        (told,) = await play(runtime, "ask", url=weather.url, client=client)
    assert (told["text"], told["resumed"], weather.broken) == (WHOLE, 1, 1)


# -- leaving and stopping


async def test_cancelling_reaches_the_upstream_and_is_no_error(runtime: Runtime, place: Place) -> None:
    async with place.upstream(hang) as upstream:
        told = await play(runtime, "after", url=place.url, pieces=2, action="cancel")
        await until(lambda: not upstream.active)
    assert (told["text"], told["thrown"]) == ("half an answer", None)
    assert told["final"]["ending"] == "cancelled"
    assert place.house.store.open(told["id"], "local").ended is not None


@pytest.mark.parametrize("action", ["abort", "detach", "break"])
async def test_leaving_leaves_the_stream_running_and_the_rest_can_be_read(
    runtime: Runtime, place: Place, action: str
) -> None:
    gap = asyncio.Event()

    async def on_demand(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, (3, 9), gap)

    async with (
        place.upstream(on_demand) as upstream,
        scenario(runtime, "after", url=place.url, pieces=1, action=action) as reader,
    ):
        first = await reader.line()
        # The server has seen it go, and goes on.
        await until(lambda: not place.house.deliveries)
        assert upstream.active == 1
        stream = place.house.store.open(first["id"], "local")
        assert stream.ended is None

        async def go_on() -> None:
            while stream.ended is None:
                gap.set()
                await asyncio.sleep(0.001)

        going_on = asyncio.create_task(go_on())
        await reader.say("go on")
        rest = await reader.end()
        await going_on
    assert first["thrown"] == ("AbortError" if action == "abort" else None)
    assert first["text"] == TEXTS[0]
    assert first["text"] + rest["text"] == WHOLE
    assert (rest["final"]["ending"], rest["error"]) == ("stop", None)


async def test_a_stream_that_was_left_before_it_was_asked_for_is_never_asked_for(
    runtime: Runtime, place: Place
) -> None:
    async with place.upstream(say_everything) as upstream:
        told = await play(runtime, "neverAsked", url=place.url)
        assert len(upstream.exchanges) == 0
    assert told["aborted"]["error"]["name"] == "AbortError"
    assert (told["cancelled"]["text"], told["cancelled"]["error"]) == ("", None)


# -- what fails


async def test_what_the_server_refuses_is_told_with_its_code(runtime: Runtime, place: Place) -> None:
    (told,) = await play(runtime, "ask", url=place.url, options={"model": "nobody/knows"})
    error = told["error"]
    assert (error["name"], error["code"], error["status"]) == ("HeadraceError", "model_not_found", 404)
    assert (error["retryable"], error["afterFirstToken"], error["streamId"]) == (False, False, told["id"])
    assert told["connection"] == "lost"


async def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(runtime: Runtime, place: Place) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half"))
        exchange.reset()

    async with place.upstream(break_off):
        (told,) = await play(runtime, "ask", url=place.url)
    error = told["error"]
    assert (error["name"], error["ending"], error["failed"]) == ("StreamFailed", "incomplete", True)
    assert (error["code"], error["partial"], error["afterFirstToken"]) == ("upstream_reset", "half", True)
    assert told["final"]["failure"]["code"] == "upstream_reset"


async def test_it_gives_up_within_its_bounds_and_says_what_it_has(
    runtime: Runtime, place: Place, weather: Weather
) -> None:
    bounds = {"resuming": {"attempts": 4, "firstDelaySeconds": 0.002}}
    async with place.upstream(hang), scenario(runtime, "follow", url=weather.url, client=bounds) as reader:
        await reader.until(lambda told: told.get("piece") == "answer")
        weather.plan = lambda number: Break(0)
        weather.break_once(0)
        place.house.cancel(place.house.store.list("local", limit=1)[0])
        told = await reader.end()
    error = told["error"]
    assert (error["name"], error["partial"], error["retryable"]) == ("HeadraceError", "half an answer", True)
    assert told["connection"] == "lost"
    assert weather.connections == 4


async def test_where_nothing_answers_it_knocks_three_times(runtime: Runtime) -> None:
    async with ScriptedUpstream(say_everything) as nobody:
        url = nobody.origin
    bounds = {"resuming": {"firstDelaySeconds": 0.002}}
    (told,) = await play(runtime, "ask", url=url, client=bounds)
    error = told["error"]
    assert (error["code"], error["retryable"], error["partial"]) == ("upstream_unreachable", True, "")
    assert url in error["message"]


async def test_what_is_no_headrace_is_asked_once(runtime: Runtime) -> None:
    async def nonsense(exchange: Exchange) -> None:
        await exchange.whole(b"<html>", 200, {"Content-Type": "text/html"})

    async with ScriptedUpstream(nonsense) as server:
        (told,) = await play(runtime, "ask", url=server.origin)
        assert len(server.exchanges) == 1
    assert (told["error"]["code"], told["error"]["retryable"]) == ("upstream_malformed", False)


async def test_a_server_that_is_full_is_asked_again_when_it_says(runtime: Runtime) -> None:
    asked: list[str] = []

    async def full_at_first(exchange: Exchange) -> None:
        if exchange.method == "GET":
            await exchange.whole(b'{"error":{"message":"none","code":"stream_not_found"}}', 404)
            return
        asked.append(exchange.headers["headrace-stream"])
        if len(asked) < 3:
            body = b'{"error":{"message":"no room","code":"overloaded"}}'
            await exchange.whole(body, 503, {"Content-Type": "application/json", "Retry-After": "0.02"})
            return
        await exchange.head()
        await exchange.chunk(b'id: 0\ndata: {"type":"start","stream_id":"s","model":"m"}\n\n')
        await exchange.chunk(b'id: 1\ndata: {"type":"token","content":"at last"}\n\n')
        await exchange.chunk(b'data: {"type":"done","finish_reason":"stop"}\n\nid: 2\ndata: [DONE]\n\n')
        await exchange.end()

    async with ScriptedUpstream(full_at_first) as server:
        (told,) = await play(runtime, "ask", url=server.origin, client={"resuming": SOON})
    assert (told["text"], told["error"]) == ("at last", None)
    assert (len(asked), len(set(asked))) == (3, 1)


async def test_a_prompt_whose_last_message_is_nobodys_question_is_refused_unasked(runtime: Runtime) -> None:
    told = await play(runtime, "wrong", url="http://127.0.0.1:1")
    assert (told["code"], told["retryable"]) == ("invalid_request", False)


# -- figures, and what else there is


async def test_the_figures_are_the_streams_and_say_where_the_tokens_are_from(runtime: Runtime, place: Place) -> None:
    async with place.upstream(say_everything):
        (told,) = await play(runtime, "ask", url=place.url)
    stats = told["stats"]
    assert (stats["deltas"], stats["tokens"], stats["tokensSource"]) == (len(TEXTS) + 2, 9, "reported")
    assert 0 < stats["timeToFirstTokenSeconds"] <= stats["totalSeconds"]
    assert 0 <= stats["meanGapSeconds"] < stats["totalSeconds"]
    assert told["final"]["usage"]["completion_tokens"] == 9
    assert told["final"]["model"] == "lab/m"


async def test_streams_are_shown_listed_and_forgotten(runtime: Runtime, place: Place) -> None:
    async with place.upstream(say_everything):
        told = await play(runtime, "look", url=place.url)
    assert (told["known"]["state"], told["listed"]) == ("ended", told["id"])
    assert told["cancelled"] == {"id": told["id"], "state": "ended", "cancelled": False}
    assert "offline" in told["models"]
    assert told["gone"]["code"] == "stream_not_found"
    assert all(len(each) == 32 for each in told["ids"])
    assert told["ids"][0] != told["ids"][1]


# -- examples


async def test_d10_the_route_for_nextjs_passes_each_token_on_when_it_comes(place: Place, runtime: Runtime) -> None:
    go_on = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("Yes"))
        await go_on.wait()
        await exchange.chunk(text_chunk(", 日本語."))
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()

    route = (ROOT / "examples" / "nextjs" / "app" / "api" / "headrace" / "[...path]" / "route.js").as_uri()
    async with place.upstream(waits), scenario(runtime, "throughNext", url=place.url, route=route) as played:
        assert (await played.line())["first"] == "Yes", "before the rest was said"
        go_on.set()
        assert await played.end() == {"text": "Yes, 日本語.", "ending": "stop", "refused": [404, 404, 404]}
