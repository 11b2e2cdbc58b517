"""Chat over WebSocket: requests, lanes, cancelling and resuming, message by message (reference/websocket.md)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from tests.server.conftest import Place, until
from tests.server.reader import asking, chat
from tests.server.talking import CHAT, is_last, said_in, talking
from websockets.sync.client import connect

from headrace.events import Event
from headrace.protocols.socket_messages import MessageEncoder, message_encoder
from headrace.server import socket_lane
from headrace.server.callers import LOCAL_OWNER
from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, frame, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

TEXTS = ["Hello", ", ", "日本語 🏝️", "\u2028", "."]
WHOLE = "".join(TEXTS)
GONE_SECONDS = 0.25


async def say(exchange: Exchange) -> None:
    await answer(exchange, TEXTS, usage=(3, 4))


async def say_and_hold(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


async def echo(exchange: Exchange) -> None:
    await answer(exchange, ["you said ", exchange.json()["messages"][-1]["content"]])


# -- one answer


async def test_every_message_is_the_json_of_a_chunk_with_its_stream_and_its_offset(place: Place) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say(chat())
        messages = await client.answer()
        stream_id = messages[0]["headrace"]["stream_id"]
        path = f"/v1/streams/{stream_id}/events?protocol=openai_chat&include_usage=false"
        async with asking(place.port, "GET", path) as reader:
            chunks = [json.loads(each) async for each in reader.frames() if each != "[DONE]"]
    places = [message.pop("headrace") for message in messages]
    assert places == [{"stream_id": stream_id, "seq": seq} for seq in (0, 1, 2, 3, 4, 5, 7)], "6 is the usage"
    assert messages[-1].pop("usage")["total_tokens"] == 7
    assert messages == chunks
    assert said_in(messages) == WHOLE


async def test_the_last_chunk_holds_finish_reason_and_usage_and_there_is_no_other(place: Place) -> None:
    async with place.upstream(say), talking(place.port) as client:
        for wanted in (True, False, None):
            body = chat() if wanted is None else chat(stream_options={"include_usage": wanted})
            await client.say(body)
            *rest, last = await client.answer()
            assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
            assert last["usage"]["prompt_tokens"] == 3
            assert not [message for message in rest if "usage" in message or not message["choices"]]
        await client.say({"type": "ping"})
        assert await client.hear() == {"type": "pong"}, "nothing came behind the last chunk"


@pytest.mark.parametrize("stream", [False, None, "yes", 3])
async def test_an_answer_is_always_streamed_whatever_stream_says(place: Place, stream: object) -> None:
    async with place.upstream(say) as upstream, talking(place.port) as client:
        await client.say({**chat(), "stream": stream})
        assert len(await client.answer()) == len(TEXTS) + 2
        assert upstream.exchanges[-1].json()["stream"] is True


async def test_a_message_is_one_value_of_json_without_a_line_break_or_a_prefix(place: Place) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say(chat())
        texts: list[str] = []
        while not texts or not is_last(json.loads(texts[-1])):
            texts.append(await client.text())
    for text in texts:
        assert text.startswith("{")
        assert len(text.splitlines()) == 1


async def test_an_estimated_usage_says_that_it_is_one(place: Place) -> None:
    async with place.upstream(partial(answer, texts=["Hello"])), talking(place.port) as client:
        await client.say(chat())
        last = (await client.answer())[-1]
        assert last["headrace"]["usage"]["source"] == "estimated"
        assert last["headrace"].keys() > {"stream_id", "seq"}


async def test_the_first_message_comes_before_the_first_token_and_names_the_stream(place: Place) -> None:
    silent = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await exchange.head()
        await silent.wait()
        await exchange.chunk(text_chunk("late"))
        await exchange.chunk(finish_chunk())
        await exchange.end()

    async with place.upstream(wait), talking(place.port) as client:
        await client.say(chat())
        first = await client.hear()
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert first["headrace"]["seq"] == 0
        silent.set()
        assert said_in(await client.answer()) == "late"


async def test_completions_have_chunks_of_their_own(place: Place) -> None:
    async with place.upstream(say), talking(place.port, "/v1/completions") as client:
        await client.say({"model": "lab/m", "prompt": "q"})
        messages = await client.answer()
    assert {message["object"] for message in messages} == {"text_completion"}
    assert said_in(messages) == WHOLE
    assert messages[0]["choices"][0]["text"] == ""
    assert [message["headrace"]["seq"] for message in messages] == [0, 1, 2, 3, 4, 5, 7]
    assert messages[-1]["usage"]["total_tokens"] == 7


async def test_the_prefix_of_groqs_clients_is_a_door_as_well(place: Place) -> None:
    async with place.upstream(say):
        for path, body in (
            ("/openai/v1/chat/completions", chat()),
            ("/openai/v1/completions", {"model": "lab/m", "prompt": "q"}),
        ):
            async with talking(place.port, path) as client:
                await client.say(body)
                assert said_in(await client.answer()) == WHOLE


async def test_only_ws_closes_and_it_does_so_after_its_answer(place: Place) -> None:
    async with place.upstream(say):
        async with talking(place.port, "/ws") as client:
            await client.say(chat())
            assert said_in(await client.answer()) == WHOLE
            assert await client.closed() == (1000, "")
        async with talking(place.port) as client:
            for _ in range(3):
                await client.say(chat())
                assert said_in(await client.answer()) == WHOLE


async def test_ws_closes_after_an_answer_that_failed_and_stays_for_a_request_that_was_none(place: Place) -> None:
    async with talking(place.port, "/ws") as client:
        await client.say("{")
        assert (await client.hear())["error"]["code"] == "invalid_json"
        await client.say(chat(model="nothing-of-that-name"))
        assert (await client.hear())["error"]["code"] == "model_not_found"
        assert await client.closed() == (1000, "")


async def test_options_of_a_request_stand_in_its_headrace_object(place: Place) -> None:
    chosen = "chosen-by-its-reader-0001"
    own = {"stream_id": chosen, "on_disconnect": "continue", "timeouts": {"total": 60}}
    async with place.upstream(say) as upstream, talking(place.port) as client:
        await client.say(chat(headrace=own))
        messages = await client.answer()
        sent = upstream.exchanges[-1].json()
    assert messages[0]["headrace"]["stream_id"] == chosen
    kept = place.house.store.open(chosen, LOCAL_OWNER).request
    assert kept.on_disconnect == "continue"
    assert kept.timeouts.total == 60
    assert not sent.keys() & {"headrace", "request_id", "type"}, "what is ours stays here"


async def test_the_same_idempotency_key_is_paid_for_once(place: Place) -> None:
    body = chat(headrace={"idempotency_key": "once"})
    async with place.upstream(say) as upstream, talking(place.port) as client:
        await client.say(body)
        first = await client.answer()
        await client.say(body)
        assert await client.answer() == first
        assert len(upstream.exchanges) == 1
        await client.say({**body, "temperature": 1})
        assert (await client.hear())["error"]["code"] == "idempotency_key_reused"


async def test_what_is_not_carried_to_the_upstream_is_named_in_the_first_message(place: Place) -> None:
    async with talking(place.port) as client:
        await client.say(chat(model="offline", temperature=0.5))
        messages = await client.answer()
        body = chat(model="offline", temperature=0.5)
        async with asking(place.port, "POST", CHAT, body) as reader:
            assert messages[0]["headrace"]["warning"] == reader.headers["headrace-warning"]
    assert not [message for message in messages[1:] if "warning" in message["headrace"]]


# -- lanes


async def test_a_second_request_without_a_name_is_told_that_the_first_is_in_progress(place: Place) -> None:
    async with place.upstream(say_and_hold), talking(place.port) as client:
        await client.say(chat())
        await client.hear()
        await client.say(chat("another"))
        messages = [await client.hear() for _ in range(2)]
        refused = [message for message in messages if "error" in message]
        assert refused[0]["error"]["code"] == "busy"
        assert "headrace" not in refused[0], "no word about the stream that is in progress"
        await client.say({"type": "cancel"})
        assert (await client.answer())[-1]["error"]["code"] == "cancelled"


async def test_requests_with_names_are_answered_side_by_side_each_message_with_its_name(place: Place) -> None:
    async with place.upstream(echo), talking(place.port) as client:
        names = [f"r{number}" for number in range(16)]
        for name in names:
            await client.say(chat(f"question {name}"), request_id=name)
        await client.say(chat("question without"))
        by_name: dict[str | None, list[Any]] = {}
        left = {*names, None}
        while left:
            message = await client.hear()
            lane = message.get("request_id")
            by_name.setdefault(lane, []).append(message)
            if is_last(message):
                left.remove(lane)
    for name in names:
        assert said_in(by_name[name]) == f"you said question {name}"
    assert said_in(by_name[None]) == "you said question without"


async def test_a_seventeenth_name_is_one_too_many_and_one_in_use_is_busy(place: Place) -> None:
    async with place.upstream(say_and_hold), talking(place.port) as client:
        for number in range(16):
            await client.say(chat(), request_id=f"r{number}")
        await until(lambda: len(place.house.deliveries) == 16)
        for name in ("r16", "r3"):
            await client.say(chat(), request_id=name)
            refused = await client.hear()
            while "error" not in refused:
                refused = await client.hear()
            assert refused["error"]["code"] == "busy"
            assert refused["request_id"] == name
        client.cut()
    await place.emptied()


async def test_cancel_stops_the_answer_of_its_name_alone(place: Place) -> None:
    async with place.upstream(say_and_hold) as upstream, talking(place.port) as client:
        await client.say(chat(), request_id="a")
        await client.say(chat(), request_id="b")
        await until(lambda: upstream.active == 2)
        await client.say({"type": "cancel", "request_id": "a"})
        ended = await client.hear()
        while not is_last(ended):
            ended = await client.hear()
        assert (ended["request_id"], ended["error"]["code"]) == ("a", "cancelled")
        await until(lambda: upstream.active == 1)
        await client.say({"type": "cancel", "request_id": "b"})
        assert (await client.answer())[-1]["request_id"] == "b"


@pytest.mark.parametrize("request_id", ["", "x" * 129, 5, {}, []])
async def test_a_name_that_is_none_is_refused(place: Place, request_id: object) -> None:
    async with talking(place.port) as client:
        await client.say(chat(), request_id=request_id)
        assert (await client.hear())["error"]["param"] == "request_id"


# -- cancelling and leaving


async def test_a_cancelled_answer_ends_in_an_error_and_the_socket_lives(place: Place) -> None:
    async with place.upstream(say_and_hold) as upstream, talking(place.port) as client:
        for _ in range(2):
            await client.say(chat())
            while said_in([await client.hear()]) != "One":
                pass
            await client.say({"type": "cancel"})
            last = await client.hear()
            assert last["error"]["code"] == "cancelled"
            assert last["error"].keys() >= {"message", "type", "code", "param"}
            assert last["headrace"].keys() >= {"stream_id", "seq"}
            await upstream.emptied()


async def test_a_request_that_is_cancelled_in_the_same_breath_is_cancelled(place: Place) -> None:
    async with place.upstream(say_and_hold) as upstream, talking(place.port) as client:
        await client.say(chat())
        await client.say({"type": "cancel"})
        assert (await client.answer())[-1]["error"]["code"] == "cancelled"
        await upstream.emptied()


async def test_cancelling_what_has_ended_changes_nothing(place: Place) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say({"type": "cancel"})
        await client.say(chat())
        await client.answer()
        await client.say({"type": "cancel"})
        await client.say({"type": "cancel", "request_id": "never heard of"})
        await client.say(chat())
        assert said_in(await client.answer()) == WHOLE


@pytest.mark.parametrize("goodbye", [True, False])
@pytest.mark.parametrize("spoken", [True, False])
async def test_l1_a_socket_that_is_lost_stops_its_upstreams(place: Place, goodbye: bool, spoken: bool) -> None:
    async def hold(exchange: Exchange) -> None:
        await exchange.head()
        if spoken:
            await exchange.chunk(text_chunk("One"))
        await exchange.left()

    async with place.upstream(hold) as upstream, talking(place.port) as client:
        await client.say(chat(headrace={"on_disconnect": "cancel"}))
        await client.hear()
        if spoken:
            await client.hear()
        await until(lambda: upstream.active == 1)
        left_at = asyncio.get_running_loop().time()
        if goodbye:
            await client.socket.close()
        else:
            client.cut()
        await upstream.emptied()
        assert asyncio.get_running_loop().time() - left_at < GONE_SECONDS
    await place.emptied()


async def test_l3_an_answer_waits_for_a_socket_that_was_lost_and_goes_on_where_it_was(place: Place) -> None:
    go_on = asyncio.Event()

    async def pause(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await go_on.wait()
        await exchange.chunk(text_chunk(" two"))
        await exchange.chunk(finish_chunk())
        await exchange.end()

    async with place.upstream(pause):
        async with talking(place.port) as client:
            await client.say(chat())
            heard = [await client.hear(), await client.hear()]
            client.cut()
        await until(lambda: not place.house.deliveries)
        assert len(place.house.runs) == 1, "10 seconds are the default: every message says how to come back"
        async with talking(place.port) as client:
            await client.say(type="resume", stream_id=heard[0]["headrace"]["stream_id"], after=1)
            await until(lambda: len(place.house.deliveries) == 1)
            go_on.set()
            heard += await client.answer()
    assert said_in(heard) == "One two"


async def test_l4_a_cancel_from_anywhere_ends_every_socket_alike(place: Place) -> None:
    async with (
        place.upstream(say_and_hold),
        talking(place.port) as first,
        talking(place.port) as second,
        talking(place.port, "/v1/completions") as third,
    ):
        await first.say(chat())
        stream_id = (await first.hear())["headrace"]["stream_id"]
        for client in (second, third):
            await client.say(type="resume", stream_id=stream_id)
        await until(lambda: len(place.house.deliveries) == 3)
        await third.say({"type": "cancel"})
        lasts = [(await client.answer())[-1] for client in (first, second, third)]
        assert lasts[0] == lasts[1] == lasts[2]
        assert lasts[0]["error"]["code"] == "cancelled"


# -- resuming


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_l6_resuming_at_every_offset_gives_exactly_the_rest(place: Place, path: str) -> None:
    async with place.upstream(say), talking(place.port, path) as client:
        await client.say(chat() if path == CHAT else {"model": "lab/m", "prompt": "q"})
        whole = await client.answer()
        stream_id = whole[0]["headrace"]["stream_id"]
        for after in range(-1, whole[-1]["headrace"]["seq"]):
            await client.say(type="resume", stream_id=stream_id, after=after)
            rest = await client.answer()
            assert rest == [message for message in whole if message["headrace"]["seq"] > after], after
        for after in (whole[-1]["headrace"]["seq"], 10**12):
            await client.say(type="resume", stream_id=stream_id, after=after)
            assert await client.answer() == whole[-1:], "who comes to the end is told that it is the end"
        await client.say(type="resume", stream_id=stream_id)
        assert await client.answer() == whole


async def test_l6_a_socket_comes_back_before_the_first_token_and_misses_nothing(place: Place) -> None:
    silent = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await silent.wait()
        await answer(exchange, TEXTS)

    async with place.upstream(wait):
        stream_id = "before-the-first-token-1"
        async with talking(place.port) as client:
            await client.say(chat(headrace={"stream_id": stream_id, "on_disconnect": "continue"}))
            assert (await client.hear())["headrace"]["seq"] == 0
            client.cut()
        async with talking(place.port) as first, talking(place.port) as second:
            await first.say(type="resume", stream_id=stream_id, after=0)
            await second.say(type="resume", stream_id=stream_id)
            assert (await second.hear())["headrace"]["seq"] == 0
            silent.set()
            behind, rest = await first.answer(), await second.answer()
    assert behind == rest
    assert said_in(rest) == WHOLE


async def test_l14_what_was_started_anywhere_is_gone_on_with_here(place: Place) -> None:
    async with place.upstream(say):
        async with asking(
            place.port, "POST", "/chat/basic", {"query": "q", "model": "lab/m", "stream": True}
        ) as reader:
            stream_id = reader.headers["headrace-stream"]
            await reader.body()
        async with talking(place.port) as client:
            await client.say(type="resume", stream_id=stream_id, after=2, request_id="r")
            messages = await client.answer()
    assert said_in(messages) == "".join(TEXTS[2:])
    assert {message["request_id"] for message in messages} == {"r"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"stream_id": "0" * 32}, "stream_not_found"),
        ({"stream_id": "x"}, "stream_not_found"),
        ({}, "invalid_request"),
        ({"stream_id": 5}, "invalid_request"),
        ({"stream_id": "0" * 32, "after": "x"}, "invalid_request"),
        ({"stream_id": "0" * 32, "after": -2}, "invalid_request"),
        ({"stream_id": "0" * 32, "after": 10**30}, "invalid_request"),
        ({"stream_id": "0" * 32, "headrace": 5}, "invalid_request"),
    ],
)
async def test_a_resume_that_leads_nowhere_is_told_and_the_socket_lives(
    place: Place, fields: dict[str, object], code: str
) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say(type="resume", **fields)
        assert (await client.hear())["error"]["code"] == code
        await client.say(chat())
        assert said_in(await client.answer()) == WHOLE


# -- one stream, followed at its own address


@pytest.mark.parametrize("protocol", ["openai_chat", "openai_completions", "typed_events"])
async def test_a_stream_is_followed_at_its_own_address_in_any_protocol_of_json(place: Place, protocol: str) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say(chat())
        stream_id = (await client.answer())[0]["headrace"]["stream_id"]
        path = f"/v1/streams/{stream_id}/events?protocol={protocol}&after=2"
        async with talking(place.port, path) as follower:
            first = await follower.hear()
            assert first["headrace"] == {"stream_id": stream_id, "seq": 3}
            assert await follower.closed() == (1000, "")


async def test_typed_events_are_what_a_stream_is_followed_in_by_default(place: Place) -> None:
    async with place.upstream(say_and_hold), talking(place.port) as client:
        await client.say(chat())
        stream_id = (await client.hear())["headrace"]["stream_id"]
        async with talking(place.port, f"/v1/streams/{stream_id}/events") as follower:
            assert (await follower.hear())["type"] == "start"
            assert (await follower.hear())["content"] == "One"
            await follower.say({"type": "ping"})
            assert await follower.hear() == {"type": "pong"}
            await follower.say(chat())
            assert "takes no requests" in (await follower.hear())["error"]["message"]
            await follower.say({"type": "cancel"})
            last = await follower.hear()
            while last["type"] != "error":
                last = await follower.hear()
            assert (last["code"], last["ending"]) == ("cancelled", "cancelled")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/v1/streams/{'0' * 32}/events", 4404),
        ("/v1/streams/x/events?protocol=typed_events", 4404),
    ],
)
async def test_a_stream_that_is_not_there_closes_its_follower(place: Place, path: str, code: int) -> None:
    async with talking(place.port, path) as follower:
        assert (await follower.hear())["error"]["code"] == "stream_not_found"
        assert (await follower.closed())[0] == code


@pytest.mark.parametrize("query", ["protocol=plain_text", "protocol=x", "after=x"])
async def test_what_cannot_be_followed_so_is_told(place: Place, query: str) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say(chat())
        stream_id = (await client.answer())[0]["headrace"]["stream_id"]
        async with talking(place.port, f"/v1/streams/{stream_id}/events?{query}") as follower:
            assert (await follower.hear())["error"]["code"] == "invalid_request"
            assert (await follower.closed())[0] == 1008


# -- mistakes


MISTAKES = {
    "": "invalid_json",
    "{": "invalid_json",
    "[]": "invalid_json",
    "5": "invalid_json",
    '"text"': "invalid_json",
    "data: {}": "invalid_json",
    "{}": "invalid_request",
    '{"model": "lab/m"}': "invalid_request",
    '{"model": "lab/m", "messages": 5}': "invalid_request",
    '{"type": "dance"}': "invalid_request",
    '{"type": 5}': "invalid_request",
    '{"type": "auth"}': "invalid_request",
    '{"model": "lab/m", "messages": [{"role": "user", "content": "q"}], "headrace": {"stream_id": "short"}}': (
        "invalid_request"
    ),
    '{"model": "lab/m", "messages": [{"role": "user", "content": "q"}], "headrace": {"idempotency_key": ""}}': (
        "invalid_request"
    ),
    '{"model": "lab/m", "messages": [{"role": "user", "content": "\\ud800"}]}': "invalid_json",
    '{"x": ' + "[" * 100 + "]" * 100 + "}": "invalid_json",
}


@pytest.mark.parametrize("message", MISTAKES)
async def test_a_mistake_is_told_in_a_sentence_and_the_socket_lives(place: Place, message: str) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say(message)
        said = await client.hear()
        assert said["error"]["code"] == MISTAKES[message]
        assert len(said["error"]["message"]) > 15
        await client.say(chat())
        assert said_in(await client.answer()) == WHOLE


async def test_a_mistake_in_a_lane_carries_the_lanes_name(place: Place) -> None:
    async with talking(place.port) as client:
        await client.say({"model": "lab/m"}, request_id="r7")
        assert (await client.hear())["request_id"] == "r7"
        await client.say(chat(model="nothing-of-that-name"), request_id="r8")
        said = await client.hear()
        assert (said["request_id"], said["error"]["code"]) == ("r8", "model_not_found")


async def test_l15_an_answer_that_broke_off_ends_in_an_error_and_the_socket_lives(place: Place) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half"))
        await exchange.chunk(DONE)
        await exchange.end()

    async def fail(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(frame({"error": {"message": "the lab has lost its thread"}}))
        await exchange.end()

    async with talking(place.port) as client:
        async with place.upstream(break_off):
            await client.say(chat(headrace={"on_interruption": "end"}))
            messages = await client.answer()
            assert said_in(messages) == "half"
            assert messages[-1]["error"]["code"] == "upstream_truncated"
            assert messages[-1]["headrace"]["stream_id"] == messages[0]["headrace"]["stream_id"]
        async with place.upstream(fail):
            await client.say(chat())
            assert (await client.answer())[-1]["error"]["upstream"]["name"] == "lab"
        async with place.upstream(say):
            await client.say(chat())
            assert said_in(await client.answer()) == WHOLE


async def test_l19_a_fault_in_an_encoder_ends_its_lane_and_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Faulty:
        """An encoder that makes a mistake with the third event."""

        def __init__(self, inner: MessageEncoder) -> None:
            self._inner = inner

        def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
            """The messages."""
            if offset <= 2 < offset + len(events):
                raise ZeroDivisionError
            return self._inner.encode(offset, events)

    def faulty(*arguments: Any, **named: Any) -> Any:
        made = message_encoder(*arguments, **named)
        return Faulty(made) if named["request_id"] == "bad" else made

    monkeypatch.setattr(socket_lane, "message_encoder", faulty)
    async with place.upstream(say), talking(place.port) as client:
        for name in ("bad", "good"):
            await client.say(chat(), request_id=name)
        heard = [await client.hear()]
        while [message for message in heard if is_last(message)][1:] == []:
            heard.append(await client.hear())
    lanes = {name: [message for message in heard if message["request_id"] == name] for name in ("bad", "good")}
    assert lanes["bad"][-1]["error"]["code"] == "internal_error"
    assert "headrace" not in lanes["bad"][-1], "it is no event of the stream"
    assert said_in(lanes["good"]) == WHOLE


def _ask_one_after_the_other(port: int, questions: int) -> list[str]:
    """Sends each question the moment the answer before it has ended, and gives the answers."""
    answers = []
    with connect(f"ws://127.0.0.1:{port}{CHAT}", open_timeout=10) as socket:
        for number in range(questions):
            socket.send(json.dumps(chat(str(number))))
            messages: list[dict[str, Any]] = []
            while not messages or not is_last(messages[-1]):
                messages.append(json.loads(socket.recv(timeout=10)))
            answers.append(said_in(messages))
    return answers


async def test_the_next_request_may_come_the_moment_an_answer_has_ended(place: Place) -> None:
    # From another thread: it is quicker than the event loop's next turn.
    async with place.upstream(echo):
        answers = await asyncio.to_thread(_ask_one_after_the_other, place.port, 200)
    assert answers == [f"you said {number}" for number in range(200)]
