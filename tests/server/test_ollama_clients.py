"""Ollama's own Python client, and `curl` as its documentation writes it, against a real server (rows O1 and O3)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import ollama
import pytest
from tests.server.conftest import DEADLINE_SECONDS, Place, until
from tests.server.reader import asking

from headrace.clock import SystemClock
from headrace.providers import PROVIDERS
from headrace.server.callers import LOCAL_OWNER
from headrace.settings import UpstreamSettings
from headrace.testing.ollama import ollama_answer
from headrace.testing.upstream import (
    DONE,
    Exchange,
    Handler,
    ScriptedUpstream,
    answer,
    delta_chunk,
    finish_chunk,
    text_chunk,
)

pytestmark = pytest.mark.anyio

TEXTS = ["One", " delta,\n", "日本語 🏝️", " at\u2028a time"]
QUESTION = [{"role": "user", "content": "q"}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 16).decode()


async def speak(exchange: Exchange) -> None:
    await answer(exchange, TEXTS, usage=(3, 4))


async def break_off(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    exchange.close()


@pytest.fixture
async def client(place: Place) -> AsyncIterator[ollama.AsyncClient]:
    """Ollama's client."""
    made = ollama.AsyncClient(host=place.url, timeout=DEADLINE_SECONDS)
    yield made
    await made._client.aclose()


async def test_o3_chat_streams_to_the_official_client(place: Place, client: ollama.AsyncClient) -> None:
    async with place.upstream(speak):
        parts = [part async for part in await client.chat(model="lab/m", messages=QUESTION, stream=True)]
    assert [part.message.content for part in parts] == [*TEXTS, ""]
    assert {part.model for part in parts} == {"lab/m"}
    assert [part.done for part in parts] == [False] * len(TEXTS) + [True]
    last = parts[-1]
    assert (last.done_reason, last.prompt_eval_count, last.eval_count) == ("stop", 3, 4)
    assert last.total_duration is not None
    assert last.total_duration >= (last.prompt_eval_duration or 0) > 0


async def test_o3_chat_answers_the_official_client_whole(place: Place, client: ollama.AsyncClient) -> None:
    async with place.upstream(speak):
        said = await client.chat(model="lab/m", messages=QUESTION)
    assert said.message.content == "".join(TEXTS)
    assert (said.done, said.done_reason, said.eval_count) == (True, "stop", 4)


async def test_o3_generate_honours_both_ways(place: Place, client: ollama.AsyncClient) -> None:
    async with place.upstream(speak) as upstream:
        parts = [part async for part in await client.generate(model="lab/m", prompt="q", system="s", stream=True)]
        whole = await client.generate(model="lab/m", prompt="q", system="s")
    assert [part.response for part in parts] == [*TEXTS, ""]
    assert whole.response == "".join(TEXTS)
    assert (parts[-1].done_reason, whole.done_reason) == ("stop", "stop")
    assert [exchange.json().get("stream", False) for exchange in upstream.exchanges] == [True, False]
    assert upstream.exchanges[0].json()["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
    ]


@pytest.mark.parametrize("body", [b'{"model":"lab/m","prompt":"q"}', b'{"model":"lab/m","prompt":"q","stream":false}'])
async def test_o3_curl_needs_no_content_type_and_streams_by_default(place: Place, body: bytes) -> None:
    async with place.upstream(speak):
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sN", f"{place.url}/api/generate", "-d", body.decode(), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await curl.communicate()
    lines = [json.loads(line) for line in said.split(b"\n") if line]
    assert "".join(line["response"] for line in lines) == "".join(TEXTS)
    assert len(lines) == (1 if b"false" in body else len(TEXTS) + 1)
    assert said.decode().splitlines() == said.decode().rstrip("\n").split("\n"), "a line for whoever cuts lines"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 200),
        ({"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}, 415),
        ({"Content-Type": "text/plain", "Sec-Fetch-Site": "same-site"}, 415),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Content-Type": "application/json", "Origin": "https://elsewhere.example"}, 403),
    ],
)
async def test_only_a_page_has_to_declare_json(place: Place, headers: dict[str, str], status: int) -> None:
    body = {"model": "lab/m", "messages": QUESTION}
    async with place.upstream(speak), asking(place.port, "POST", "/api/chat", body, headers) as reader:
        assert reader.status == status
        if status != 200:
            assert isinstance((await reader.json())["error"], str), "the only form of an error the client can read"


async def test_l15_an_answer_that_breaks_off_is_raised_and_has_no_done_line(
    place: Place, client: ollama.AsyncClient
) -> None:
    parts: list[ollama.ChatResponse] = []

    async def read() -> None:
        async for part in await client.chat(model="lab/m", messages=QUESTION, stream=True):
            parts.append(part)

    async with place.upstream(break_off):
        with pytest.raises(ollama.ResponseError, match="closed the connection"):
            await read()
    assert [part.message.content for part in parts] == ["half an answer"]
    assert not any(part.done for part in parts)


