"""Doors that start a generation: a request is read in its protocol, a stream started, and answered live or whole.

What is served at which path is in `headrace.server.routes`; how a stream is sent, in `headrace.server.answering`.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import msgspec
from starlette.types import Receive, Scope

from headrace.errors import InvalidRequest, UnknownRoute
from headrace.identifiers import is_stream_id
from headrace.interfaces import ReaderProtocol, Stream
from headrace.protocols import PROTOCOLS
from headrace.protocols.reading import flag
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.server.answering import answer_live, answer_whole, wishes_to_return
from headrace.server.bodies import read_body, require_json, require_no_page
from headrace.server.callers import Caller
from headrace.server.doors import Handler
from headrace.server.house import House
from headrace.server.idempotency import idempotency_of
from headrace.server.outlet import outlet_of
from headrace.server.warnings import warning

GRACE_SECONDS = 10.0
"""How long a run waits for a reader that showed a wish to return (design, section 3)."""

EVERYTHING = ReaderOptions()
"""What readers may see where no assistant says otherwise: all there is."""


class Asked(NamedTuple):
    """What a reader asked for."""

    request: GenerationRequest
    options: ReaderOptions
    stream_id: str | None
    """The id it chose for its stream."""
    early_headers: bool


def owner_of(scope: Scope) -> str:
    """Whose request this is, as `headrace.server.guard` found out."""
    return outlet_of(scope).caller.owner


def caller_of(scope: Scope) -> Caller:
    """The same, with the key it came with: what starting a stream takes."""
    return outlet_of(scope).caller


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers, taken out of the scope: a stream may last, and needs them no more."""
    return cast("dict[str, str]", scope.pop("headrace.headers"))


async def read_request(
    house: House,
    protocol: ReaderProtocol,
    scope: Scope,
    receive: Receive,
    *,
    stream: bool | None = None,
    any_content_type: bool = False,
    view: ReaderOptions = EVERYTHING,
) -> Asked:
    """What is asked for.

    Args:
        house: for its limits.
        protocol: what the request is written in.
        scope: of the request.
        receive: its body.
        stream: what the route decides; `None`: the request does.
        any_content_type: whether a body need not be declared as JSON, as long as no page of another site sent it.
        view: the most that the stream's readers may see, this one and every later one.

    Raises:
        RequestError: it cannot be read, or is not allowed.
    """
    headers = headers_of(scope)
    if any_content_type:
        require_no_page(headers)
    else:
        require_json(headers.get("content-type"))
    body = await read_body(scope, receive, house.settings.server.body_limit_bytes)
    request, options = protocol.read(body, headers)
    stream_id = headers.get("headrace-stream")
    check_stream_id(stream_id, "Headrace-Stream")
    live = request.stream if stream is None else stream
    key = headers.get("idempotency-key")
    idempotency = None if key is None else idempotency_of(key, scope["path"], body)
    on_disconnect = request.on_disconnect
    # Who waits for a whole answer can come back to it with its key alone.
    if on_disconnect is None and (idempotency is not None or (live and wishes_to_return(headers))):
        on_disconnect = GRACE_SECONDS
    if view is not EVERYTHING:
        options = options.within(view)
    request = msgspec.structs.replace(
        request, stream=live, on_disconnect=on_disconnect, view=options, idempotency=idempotency
    )
    early = flag(headers, "headrace-early-headers", False)
    return Asked(request, options, stream_id, early is True)


def check_stream_id(stream_id: str | None, name: str) -> None:
    """Returns where a reader chose no id for its stream, or one that is fit to be one; `name`: where it stood.

    Raises:
        InvalidRequest: it is not.
    """
    if stream_id is not None and not is_stream_id(stream_id):
        raise InvalidRequest(
            f"{name} must be 22 to 128 characters of A-Z a-z 0-9 _ . ~ -, made of 128 random bits", parameter=name
        )


async def answer(
    house: House, protocol: ReaderProtocol, scope: Scope, stream: Stream, options: ReaderOptions, *, early_headers: bool
) -> None:
    """Sends a stream to the reader who asked for it, live or whole as it wants, with a warning where there is one."""
    if (told := warning(house, stream.request)) is not None:
        outlet = outlet_of(scope)
        outlet.headers = (*outlet.headers, (b"headrace-warning", told))
    if stream.request.stream:
        await answer_live(house, stream, protocol, options, scope, early_headers=early_headers)
    else:
        await answer_whole(house, stream, protocol, options, scope)


def generates(name: str, *, stream: bool | None = None) -> Handler:
    """A handler that starts what is asked for in the protocol of that name, as part of a conversation if one is named.

    Args:
        name: of the protocol.
        stream: what the route decides; `None`: the request does.
    """
    protocol = PROTOCOLS[name]

    async def handle(house: House, scope: Scope, receive: Receive) -> None:
        asked = await read_request(house, protocol, scope, receive, stream=stream)
        started = await house.start(
            asked.request,
            caller_of(scope),
            stream_id=asked.stream_id,
        )
        await answer(house, protocol, scope, started, asked.options, early_headers=asked.early_headers)

    return handle


async def chat_assistant(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /chat/{assistant}` (row D1)."""
    name = scope["path"].rpartition("/")[2]
    settings = house.settings.assistants.get(name)
    if settings is None:
        known = ", ".join(f"/chat/{each}" for each in house.settings.assistants)
        raise UnknownRoute(f"no assistant {name!r}. There are: {known}")
    protocol = PROTOCOLS["typed_events"]
    view = ReaderOptions(rationale=settings.rationale, metadata=settings.metadata, chunk_size=settings.chunk_size)
    asked = await read_request(house, protocol, scope, receive, view=view)
    stream = await house.start_assistant(asked.request, name, caller_of(scope), stream_id=asked.stream_id)
    await answer(house, protocol, scope, stream, asked.options, early_headers=asked.early_headers)
