"""What readers of a stream may see: as much as whoever asked for it, and no later reader more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Place, serving
from tests.server.reader import asking, chat, query
from tests.server.talking import talking

from headrace.protocols import PROTOCOLS
from headrace.settings import AssistantSettings, Settings, StoreSettings
from headrace.testing.upstream import DONE, Exchange, delta_chunk, finish_chunk, text_chunk, usage_chunk

pytestmark = pytest.mark.anyio

SECRET = "what nobody may see"


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    discreet = AssistantSettings(rationale=False, metadata=False, chunk_size=4)
    async with serving(Settings(assistants={"basic": AssistantSettings(), "discreet": discreet})) as shared:
        yield shared


async def reason(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(delta_chunk({"reasoning_content": SECRET}))
    await exchange.chunk(text_chunk("Hello, you!"))
    await exchange.chunk(finish_chunk())
    await exchange.chunk(usage_chunk(3, 9))
    await exchange.chunk(DONE)
    await exchange.end()


async def asked(place: Place, path: str, body: object, **headers: str) -> tuple[str, bytes]:
    """A stream that was read to its end, and the bytes of its first reader."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with place.upstream(reason), asking(place.port, "POST", path, body, named) as reader:
        return reader.headers["headrace-stream"], await reader.body()


async def read(place: Place, stream_id: str, query: str = "", **headers: str) -> bytes:
    """What a later reader of the stream gets."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}/events?{query}", headers=named) as reader:
        assert reader.status == 200
        return (await reader.body()).removeprefix(b"retry: 250\n\n")


async def test_d7_an_assistants_view_is_every_readers(place: Place) -> None:
    stream_id, first = await asked(place, "/chat/discreet", query())
    assert b"metadata" not in first
    assert b'{"type":"token","content":"Hell"}' in first
    assert await read(place, stream_id) == first


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("widening", [("", {}), ("rationale=true", {}), ("", {"Headrace_Rationale": "true"})])
@pytest.mark.parametrize("hidden_by", ["the assistant", "the request's header", "the request's body"])
async def test_d3_no_later_reader_sees_the_rationale_that_was_not_to_be_shown(
    place: Place, hidden_by: str, widening: tuple[str, dict[str, str]], protocol: str
) -> None:
    match hidden_by:
        case "the assistant":
            stream_id, _ = await asked(place, "/chat/discreet", query(), Headrace_Rationale="true")
        case "the request's header":
            stream_id, _ = await asked(place, "/v1/chat/completions", chat(), Headrace_Rationale="false")
        case _:
            stream_id, _ = await asked(place, "/chat/basic", query(headrace={"rationale": False}))
    words, headers = widening
    said = await read(place, stream_id, f"protocol={protocol}&{words}", **headers)
    assert b"Hell" in said
    assert SECRET.encode() not in said


async def test_d3_a_socket_sees_no_more_of_a_rationale_than_was_to_be_shown(place: Place) -> None:
    async with talking(place.port) as client:
        for shown in (True, False):
            async with place.upstream(reason):
                await client.say(chat(headrace={"rationale": shown}))
                messages = await client.answer()
            assert (SECRET in str(messages)) is shown
            for asked_for in (True, False):
                stream_id = messages[0]["headrace"]["stream_id"]
                await client.say(type="resume", stream_id=stream_id, headrace={"rationale": asked_for})
                assert (SECRET in str(await client.answer())) is (shown and asked_for)


@pytest.mark.parametrize("protocol", ["typed_events", "openai_chat", "ollama_chat"])
async def test_a_later_reader_may_do_without_the_rationale_and_harms_nobody(place: Place, protocol: str) -> None:
    stream_id, _ = await asked(place, "/chat/basic", query())
    assert SECRET.encode() not in await read(place, stream_id, f"protocol={protocol}&rationale=false")
    assert SECRET.encode() in await read(place, stream_id, f"protocol={protocol}")


async def test_l22_a_later_reader_gets_usage_as_it_was_asked_for_unless_it_says_otherwise(place: Place) -> None:
    with_usage = chat(stream_options={"include_usage": True})
    for body, included in ((with_usage, True), (chat(), False)):
        stream_id, first = await asked(place, "/v1/chat/completions", body)
        assert (b'"usage"' in first) is included
        assert await read(place, stream_id, "protocol=openai_chat") == first
        for said, expected in (("true", True), ("false", False)):
            told = await read(place, stream_id, f"protocol=openai_chat&include_usage={said}")
            assert (b'"usage"' in told) is expected


async def test_an_eventsource_asks_for_ids_in_the_address_since_it_has_no_headers(place: Place) -> None:
    stream_id, _ = await asked(place, "/chat/basic", query())
    assert b"id: 0\n" in await read(place, stream_id, "event_ids=true")
    assert b"id: " not in await read(place, stream_id)


@pytest.mark.parametrize("wrong", ["include_usage=maybe", "event_ids=2", "rationale=no"])
async def test_an_option_that_is_neither_true_nor_false_is_named(place: Place, wrong: str) -> None:
    stream_id, _ = await asked(place, "/chat/basic", query())
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}/events?{wrong}") as reader:
        error: dict[str, Any] = json.loads(await reader.body())["error"]
    assert reader.status == 400
    assert error["code"] == "invalid_request"
    assert wrong.split("=")[0].replace("_", "") in error["param"].replace("_", "").replace("-", "")


async def test_d3_the_rationale_stays_hidden_after_a_restart(tmp_path: Path) -> None:
    settings = Settings(
        assistants={"basic": AssistantSettings(), "discreet": AssistantSettings(rationale=False, metadata=False)},
        store=StoreSettings(path=str(tmp_path / "headrace.db")),
    )
    async with serving(settings) as server:
        stream_id, first = await asked(server, "/chat/discreet", query())
    async with serving(settings) as server:
        assert await read(server, stream_id, "rationale=true") == first
