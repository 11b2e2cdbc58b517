"""Rows D1, D2 and D6: `POST /chat/basic`, streamed and whole, and what becomes of a conversation."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.server.conftest import Place, process, serving
from tests.server.raw import converse, post
from tests.server.reader import asking, query

from headrace.settings import AssistantSettings, Settings
from headrace.testing.upstream import (
    DONE,
    Exchange,
    delta_chunk,
    finish_chunk,
    role_chunk,
    text_chunk,
    usage_chunk,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server with a second assistant beside `basic`."""
    tutor = AssistantSettings(
        model="lab/m",
        instructions="You are a tutor.",
        language="fr",
        rationale=False,
        metadata=False,
        chunk_size=4,
        history_turns=1,
    )
    async with serving(Settings(assistants={"basic": AssistantSettings(), "tutor": tutor})) as shared:
        yield shared


async def say(exchange: Exchange) -> None:
    """Reasoning, two texts and usage."""
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.chunk(delta_chunk({"reasoning": "Let me think."}))
    await exchange.chunk(text_chunk("Hello"))
    await exchange.chunk(text_chunk(""))
    await exchange.chunk(text_chunk(", you!"))
    await exchange.chunk(finish_chunk())
    await exchange.chunk(usage_chunk(7, 42))
    await exchange.chunk(DONE)
    await exchange.end()


