"""Idempotency-Key: a request sent again joins the stream of the first, and is paid for once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from tests.server.conftest import Place, serving, until
from tests.server.reader import Reader, asking, chat, connected, encoded, query

from headrace.settings import KeySettings, ServerSettings, Settings, StoreSettings
from headrace.testing.upstream import DONE, Exchange, answer, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

ROUTES: dict[str, object] = {
    "/v1/chat/completions": chat(),
    "/openai/v1/chat/completions": chat(),
    "/v1/completions": {"model": "lab/m", "prompt": "q", "stream": True},
    "/chat": {"model": "lab/m", "prompt": "q"},
    "/chat/basic": query(),
    "/api/query": {"model": "lab/m", "question": "q"},
    "/api/query/stream": {"model": "lab/m", "question": "q"},
    "/api/generate/stream": {"model": "lab/m", "prompt": "q"},
    "/api/chat/stream": {"model": "lab/m", "message": "q"},
    "/api/generate": {"model": "lab/m", "prompt": "q"},
    "/api/chat": {"model": "lab/m", "messages": [{"role": "user", "content": "q"}]},
}


def keyed(key: str, **more: str) -> dict[str, str]:
    return {"Idempotency-Key": key, **more}


async def say(exchange: Exchange) -> None:
    await answer(exchange, ["One", ", two"])


class Pausing:
    """An upstream that says one text, and the rest when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await self.go_on.wait()
        for piece in (text_chunk(", two"), finish_chunk(), DONE):
            await exchange.chunk(piece)
        await exchange.end()


async def told(reader: Reader) -> tuple[int, str, bytes]:
    """Status, stream and body of an answer."""
    return reader.status, reader.headers["headrace-stream"], await reader.body()


@pytest.mark.parametrize("path", ROUTES)
async def test_a_request_sent_again_gets_the_same_answer_and_asks_nobody(place: Place, path: str) -> None:
    headers = keyed(f"again {path}".replace(" ", "-"))
    async with place.upstream(say) as upstream:
        answers = []
        for _ in range(3):
            async with asking(place.port, "POST", path, ROUTES[path], headers) as reader:
                answers.append(await told(reader))
        assert len(upstream.exchanges) == 1
    assert answers[0][0] == 200
    assert b"One" in answers[0][2]
    assert answers[1:] == answers[:1] * 2


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_equal_requests_that_come_at_once_start_one_run(place: Place, stream: bool) -> None:
    pausing = Pausing()
    request = encoded("POST", "/chat/basic", query(stream=stream), keyed(f"at-once-{stream}"))

    async def ask() -> tuple[int, str, bytes]:
        async with connected(place.port, request) as reader:
            await reader.head()
            return await told(reader)

    async with place.upstream(pausing) as upstream:
        asked = [asyncio.create_task(ask()) for _ in range(20)]
        await until(lambda: len(upstream.exchanges) == 1)
        pausing.go_on.set()
        answers = await asyncio.gather(*asked)
        assert len(upstream.exchanges) == 1
    assert answers[0][0] == 200
    assert len(set(answers)) == 1


async def test_a_retry_after_a_dropped_connection_joins_the_run_where_it_is(place: Place) -> None:
    pausing = Pausing()
    request = encoded("POST", "/v1/chat/completions", chat(stream=False), keyed("dropped"))
    async with place.upstream(pausing) as upstream:
        async with connected(place.port, request):
            await until(lambda: bool(upstream.exchanges))
        async with connected(place.port, request) as reader:
            pausing.go_on.set()
            await reader.head()
            assert (await reader.json())["choices"][0]["message"]["content"] == "One, two"
        assert len(upstream.exchanges) == 1


async def test_the_openai_sdk_sends_a_key_in_its_headers(place: Place) -> None:
    async with place.upstream(say) as upstream:
        async with openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key="none", max_retries=0) as client:
            ids = set()
            for _ in range(2):
                answered = await client.chat.completions.create(
                    model="lab/m",
                    messages=[{"role": "user", "content": "q"}],
                    extra_headers={"Idempotency-Key": "of-the-sdk"},
                )
                ids.add(answered.id)
        assert (len(ids), len(upstream.exchanges)) == (1, 1)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/basic", query("another question")),
        ("/chat/basic", query(stream=False)),
        ("/chat", query()),
        ("/v1/chat/completions", chat()),
    ],
)
async def test_a_key_that_came_with_something_else_is_refused(place: Place, path: str, body: object) -> None:
    key = hashlib.sha256(repr((path, body)).encode()).hexdigest()
    async with place.upstream(say) as upstream:
        async with asking(place.port, "POST", "/chat/basic", query(), keyed(key)) as first:
            await first.body()
        async with asking(place.port, "POST", path, body, keyed(key)) as second:
            assert second.status == 422
            error = (await second.json())["error"]
        assert len(upstream.exchanges) == 1
    assert (error["code"], error["type"]) == ("idempotency_key_reused", "invalid_request_error")
    assert error["param"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "caf\u00e9", "tab\tbed"])
