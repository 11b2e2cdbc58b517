"""Row I1: the official `openai` SDK, streaming or not, against a server in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from tests.server.conftest import DEADLINE_SECONDS, Place, Process, process

from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, text_chunk

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How do I resume a stream?"}]


@pytest.fixture
def client(offline: Process) -> Iterator[openai.OpenAI]:
    """The SDK, as its documentation sets it up for another server."""
    with openai.OpenAI(base_url=f"{offline.url}/v1", api_key="none", max_retries=0, timeout=DEADLINE_SECONDS) as client:
        yield client


def test_i1_a_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="offline", messages=QUESTION)
    assert answer.object == "chat.completion"
    assert answer.model == "offline"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_i1_a_streamed_answer_says_the_same_as_a_whole_one(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="offline", messages=QUESTION)
    chunks = list(client.chat.completions.create(model="offline", messages=QUESTION, stream=True))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == whole.choices[0].message.content
    assert len([text for text in texts if text]) > 1, "it came in pieces"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1


def test_i1_the_helper_of_the_sdk_puts_a_stream_together(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="offline", messages=QUESTION)
    with client.chat.completions.stream(model="offline", messages=QUESTION) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"


def test_i1_the_raw_response_names_the_stream_and_the_request(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="offline", messages=QUESTION, extra_headers={"X-Request-Id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    completion = raw.parse()
    assert completion.id == f"chatcmpl-{raw.headers['headrace-stream']}"
    assert completion._request_id == "mine-1"


def test_i1_the_raw_response_of_a_stream_names_it_too(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="offline", messages=QUESTION, stream=True)
    assert raw.headers["content-type"] == "text/event-stream; charset=utf-8"
    ids = {chunk.id for chunk in raw.parse()}
    assert ids == {f"chatcmpl-{raw.headers['headrace-stream']}"}


def test_i1_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    listed = client.models.list()
    assert [model.id for model in listed] == ["offline"]
    assert client.models.retrieve("offline") == next(iter(listed))
    assert client.models.retrieve("offline/whatever").id == "offline/whatever", "an id may hold a slash"


@pytest.mark.anyio
async def test_i1_the_async_sdk_reads_whole_and_streamed(offline: Process) -> None:
    async with openai.AsyncOpenAI(base_url=f"{offline.url}/v1", api_key="none", max_retries=0) as client:
        whole = await client.chat.completions.create(model="offline", messages=QUESTION)
        stream = await client.chat.completions.create(model="offline", messages=QUESTION, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(texts) == whole.choices[0].message.content != ""
        assert [model.id async for model in client.models.list()] == ["offline"]


@pytest.mark.parametrize("stream", [False, True])
def test_i1_an_unknown_model_is_not_found_and_the_nearest_is_named(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError, match='Did you mean "offline"') as caught:
        client.chat.completions.create(model="ofline", messages=QUESTION, stream=stream)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id is not None
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("ofline")


def test_i1_a_mistake_in_the_request_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="offline", messages=[])
    assert (caught.value.code, caught.value.param) == ("invalid_request", "messages")


def test_i1_an_id_that_is_taken_is_a_conflict_that_the_sdk_does_not_repeat(offline: Process) -> None:
    headers = {"Headrace-Stream": "a-stream-of-the-sdk-0001"}
    with openai.OpenAI(base_url=f"{offline.url}/v1", api_key="none", timeout=DEADLINE_SECONDS) as client:
        client.chat.completions.create(model="offline", messages=QUESTION, extra_headers=headers)
        with pytest.raises(openai.ConflictError) as caught:
            client.chat.completions.create(model="offline", messages=QUESTION, extra_headers=headers)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_i1_a_wrong_key_is_an_authentication_error(tmp_path: Path) -> None:
    digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # SHA-256 of "key"
    settings = f'[server]\nauth = true\n[[keys]]\nowner = "me"\nhash = "{digest}"\n'
    with process(tmp_path, settings) as server:
        for key, status in (("wrong", 401), ("key", 200)):
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
                if status == 200:
                    assert client.chat.completions.create(model="offline", messages=QUESTION).choices
                else:
                    with pytest.raises(openai.AuthenticationError) as caught:
                        client.chat.completions.create(model="offline", messages=QUESTION)
                    assert caught.value.code == "invalid_api_key"


# -- what only an upstream can bring about, with the server in this process


@pytest.fixture
async def sdk(place: Place) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK without retries of its own."""
    async with openai.AsyncOpenAI(
        base_url=f"{place.url}/v1", api_key="none", max_retries=0, timeout=DEADLINE_SECONDS
    ) as client:
        yield client


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, openai.BadRequestError, "upstream_rejected"),
        (401, openai.InternalServerError, "upstream_authentication"),
        (404, openai.NotFoundError, "upstream_not_found"),
        (422, openai.UnprocessableEntityError, "upstream_rejected"),
    ],
)
async def test_l18_an_upstreams_refusal_is_the_sdks_exception_for_it(
    place: Place, sdk: openai.AsyncOpenAI, status: int, error: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":{"message":"the lab says no","code":"no_such_thing"}}', status)

    async with place.upstream(refuse):
        with pytest.raises(error, match="the lab says no") as caught:
            await sdk.chat.completions.create(model="lab/m", messages=QUESTION, stream=stream)
    assert caught.value.code == code
    body: Any = caught.value.body
    assert body["upstream"] == {"name": "lab", "status": status, "code": "no_such_thing"}


@pytest.mark.anyio
async def test_i1_a_rate_limit_carries_when_to_come_back(place: Place, sdk: openai.AsyncOpenAI) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":{"message":"slow down"}}', 429, {"Retry-After": "77"})

    async with place.upstream(refuse) as upstream:
        with pytest.raises(openai.RateLimitError) as caught:
            await sdk.chat.completions.create(model="lab/m", messages=QUESTION, stream=True)
        assert len(upstream.exchanges) == 1, "a reader does not wait 77 s for a first token"
    assert caught.value.response.headers["retry-after"] == "77"


@pytest.mark.anyio
async def test_i1_a_failure_in_the_middle_is_raised_and_what_was_said_stays(
    place: Place, sdk: openai.AsyncOpenAI
) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half an answer"))
        exchange.close()

    said = []

    async def read() -> None:
        async for chunk in await sdk.chat.completions.create(model="lab/m", messages=QUESTION, stream=True):
            said.append(chunk.choices[0].delta.content or "")

    async with place.upstream(break_off):
        with pytest.raises(openai.APIError) as caught:
            await read()
    assert "".join(said) == "half an answer"
    assert caught.value.code == "upstream_truncated"


Asked = Literal["true", "false", "nothing"]


@pytest.mark.anyio
@pytest.mark.parametrize("asked", ["true", "false", "nothing"])
@pytest.mark.parametrize("told", ["in a chunk of its own", "with the finish reason", "not at all"])
async def test_l22_usage_comes_in_a_chunk_of_its_own_if_and_only_if_it_was_asked_for(
    place: Place, sdk: openai.AsyncOpenAI, asked: Asked, told: str
) -> None:
    async def tell(exchange: Exchange) -> None:
        assert exchange.json()["stream_options"] == {"include_usage": True}, "we always want to know"
        if told == "with the finish reason":
            await exchange.head()
            await exchange.chunk(text_chunk("Hello"))
            finish = finish_chunk().replace(
                b'"choices"', b'"usage":{"prompt_tokens":3,"completion_tokens":2},"choices"'
            )
            await exchange.chunk(finish)
            await exchange.chunk(DONE)
            await exchange.end()
        else:
            await answer(exchange, ["Hello"], usage=(3, 2) if told == "in a chunk of its own" else None)

    options: Any = openai.omit if asked == "nothing" else {"include_usage": asked == "true"}
    chunks: list[ChatCompletionChunk] = []
    async with place.upstream(tell):
        async for chunk in await sdk.chat.completions.create(
            model="lab/m", messages=QUESTION, stream=True, stream_options=options
        ):
            chunks.append(chunk)
    assert [chunk for chunk in chunks if not chunk.choices] == (chunks[-1:] if asked == "true" else [])
    assert [chunk for chunk in chunks if chunk.usage] == (chunks[-1:] if asked == "true" else [])
    # The other chunks say `"usage": null` where it is to come, and nothing where it is not.
    assert all(("usage" in chunk.model_fields_set) == (asked == "true") for chunk in chunks)
    if asked == "true":
        usage = chunks[-1].usage
        assert usage is not None
        if told != "not at all":
            assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 2, 5)
        assert usage.total_tokens > 0


@pytest.mark.anyio
async def test_l22_the_option_is_ignored_where_the_answer_is_whole(place: Place, sdk: openai.AsyncOpenAI) -> None:
    async def tell(exchange: Exchange) -> None:
        await answer(exchange, ["Hello"], usage=(3, 2))

    async with place.upstream(tell):
        completion: Any = await sdk.post(
            "/chat/completions",
            cast_to=object,
            body={"model": "lab/m", "messages": QUESTION, "stream_options": {"include_usage": False}},
        )
    assert completion["usage"]["total_tokens"] == 5
