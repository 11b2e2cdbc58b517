"""When the HTTP status is given, and what keeps a silent connection alive (L30 to L33)."""

from __future__ import annotations

import asyncio

import pytest
from tests.server.conftest import Place
from tests.server.reader import DOORS, Reader, asking, chat, connected, encoded, query

from headrace.requests import Timeouts
from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, role_chunk, text_chunk

pytestmark = pytest.mark.anyio


class Held:
    """An upstream that is silent at first, and then does one thing."""

    def __init__(self, then: str) -> None:
        self._then = then
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        self.asked.set()
        await self.go_on.wait()
        match self._then:
            case "answer":
                await answer(exchange, ["One"])
            case "refuse":
                await exchange.whole(b'{"error":{"message":"no"}}', 400)
            case "break off":
                await exchange.head()
                await exchange.chunk(text_chunk("One"))
                exchange.close()
            case _:
                raise AssertionError(self._then)


def be_silent(place: Place, seconds: float) -> None:
    """Lets the server believe that so much time has passed without a word."""
    now = asyncio.get_running_loop().time()
    place.house.check_heartbeats(now)  # notices what was written until now
    place.house.check_heartbeats(now + seconds)


async def is_silent(reader: Reader) -> bool:
    """Whether nothing has been sent to the reader by the time the server has nothing more to do."""
    head = asyncio.ensure_future(reader.head())
    for _ in range(20):
        await asyncio.sleep(0)
    silent = not head.done()
    head.cancel()
    await asyncio.gather(head, return_exceptions=True)
    return silent


async def test_l33_the_status_of_a_chat_waits_for_the_first_content(place: Place) -> None:
    held = Held("answer")
    async with place.upstream(held), connected(place.port, encoded("POST", "/v1/chat/completions", chat())) as reader:
        await held.asked.wait()
        assert await is_silent(reader)
        held.go_on.set()
        await reader.head()
        assert reader.status == 200
        assert [text async for text in reader.texts()] == ["One"]


