"""The doors: each route as a small ASGI application, and the table of them.

A route reads its request, starts or finds a stream, and leaves the rest to `headrace.server.answering`.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import headrace
from headrace.clock import utc_timestamp
from headrace.errors import HeadraceError, InvalidRequest
from headrace.events import Ended, Started, UsageKnown
from headrace.interfaces import ReaderProtocol, Stream
from headrace.protocols import PROTOCOLS
from headrace.protocols.objects import error_object, timing_object, usage_object
from headrace.protocols.reading import read_options, reader_options
from headrace.server.answering import answer_live, note_refusal, send_error
from headrace.server.connection import outlet_of
from headrace.server.generating import Handler, chat_assistant, generates, headers_of, owner_of
from headrace.server.house import House
from headrace.server.ollama_routes import ollama_chat, ollama_generate, root, tags, version
from headrace.server.responses import send_json
from headrace.wire import json_text


class Door:
    """One route as an ASGI application: `handler`, with every error answered in `protocol`'s shape."""

    def __init__(self, house: House, handler: Handler, protocol: ReaderProtocol = PROTOCOLS["openai_chat"]) -> None:
        self._house = house
        self._handler = handler
        self.protocol = protocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; the answer goes through its outlet rather than `send`."""
        try:
            await self._handler(self._house, scope, receive)
        except HeadraceError as error:
            note_refusal(self._house, scope, error)
            send_error(scope, self.protocol, error)


def routes(house: House) -> list[Route]:
    """Every route of the server."""

    def door(path: str, methods: list[str], handler: Handler, protocol: str = "openai_chat") -> Route:
        return Route(path, Door(house, handler, PROTOCOLS[protocol]), methods=methods)

    return [
        door("/v1/chat/completions", ["POST"], generates("openai_chat")),
        door("/v1/completions", ["POST"], generates("openai_completions"), "openai_completions"),
        door("/v1/models", ["GET"], models),
        door("/v1/models/{name:path}", ["GET"], model),
        # The prefix that Groq's clients put before them.
        door("/openai/v1/chat/completions", ["POST"], generates("openai_chat")),
        door("/openai/v1/completions", ["POST"], generates("openai_completions"), "openai_completions"),
        door("/openai/v1/models", ["GET"], models),
        door("/openai/v1/models/{name:path}", ["GET"], model),
        door("/chat", ["POST"], generates("text"), "text"),
        door("/chat/{assistant}", ["POST"], chat_assistant, "typed_events"),
        door("/api/query", ["POST"], generates("plain_text", stream=False), "plain_text"),
        door("/api/query/stream", ["POST"], generates("plain_text", stream=True), "plain_text"),
        door("/api/generate/stream", ["POST"], generates("token_frames"), "token_frames"),
        door("/api/chat/stream", ["POST"], generates("chat_token_frames"), "chat_token_frames"),
        door("/api/generate", ["POST"], ollama_generate, "ollama_generate"),
        door("/api/chat", ["POST"], ollama_chat, "ollama_chat"),
        door("/api/tags", ["GET"], tags, "ollama_chat"),
        door("/api/version", ["GET"], version, "ollama_chat"),
        door("/", ["GET", "HEAD"], root),
        door("/v1/streams/{stream_id}", ["GET"], show_stream),
        door("/v1/streams/{stream_id}/events", ["GET"], stream_events, "typed_events"),
        door("/v1/streams/{stream_id}/cancel", ["POST"], cancel_stream),
        door("/health", ["GET"], health),
        door("/health/ready", ["GET"], ready),
    ]


async def models(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/models`: one object that both OpenAI's and Anthropic's clients accept."""
    listed = [_model_object(house, name) for name in house.model_names()]
    body = {
        "object": "list",
        "data": listed,
        "has_more": False,
        "first_id": listed[0]["id"] if listed else None,
        "last_id": listed[-1]["id"] if listed else None,
    }
    send_json(scope, json_text.encode(body))


