"""What a key may use: streams and readers at once, requests a minute. Over it the answer is 429, and says till when."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio.to_thread
import openai
import pytest
from tests.server.conftest import Place, serving, until
from tests.server.reader import Reader, asking, chat, connected, encoded

from headrace.settings import KeySettings, ServerSettings, Settings
from headrace.testing.upstream import Exchange, text_chunk

pytestmark = pytest.mark.anyio

PATHS = {
    "/v1/chat/completions": chat(),
    "/v1/completions": {"model": "lab/m", "prompt": "q"},
    "/chat": {"prompt": "q", "model": "lab/m"},
    "/chat/basic": {"query": "q", "model": "lab/m"},
    "/api/query": {"question": "q", "model": "lab/m"},
    "/api/query/stream": {"question": "q", "model": "lab/m"},
    "/api/generate/stream": {"model": "lab/m", "prompt": "q"},
    "/api/chat/stream": {"model": "lab/m", "message": "q"},
    "/api/generate": {"model": "lab/m", "prompt": "q"},
    "/api/chat": {"model": "lab/m", "messages": [{"role": "user", "content": "q"}]},
}


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A server with a key for each kind of limit, and one without any."""

    def key(name: str, **limits: int) -> KeySettings:
        return KeySettings("ann", hashlib.sha256(name.encode()).hexdigest(), **limits)

    keys = (
        key("streams", max_streams=2),
        key("readers", max_readers=2),
        key("requests", requests_per_minute=3),
        key("free"),
    )
    async with serving(Settings(server=ServerSettings(auth=True), keys=keys)) as guarded:
        yield guarded


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def say_one(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


async def start(place: Place, key: str, stack: AsyncExitStack) -> Reader:
    asked = asking(place.port, "POST", "/v1/chat/completions", chat(), bearer(key))
    reader = await stack.enter_async_context(asked)
    assert reader.status == 200
    return reader


@pytest.mark.parametrize("path", PATHS)
async def test_one_stream_more_than_a_key_may_have_is_refused_in_every_protocol(place: Place, path: str) -> None:
    async with place.upstream(say_one) as upstream, AsyncExitStack() as stack:
        readers = [await start(place, "streams", stack) for _ in range(2)]
        async with asking(place.port, "POST", path, PATHS[path], bearer("streams")) as refused:
            assert refused.status == 429
            assert refused.headers["retry-after"] == "1"
            assert (refused.headers["x-ratelimit-limit"], refused.headers["x-ratelimit-remaining"]) == ("2", "0")
            assert abs(int(refused.headers["x-ratelimit-reset"]) - time.time()) < 5
            assert b"max_streams" in await refused.body()
        async with connected(place.port, encoded("POST", path, PATHS[path], bearer("free"))):
            await until(lambda: upstream.active == 3)
        readers[0].leave()
        await until(lambda: upstream.active == 1)
        await start(place, "streams", stack)


async def test_one_reader_more_than_a_key_may_have_is_refused(place: Place) -> None:
    async with place.upstream(say_one), AsyncExitStack() as stack:
        first = await start(place, "readers", stack)
        path = f"/v1/streams/{first.headers['headrace-stream']}/events"
        async with asking(place.port, "GET", path, headers=bearer("readers")) as second:
            assert second.status == 200
            for method, refused_path, body in (("GET", path, None), ("POST", "/v1/chat/completions", chat())):
                asked = asking(place.port, method, refused_path, body, bearer("readers"))
                async with asked as refused:
                    assert refused.status == 429
                    error = (await refused.json())["error"]
                    assert (error["code"], error["type"]) == ("rate_limited", "rate_limit_error")
                    assert "max_readers" in error["message"]
            async with asking(place.port, "GET", path.removesuffix("/events"), headers=bearer("readers")) as shown:
                assert (await shown.json())["readers"] == 2, (
                    "what is refused attaches nobody, and looking is no reading"
                )
        await until(lambda: len(place.house.deliveries) == 1)
        async with asking(place.port, "GET", path, headers=bearer("readers")) as again:
            assert again.status == 200


async def test_requests_a_minute_are_counted_down_in_headers_and_then_refused(place: Place) -> None:
    left = []
    for _ in range(3):
        async with asking(place.port, "GET", "/v1/models", headers=bearer("requests")) as reader:
            assert reader.status == 200
            left.append(reader.headers["x-ratelimit-remaining"])
    assert left == ["2", "1", "0"]
    for path in ("/v1/models", "/nowhere", "/v1/streams/none"):
        async with asking(place.port, "GET", path, headers=bearer("requests")) as refused:
            assert refused.status == 429
            assert 50 <= int(refused.headers["retry-after"]) <= 60
            assert int(refused.headers["retry-after-ms"]) == int(refused.headers["retry-after"]) * 1000
            assert refused.headers["x-ratelimit-limit"] == "3"
            assert refused.headers["x-ratelimit-remaining"] == "0"
            assert 50 < int(refused.headers["x-ratelimit-reset"]) - time.time() <= 61
            assert (await refused.json())["error"]["code"] == "rate_limited"
    for key in ("free", "streams"):
        async with asking(place.port, "GET", "/v1/models", headers=bearer(key)) as reader:
            assert reader.status == 200
            assert "x-ratelimit-limit" not in reader.headers


async def test_streamed_answers_and_errors_carry_what_is_left(place: Place) -> None:
    async with place.upstream(say_one), AsyncExitStack() as stack:
        assert (await start(place, "requests", stack)).headers["x-ratelimit-remaining"] == "2"
    async with asking(place.port, "GET", "/nowhere", headers=bearer("requests")) as missing:
        assert (missing.status, missing.headers["x-ratelimit-remaining"]) == (404, "1")


async def test_probes_do_not_count(place: Place) -> None:
    for _ in range(5):
        async with asking(place.port, "GET", "/health") as reader:
            assert reader.status == 200


async def test_the_sdk_knows_a_limit_for_what_it_is(place: Place) -> None:
    def ask() -> openai.RateLimitError:
        with openai.OpenAI(base_url=f"{place.url}/v1", api_key="requests", max_retries=0) as client:
            for _ in range(3):
                client.models.list()
            with pytest.raises(openai.RateLimitError) as refused:
                client.models.list()
            return refused.value

    error = await anyio.to_thread.run_sync(ask)
    assert error.code == "rate_limited"
    assert error.response.headers["x-ratelimit-limit"] == "3"
