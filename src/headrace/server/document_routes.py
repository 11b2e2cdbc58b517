"""Doors to the documents that an owner has added: add one, list them, show one, delete one.

A file is a request of its own, as it is: one that cannot be read refuses nothing but itself, and whoever sends many
knows of each how far it has come. A document of somebody else's answers exactly as one that does not exist.
"""

from __future__ import annotations

from starlette.types import Receive, Scope

from headrace.clock import utc_timestamp
from headrace.errors import InvalidRequest
from headrace.knowledge.index import Document
from headrace.server.bodies import read_body, require_text
from headrace.server.generating import headers_of, owner_of
from headrace.server.house import House
from headrace.server.responses import send_json
from headrace.server.stream_routes import page_limit, query_of
from headrace.wire import json_text


async def add_document(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /v1/documents?name=`: indexes the file in the body; answered when it can be answered from."""
    owner = owner_of(scope)
    require_text(headers_of(scope).get("content-type"))
    name = query_of(scope["query_string"]).get("name")
    if name is None:
        raise InvalidRequest("the document has no name: send ?name=guide.md", parameter="name")
    body = await read_body(scope, receive, house.settings.documents.limit_bytes, "documents.limit_bytes")
    document, state = await house.shelves.add(owner, name, body)
    told = {**document_object(document), "state": state}
    send_json(scope, json_text.encode(told), status=200 if state == "unchanged" else 201)


async def list_documents(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/documents?limit=&before=`: the owner's own, the latest first, a page of them."""
    query = query_of(scope["query_string"])
    limit = page_limit(query.get("limit"))
    found = await house.shelves.page(owner_of(scope), before=query.get("before") or None, limit=limit + 1)
    listed = [document_object(each) for each in found[:limit]]
    body = {
        "object": "list",
        "data": listed,
        "has_more": len(found) > limit,
        "first_id": listed[0]["id"] if listed else None,
        "last_id": listed[-1]["id"] if listed else None,
        # A page refuses what is larger before it is read.
        "limit_bytes": house.settings.documents.limit_bytes,
    }
    send_json(scope, json_text.encode(body))


async def show_document(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/documents/{id}`: what is known of a document."""
    document = await house.shelves.show(owner_of(scope), scope["path_params"]["document_id"])
    send_json(scope, json_text.encode(document_object(document)))


async def delete_document(house: House, scope: Scope, receive: Receive) -> None:
    """`DELETE /v1/documents/{id}`: no answer quotes it any more."""
    document_id = scope["path_params"]["document_id"]
    await house.shelves.delete(owner_of(scope), document_id)
    send_json(scope, json_text.encode({"id": document_id, "object": "document", "deleted": True}))


def document_object(document: Document) -> dict[str, object]:
    """A document as our own routes write it."""
    return {
        "id": document.id,
        "object": "document",
        "name": document.name,
        "size_bytes": document.size_bytes,
        "passages": document.passages,
        "created_at": utc_timestamp(document.added_ns),
    }
