"""Doors to conversations: their list and what is found in it, each with its streams, its title, its deletion.

A conversation is the list of the streams that carry its id. One of somebody else's answers exactly as one that does not
exist (L13).
"""

from __future__ import annotations

from starlette.types import Receive, Scope

from headrace.clock import utc_timestamp
from headrace.errors import InvalidRequest
from headrace.protocols.reading import Fields
from headrace.server.bodies import read_body, require_json
from headrace.server.generating import headers_of, owner_of
from headrace.server.house import House
from headrace.server.responses import send_json
from headrace.server.stream_routes import page_limit, page_object, query_of, stream_object
from headrace.streams.conversation_file import LONGEST_SEARCH_CHARACTERS, Found
from headrace.wire import json_text

LONGEST_TITLE_CHARACTERS = 200


async def list_conversations(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/conversations?q=&limit=&before=`: the owner's own, the latest first, a page of them."""
    query, owner = query_of(scope["query_string"]), owner_of(scope)
    limit = page_limit(query.get("limit"))
    words = query.get("q", "").strip() or None
    if words is not None and len(words) > LONGEST_SEARCH_CHARACTERS:
        raise InvalidRequest(f"q is longer than {LONGEST_SEARCH_CHARACTERS} characters", parameter="q")
    found = await house.conversations.list(owner, words=words, before=query.get("before") or None, limit=limit + 1)
    listed = [conversation_object(house, each, owner, searched=words is not None) for each in found[:limit]]
    send_json(scope, json_text.encode({"object": "list", **page_object(listed, has_more=len(found) > limit)}))


async def show_conversation(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/conversations/{id}?limit=&before=`: what is known of it, and a page of its streams, newest first."""
    conversation_id, owner = scope["path_params"]["conversation_id"], owner_of(scope)
    query = query_of(scope["query_string"])
    limit = page_limit(query.get("limit"))
    found = await house.conversations.find(owner, conversation_id)
    before = query.get("before") or None
    streams = house.store.list(owner, conversation_id=conversation_id, before=before, limit=limit + 1)
    page = page_object([stream_object(stream) for stream in streams[:limit]], has_more=len(streams) > limit)
    send_json(scope, json_text.encode({**conversation_object(house, found, owner), **page}))


async def rename_conversation(house: House, scope: Scope, receive: Receive) -> None:
    """`PATCH /v1/conversations/{id}` with `{"title": "…"}`."""
    conversation_id, owner = scope["path_params"]["conversation_id"], owner_of(scope)
    await house.conversations.find(owner, conversation_id)
    require_json(headers_of(scope).get("content-type"))
    fields = Fields(await read_body(scope, receive, house.settings.server.body_limit_bytes))
    title = " ".join((fields.take("title", str) or "").split())
    if not 0 < len(title) <= LONGEST_TITLE_CHARACTERS:
        raise InvalidRequest(
            f'"title" must be a text of 1 to {LONGEST_TITLE_CHARACTERS} characters; send {{"title": "…"}}',
            parameter="title",
        )
    found = await house.conversations.rename(owner, conversation_id, title)
    send_json(scope, json_text.encode(conversation_object(house, found, owner)))


async def delete_conversation(house: House, scope: Scope, receive: Receive) -> None:
    """`DELETE /v1/conversations/{id}`: forgets its streams. Those that are running are cancelled first."""
    conversation_id = scope["path_params"]["conversation_id"]
    deleted = await house.delete_conversation(conversation_id, owner_of(scope))
    body = {"id": conversation_id, "object": "conversation", "deleted": True, "streams": deleted}
    send_json(scope, json_text.encode(body))


def conversation_object(house: House, known: Found, owner: str, *, searched: bool = False) -> dict[str, object]:
    """A conversation as our own routes write it."""
    written: dict[str, object] = {
        "id": known.id,
        "object": "conversation",
        "title": known.title,
        "created_at": utc_timestamp(known.created_ns),
        "updated_at": utc_timestamp(known.updated_ns),
        "streams": known.streams,
        "running": bool(house.store.list(owner, conversation_id=known.id, state="running", limit=1)),
    }
    if searched:
        pieces = [{"text": text, "match": place % 2 == 1} for place, text in enumerate(known.snippet) if text]
        written["found"] = {"stream_id": known.stream_id, "snippet": pieces}
    return written
