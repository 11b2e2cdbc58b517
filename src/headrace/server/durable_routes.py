"""The doors of the Durable Streams protocol: `/v1/stream/{path}`, for anyone to write and read streams with.

Under `generations/` every generation can be read in the same way, and nothing written. Any content type is taken. A
page of another origin is refused as everywhere (`headrace.server.guard`), though a preflight is always answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from headrace.errors import Forbidden, HeadraceError, InvalidRequest, StreamConflict, UnknownRoute
from headrace.interfaces import Stream
from headrace.protocols import PROTOCOLS
from headrace.protocols.objects import error_body
from headrace.protocols.reading import read_options, reader_options
from headrace.server.answering import note_refusal
from headrace.server.bodies import read_body
from headrace.server.describing import Description
from headrace.server.descriptions import durable as told
from headrace.server.doors import Door, Handler
from headrace.server.generating import GRACE_SECONDS, headers_of, owner_of
from headrace.server.generation_log import GenerationLog
from headrace.server.house import House
from headrace.server.log_reading import Fields, Log, answer_events, answer_long_poll, answer_once
from headrace.server.outlet import Outlet, outlet_of
from headrace.server.responses import error_headers
from headrace.streams.byte_log import Appending, ByteLog, Origin
from headrace.streams.byte_logs import Creating
from headrace.wire.durable import (
    Kind,
    Producer,
    closes,
    kind_of,
    media_type_of,
    offset_text,
    read_content_type,
    read_fork,
    read_lifetime,
    read_producer,
    read_query,
    split_messages,
)

PREFIX = "/v1/stream/"
RESERVED = "generations"
MOST_PATH = 1024

SAFE: Fields = [
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Somebody's bytes under our own origin: should a browser show them, they may run nothing and reach nothing.
    (b"content-security-policy", b"sandbox; default-src 'none'"),
]
METHODS = b"GET, HEAD, PUT, POST, DELETE, OPTIONS"
ASKED_HEADERS = (
    b"authorization, content-type, if-none-match, x-api-key, x-request-id, stream-closed, stream-ttl,"
    b" stream-expires-at, stream-seq, producer-id, producer-epoch, producer-seq, stream-forked-from,"
    b" stream-fork-offset, stream-fork-sub-offset"
)
_UNFIT = re.compile(r"[\x00-\x1f\x7f]|(\A|/)\.\.?(/|\Z)|//|\A/|\A\Z")


def durable_routes(house: House) -> list[Route]:
    """The routes of the protocol."""

    def door(method: str, handler: Handler, about: Description) -> Route:
        return Route(PREFIX + "{path:path}", DurableDoor(house, handler, about), methods=[method])

    return [
        door("PUT", create, told.CREATE),
        door("POST", append, told.APPEND),
        door("GET", read, told.READ),
        door("DELETE", delete, told.DELETE),
        door("OPTIONS", preflight, told.PREFLIGHT),
    ]


class DurableDoor(Door):
    """A door whose every answer, errors too, carries the headers that hold browsers back."""

    def __init__(self, house: House, handler: Handler, description: Description) -> None:
        super().__init__(house, handler, description, PROTOCOLS["durable_json"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; the answer goes through its outlet rather than `send`."""
        outlet = outlet_of(scope)
        fields: Fields = [*SAFE, (b"x-request-id", outlet.request_id)]
        scope["headrace.fields"] = fields
        try:
            await self._handler(self._house, scope, receive)
        except HeadraceError as error:
            note_refusal(self._house, scope, error)
            _send_error(outlet, error, fields)


async def create(house: House, scope: Scope, receive: Receive) -> None:
    """`PUT /v1/stream/{path}`: a new stream, or the assurance that it is there as it is asked for."""
    path, headers, more = _asked(scope)
    _refuse_reserved(path)
    content_type, lifetime, fork = read_content_type(headers), read_lifetime(headers), read_fork(headers)
    body = await read_body(scope, receive, house.settings.server.body_limit_bytes)
    owner = owner_of(scope)
    origin = None if fork is None else Origin(_source(fork.source), fork.position, fork.sub_offset)
    if content_type is None and origin is not None and body:
        kind = house.byte_logs.open(owner, origin.source).kind
    else:
        kind = kind_of(content_type or "")
    log, new = await house.byte_logs.create(
        owner,
        path,
        Creating(content_type, lifetime, closes(headers), origin),
        _pieces(kind, body),
    )
    fields: Fields = [(b"content-type", log.content_type.encode("latin-1")), *_state(log), *more]
    if new:
        fields.append((b"location", _location(scope, headers)))
    outlet_of(scope).respond(201 if new else 200, fields, b"")