async def test_what_is_no_key_is_refused(place: Place, key: str) -> None:
    async with asking(place.port, "POST", "/chat/basic", query(), keyed(key)) as reader:
        assert reader.status == 400
        error = (await reader.json())["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "Idempotency-Key")


async def test_a_key_may_be_as_long_as_255_characters(place: Place) -> None:
    async with (
        place.upstream(say),
        asking(place.port, "POST", "/chat/basic", query(), keyed("!~" + "k" * 253)) as reader,
    ):
        assert reader.status == 200
        await reader.body()


# -- what failed


async def refuse(exchange: Exchange) -> None:
    await exchange.whole(b'{"error":{"message":"no such field"}}', 400)


async def break_off(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("Half"))
    exchange.reset()


async def overload(exchange: Exchange) -> None:
    await exchange.whole(b'{"error":{"message":"too much to do"}}', 503)


async def test_what_failed_before_anything_was_said_is_tried_again_where_that_can_help(place: Place) -> None:
    async with (
        place.upstream(overload),
        asking(place.port, "POST", "/v1/chat/completions", chat(), keyed("try-again")) as reader,
    ):
        assert reader.status == 503
        failed = reader.headers["headrace-stream"]
    async with place.upstream(say) as upstream:
        answers = []
        for _ in range(2):
            async with asking(place.port, "POST", "/v1/chat/completions", chat(), keyed("try-again")) as reader:
                answers.append(await told(reader))
        assert len(upstream.exchanges) == 1
    assert answers[0] == answers[1]
    assert (answers[0][0], answers[0][1] == failed) == (200, False)


@pytest.mark.parametrize(("failing", "status"), [(refuse, 400), (break_off, 200)])
async def test_what_trying_again_cannot_help_or_would_say_twice_stays_as_it_is(
    place: Place, failing: object, status: int
) -> None:
    key = f"stays-{status}"
    assert callable(failing)
    answers = []
    async with place.upstream(failing) as upstream:
        for _ in range(2):
            async with asking(place.port, "POST", "/v1/chat/completions", chat(), keyed(key)) as reader:
                answers.append(await told(reader))
        assert len(upstream.exchanges) == 1
    assert answers[0] == answers[1]
    assert answers[0][0] == status


async def test_a_cancelled_stream_is_not_started_again_by_a_retry(place: Place) -> None:
    pausing = Pausing()
    async with place.upstream(pausing) as upstream:
        async with asking(place.port, "POST", "/chat/basic", query(), keyed("cancelled")) as reader:
            stream_id = reader.headers["headrace-stream"]
            async with asking(place.port, "POST", f"/v1/streams/{stream_id}/cancel"):
                first = await reader.body()
        async with asking(place.port, "POST", "/chat/basic", query(), keyed("cancelled")) as again:
            assert await told(again) == (200, stream_id, first)
        assert len(upstream.exchanges) == 1


async def test_a_request_that_could_not_be_started_takes_no_key(place: Place) -> None:
    body = chat(model="nobody/m")
    async with asking(place.port, "POST", "/v1/chat/completions", body, keyed("unstarted")) as reader:
        assert reader.status == 404
    async with (
        place.upstream(say),
        asking(place.port, "POST", "/v1/chat/completions", chat(), keyed("unstarted")) as reader,
    ):
        assert reader.status == 200
        await reader.body()


# -- owners


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[Place]:
    """A server that asks for keys: ann's and bob's."""
    keys = tuple(KeySettings(owner, hashlib.sha256(f"of {owner}".encode()).hexdigest()) for owner in ("ann", "bob"))
    async with serving(Settings(server=ServerSettings(auth=True), keys=keys)) as place:
        yield place


async def test_l13_a_key_leads_nobody_to_somebody_elses_stream(shared: Place) -> None:
    async with shared.upstream(say) as upstream:
        ids = []
        for owner in ("ann", "bob", "ann"):
            headers = keyed("the-same", Authorization=f"Bearer of {owner}")
            async with asking(shared.port, "POST", "/chat/basic", query(), headers) as reader:
                ids.append((await told(reader))[1])
        assert len(upstream.exchanges) == 2
        headers = keyed("the-same", Authorization="Bearer of bob")
        async with asking(shared.port, "POST", "/chat/basic", query("x"), headers) as reader:
            assert reader.status == 422, "as for anybody's own key"
    assert ids[0] == ids[2] != ids[1]


async def test_a_retry_takes_no_place_of_the_keys_own(place: Place) -> None:
    digest = hashlib.sha256(b"of carol").hexdigest()
    settings = Settings(server=ServerSettings(auth=True), keys=(KeySettings("carol", digest, max_streams=1),))
    headers = keyed("one-place", Authorization="Bearer of carol")
    async with serving(settings) as guarded, guarded.upstream(Pausing()) as upstream:
        async with asking(guarded.port, "POST", "/chat/basic", query(), headers) as first:
            another = {"Authorization": headers["Authorization"]}
            async with asking(guarded.port, "POST", "/chat/basic", query(), another) as refused:
                assert refused.status == 429
            async with asking(guarded.port, "POST", "/chat/basic", query(), headers) as joined:
                assert (joined.status, joined.headers["headrace-stream"]) == (200, first.headers["headrace-stream"])
        assert len(upstream.exchanges) == 1


# -- restarts


async def test_a_retry_after_a_restart_joins_what_was_kept(tmp_path: Path) -> None:
    settings = Settings(store=StoreSettings(path=str(tmp_path / "headrace.db")))
    answers = []
    asked = 0
    for _ in range(2):
        async with serving(settings) as server, server.upstream(say) as upstream:
            async with asking(server.port, "POST", "/v1/chat/completions", chat(), keyed("kept")) as reader:
                answers.append(await told(reader))
            async with asking(server.port, "POST", "/v1/chat/completions", chat("other"), keyed("kept")) as reader:
                assert reader.status == 422
            asked += len(upstream.exchanges)
    assert asked == 1
    assert answers[0] == answers[1]
