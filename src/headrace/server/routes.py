"""The doors: each route as a small ASGI application, and the table of them.

A route reads its request, starts or finds a stream, and leaves the rest to `headrace.server.answering`.
"""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import headrace
from headrace.clock import utc_timestamp
from headrace.errors import HeadraceError
from headrace.interfaces import ReaderProtocol
from headrace.protocols import PROTOCOLS
from headrace.server.answering import note_refusal, send_error
from headrace.server.generating import Handler, chat_assistant, generates
from headrace.server.house import House
from headrace.server.ollama_routes import ollama_chat, ollama_generate, root, tags, version
from headrace.server.responses import send_json
from headrace.server.stream_routes import cancel_stream, show_stream, stream_events
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
