"""Doors to streams that exist: their list, each as it is known, its events to any reader, its cancel, its deletion.

A stream of somebody else's answers exactly as one that does not exist (L13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from headrace.clock import utc_timestamp
from headrace.errors import InvalidRequest
from headrace.events import Ended, Started, UsageKnown
from headrace.interfaces import Stream, StreamState
from headrace.protocols import PROTOCOLS
from headrace.protocols.objects import error_object, timing_object, usage_object
from headrace.protocols.reading import flag, read_options, read_policy, reader_options
from headrace.requests import ReaderOptions
from headrace.server.answering import answer_live
from headrace.server.bodies import read_body, require_json
from headrace.server.generating import headers_of, owner_of
from headrace.server.house import House
from headrace.server.outlet import outlet_of
from headrace.server.responses import send_json
from headrace.wire import json_text

MOST_LISTED = 100
LISTED = 20


async def list_streams(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/streams?limit=&before=&conversation_id=&state=`: the owner's own, newest first, a page of them."""
    query = query_of(scope["query_string"])
    limit = page_limit(query.get("limit"))
    found = house.store.list(
        owner_of(scope),
        conversation_id=query.get("conversation_id"),
        state=_wanted_state(query.get("state")),
        before=query.get("before") or None,
        limit=limit + 1,
    )
    listed = [stream_object(stream) for stream in found[:limit]]
    send_json(scope, json_text.encode({"object": "list", **page_object(listed, has_more=len(found) > limit)}))


