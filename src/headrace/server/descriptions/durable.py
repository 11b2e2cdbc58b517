"""What the routes of Durable Streams are described as."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headrace.server.describing import EVENTS, Answer, Description, Offset, Parameter

_PATH = Parameter(
    "path", "path", str, "The name of the stream, which may hold slashes; `generations/{id}` is that of an answer.", "a"
)
_CONTENT_TYPE = Parameter(
    "Content-Type",
    "header",
    Annotated[str, Meta(pattern=r"^[a-z]+/[a-z0-9.+-]+(; ?[a-z]+=[a-z0-9-]+)?$")],
    "The type of what the stream holds.",
    "application/json",
)
_CLOSED = Parameter("Stream-Closed", "header", Literal["true"], "The stream ends here.")
_DURABLE = "The protocol is Durable Streams."
CREATE = Description(
    group="Durable Streams",
    summary="Create a stream of your own, or make sure that it is there",
    told=f"{_DURABLE} The body is its first content, of any type; an array of JSON is taken apart into messages.",
    answers=(
        Answer(None, told="It is new.", status=201),
        Answer(None, told="It was there, and is as asked for."),
    ),
    parameters=(
        _PATH,
        _CONTENT_TYPE,
        Parameter("Stream-TTL", "header", Annotated[int, Meta(ge=0, lt=10**10)], "Seconds that it lives unused."),
        Parameter("Stream-Expires-At", "header", str, "Until when it lives, as RFC 3339 writes it."),
        Parameter("Stream-Forked-From", "header", str, "The address of a stream whose beginning it shares."),
        Parameter("Stream-Fork-Offset", "header", str, "Up to where it shares it. Left out: all of it."),
        Parameter("Stream-Fork-Sub-Offset", "header", Offset, "So many bytes, or messages of JSON, further."),
        _CLOSED,
    ),
    errors=(400, 403, 404, 409, 413),
)
APPEND = Description(
    group="Durable Streams",
    summary="Append to a stream, close it, or both in one step",
    told=f"{_DURABLE} What a producer sends twice is appended once.",
    answers=(
        Answer(None, told="It is appended, or was before.", status=204),
        Answer(None, told="It is appended, for a producer."),
    ),
    parameters=(
        _PATH,
        _CONTENT_TYPE,
        _CLOSED,
        Parameter("Stream-Seq", "header", str, "Must rise from append to append, letter by letter."),
        Parameter("Producer-Id", "header", str, "Who appends; the next two go with it."),
        Parameter("Producer-Epoch", "header", Offset, "Which life of the producer this is."),
        Parameter("Producer-Seq", "header", Offset, "Its count of appends, from 0."),
    ),
    errors=(400, 403, 404, 409, 410, 413),
)
READ = Description(
    group="Durable Streams",
    summary="Read a stream, at once or as it grows",
    told=f"{_DURABLE} Every answer says in `Stream-Next-Offset` where to go on.",
    answers=(
        Answer("*/*", told="Content, of the type that the stream has; JSON as one array."),
        Answer(EVENTS, told="With `live=sse`: `data` and `control` events."),
        Answer(None, told="With `live=long-poll`: nothing came.", status=204),
        Answer(None, told="Nothing has changed since `If-None-Match`.", status=304),
    ),
    parameters=(
        _PATH,
        Parameter("offset", "query", str, "A `Stream-Next-Offset`, `-1` for the start, or `now`.", "-1"),
        Parameter("live", "query", Literal["long-poll", "sse"], "Wait for more: once, or as server-sent events."),
        Parameter("cursor", "query", Offset, "The `Stream-Cursor` of the answer before."),
    ),
    errors=(400, 404, 410),
)
DELETE = Description(
    group="Durable Streams",
    summary="Delete a stream",
    told=f"{_DURABLE} Content that forks share is kept for them.",
    answers=(Answer(None, status=204),),
    parameters=(_PATH,),
    errors=(403, 404, 410),
)
PREFLIGHT = Description(
    group="Durable Streams",
    summary="What a page may send",
    told="Pages of other origins are let in by `server.allowed_origins` alone.",
    answers=(Answer(None, status=204),),
    parameters=(_PATH,),
    errors=(404,),
    keyless=True,
)
