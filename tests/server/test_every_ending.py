"""Every protocol over real sockets: however a stream ended, no reader takes a half for the whole, wherever it joins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from tests.server.conftest import Place, until
from tests.server.reader import asking, chat

from headrace.events import Ending
from headrace.protocols import PROTOCOLS
from headrace.requests import ReaderOptions
from headrace.server.callers import LOCAL_OWNER
from headrace.testing.upstream import DONE, Exchange, answer, frame, text_chunk

pytestmark = pytest.mark.anyio

every_protocol = pytest.mark.parametrize("name", PROTOCOLS)
TEXTS = ["One", " delta,\n", "日本語 🏝️", " at a time"]


def says_it_is_whole(name: str, body: bytes) -> bool:
    """Whether a reader of that protocol would take what it got for a finished answer; `body` ended as HTTP wants it."""
    if name == "text":
        return b"event: error" not in body
    if name == "plain_text":
        return True
    text = body.decode()
    lines = name.startswith("ollama") or name == "durable_json"
    pieces = text.split("\n") if lines else text.replace("data: ", "").split("\n\n")
    records = [json.loads(piece) for piece in pieces if piece and piece != "[DONE]"]
    if any("error" in record or record.get("type") == "error" for record in records):
        return False
    match name:
        case "openai_chat" | "openai_completions":
            return any(choice["finish_reason"] for record in records for choice in record["choices"])
        case "typed_events" | "chat_token_frames" | "durable_json":
            return any(record["type"] == "done" for record in records)
        case "ollama_chat" | "ollama_generate" | "token_frames":
            return bool(records[-1]["done"])
        case _:
            raise AssertionError(f"say here how {name} tells that an answer is finished")


async def read(place: Place, stream_id: str, name: str, after: int = -1) -> tuple[bytes, bool]:
    """What a reader gets that joins the stream behind that offset, and whether HTTP calls it complete."""
    body = b""
    path = f"/v1/streams/{stream_id}/events?protocol={name}" + (f"&after={after}" if after >= 0 else "")
    async with asking(place.port, "GET", path) as reader:
        assert reader.status == 200
        try:
            while piece := await reader.piece():
                body += piece
        except asyncio.IncompleteReadError:
            return body, False
    return body, True


async def finished_stream(place: Place, handler: Callable[[Exchange], Awaitable[None]], *, cancel: bool = False) -> str:
    """The id of a stream that this upstream made, once it has ended."""
    async with place.upstream(handler), asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
        stream_id = reader.headers["headrace-stream"]
        await reader.piece()
        stream = place.house.store.open(stream_id, LOCAL_OWNER)
        if cancel:
            place.house.cancel(stream)
        await until(lambda: stream.ended is not None)
        return stream_id


async def speak(exchange: Exchange) -> None:
    await answer(exchange, TEXTS, usage=(3, 4))


async def stop_without_a_reason(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    await exchange.chunk(DONE)
    await exchange.end()


async def break_off(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    exchange.close()


async def reset(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    exchange.reset()


async def tell_an_error(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    await exchange.chunk(frame({"error": {"message": "the lab has lost its thread"}}))
    await exchange.end()


async def hold(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    await exchange.left()


FAILURES: dict[str, tuple[Callable[[Exchange], Awaitable[None]], Ending]] = {
    "a bare DONE": (stop_without_a_reason, "incomplete"),
    "a FIN": (break_off, "incomplete"),
    "a RST": (reset, "incomplete"),
    "an error": (tell_an_error, "incomplete"),
    "cancelled": (hold, "cancelled"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_l15_no_protocol_reports_a_normal_end_of_what_was_cut_short(place: Place, failure: str) -> None:
    handler, ending = FAILURES[failure]
    stream_id = await finished_stream(place, handler, cancel=ending == "cancelled")
    ended = place.house.store.open(stream_id, LOCAL_OWNER).ended
    assert ended is not None
    assert ended.ending == ending
    for name, protocol in PROTOCOLS.items():
        body, complete = await read(place, stream_id, name)
        assert not (complete and says_it_is_whole(name, body)), f"{name}: {body!r}"
        assert complete == protocol.framing.tells_endings, name
        assert b"half an answer" in body, f"{name}: what was said stays"


@every_protocol
async def test_a_finished_answer_is_told_as_finished(place: Place, name: str) -> None:
    stream_id = await finished_stream(place, speak)
    body, complete = await read(place, stream_id, name)
    assert complete
    assert says_it_is_whole(name, body)


@every_protocol
@pytest.mark.parametrize("handler", [speak, break_off])
async def test_l6_a_reader_that_joins_at_any_offset_gets_the_rest_byte_for_byte(
    place: Place, name: str, handler: Callable[[Exchange], Awaitable[None]]
) -> None:
    stream_id = await finished_stream(place, handler)
    events = place.house.store.open(stream_id, LOCAL_OWNER).read(0)
    protocol = PROTOCOLS[name]
    encoder = protocol.encoder(ReaderOptions())
    pieces = [protocol.framing.frame(encoder.encode(offset, (event,))) for offset, event in enumerate(events)]
    unbroken, _ = await read(place, stream_id, name)
    assert unbroken == b"".join(pieces)
    for after in range(len(events)):
        rest, complete = await read(place, stream_id, name, after)
        assert rest == b"".join(pieces[after + 1 :]), f"after {after}"
        assert complete == (protocol.framing.tells_endings or handler is speak)