async def test_l33_a_role_frame_alone_does_not_give_the_status_away(place: Place) -> None:
    async def say_nothing(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(role_chunk())
        await exchange.chunk(b'data: {"error":{"message":"out of memory","code":507}}\n\n')
        await exchange.end()

    async with place.upstream(say_nothing), asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
        assert reader.status >= 500
        assert "out of memory" in (await reader.json())["error"]["message"]


async def test_l33_the_final_failure_is_the_status_of_a_chat(place: Place) -> None:
    held = Held("refuse")
    async with place.upstream(held), connected(place.port, encoded("POST", "/v1/chat/completions", chat())) as reader:
        await held.asked.wait()
        held.go_on.set()
        await reader.head()
        assert reader.status == 400
        assert reader.headers["content-type"] == "application/json"
        assert reader.headers["headrace-stream"]
        assert (await reader.json())["error"]["code"] == "upstream_rejected"


async def test_l33_an_answer_without_any_content_is_a_success(place: Place) -> None:
    async def say_nothing(exchange: Exchange) -> None:
        await answer(exchange, [])

    async with place.upstream(say_nothing), asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
        assert reader.status == 200
        frames = [frame async for frame in reader.frames()]
    assert frames[-1] == "[DONE]"
    assert '"finish_reason":"stop"' in frames[-2]


@pytest.mark.parametrize("way", ["header", "body"])
async def test_l33_the_first_heartbeat_due_opens_the_response(place: Place, way: str) -> None:
    held = Held("refuse")
    headers = {"Headrace-Heartbeat": "0.2"} if way == "header" else {}
    body = chat() if way == "header" else chat(headrace={"heartbeat_seconds": 0.2})
    async with place.upstream(held), asking(place.port, "POST", "/v1/chat/completions", body, headers) as reader:
        assert reader.status == 200
        be_silent(place, 0.21)
        assert await reader.piece() == b": hb\n\n"
        held.go_on.set()
        pieces = (await reader.body()).replace(b": hb\n\n", b"")
    error, done, nothing = pieces.split(b"\n\n")
    assert b'"code":"upstream_rejected"' in error
    assert (done, nothing) == (b"data: [DONE]", b"")


@pytest.mark.parametrize("wish", ["true", "1", "True"])
async def test_l33_a_reader_may_ask_for_the_headers_at_once(place: Place, wish: str) -> None:
    held = Held("answer")
    headers = {"Headrace-Early-Headers": wish}
    async with place.upstream(held), asking(place.port, "POST", "/v1/chat/completions", chat(), headers) as reader:
        assert reader.status == 200
        assert not held.go_on.is_set()
        assert reader.headers["headrace-stream"]
        held.go_on.set()
        assert [text async for text in reader.texts()] == ["One"]


async def test_l33_typed_events_open_at_once_and_say_start(place: Place) -> None:
    held = Held("refuse")
    async with place.upstream(held), asking(place.port, "POST", "/chat/basic", query()) as reader:
        assert reader.status == 200
        assert (await reader.piece()).startswith(b'data: {"type":"start"')
        held.go_on.set()
        assert b'"type":"error"' in await reader.body()


@pytest.mark.parametrize("protocol", DOORS)
async def test_l33_a_failure_after_the_first_content_is_an_event(place: Place, protocol: str) -> None:
    held = Held("break off")
    held.go_on.set()
    path, body = DOORS[protocol]
    async with place.upstream(held), asking(place.port, "POST", path, body()) as reader:
        assert reader.status == 200
        frames = [frame async for frame in reader.frames()]
    assert '"code":"upstream_truncated"' in frames[-2]
    assert frames[-1] == "[DONE]"
    assert not any('"finish_reason":"stop"' in frame for frame in frames), "half an answer is not a whole one"


@pytest.mark.parametrize("protocol", DOORS)
async def test_l24_a_failure_of_a_whole_answer_is_always_the_status(place: Place, protocol: str) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":{"message":"no"}}', 400)

    path, body = DOORS[protocol]
    async with place.upstream(refuse), asking(place.port, "POST", path, body(stream=False)) as reader:
        assert reader.status == 400
        assert (await reader.json())["error"]["upstream"]["name"] == "lab"


# -- heartbeats


@pytest.mark.parametrize("protocol", DOORS)
async def test_l30_a_silent_stream_is_kept_alive_again_and_again(place: Place, protocol: str) -> None:
    held = Held("answer")
    path, body = DOORS[protocol]
    headers = {"Headrace-Early-Headers": "true"}
    async with place.upstream(held), asking(place.port, "POST", path, body(), headers) as reader:
        if protocol == "typed_events":
            await reader.piece()  # `start`
        for beat in range(1, 4):
            be_silent(place, 15.1 * beat)
            assert await reader.piece() == b": hb\n\n", "a comment, which every client takes for nothing"
        held.go_on.set()
        rest = await reader.body()
    assert b": hb" not in rest.replace(b": hb\n\n", b"")
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_l31_where_openai_frames_carry_ids_a_heartbeat_has_no_blank_line(place: Place) -> None:
    # The id sticks: a blank line after a comment would make OpenAI's Python clients read an empty event.
    held = Held("answer")
    headers = {"Headrace-Event-Ids": "true", "Headrace-Early-Headers": "true"}
    async with place.upstream(held), asking(place.port, "POST", "/v1/chat/completions", chat(), headers) as reader:
        be_silent(place, 15.1)
        assert await reader.piece() == b": hb\n"
        held.go_on.set()
        await reader.body()


@pytest.mark.parametrize("protocol", DOORS)
async def test_l31_a_request_can_switch_heartbeats_off(place: Place, protocol: str) -> None:
    held = Held("answer")
    path, body = DOORS[protocol]
    headers = {"Headrace-Heartbeat": "0", "Headrace-Early-Headers": "true"}
    async with place.upstream(held), asking(place.port, "POST", path, body(), headers) as reader:
        be_silent(place, 1e6)
        held.go_on.set()
        assert b": hb" not in await reader.body()


async def test_l30_heartbeats_are_on_by_default_after_15_silent_seconds(place: Place) -> None:
    held = Held("answer")
    async with place.upstream(held), asking(place.port, "POST", "/chat/basic", query()) as reader:
        await reader.piece()
        now = asyncio.get_running_loop().time()
        place.house.check_heartbeats(now)
        place.house.check_heartbeats(now + 14.9)
        place.house.check_heartbeats(now + 15.1)
        place.house.check_heartbeats(now + 15.2)
        assert await reader.piece() == b": hb\n\n"
        held.go_on.set()
        assert b": hb" not in await reader.body()


async def test_l30_a_reader_that_joined_is_kept_alive_as_it_asks(place: Place) -> None:
    held = Held("answer")
    async with place.upstream(held), asking(place.port, "POST", "/chat/basic", query()) as started:
        path = f"/v1/streams/{started.headers['headrace-stream']}/events"
        async with asking(place.port, "GET", path, headers={"Headrace-Heartbeat": "0.1"}) as joined:
            assert (await joined.piece()).startswith(b"data: {")
            be_silent(place, 0.11)
            async with asyncio.timeout(5):
                assert await joined.piece() == b": hb\n\n"
            held.go_on.set()
            await joined.body()


async def test_l30_the_server_looks_for_silent_readers_by_itself(place: Place) -> None:
    held = Held("answer")
    headers = {"Headrace-Heartbeat": "0.1"}
    async with place.upstream(held), asking(place.port, "POST", "/chat/basic", query(), headers) as reader:
        await reader.piece()
        assert await reader.piece() == b": hb\n\n"
        held.go_on.set()


async def test_l31_comments_of_the_upstream_are_not_passed_on(place: Place) -> None:
    async def comment(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(b": OPENROUTER PROCESSING\n\n" + text_chunk("One") + b": keep-alive\n\n")
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()

    async with place.upstream(comment), asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
        assert b"\n:" not in b"\n" + await reader.body()


# -- headers


@pytest.mark.parametrize("protocol", DOORS)
async def test_l32_nothing_on_the_way_may_buffer_or_change_a_stream(place: Place, protocol: str) -> None:
    held = Held("answer")
    held.go_on.set()
    path, body = DOORS[protocol]
    asked = {"Accept-Encoding": "gzip, br", "Accept": "application/json"}
    async with place.upstream(held) as upstream, asking(place.port, "POST", path, body(), asked) as reader:
        await reader.body()
    assert reader.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reader.headers["cache-control"] == "no-cache, no-transform"
    assert reader.headers["x-accel-buffering"] == "no"
    assert reader.headers["transfer-encoding"] == "chunked"
    assert not reader.headers.keys() & {"content-length", "content-encoding", "server"}
    assert reader.headers["x-request-id"].startswith("req_")
    assert upstream.exchanges[0].headers["accept-encoding"] == "identity"


async def test_l33_the_status_does_not_wait_longer_than_the_timers(place: Place) -> None:
    held = Held("answer")
    async with place.upstream(held, timeouts=Timeouts(connect=5, first_token=0.2, between_tokens=5, total=5)):
        async with asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
            assert reader.status == 504
            assert (await reader.json())["error"]["code"] == "first_token_timeout"
        held.go_on.set()
