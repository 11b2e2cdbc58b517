"""The routes of the source systems with the clients that their documents show, a delta at a time, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import anyio.to_thread
import groq
import pytest
from tests.server.clients import CLIENTS, events
from tests.server.conftest import DEADLINE_SECONDS, Place
from tests.server.reader import text_of

from headrace.testing.upstream import Exchange, answer

pytestmark = pytest.mark.anyio

TEXTS = ["One", " delta", "\n\n  at", " a time", ",", "日本語 🏝️", " \u2028"]
MODEL = "lab/m"


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """Which client reads."""
    return str(request.param)


async def read_live(
    place: Place, client: str, path: str, body: object, kind: str, text: Callable[[str], str]
) -> list[str]:
    """Everything a client reads, while the upstream sends a text only when the client has the one before."""
    gap = asyncio.Event()

    async def converse(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, gap=gap, usage=(3, 7))

    said, read = [], ""
    starts = {"".join(TEXTS[: count + 1]) for count in range(len(TEXTS))}
    async with place.upstream(converse):
        async for data in events(client, f"{place.url}{path}", body, kind):
            said.append(data)
            if piece := text(data):
                read += piece
                assert read in starts
                gap.set()
    assert read == "".join(TEXTS)
    return said


async def test_r1_each_piece_of_text_is_an_event(place: Place, client: str) -> None:
    said = await read_live(place, client, "/chat", {"prompt": "q", "model": MODEL}, "sse", str)
    assert said == TEXTS


async def test_t8_a_query_is_answered_with_text_as_it_is_made(place: Place, client: str) -> None:
    await read_live(place, client, "/api/query/stream", {"question": "q", "model": MODEL}, "text", str)


async def test_d1_d2_chat_basic_streams_typed_frames_and_done(place: Place, client: str) -> None:
    body = {"query": "q", "meta_params": {"stream": True}, "model": MODEL}
    said = await read_live(place, client, "/chat/basic", body, "sse", text_of)
    assert said.pop() == "[DONE]"
    kinds = [json.loads(data)["type"] for data in said]
    assert kinds == ["start", *["token"] * len(TEXTS), "done", "metadata"]


async def test_o2_tokens_come_in_frames_that_say_whether_they_are_the_last(place: Place, client: str) -> None:
    def text(data: str) -> str:
        return str(json.loads(data).get("token", ""))

    said = await read_live(place, client, "/api/generate/stream", {"prompt": "q", "model": MODEL}, "sse", text)
    assert [json.loads(data)["done"] for data in said] == [False] * len(TEXTS) + [True]


async def test_o3_generate_streams_lines_of_json(place: Place, client: str) -> None:
    def text(data: str) -> str:
        return str(json.loads(data)["response"])

    body = {"prompt": "q", "model": MODEL, "stream": True}
    said = await read_live(place, client, "/api/generate", body, "ndjson", text)
    assert [json.loads(data)["done"] for data in said] == [False] * len(TEXTS) + [True]


async def test_o4_a_front_end_is_sent_frames_of_the_type_token(place: Place, client: str) -> None:
    def text(data: str) -> str:
        return str(json.loads(data).get("content", ""))

    said = await read_live(place, client, "/api/chat/stream", {"message": "q", "model": MODEL}, "sse", text)
    assert [json.loads(data)["type"] for data in said] == ["token"] * len(TEXTS) + ["done"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_i1_chunks_of_openais_shape_end_in_done(place: Place, client: str, path: str) -> None:
    def text(data: str) -> str:
        if data == "[DONE]":
            return ""
        (choice,) = json.loads(data)["choices"]
        return str(choice["text"] if path == "/v1/completions" else choice["delta"].get("content") or "")

    question = {"prompt": "q"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "q"}]}
    said = await read_live(place, client, path, {**question, "model": MODEL, "stream": True}, "sse", text)
    assert said[-1] == "[DONE]"
    assert json.loads(said[-2])["choices"][0]["finish_reason"] == "stop"


async def test_t1_groqs_client_gets_the_same_text_and_usage_in_either_mode(place: Place) -> None:
    async def speak(exchange: Exchange) -> None:
        if exchange.json().get("stream"):
            await answer(exchange, TEXTS, usage=(3, 7))
            return
        message = {"role": "assistant", "content": "".join(TEXTS)}
        body = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10},
        }
        await exchange.whole(json.dumps(body).encode())

    def ask() -> tuple[tuple[str, str | None, int], tuple[str, str | None, int]]:
        with groq.Groq(base_url=place.url, api_key="none", max_retries=0, timeout=DEADLINE_SECONDS) as groqs:
            whole = groqs.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "q"}])
            said, reason, tokens = "", None, 0
            for chunk in groqs.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "q"}],
                stream=True,
                extra_body={"stream_options": {"include_usage": True}},
            ):
                for choice in chunk.choices:
                    said += choice.delta.content or ""
                    reason = choice.finish_reason or reason
                if chunk.usage is not None:
                    tokens = chunk.usage.total_tokens
        assert whole.usage is not None
        first = whole.choices[0]
        return (first.message.content or "", first.finish_reason, whole.usage.total_tokens), (said, reason, tokens)

    async with place.upstream(speak):
        whole, streamed = await anyio.to_thread.run_sync(ask)
    assert whole == streamed == ("".join(TEXTS), "stop", 10)
