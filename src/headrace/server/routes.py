"""The table of routes: what is served where, in which protocol, and what readers are told of it.

A route reads its request, starts or finds a stream, and leaves the rest to `headrace.server.answering`.
"""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import Receive, Scope

import headrace
from headrace.clock import utc_timestamp
from headrace.protocols import PROTOCOLS
from headrace.runs import Upstream
from headrace.server import descriptions as told
from headrace.server.conversation_routes import (
    delete_conversation,
    list_conversations,
    rename_conversation,
    show_conversation,
)
from headrace.server.describing import Description
from headrace.server.document_routes import add_document, delete_document, list_documents, show_document
from headrace.server.doors import Door, Handler
from headrace.server.durable_routes import durable_routes
from headrace.server.exporting import export_conversation
from headrace.server.generating import chat_assistant, generates
from headrace.server.house import House
from headrace.server.login import login, logout
from headrace.server.ollama_routes import ollama_chat, ollama_generate, root, tags, version
from headrace.server.openapi import describes
from headrace.server.outlet import outlet_of
from headrace.server.pages import page, page_file
from headrace.server.responses import send_json
from headrace.server.stream_routes import (
    cancel_stream,
    change_stream,
    delete_stream,
    list_streams,
    show_stream,
    stream_events,
)
from headrace.wire import json_text

ASSISTANT_PATH = "/chat/{assistant}"
CONVERSATION_PATH = "/v1/conversations/{conversation_id:path}"
"""Readers choose these ids: they may hold slashes."""


