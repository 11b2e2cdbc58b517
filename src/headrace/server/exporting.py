"""A whole conversation as a file: Markdown to be read, JSON to be worked with, events to be played again.

Markdown holds the branch that ends with the latest stream; JSON and events hold all streams, the oldest first. Of a
stream that is running they hold what there is so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.types import Receive, Scope

from headrace.errors import InvalidRequest
from headrace.folding import Answer, fold
from headrace.interfaces import Stream
from headrace.protocols import PROTOCOLS
from headrace.protocols.objects import source_objects
from headrace.requests import ReaderOptions
from headrace.server.conversation_routes import conversation_object
from headrace.server.generating import headers_of, owner_of
from headrace.server.house import House
from headrace.server.outlet import outlet_of
from headrace.server.stream_routes import query_of, read_following, stream_object
from headrace.wire import json_text

_PAGE = 100
_NOT_AN_EVENT = b"[DONE]"


class _Exported(NamedTuple):
    stream: Stream
    view: ReaderOptions


_Known = Mapping[str, object]


async def export_conversation(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/conversations/{id}/export?format=md|json|ndjson`."""
    conversation_id, owner = scope["path_params"]["conversation_id"], owner_of(scope)
    query = query_of(scope["query_string"])
    name = query.get("format", "md")
    if name not in FORMATS:
        raise InvalidRequest(f"format is {name[:50]!r}; it must be {', '.join(FORMATS)}", parameter="format")
    known = conversation_object(house, await house.conversations.find(owner, conversation_id), owner)
    streams = _all(house, owner, conversation_id)
    content_type, written = FORMATS[name]
    # No reader gets to see more than whoever asked the question.
    headers = headers_of(scope)
    exported = [_Exported(stream, read_following(stream, {}, headers).options) for stream in streams]
    outlet = outlet_of(scope)
    body = written(known, exported)
    outlet.respond(200, [(b"content-type", content_type), (b"x-request-id", outlet.request_id)], body)


def _all(house: House, owner: str, conversation_id: str) -> list[Stream]:
    """All streams of a conversation, the oldest first."""
    found: list[Stream] = []
    before: str | None = None
    while page := house.store.list(owner, conversation_id=conversation_id, before=before, limit=_PAGE):
        found.extend(page)
        before = page[-1].id
    found.reverse()
    return found


def _as_json(known: _Known, exported: Sequence[_Exported]) -> bytes:
    streams: list[dict[str, Any]] = []
    for stream, view in exported:
        answer = fold(stream.said())
        said: dict[str, Any] = {"answer": answer.text, "sources": source_objects(answer.sources)}
        if view.rationale:
            said["rationale"] = answer.reasoning or None
        streams.append({**stream_object(stream), **said})
    return msgspec.json.format(json_text.encode({**known, "data": streams}), indent=2) + b"\n"


def _as_events(known: _Known, exported: Sequence[_Exported]) -> bytes:
    lines: list[bytes] = []
    for stream, view in exported:
        encoder = PROTOCOLS["typed_events"].encoder(view)
        # One by one: records of several events may come joined.
        for event in stream.said():
            lines.extend(record for record in encoder.encode(0, (event,)) if record != _NOT_AN_EVENT)
    return b"".join([line + b"\n" for line in lines])


def _as_markdown(known: _Known, exported: Sequence[_Exported]) -> bytes:
    written = [f"# {known['title']}"] if known["title"] else []
    branch = list(_branch([stream for stream, _ in exported]))
    for stream in reversed(branch):
        parent, answer = stream.request.parent, fold(stream.said())
        if parent is None or parent.relation != "continue":
            question = stream_object(stream)["question"]
            written.append("\n".join(f"> {line}".rstrip() for line in str(question or "").split("\n")))
        written.append(answer.text.strip())
        written.extend(_told(answer))
    if rest := len(exported) - len(branch):
        written.append(f"*{rest} more on other branches: format=json has them.*")
    return ("\n\n".join(part for part in written if part) + "\n").encode("utf-8", "replace")


def _told(answer: Answer) -> Iterator[str]:
    """What has to be known of an answer beside its words: what it rests on, and that it is not whole."""
    if answer.sources:
        yield "\n".join(f"- [{source.number}] {source.title}" for source in answer.sources)
    if answer.ended is None:
        yield "*(still being written)*"
    elif answer.ended.failure is not None:
        yield f"*({answer.ended.ending}: {answer.ended.failure.message})*"


def _branch(oldest_first: Sequence[Stream]) -> Iterator[Stream]:
    """The latest stream and those it comes after, from the latest back."""
    by_id = {stream.id: place for place, stream in enumerate(oldest_first)}
    place: int | None = len(oldest_first) - 1
    while place is not None and place >= 0:
        stream = oldest_first[place]
        yield stream
        parent = stream.request.parent
        if parent is None:
            place -= 1  # of a time when none named a parent: one followed the other
        else:
            # A parent began earlier: an id that was given again leads nowhere.
            before = None if parent.id is None else by_id.get(parent.id)
            place = before if before is not None and before < place else None


_Written = Callable[[_Known, Sequence[_Exported]], bytes]
FORMATS: dict[str, tuple[bytes, _Written]] = {
    "md": (b"text/markdown; charset=utf-8", _as_markdown),
    "json": (b"application/json", _as_json),
    "ndjson": (b"application/x-ndjson", _as_events),
}
"""What a conversation can be exported as: the type of the file, and what writes it."""