async def append(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /v1/stream/{path}`: more content, the end, or both in one step."""
    path, headers, more = _asked(scope)
    _refuse_reserved(path)
    owner = owner_of(scope)
    log = house.byte_logs.open(owner, path)
    content_type, producer, closing = read_content_type(headers), read_producer(headers), closes(headers)
    body = await read_body(scope, receive, house.settings.server.body_limit_bytes)
    if not body and not closing:
        raise InvalidRequest("the body is empty; send content, or the header Stream-Closed: true to close the stream")
    pieces: list[bytes] = []
    if body and not log.closed:  # to a closed stream it does not matter what is sent
        if content_type is None:
            raise InvalidRequest("send a Content-Type; it must be the stream's own", parameter="Content-Type")
        if media_type_of(content_type) != media_type_of(log.content_type):
            raise StreamConflict(f"the stream has the content type {log.content_type}, and takes no other")
        pieces = _pieces(log.kind, body)
        if not pieces:
            raise InvalidRequest("the array is empty; send at least one message")
    asked = Appending(pieces or [body] if body else (), closing, producer, headers.get("stream-seq"))
    verdict = await house.byte_logs.append(log, asked)
    outlet = outlet_of(scope)
    facts = [*_state(log), *more]
    if producer is not None:
        facts += _producer_state(log, producer)
    match verdict:
        case "append":
            outlet.respond(200 if producer is not None and body else 204, facts, b"")
        case "duplicate":
            outlet.respond(204, facts, b"")
        case "closed":
            _send_error(outlet, StreamConflict("the stream is closed; nothing can follow"), facts)
        case "fenced":
            _send_error(outlet, Forbidden("a newer epoch of this producer is at work; stop this one"), facts)
        case "epoch_begins_late":
            _send_error(outlet, InvalidRequest("a new epoch begins with Producer-Seq: 0"), facts)
        case "gap":
            assert producer is not None
            facts += [
                (b"producer-expected-seq", b"%d" % log.expected(producer)),
                (b"producer-received-seq", b"%d" % producer.seq),
            ]
            _send_error(outlet, StreamConflict("appends of this producer are missing before this one"), facts)
        case "out_of_order":
            _send_error(outlet, StreamConflict("Stream-Seq must rise from append to append"), facts)


async def read(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /v1/stream/{path}`: what is there, at once, by waiting for more, or as server-sent events."""
    path, headers, more = _asked(scope)
    if scope["method"] == "HEAD":
        _look(house, scope, path, headers, more)
        return
    reading = read_query(scope["query_string"])
    owner = owner_of(scope)
    log, left = _log(house, owner, path, headers)
    position = log.length if reading.position is None else reading.position
    if not log.begins_at(position):
        raise InvalidRequest(
            "the stream has nothing at that offset; send one that it gave, or -1 for the start", parameter="offset"
        )
    outlet = outlet_of(scope)
    if reading.live is None:
        answer_once(log, reading, position, headers, more, outlet)
        return
    key = outlet.caller.key
    house.readers.attach(key, log.readers)
    try:
        match reading.live:
            case "long-poll":
                await answer_long_poll(house, log, reading, position, more, outlet)
            case "sse":
                await answer_events(house, log, reading, position, more, outlet)
    finally:
        house.readers.detach(key)
        left()


async def delete(house: House, scope: Scope, receive: Receive) -> None:
    """`DELETE /v1/stream/{path}`: forgets the stream; for its forks its content is kept."""
    path, _, more = _asked(scope)
    _refuse_reserved(path)
    await house.byte_logs.delete(owner_of(scope), path)
    outlet_of(scope).respond(204, more, b"")


async def preflight(house: House, scope: Scope, receive: Receive) -> None:
    """`OPTIONS /v1/stream/{path}`: what a page of an origin that is not allowed would be told if it were.

    Those of allowed origins have had their answer before (`headrace.server.cross_origin`). Without an
    `Access-Control-Allow-Origin` a browser sends nothing.
    """
    _, _, more = _asked(scope)
    fields: Fields = [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", ASKED_HEADERS),
        (b"access-control-max-age", b"600"),
        *more,
    ]
    outlet_of(scope).respond(204, fields, b"")


def _asked(scope: Scope) -> tuple[str, dict[str, str], Fields]:
    """The path of the stream that is meant, the request's headers, and those that every answer carries."""
    return _path(scope["path_params"]["path"]), headers_of(scope), scope["headrace.fields"]


def _look(house: House, scope: Scope, path: str, headers: Mapping[str, str], more: Fields) -> None:
    """Where the stream stands. Does not count as a use."""
    owner = owner_of(scope)
    log: Log
    if (stream_id := _generation(path)) is not None:
        log = _view(house.store.open(stream_id, owner), headers)
    else:
        log = house.byte_logs.open(owner, path)
    fields: Fields = [
        (b"content-type", log.content_type.encode("latin-1")),
        (b"cache-control", b"no-store"),
        *_state(log),
        *more,
    ]
    if isinstance(log, ByteLog):
        if log.lifetime.ttl_seconds is not None:
            fields.append((b"stream-ttl", b"%d" % log.lifetime.ttl_seconds))
        if log.lifetime.expires_at is not None:
            fields.append((b"stream-expires-at", log.lifetime.expires_at.encode("latin-1")))
    outlet_of(scope).respond(200, fields, b"")


def _log(house: House, owner: str, path: str, headers: Mapping[str, str]) -> tuple[Log, Callable[[], None]]:
    """What is read, and what is to be said when its reader leaves."""
    if (stream_id := _generation(path)) is not None:
        stream = house.store.open(stream_id, owner)
        return _view(stream, headers), lambda: house.runs.reader_left(stream, returns_seconds=GRACE_SECONDS)
    log = house.byte_logs.open(owner, path)
    house.byte_logs.use(log)
    return log, lambda: house.byte_logs.use(log)


def _view(stream: Stream, headers: Mapping[str, str]) -> GenerationLog:
    """A reader's view of a generation: what it asks for, and never more than who asked for the stream."""
    return GenerationLog(stream, reader_options(read_options(None, headers)).within(stream.request.view))


def _generation(path: str) -> str | None:
    """The id of the generation that is meant; `None` where a stream of a client's own is."""
    first, _, rest = path.partition("/")
    return rest if first == RESERVED else None


def _refuse_reserved(path: str) -> None:
    if _generation(path) is not None:
        raise Forbidden(f"what is under {PREFIX}{RESERVED}/ is written by generations alone; it can be read")


def _path(path: str) -> str:
    if len(path) > MOST_PATH or _UNFIT.search(path):
        raise UnknownRoute(
            f"this is no path of a stream: up to {MOST_PATH} characters, without empty parts, dots alone and controls"
        )
    return path


def _source(given: str) -> str:
    """The path of the stream that a fork names."""
    if not given.startswith(PREFIX):
        raise InvalidRequest(f"Stream-Forked-From is a path under {PREFIX}", parameter="Stream-Forked-From")
    path = _path(unquote(given.removeprefix(PREFIX)))
    if _generation(path) is not None:
        raise Forbidden("a generation cannot be branched off; read it, and write what you need into a stream")
    return path


def _pieces(kind: Kind, body: bytes) -> list[bytes]:
    if not body:
        return []
    return split_messages(body) if kind == "json" else [body]


def _state(log: Log) -> Fields:
    fields: Fields = [(b"stream-next-offset", offset_text(log.length).encode("ascii"))]
    if log.closed:
        fields.append((b"stream-closed", b"true"))
    return fields


def _producer_state(log: ByteLog, asked: Producer) -> Fields:
    known = log.producers.get(asked.id)
    if known is None:
        return []
    return [(b"producer-epoch", b"%d" % known.epoch), (b"producer-seq", b"%d" % known.seq)]


def _location(scope: Scope, headers: Mapping[str, str]) -> bytes:
    raw_path: bytes = scope["raw_path"]
    return b"%b://%b%b" % (scope["scheme"].encode("ascii"), headers.get("host", "").encode("latin-1"), raw_path)


def _send_error(outlet: Outlet, error: HeadraceError, more: Fields) -> None:
    fields: Fields = [(b"content-type", b"application/json"), *error_headers(error), *more]
    outlet.respond(error.http_status, fields, error_body(error))
