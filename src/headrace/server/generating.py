"""Doors that start a generation: a request is read in its protocol, a stream started, and answered live or whole.

What is served at which path is in `headrace.server.routes`; how a stream is sent, in `headrace.server.answering`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
from starlette.types import Receive, Scope

from headrace.errors import InvalidRequest, UnknownRoute
from headrace.identifiers import is_stream_id
from headrace.interfaces import ReaderProtocol, Stream
from headrace.protocols import PROTOCOLS
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.server.answering import answer_live, answer_whole, wishes_to_return
from headrace.server.bodies import read_body, require_json
from headrace.server.connection import outlet_of
from headrace.server.house import House

GRACE_SECONDS = 10.0
"""How long a run waits for a reader that showed a wish to return (design, section 3)."""

Starter = Callable[[GenerationRequest, ReaderOptions, str | None], Awaitable[tuple[Stream, ReaderOptions]]]


def owner_of(scope: Scope) -> str:
    """Whose request this is, as `headrace.server.guard` found out."""
    return outlet_of(scope).owner


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers, taken out of the scope: a stream may last, and needs them no more."""
    return cast("dict[str, str]", scope.pop("headrace.headers"))


async def _generate(house: House, protocol: ReaderProtocol, start: Starter, scope: Scope, receive: Receive) -> None:
    headers = headers_of(scope)
    require_json(headers.get("content-type"))
    body = await read_body(scope, receive, house.settings.server.body_limit_bytes)
    request, options = protocol.read(body, headers)
    stream_id = headers.get("headrace-stream")
    if stream_id is not None and not is_stream_id(stream_id):
        raise InvalidRequest(
            "Headrace-Stream must be 22 to 128 characters of A-Z a-z 0-9 _ . ~ -, made of 128 random bits",
            parameter="Headrace-Stream",
        )
    if request.on_disconnect is None and request.stream and wishes_to_return(headers):
        request = msgspec.structs.replace(request, on_disconnect=GRACE_SECONDS)
    early = headers.get("headrace-early-headers", "").lower() in ("true", "1")
    stream, options = await start(request, options, stream_id)
    del body, headers  # a stream may last: what it does not need is let go
    if request.stream:
        await answer_live(house, stream, protocol, options, scope, early_headers=early)
    else:
        await answer_whole(house, stream, protocol, options, scope)


async def chat_completions(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /v1/chat/completions` (row I1)."""

    async def start(
        request: GenerationRequest, options: ReaderOptions, stream_id: str | None
    ) -> tuple[Stream, ReaderOptions]:
        return await house.start(request, owner_of(scope), stream_id=stream_id), options

    await _generate(house, PROTOCOLS["openai_chat"], start, scope, receive)


async def chat_assistant(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /chat/{assistant}` (row D1)."""
    name = scope["path_params"]["assistant"]
    assistant = house.settings.assistants.get(name)
    if assistant is None:
        known = ", ".join(f"/chat/{each}" for each in house.settings.assistants)
        raise UnknownRoute(f"no assistant {name!r}. There are: {known}")
    settings = assistant

    async def start(
        request: GenerationRequest, options: ReaderOptions, stream_id: str | None
    ) -> tuple[Stream, ReaderOptions]:
        stream = await house.start_assistant(request, settings, owner_of(scope), stream_id=stream_id)
        return stream, msgspec.structs.replace(
            options,
            rationale=options.rationale and settings.rationale,
            metadata=settings.metadata,
            chunk_size=settings.chunk_size,
        )

    await _generate(house, PROTOCOLS["typed_events"], start, scope, receive)
