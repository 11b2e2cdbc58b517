"""The one handler behind every route that answers with a stream: find it, follow it, encode it, send it.

`answer` serves a reader of any stream in any protocol, live or whole. Where clients act on the HTTP status it is
held until the first content, the final failure or the first heartbeat due, whichever comes first (L33).
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

from headrace.errors import BelowHorizon, HeadraceError, RateLimited
from headrace.events import CONTENT, FINISHED, Ended, TextDelta
from headrace.interfaces import ReaderProtocol, Stream
from headrace.protocols.objects import error_object
from headrace.requests import ReaderOptions
from headrace.server.delivery import Delivery, Outcome, Outgoing, Spoken, has_content, until
from headrace.server.house import House
from headrace.server.outlet import Headers, outlet_of
from headrace.server.pacing import PacedStream
from headrace.server.responses import error_headers, limit_headers, send_json
from headrace.wire import json_text

NO_CACHE = (b"cache-control", b"no-cache, no-transform")
NO_BUFFER = (b"x-accel-buffering", b"no")

LOGGED_PATH_BYTES = 200
"""How much of a path is logged: whatever a stranger asks for."""


def send_error(scope: Scope, protocol: ReaderProtocol, error: HeadraceError | Ended, headers: Headers = ()) -> None:
    """Answers with an error in the protocol's own shape."""
    failure = error.failure if isinstance(error, Ended) else error.failure()
    assert failure is not None
    if isinstance(error, RateLimited) and error.limit is not None:
        outlet = outlet_of(scope)
        others = [each for each in outlet.headers if not each[0].startswith(b"x-ratelimit")]
        outlet.headers = [*others, *limit_headers(error.limit, 0, error.reset_unix_seconds)]
    send_json(scope, protocol.error(error), status=failure.http_status, headers=[*error_headers(failure), *headers])


def note_refusal(house: House, scope: Scope, error: HeadraceError) -> None:
    """Has a request that became no stream logged: where it went, never what it said. A query may hold a key."""
    path = scope["raw_path"][:LOGGED_PATH_BYTES].decode("latin-1")
    request_id = outlet_of(scope).request_id.decode("ascii")
    house.log.refused(error, {"request": request_id, "method": scope["method"], "path": path})


async def answer_live(
    house: House,
    stream: Stream,
    protocol: ReaderProtocol,
    options: ReaderOptions,
    scope: Scope,
    *,
    offset: int = 0,
    early_headers: bool = False,
    comes_back: bool = False,
) -> None:
    """Streams the events from `offset` on to one reader; `comes_back`: as an `EventSource` does by itself."""
    outlet = outlet_of(scope)
    identity = (b"headrace-stream", stream.id.encode("ascii"))
    heartbeat = house.heartbeat_seconds(options)
    key = outlet.caller.key
    house.readers.attach(key, stream.readers)
    try:
        if protocol.holds_status and not early_headers:
            waited = await until(stream, outlet, has_content(stream), seconds=heartbeat)
            if waited == "gone":
                return
            if key is not None:
                key.check()
            ended = stream.ended
            if ended is not None and ended.ending not in FINISHED and not has_content_before(stream):
                send_error(scope, protocol, ended, [identity])
                return
        elif not stream.length and await until(stream, outlet, lambda: stream.length > 0) == "gone":
            # An id that was given leads to a stream, also after a crash: it is given once the stream is kept.
            return
        if offset < stream.horizon:
            send_json(scope, json_text.encode(below_horizon(stream)), status=410, headers=[identity])
            return
        content_type = (b"content-type", protocol.framing.content_type.encode("ascii"))
        outlet.begin(200, [content_type, NO_CACHE, NO_BUFFER, identity, (b"x-request-id", outlet.request_id)])
        if scope["method"] == "HEAD":
            return
        if comes_back and protocol.framing.opening:
            outlet.write(protocol.framing.opening)
        match await deliver(house, stream, protocol, options, outlet, offset):
            case "finished":
                outlet.end()
            case "failed":
                outlet.abort()
            case "gone":
                pass
    finally:
        house.readers.detach(key)
        house.runs.reader_left(stream)


async def deliver(
    house: House, stream: Stream, protocol: Spoken, options: ReaderOptions, outlet: Outgoing, offset: int
) -> Outcome:
    """Sends the events from `offset` on to one reader, until the stream has ended or the reader has left."""
    shown = stream if options.pace is None else PacedStream(stream, offset, outlet.loop)
    delivery = Delivery(shown, offset, protocol, options, outlet)
    house.deliveries.add(delivery)
    try:
        await delivery.start()
        return await delivery.outcome
    finally:
        house.deliveries.discard(delivery)
        delivery.stop()


async def answer_whole(
    house: House,
    stream: Stream,
    protocol: ReaderProtocol,
    options: ReaderOptions,
    scope: Scope,
) -> None:
    """Sends the answer in one piece when it is whole; an error where it did not become so."""
    outlet = outlet_of(scope)
    identity = (b"headrace-stream", stream.id.encode("ascii"))
    key = outlet.caller.key
    house.readers.attach(key, stream.readers)
    try:
        if await until(stream, outlet, lambda: stream.ended is not None) == "gone":
            return
        if key is not None:
            key.check()
        ended = stream.ended
        assert ended is not None
        if ended.ending in FINISHED:
            body = protocol.whole(stream.said(), options)
            send_json(scope, body, headers=[identity])
        else:
            send_error(scope, protocol, ended, [identity])
    finally:
        house.readers.detach(key)
        house.runs.reader_left(stream)


def below_horizon(stream: Stream) -> dict[str, object]:
    """What a reader is told whose next event was let go: what was said until the horizon, from where it may go on."""
    horizon = stream.horizon
    error = BelowHorizon(
        f"the events before offset {horizon} are no longer kept one by one; take `content` for what they said, and"
        f" read on with after={horizon - 1}",
        parameter="after",
    )
    said = "".join(event.text for event in stream.beginning if isinstance(event, TextDelta) and event.choice == 0)
    shown = error_object(error.failure(), error.parameter)
    return {"error": shown, "horizon": horizon, "content": said}


def has_content_before(stream: Stream) -> bool:
    """Whether anything was said before the stream ended."""
    return any(isinstance(event, CONTENT) for event in stream.said())


def wishes_to_return(headers: Mapping[str, str]) -> bool:
    """Whether a reader shows that it may come back to its stream (design, section 3)."""
    return any(name in headers for name in ("headrace-stream", "headrace-event-ids", "idempotency-key"))