async def show_stream(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/streams/{id}`: what is known of a stream."""
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    send_json(scope, json_text.encode(stream_object(stream)))


async def stream_events(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/streams/{id}/events?after=&protocol=`: one more reader, from any offset, in any protocol.

    No reader sees more than who asked for the stream. Usage in OpenAI's shapes comes as it was asked for then, unless
    `include_usage` says otherwise. What else a reader may choose, it chooses anew, in headers, or here in `rationale`
    and `event_ids`, since an EventSource sends no headers of its own.
    """
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    headers = headers_of(scope)
    query = query_of(scope["query_string"])
    asked = read_following(stream, query, headers)
    if stream.ended is not None and asked.after >= stream.length - 1 and "last-event-id" in headers:
        # An EventSource that has read it to the end comes back until it is told not to.
        outlet = outlet_of(scope)
        outlet.respond(
            204, [(b"headrace-stream", stream.id.encode("ascii")), (b"x-request-id", outlet.request_id)], b""
        )
        return
    options, offset = asked.options, min(asked.after + 1, stream.length)
    protocol = PROTOCOLS[asked.protocol]
    # A reader without ids could only come back to the beginning: it is not asked to.
    comes_back = options.event_ids
    await answer_live(house, stream, protocol, options, scope, offset=offset, early_headers=True, comes_back=comes_back)


class Following(NamedTuple):
    """How a reader wants to follow a stream."""

    protocol: str
    after: int
    """The offset of the last event that it has; -1: none."""
    options: ReaderOptions


def read_following(stream: Stream, query: Mapping[str, str], headers: Mapping[str, str]) -> Following:
    """What a reader of this stream asks for.

    Raises:
        InvalidRequest: something of it is not what it may be.
    """
    name = query.get("protocol", "typed_events")
    if name not in PROTOCOLS:
        raise InvalidRequest(f"no protocol {name!r}. There are: {', '.join(PROTOCOLS)}", parameter="protocol")
    after = _offset(headers.get("last-event-id") or query.get("after"))
    view = stream.request.view
    asked = read_options(None, {**_headers_of(query), **headers})
    if "last-event-id" in headers and "headrace-event-ids" not in headers:
        asked = msgspec.structs.replace(asked, event_ids=True)  # it came from frames with ids, and goes on with them
    include_usage = flag(query, "include_usage", view.include_usage)
    return Following(name, after, reader_options(asked, include_usage=bool(include_usage)).within(view))


async def cancel_stream(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /v1/streams/{id}/cancel`: stops it for everybody. Twice is the same as once."""
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    house.cancel(stream)
    cancelled = stream.ended is None or stream.ended.ending == "cancelled"
    send_json(scope, json_text.encode({"id": stream.id, "state": _state(stream), "cancelled": cancelled}))


async def change_stream(house: House, scope: Scope, receive: Receive) -> None:
    """`PATCH /v1/streams/{id}`: decides anew what becomes of it when its last reader leaves."""
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    require_json(headers_of(scope).get("content-type"))
    policy = read_policy(await read_body(scope, receive, house.settings.server.body_limit_bytes))
    house.runs.set_policy(stream, policy)
    send_json(scope, json_text.encode({"id": stream.id, "state": _state(stream), "on_disconnect": policy}))


async def delete_stream(house: House, scope: Scope, receive: Receive) -> None:
    """`DELETE /v1/streams/{id}`: forgets it. One that is running is cancelled first."""
    stream = house.store.open(scope["path_params"]["stream_id"], owner_of(scope))
    await house.runs.delete(stream)
    send_json(scope, json_text.encode({"id": stream.id, "object": "stream", "deleted": True}))


def page_object(listed: Sequence[Mapping[str, object]], *, has_more: bool) -> dict[str, object]:
    """A page of a list, as every list of ours is written."""
    return {
        "data": listed,
        "has_more": has_more,
        "first_id": listed[0]["id"] if listed else None,
        "last_id": listed[-1]["id"] if listed else None,
    }


def stream_object(stream: Stream) -> dict[str, object]:
    """A stream as our own routes write it."""
    events = stream.beginning or stream.read(0, 1)
    started = events[0] if events and isinstance(events[0], Started) else None
    parent = stream.request.parent
    known: dict[str, object] = {
        "id": stream.id,
        "object": "stream",
        "model": stream.request.model,
        "state": _state(stream),
        "created_at": None if started is None else utc_timestamp(started.created_ns),
        "conversation_id": stream.request.conversation_id,
        "parent": None if parent is None else parent.id,
        "relation": None if parent is None else parent.relation,
        "language": stream.request.language,
        "question": _question(stream),
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


def _question(stream: Stream) -> str | None:
    """What was asked last: with it, a page that has only the id can show the answer where it belongs."""
    messages = stream.request.messages
    return messages[-1].text() if messages and messages[-1].role == "user" else None


def _state(stream: Stream) -> str:
    return "running" if stream.ended is None else "ended"


def _headers_of(query: Mapping[str, str]) -> dict[str, str]:
    """The options in a query as the headers they stand for."""
    names = [name for name in ("event_ids", "pace", "rationale") if name in query]
    return {f"headrace-{name.replace('_', '-')}": query[name] for name in names}


def query_of(query_string: bytes) -> dict[str, str]:
    """The fields of a URL's query; of a repeated one the last.

    Raises:
        InvalidRequest: it is not ASCII.
    """
    try:
        return dict(parse_qsl(query_string.decode("ascii"), keep_blank_values=True))
    except UnicodeDecodeError:
        raise InvalidRequest("the query of the URL is not ASCII") from None


def _wanted_state(text: str | None) -> StreamState | None:
    match text:
        case None | "running" | "ended":
            return text
        case _:
            raise InvalidRequest(f"state is {text[:50]!r}; it must be running or ended", parameter="state")


def page_limit(text: str | None) -> int:
    """How many entries one page of a list shall hold.

    Raises:
        InvalidRequest: it is no number, or too high a one.
    """
    if text is None:
        return LISTED
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= MOST_LISTED:
        raise InvalidRequest(f"limit is {text[:50]!r}; it must be a number from 1 to {MOST_LISTED}", parameter="limit")
    return int(text)


def _offset(text: str | None) -> int:
    if text is None or text in ("", "-1"):
        return -1
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequest(f"{text[:50]!r} is no offset: send the number of the last event read", parameter="after")
    return int(text)