async def model(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/models/{id}`; the id may hold slashes."""
    name = scope["path_params"]["name"]
    house.runs.models.candidates(name)
    send_json(scope, json_text.encode(_model_object(house, name)))


def _model_object(house: House, name: str) -> dict[str, object]:
    candidates = house.runs.models.candidates(name)
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "display_name": name,
        "created": 0,
        "created_at": utc_timestamp(0),
        "owned_by": candidates[0].upstream.name,
    }


async def show_stream(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/streams/{id}`: what is known of a stream."""
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    send_json(scope, json_text.encode(stream_object(stream)))


async def stream_events(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/streams/{id}/events?after=&protocol=`: one more reader, from any offset, in any protocol.

    What the first reader asked for in its body is asked for anew: `include_usage` here, everything else in headers.
    """
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    headers = headers_of(scope)
    query = _query(scope)
    name = query.get("protocol", "typed_events")
    if name not in PROTOCOLS:
        raise InvalidRequest(f"no protocol {name!r}. There are: {', '.join(PROTOCOLS)}", parameter="protocol")
    after = _offset(headers.get("last-event-id") or query.get("after"))
    if stream.ended is not None and after >= stream.length - 1 and "last-event-id" in headers:
        # An EventSource that has read it to the end comes back until it is told not to.
        outlet = outlet_of(scope)
        outlet.respond(
            204, [(b"headrace-stream", stream.id.encode("ascii")), (b"x-request-id", outlet.request_id)], b""
        )
        return
    asked = read_options(None, headers)
    if "last-event-id" in headers and "headrace-event-ids" not in headers:
        asked = msgspec.structs.replace(asked, event_ids=True)  # it came from frames with ids, and goes on with them
    options = reader_options(asked, include_usage=query.get("include_usage", "").lower() in ("true", "1"))
    offset = min(after + 1, stream.length)
    await answer_live(house, stream, PROTOCOLS[name], options, scope, offset=offset, early_headers=True)


async def cancel_stream(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /v1/streams/{id}/cancel`: stops it for everybody. Twice is the same as once."""
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    house.cancel(stream)
    cancelled = stream.ended is None or stream.ended.ending == "cancelled"
    send_json(scope, json_text.encode({"id": stream.id, "state": _state(stream), "cancelled": cancelled}))


async def health(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /health`: that this is headrace, and how it and its upstreams are. No upstream is called for it."""
    upstreams = [
        {"name": upstream.name, "state": upstream.state, "detail": upstream.detail}
        for upstream in house.runs.models.upstreams.values()
    ]
    body = {
        "status": "draining" if house.runs.draining else "ok",
        "service": "headrace",
        "version": headrace.__version__,
        "streams": len(house.runs),
        "readers": len(house.deliveries),
        "upstreams": upstreams,
    }
    send_json(scope, json_text.encode(body))


async def ready(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /health/ready`: 200 while new requests are taken, 503 while the server drains."""
    body = json_text.encode({"ready": not house.runs.draining})
    send_json(scope, body, status=503 if house.runs.draining else 200)


def stream_object(stream: Stream) -> dict[str, object]:
    """A stream as our own routes write it."""
    events = stream.read(0, 1)
    started = events[0] if events and isinstance(events[0], Started) else None
    known: dict[str, object] = {
        "id": stream.id,
        "object": "stream",
        "model": stream.request.model,
        "state": _state(stream),
        "created_at": None if started is None else utc_timestamp(started.created_ns),
        "conversation_id": stream.request.conversation_id,
        "language": stream.request.language,
        "events": stream.length,
        "readers": stream.readers,
        "ending": None,
    }
    ended: Ended | None = stream.ended
    if ended is not None:
        known["ending"] = ended.ending
        if ended.failure is not None:
            known["error"] = error_object(ended.failure)
        if ended.timing is not None:
            known["timing"] = timing_object(ended.timing)
        for event in stream.read(max(0, stream.length - 2), 2):
            if isinstance(event, UsageKnown):
                known["usage"] = usage_object(event.usage)
    return known


def _state(stream: Stream) -> str:
    return "running" if stream.ended is None else "ended"


def _query(scope: Scope) -> dict[str, str]:
    try:
        return dict(parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True))
    except UnicodeDecodeError:
        raise InvalidRequest("the query of the URL is not ASCII") from None


def _offset(text: str | None) -> int:
    if text is None or text == "":
        return -1
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequest(f"{text[:50]!r} is no offset: send the number of the last event read", parameter="after")
    return int(text)