async def frames(place: Place, path: str = "/chat/basic", body: object = None, **headers: str) -> list[Any]:
    """The frames of a streamed answer; the last stays text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asking(place.port, "POST", path, query() if body is None else body, named) as reader:
        assert reader.status == 200
        framed = [frame async for frame in reader.frames()]
    assert framed[-1] == "[DONE]"
    return [*map(json.loads, framed[:-1]), framed[-1]]


async def whole(place: Place, body: object, path: str = "/chat/basic") -> Any:
    """A whole answer."""
    async with asking(place.port, "POST", path, body) as reader:
        assert reader.status == 200
        assert reader.headers["content-type"] == "application/json"
        return await reader.json()


async def test_d2_frames_come_in_their_order_with_their_fields(place: Place) -> None:
    async with place.upstream(say):
        start, rationale, *tokens, done, metadata, last = await frames(
            place, body=query(conversation_id="c", language="de")
        )
    assert start.keys() == {"type", "timestamp", "language", "stream_id", "conversation_id", "model"}
    assert (start["type"], start["language"], start["conversation_id"], start["model"]) == ("start", "de", "c", "lab/m")
    assert rationale == {"type": "rationale", "content": "Let me think."}
    assert tokens == [{"type": "token", "content": "Hello"}, {"type": "token", "content": ", you!"}]
    assert done == {"type": "done", "content": "Hello, you!", "sources": [], "finish_reason": "stop"}
    assert metadata["type"] == "metadata"
    assert metadata["token_count"] == 42
    assert metadata["duration_ms"] >= metadata["ttft_ms"] > 0
    assert (metadata["usage"]["prompt_tokens"], metadata["usage"]["source"]) == (7, "reported")
    assert last == "[DONE]"


async def test_d2_frames_are_bare_data_lines_of_one_json_object_each(place: Place) -> None:
    async with place.upstream(say), asking(place.port, "POST", "/chat/basic", query()) as reader:
        body = await reader.body()
    assert re.fullmatch(rb"(data: \{[^\r\n]*\}\n\n)+data: \[DONE\]\n\n", body)


async def test_d2_the_start_says_when_it_began_in_utc(place: Place) -> None:
    before = datetime.now(UTC)
    async with place.upstream(say):
        start = (await frames(place))[0]
    stamp = start["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(stamp) <= datetime.now(UTC)


async def test_d2_sources_of_the_offline_model_are_told_and_repeated_at_the_end(place: Place) -> None:
    told = await frames(place, body=query("How is a stream resumed?", model="offline"))
    kinds = [frame["type"] for frame in told[:-1]]
    assert kinds[0] == "start"
    assert kinds[-2:] == ["done", "metadata"]
    sources = [source for frame in told[:-1] if frame["type"] == "sources" for source in frame["sources"]]
    assert sources
    assert told[-3]["sources"] == sources
    assert all(source.keys() == {"n", "id", "title", "passage", "score"} for source in sources)
    assert "".join(frame["content"] for frame in told[:-1] if frame["type"] == "token") == told[-3]["content"]
    assert told[-2]["usage"]["source"] == "counted"


async def test_d1_without_stream_it_is_one_object(place: Place) -> None:
    async with place.upstream(say):
        body = await whole(place, {"query": "q", "model": "lab/m", "conversation_id": "w1", "language": "de"})
    assert body.keys() == {
        "content", "sources", "rationale", "finish_reason", "conversation_id", "stream_id", "language", "model",
        "usage", "metadata",
    }  # fmt: skip
    assert body["content"] == "Hello, you!"
    assert body["rationale"] == "Let me think."
    assert (body["finish_reason"], body["conversation_id"], body["language"]) == ("stop", "w1", "de")
    assert body["metadata"]["token_count"] == 42


@pytest.mark.parametrize(
    ("body", "streamed"),
    [
        ({"meta_params": {"stream": True}}, True),
        ({"meta_params": {"stream": False}}, False),
        ({"meta_params": {}}, False),
        ({"meta_params": None}, False),
        ({}, False),
        ({"stream": True}, True),
        ({"stream": False, "meta_params": {"stream": True}}, False),
        ({"stream": True, "meta_params": {"temperature": 0.1}}, True),
    ],
)
async def test_d1_it_streams_where_that_is_asked_and_not_by_what_is_accepted(
    place: Place, body: dict[str, object], streamed: bool
) -> None:
    for accepted in ("application/json", "text/event-stream"):
        asked = {"query": "q", "model": "lab/m", **body}
        async with (
            place.upstream(say),
            asking(place.port, "POST", "/chat/basic", asked, {"Accept": accepted}) as reader,
        ):
            assert reader.headers["content-type"].startswith("text/event-stream" if streamed else "application/json")
            await reader.body()


@pytest.mark.parametrize("name", ["query", "message", "prompt"])
async def test_d1_the_question_has_three_names(place: Place, name: str) -> None:
    async with place.upstream(say) as upstream:
        await whole(place, {name: "What?", "model": "lab/m"})
    assert upstream.exchanges[0].json()["messages"] == [{"role": "user", "content": "What?"}]


async def test_d1_a_conversation_is_carried_on_with_what_was_asked_and_answered(place: Place) -> None:
    async with place.upstream(say) as upstream:
        start = (await frames(place, body=query("First?")))[0]
        await whole(place, {"query": "Second?", "model": "lab/m", "conversation_id": start["conversation_id"]})
        await frames(place, body=query("Third?", conversation_id=start["conversation_id"]))
        await frames(place, body=query("Elsewhere?"))
        asked = [exchange.json()["messages"] for exchange in upstream.exchanges]
    turns = [
        {"role": role, "content": content}
        for question in ("First?", "Second?", "Third?")
        for role, content in (("user", question), ("assistant", "Hello, you!"))
    ]
    assert asked == [turns[:1], turns[:3], turns[:5], [{"role": "user", "content": "Elsewhere?"}]]


async def test_d1_a_history_that_is_sent_is_all_the_history_there_is(place: Place) -> None:
    history = [{"role": "user", "content": "Before?"}, {"role": "assistant", "content": "Before."}]
    async with place.upstream(say) as upstream:
        await frames(place, body=query("First?", conversation_id="h1"))
        await frames(place, body=query("Second?", conversation_id="h1", history=history))
        assert upstream.exchanges[1].json()["messages"] == [*history, {"role": "user", "content": "Second?"}]


async def test_d1_the_language_is_asked_of_the_upstream(place: Place) -> None:
    async with place.upstream(say) as upstream:
        await frames(place, body=query("Was?", language="de"))
        system, question = upstream.exchanges[0].json()["messages"]
    assert system["role"] == "system"
    assert "'de'" in system["content"]
    assert question == {"role": "user", "content": "Was?"}


async def test_d1_an_assistant_has_its_own_model_instructions_language_and_memory(place: Place) -> None:
    async with place.upstream(say) as upstream:
        for question in ("One?", "Two?", "Three?"):
            await frames(place, "/chat/tutor", {"query": question, "stream": True, "conversation_id": "t1"})
        request = upstream.exchanges[-1].json()
    assert request["model"] == "m"
    system, *turns = request["messages"]
    assert system["content"].startswith("You are a tutor.")
    assert "'fr'" in system["content"]
    assert [turn["content"] for turn in turns] == ["Two?", "Hello, you!", "Three?"]


async def test_d7_an_assistant_has_its_own_frames(place: Place) -> None:
    async with place.upstream(say):
        start, *tokens, done, last = await frames(place, "/chat/tutor", {"query": "q", "stream": True})
    assert start["language"] == "fr"
    assert [token["content"] for token in tokens] == ["Hell", "o", ", yo", "u!"]
    assert (done["type"], done["content"], last) == ("done", "Hello, you!", "[DONE]")


async def test_d3_a_request_may_do_without_the_rationale(place: Place) -> None:
    async with place.upstream(say):
        for body, headers in ((query(headrace={"rationale": False}), {}), (query(), {"Headrace_Rationale": "false"})):
            kinds = {frame["type"] for frame in (await frames(place, body=body, **headers))[:-1]}
            assert kinds == {"start", "token", "done", "metadata"}


async def test_t2_empty_deltas_are_dropped(place: Place) -> None:
    async def say_little(exchange: Exchange) -> None:
        await exchange.head()
        for text in ("", "a", "", "", "b", ""):
            await exchange.chunk(text_chunk(text))
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()

    async with place.upstream(say_little):
        told = await frames(place)
    assert [frame["content"] for frame in told[:-1] if frame["type"] == "token"] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({}, None),
    ],
)
async def test_t3_both_names_of_the_limit_are_accepted(place: Place, given: dict[str, int], sent: int | None) -> None:
    async with place.upstream(say) as upstream:
        await frames(place, body=query() | given)
        request = upstream.exchanges[0].json()
    assert request.get("max_tokens") == sent
    assert "max_completion_tokens" not in request, "this upstream knows the older name"


# -- D6


async def test_d6_a_failure_in_the_middle_is_an_error_frame_and_then_done(place: Place) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("Half"))
        exchange.reset()

    async with place.upstream(break_off):
        start, token, metadata, error, last = await frames(place)
    assert token == {"type": "token", "content": "Half"}
    assert metadata["type"] == "metadata"
    assert metadata["usage"]["source"] == "estimated"
    assert error.keys() == {"type", "content", "code", "ending", "partial"}
    assert (error["type"], error["code"], error["ending"], error["partial"]) == (
        "error",
        "upstream_reset",
        "incomplete",
        True,
    )
    assert error["content"]
    assert last == "[DONE]"
    async with asking(place.port, "GET", f"/v1/streams/{start['stream_id']}/events") as reader:
        assert [text async for text in reader.texts()] == ["Half"], "what was said can still be read"
    async with asking(place.port, "GET", f"/v1/streams/{start['stream_id']}") as reader:
        known = await reader.json()
    assert (known["ending"], known["error"]["code"]) == ("incomplete", "upstream_reset")


async def test_d6_a_failure_before_the_first_token_is_an_error_frame_too(place: Place) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":{"message":"the model is gone"}}', 404)

    async with place.upstream(refuse):
        *_, error, last = await frames(place)
    assert (error["code"], error["ending"], error["partial"]) == ("upstream_not_found", "error", False)
    assert "the model is gone" in error["content"]
    assert last == "[DONE]"


async def test_d6_the_log_holds_the_cause(tmp_path: Any) -> None:
    settings = '[[upstreams]]\nname = "lab"\nbase_url = "http://127.0.0.1:1/v1"\n'
    with process(tmp_path, settings) as server:
        body = json.dumps(query(headrace={"timeouts": {"total": 5}})).encode()
        framed = converse(server.port, post(body, "/chat/basic"))[0].body
        stream_id = json.loads(framed.split(b"\n\n")[0][6:])["stream_id"]
        server.stop()
        causes = [line for line in server.log if stream_id in str(line["message"])]
        answered = [line for line in server.log if line.get("stream") == stream_id]
    assert "no connection to lab at 127.0.0.1:1" in str(causes[0]["message"])
    assert (answered[0]["ending"], answered[0]["code"]) == ("error", "upstream_unreachable")


async def test_d1_the_answer_of_a_broken_turn_is_not_put_into_the_conversation_as_if_it_were_whole(
    place: Place,
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":{"message":"no"}}', 400)

    async with place.upstream(refuse):
        await frames(place, body=query("First?", conversation_id="b1"))
    async with place.upstream(say) as upstream:
        await frames(place, body=query("Second?", conversation_id="b1"))
        assert upstream.exchanges[0].json()["messages"] == [{"role": "user", "content": "Second?"}]
