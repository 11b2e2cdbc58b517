"""`/v1/completions` and the prefix of Groq's clients, with the official clients (row I1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import groq
import openai
import pytest
from tests.server.conftest import DEADLINE_SECONDS, Place
from tests.server.reader import asking

from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

TEXTS = ["One", " delta,\n", "日本語 🏝️", " at\u2028a time"]


async def speak(exchange: Exchange) -> None:
    await answer(exchange, TEXTS, usage=(3, 4))


@pytest.fixture
async def sdk(place: Place) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client."""
    async with openai.AsyncOpenAI(
        base_url=f"{place.url}/v1", api_key="none", max_retries=0, timeout=DEADLINE_SECONDS
    ) as client:
        yield client


@pytest.fixture
async def groq_sdk(place: Place) -> AsyncIterator[groq.AsyncGroq]:
    """Groq's client, which puts its own prefix before the paths."""
    async with groq.AsyncGroq(base_url=place.url, api_key="none", max_retries=0, timeout=DEADLINE_SECONDS) as client:
        yield client


@pytest.mark.parametrize("usage", [True, False])
async def test_i1_completions_stream_to_the_official_client(place: Place, sdk: openai.AsyncOpenAI, usage: bool) -> None:
    async with place.upstream(speak) as upstream:
        stream = await sdk.completions.create(
            model="lab/m", prompt="q", max_tokens=9, stream=True, stream_options={"include_usage": usage}
        )
        chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].text for chunk in chunks if chunk.choices] == [*TEXTS, ""]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices] == [None] * len(TEXTS) + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([7] if usage else [])
    asked = upstream.exchanges[0].json()
    assert asked["messages"] == [{"role": "user", "content": "q"}]
    assert asked["max_tokens"] == 9


@pytest.mark.parametrize("prompt", ["q", ["q"]])
async def test_i1_completions_answer_the_official_client_whole(
    place: Place, sdk: openai.AsyncOpenAI, prompt: str | list[str]
) -> None:
    async with place.upstream(speak):
        said = await sdk.completions.create(model="lab/m", prompt=prompt, extra_body={"best_of": 2})
    assert (said.object, said.choices[0].text, said.choices[0].finish_reason) == (
        "text_completion",
        "".join(TEXTS),
        "stop",
    )
    assert said.usage is not None
    assert said.usage.completion_tokens == 4


async def test_i1_several_choices_are_told_apart(place: Place, sdk: openai.AsyncOpenAI) -> None:
    async def speak_twice(exchange: Exchange) -> None:
        await exchange.head()
        for text, choice in (("a", 1), ("b", 0), ("c", 1)):
            await exchange.chunk(text_chunk(text, choice=choice))
        await exchange.chunk(finish_chunk(choice=0) + finish_chunk("length", choice=1) + DONE)
        await exchange.end()

    async with place.upstream(speak_twice):
        stream = await sdk.completions.create(model="lab/m", prompt="q", n=2, stream=True)
        heard = [(each.choices[0].index, each.choices[0].text, each.choices[0].finish_reason) async for each in stream]
    assert heard == [(1, "a", None), (0, "b", None), (1, "c", None), (0, "", "stop"), (1, "", "length")]


async def test_i1_an_answer_that_breaks_off_is_raised(place: Place, sdk: openai.AsyncOpenAI) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half an answer"))
        exchange.close()

    said = []

    async def read() -> None:
        async for chunk in await sdk.completions.create(model="lab/m", prompt="q", stream=True):
            said.append(chunk.choices[0].text)
            assert chunk.choices[0].finish_reason is None

    async with place.upstream(break_off):
        with pytest.raises(openai.APIError) as caught:
            await read()
    assert (said, caught.value.code) == (["half an answer"], "upstream_truncated")


@pytest.mark.parametrize("stream", [True, False])
async def test_i1_a_refusal_before_the_first_token_is_an_http_status(
    place: Place, sdk: openai.AsyncOpenAI, stream: bool
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":{"message":"the lab says no"}}', 422)

    async with place.upstream(refuse):
        with pytest.raises(openai.UnprocessableEntityError, match="the lab says no"):
            await sdk.completions.create(model="lab/m", prompt="q", stream=stream)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": ["one", "two"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "q", "suffix": "the end"}, "suffix"),
        ({"prompt": "q", "echo": True}, "echo"),
        ({"prompt": "q", "logprobs": 0}, "logprobs"),
        ({"prompt": "q", "model": ""}, "model"),
    ],
)
async def test_i1_what_chat_cannot_carry_is_refused_by_name(place: Place, fields: dict[str, Any], field: str) -> None:
    async with asking(place.port, "POST", "/v1/completions", {"model": "lab/m", **fields}) as reader:
        assert reader.status == 400
        assert (await reader.json())["error"]["param"] == field


@pytest.mark.parametrize("fields", [{"suffix": None}, {"suffix": ""}, {"echo": False}, {"logprobs": None}])
async def test_i1_what_is_not_wanted_is_no_mistake(place: Place, fields: dict[str, Any]) -> None:
    body = {"model": "lab/m", "prompt": "q", **fields}
    async with place.upstream(speak) as upstream, asking(place.port, "POST", "/v1/completions", body) as reader:
        assert reader.status == 200
        await reader.body()
    assert not fields.keys() & upstream.exchanges[0].json().keys()


# -- Groq's client


async def test_i1_groqs_client_streams_under_its_own_prefix(place: Place, groq_sdk: groq.AsyncGroq) -> None:
    async with place.upstream(speak):
        stream = await groq_sdk.chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "q"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "".join(TEXTS)
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_i1_groqs_client_is_answered_whole_and_lists_models(place: Place, groq_sdk: groq.AsyncGroq) -> None:
    async with place.upstream(speak):
        said = await groq_sdk.chat.completions.create(model="lab/m", messages=[{"role": "user", "content": "q"}])
    assert said.choices[0].message.content == "".join(TEXTS)
    assert [model.id for model in (await groq_sdk.models.list()).data] == ["offline"]
    assert (await groq_sdk.models.retrieve("offline")).owned_by == "offline"
    with pytest.raises(groq.NotFoundError):
        await groq_sdk.models.retrieve("nothing-of-that-name")


async def test_i1_completions_are_under_that_prefix_too(place: Place) -> None:
    body = {"model": "lab/m", "prompt": "q"}
    async with place.upstream(speak), asking(place.port, "POST", "/openai/v1/completions", body) as reader:
        assert (await reader.json())["object"] == "text_completion"