async def test_a_refusal_before_the_first_token_is_an_http_status(place: Place, client: ollama.AsyncClient) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":{"message":"the lab says no"}}', 422)

    async def ask(stream: bool) -> None:
        if not stream:
            await client.chat(model="lab/m", messages=QUESTION)
        else:
            await anext(await client.chat(model="lab/m", messages=QUESTION, stream=True))

    async with place.upstream(refuse):
        for stream in (True, False):
            with pytest.raises(ollama.ResponseError, match="the lab says no") as caught:
                await ask(stream)
            assert caught.value.status_code == 422


async def test_an_unknown_model_is_not_found(client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match="no model") as caught:
        await client.generate(model="nothing-of-that-name", prompt="q")
    assert caught.value.status_code == 404


async def test_a_cancelled_answer_is_raised_by_the_client_and_done(place: Place, client: ollama.AsyncClient) -> None:
    async def hold(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half"))
        await exchange.left()

    async def read() -> None:
        async for part in await client.chat(model="lab/m", messages=QUESTION, stream=True):
            assert part.message.content == "half"
            place.house.cancel(place.house.store.list(LOCAL_OWNER)[0])

    async with place.upstream(hold):
        with pytest.raises(ollama.ResponseError, match="cancel"):
            await read()


async def test_reasoning_is_thinking_unless_it_is_not_wanted(place: Place, client: ollama.AsyncClient) -> None:
    async def think(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(delta_chunk({"reasoning_content": "hmm"}))
        await exchange.chunk(text_chunk("yes"))
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()

    async with place.upstream(think) as upstream:
        for wanted in (None, "high", False):
            parts = [
                part
                async for part in await client.chat(
                    model="lab/m",
                    messages=QUESTION,
                    stream=True,
                    think=wanted,
                )
            ]
            thought = "".join(part.message.thinking or "" for part in parts)
            assert thought == ("" if wanted is False else "hmm")
    efforts = [exchange.json().get("reasoning_effort") for exchange in upstream.exchanges]
    assert efforts == [None, "high", None]
    assert not any("think" in exchange.json() for exchange in upstream.exchanges), "OpenAI's API has no such word"


async def test_a_tool_call_comes_whole_with_an_object(place: Place, client: ollama.AsyncClient) -> None:
    async def call(exchange: Exchange) -> None:
        await exchange.head()
        for piece in (
            {"index": 0, "id": "call_7", "type": "function", "function": {"name": "look_up", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"place":'}},
            {"index": 0, "function": {"arguments": '"Lëns"}'}},
        ):
            await exchange.chunk(delta_chunk({"tool_calls": [piece]}))
        await exchange.chunk(finish_chunk("tool_calls"))
        await exchange.chunk(DONE)
        await exchange.end()

    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    async with place.upstream(call) as upstream:
        parts = [part async for part in await client.chat("lab/m", messages=QUESTION, tools=[tool], stream=True)]
        earlier: list[dict[str, Any]] = [
            *QUESTION,
            {"role": "assistant", "tool_calls": [{"function": {"name": "look_up", "arguments": {"place": "Lëns"}}}]},
            {"role": "tool", "tool_name": "look_up", "content": "rain"},
        ]
        await client.chat("lab/m", messages=earlier)
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [(call.function.name, call.function.arguments) for call in calls] == [("look_up", {"place": "Lëns"})]
    assert parts[-1].done_reason == "stop"
    first, second = (exchange.json() for exchange in upstream.exchanges)
    assert first["tools"][0]["function"]["name"] == "look_up"
    assert "tools" not in second, "OpenAI refuses an empty list of tools"
    asked = second["messages"]
    assert asked[1]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"place":"Lëns"}'}
    assert asked[2]["tool_call_id"] == asked[1]["tool_calls"][0]["id"]


async def test_options_formats_and_images_are_put_in_the_upstreams_words(
    place: Place, client: ollama.AsyncClient
) -> None:
    options = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["."], "num_predict": 5, "top_k": 3, "num_ctx": 99}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    message = {"role": "user", "content": "what is it?", "images": [PNG]}
    async with place.upstream(speak) as upstream:
        await client.chat("lab/m", messages=[message], options=options, format=schema, keep_alive="5m")
        await client.generate("lab/m", prompt="q", format="json")
    asked, plain = (exchange.json() for exchange in upstream.exchanges)
    assert asked.pop("messages")[0]["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    assert asked.pop("response_format")["json_schema"]["schema"] == schema
    assert asked == {"model": "m", "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["."], "max_tokens": 5}
    assert plain["response_format"] == {"type": "json_object"}


async def test_a_model_is_loaded_and_unloaded_without_a_generation(place: Place, client: ollama.AsyncClient) -> None:
    async with place.upstream(speak) as upstream:
        loaded = await client.chat(model="lab/m", messages=[])
        unloaded = await client.generate(model="lab/m", keep_alive=0)
        (streamed,) = [part async for part in await client.generate(model="lab/m", stream=True)]
    assert not upstream.exchanges
    assert (loaded.done_reason, unloaded.done_reason, streamed.done_reason) == ("load", "unload", "load")
    assert all(each.done for each in (loaded, unloaded, streamed))
    with pytest.raises(ollama.ResponseError):
        await client.generate(model="nothing-of-that-name")
    body = b'{"model":"lab/m","keep_alive":"\\ud83d","stream":false}'
    async with place.upstream(speak), asking(place.port, "POST", "/api/generate", body) as reader:
        assert reader.status == 400, "half a character is no JSON, wherever it stands"


async def test_the_models_the_version_and_the_root_are_there(place: Place, client: ollama.AsyncClient) -> None:
    listed = await client.list()
    assert [model.model for model in listed.models] == ["offline"]
    async with asking(place.port, "GET", "/api/version") as reader:
        assert (await reader.json())["version"] == "0.99.0"
    for method in ("GET", "HEAD"):
        async with asking(place.port, method, "/") as reader:
            assert (reader.status, reader.headers["content-length"]) == (200, "17")
            if method == "GET":
                assert await reader.body() == b"Ollama is running"


async def test_l31_a_silent_stream_is_kept_alive_by_a_line_that_says_nothing(
    place: Place, client: ollama.AsyncClient
) -> None:
    heard = asyncio.Event()

    async def fall_silent(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("before"))
        await heard.wait()
        await exchange.chunk(text_chunk("after"))
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()

    said = []
    body = {"model": "lab/m", "messages": QUESTION, "headrace": {"heartbeat_seconds": 0.01}}
    async with place.upstream(fall_silent), asking(place.port, "POST", "/api/chat", body) as reader:
        while piece := await reader.piece():
            assert piece.endswith(b"\n")
            for line in piece.splitlines():
                part = ollama.ChatResponse(**msgspec.json.decode(line))
                said.append(part.message.content)
                if part.message.content == "" and not part.done:
                    heard.set()
    assert said[0] == "before"
    assert said[-2:] == ["after", ""]
    assert set(said[1:-2]) == {""}, "the heartbeats"
    await until(lambda: not place.house.deliveries)


# -- an Ollama behind it


@asynccontextmanager
async def before_an_ollama(place: Place, handler: Handler) -> AsyncIterator[ScriptedUpstream]:
    """An Ollama that does what `handler` says, as the upstream `lab`."""
    async with ScriptedUpstream(handler) as upstream:
        provider = PROVIDERS["ollama"](UpstreamSettings("lab", "ollama", upstream.origin), None, SystemClock())
        with place.provider(provider):
            yield upstream
        await provider.close()


async def test_o1_o3_ollamas_lines_reach_ollamas_client_one_by_one(place: Place, client: ollama.AsyncClient) -> None:
    gap = asyncio.Event()

    async def converse(exchange: Exchange) -> None:
        await ollama_answer(exchange, TEXTS, usage=(3, 4), gap=gap)

    said = []
    async with before_an_ollama(place, converse) as upstream:
        async for part in await client.generate("lab/m", prompt="q", stream=True, options={"num_ctx": 99}):
            said.append(part.response)
            gap.set()
        whole = await client.generate("lab/m", prompt="q")
    assert said == [*TEXTS, ""]
    assert (whole.response, whole.eval_count) == ("".join(TEXTS), 4)
    assert [exchange.path for exchange in upstream.exchanges] == ["/api/chat"] * 2
    assert upstream.exchanges[0].json()["options"] == {"num_ctx": 99}


async def test_o6_a_reader_is_told_that_the_model_is_loading_and_is_not_cut_off(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.providers.ollama.SECONDS_OF_SILENCE", 0.02)
    told = asyncio.Event()

    async def load_first(exchange: Exchange) -> None:
        await told.wait()
        await ollama_answer(exchange, TEXTS)

    kinds = []
    body = {"query": "q", "model": "lab/m", "stream": True}
    async with before_an_ollama(place, load_first), asking(place.port, "POST", "/chat/basic", body) as reader:
        async for frame in reader.frames():
            said = json.loads(frame) if frame != "[DONE]" else {"type": frame}
            kinds.append(said["type"])
            if said["type"] == "status":
                assert said["phase"] == "loading"
                told.set()
    assert kinds == ["start", "status", *["token"] * len(TEXTS), "done", "metadata", "[DONE]"]
