"""Doors that Ollama's clients expect, beside those that every API has: chat, generate, tags, version and the root.

Their bodies may be of any content type, as `curl -d` sends them, unless a page of another site sent them.
"""

from __future__ import annotations

from starlette.types import Receive, Scope

import headrace
from headrace.clock import utc_timestamp
from headrace.protocols import PROTOCOLS
from headrace.protocols.ollama import loaded
from headrace.server.doors import Handler
from headrace.server.generating import answer, caller_of, read_request
from headrace.server.house import House
from headrace.server.outlet import outlet_of
from headrace.server.responses import send_json
from headrace.wire import json_text

API_VERSION = "0.99.0"
"""The version of Ollama's API that is spoken here: its clients compare it with the oldest they can use."""


def _speaks(name: str, *, chat: bool) -> Handler:
    protocol = PROTOCOLS[name]

    async def handle(house: House, scope: Scope, receive: Receive) -> None:
        asked = await read_request(house, protocol, scope, receive, any_content_type=True)
        request = asked.request
        if not request.messages:
            # A wish that the model be loaded. What is known of a model here is that it is served.
            house.runs.models.candidates(request.model)
            line = loaded(request, house.clock.unix_ns(), chat=chat)
            if request.stream:
                identity = (b"x-request-id", outlet_of(scope).request_id)
                kind = (b"content-type", protocol.framing.content_type.encode("ascii"))
                outlet_of(scope).respond(200, [kind, identity], protocol.framing.frame([line]))
            else:
                send_json(scope, line)
            return
        stream = await house.start(request, caller_of(scope), stream_id=asked.stream_id)
        await answer(house, protocol, scope, stream, asked.options, early_headers=asked.early_headers)

    return handle


ollama_chat = _speaks("ollama_chat", chat=True)
"""`POST /api/chat`."""

ollama_generate = _speaks("ollama_generate", chat=False)
"""`POST /api/generate` (row O3)."""


async def tags(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /api/tags`: the models that are configured. Nothing is known here of their files."""
    listed = [
        {
            "name": name,
            "model": name,
            "modified_at": utc_timestamp(0),
            "size": 0,
            "digest": "",
            "details": {
                "parent_model": "",
                "format": "",
                "family": "",
                "families": [],
                "parameter_size": "",
                "quantization_level": "",
            },
        }
        for name in house.model_names()
    ]
    send_json(scope, json_text.encode({"models": listed}))


async def version(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /api/version`."""
    send_json(scope, json_text.encode({"version": API_VERSION, "headrace": headrace.__version__}))


async def root(house: House, scope: Scope, receive: Receive) -> None:
    """`GET` and `HEAD /`: what Ollama's clients look for to see that somebody is there."""
    outlet = outlet_of(scope)
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-request-id", outlet.request_id)]
    outlet.respond(200, headers, b"Ollama is running")