def routes(house: House) -> list[Route]:
    """Every route of the server."""

    def door(
        path: str, methods: list[str], handler: Handler, about: Description, protocol: str = "openai_chat"
    ) -> Route:
        return Route(path, Door(house, handler, about, PROTOCOLS[protocol]), methods=methods)

    chat, completions = generates("openai_chat"), generates("openai_completions")
    generate_frames, chat_frames = generates("token_frames"), generates("chat_token_frames")
    query, query_stream = generates("plain_text", stream=False), generates("plain_text", stream=True)
    served = [
        door("/v1/chat/completions", ["POST"], chat, told.openai.CHAT_COMPLETIONS),
        door("/v1/completions", ["POST"], completions, told.openai.COMPLETIONS, "openai_completions"),
        door("/v1/models", ["GET"], models, told.openai.MODELS),
        door("/v1/models/{name:path}", ["GET"], model, told.openai.MODEL),
        # The prefix that Groq's clients put before them.
        door("/openai/v1/chat/completions", ["POST"], chat, told.openai.CHAT_COMPLETIONS),
        door("/openai/v1/completions", ["POST"], completions, told.openai.COMPLETIONS, "openai_completions"),
        door("/openai/v1/models", ["GET"], models, told.openai.MODELS),
        door("/openai/v1/models/{name:path}", ["GET"], model, told.openai.MODEL),
        door("/chat", ["GET"], page("chat.html", trusted_types="dompurify"), told.pages.CHAT_PAGE),
        door("/chat", ["POST"], generates("text"), told.questions.TEXT_EVENTS, "text"),
        door(ASSISTANT_PATH, ["POST"], chat_assistant, told.questions.ASSISTANT, "typed_events"),
        door("/api/query", ["POST"], query, told.questions.QUERY, "plain_text"),
        door("/api/query/stream", ["POST"], query_stream, told.questions.QUERY_STREAM, "plain_text"),
        door("/api/generate/stream", ["POST"], generate_frames, told.questions.TOKENS, "token_frames"),
        door("/api/chat/stream", ["POST"], chat_frames, told.questions.CHAT_TOKENS, "chat_token_frames"),
        door("/api/generate", ["POST"], ollama_generate, told.ollama.OLLAMA_GENERATE, "ollama_generate"),
        door("/api/chat", ["POST"], ollama_chat, told.ollama.OLLAMA_CHAT, "ollama_chat"),
        door("/api/tags", ["GET"], tags, told.ollama.TAGS, "ollama_chat"),
        door("/api/version", ["GET"], version, told.ollama.VERSION, "ollama_chat"),
        door("/", ["GET", "HEAD"], root, told.ollama.ROOT),
        door("/v1/streams", ["GET"], list_streams, told.streams.STREAMS),
        door("/v1/streams/{stream_id}", ["GET"], show_stream, told.streams.STREAM),
        door("/v1/streams/{stream_id}", ["DELETE"], delete_stream, told.streams.STREAM_DELETE),
        door("/v1/streams/{stream_id}/events", ["GET"], stream_events, told.streams.STREAM_EVENTS, "typed_events"),
        door("/v1/streams/{stream_id}", ["PATCH"], change_stream, told.streams.STREAM_CHANGE),
        door("/v1/streams/{stream_id}/cancel", ["POST"], cancel_stream, told.streams.STREAM_CANCEL),
        door("/v1/documents", ["POST"], add_document, told.documents.DOCUMENT_ADD),
        door("/v1/documents", ["GET"], list_documents, told.documents.DOCUMENTS),
        door("/v1/documents/{document_id}", ["GET"], show_document, told.documents.DOCUMENT),
        door("/v1/documents/{document_id}", ["DELETE"], delete_document, told.documents.DOCUMENT_DELETE),
        door("/v1/conversations", ["GET"], list_conversations, told.conversations.CONVERSATIONS),
        door(f"{CONVERSATION_PATH}/export", ["GET"], export_conversation, told.conversations.CONVERSATION_EXPORT),
        door(CONVERSATION_PATH, ["GET"], show_conversation, told.conversations.CONVERSATION),
        door(CONVERSATION_PATH, ["PATCH"], rename_conversation, told.conversations.CONVERSATION_RENAME),
        door(CONVERSATION_PATH, ["DELETE"], delete_conversation, told.conversations.CONVERSATION_DELETE),
        door("/login", ["POST"], login, told.service.LOGIN),
        door("/logout", ["POST"], logout, told.service.LOGOUT),
        door("/health", ["GET"], health, told.service.HEALTH),
        door("/health/ready", ["GET"], ready, told.service.READY),
        door("/docs", ["GET"], page("docs.html"), told.pages.DOCS),
        door("/pages/{digest}/{file:path}", ["GET"], page_file, told.pages.PAGE_FILE),
        *durable_routes(house),
    ]
    served.append(door("/openapi.json", ["GET"], describes(served), told.service.OPENAPI))
    return served


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
    """`GET /health`: that this is headrace, and how it and its upstreams are. No upstream is called for it.

    Where keys are asked for, whoever shows none learns only that it is there.
    """
    status = "draining" if house.runs.draining else "ok"
    if house.keyring is not None and outlet_of(scope).caller.key is None:
        send_json(scope, json_text.encode({"status": status, "service": "headrace"}))
        return
    now = house.clock.monotonic_ns()
    upstreams = [_health_of(upstream, now) for upstream in house.runs.models.upstreams.values()]
    body = {
        "status": status,
        "service": "headrace",
        "version": headrace.__version__,
        "streams": len(house.runs),
        "readers": len(house.deliveries),
        "cancelled_after_grace": house.runs.cancelled_after_grace,
        "upstreams": upstreams,
    }
    send_json(scope, json_text.encode(body))


def _health_of(upstream: Upstream, now_ns: int) -> dict[str, object]:
    circuit = upstream.circuit
    return {
        "name": upstream.name,
        "state": upstream.state,
        "detail": upstream.detail,
        "circuit": circuit.state(now_ns),
        "failures_in_a_row": circuit.failures,
        "left_alone_seconds": round(circuit.seconds_left(now_ns), 1),
        "retries_left": int(upstream.retry_tokens.left),
    }


async def ready(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /health/ready`: 200 while new requests are taken, 503 while the server drains."""
    body = json_text.encode({"ready": not house.runs.draining})
    send_json(scope, body, status=503 if house.runs.draining else 200)
