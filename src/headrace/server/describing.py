"""What a route's description consists of, and the parts that many of them share.

The descriptions themselves are in `headrace.server.descriptions`. The bodies' shapes are the protocols'
(`request_shapes`, `answer_shapes`); how all of it becomes a document is in `headrace.server.openapi`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from headrace.protocols import PROTOCOLS
from headrace.requests import Interruption

Group: TypeAlias = Literal[
    "OpenAI", "Headrace", "Ollama", "Streams", "Conversations", "Documents", "Durable Streams", "Server", "Pages"
]

Flag: TypeAlias = Literal["true", "false"]
Offset: TypeAlias = Annotated[int, Meta(ge=0, lt=10**18)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
Protocol: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": list(PROTOCOLS)})]
StreamID: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.~-]{22,128}$")]

JSON = "application/json"
EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
TEXT = "text/plain"
HTML = "text/html"


class Answer(msgspec.Struct, frozen=True):
    """One way a route answers when all is well."""

    media_type: str | None
    """`None`: without a body."""
    shape: Any = None
    """The type of a JSON body."""
    frame: Any = None
    """The type of the JSON in one event, or in one line."""
    told: str = ""
    status: int = 200


class Parameter(msgspec.Struct, frozen=True):
    """Something in a request's address or headers."""

    name: str
    place: Literal["path", "query", "header"]
    kind: Any
    told: str
    example: str | None = None
    required: bool = False
    """Of one that is no part of the path, which always is."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader of the documentation is told of one route."""

    group: Group
    summary: str
    """One line, without a full stop."""
    told: str = ""
    body: type[msgspec.Struct] | None = None
    example: dict[str, Any] | None = None
    """A body that works on a server without any settings."""
    text_body: bool = False
    """Whether the body is a text as it is, instead of JSON."""
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    """HTTP statuses of the errors that this route has besides those that every route has."""
    generates: bool = False
    """Whether it starts an answer: such routes know the options of a request, and fail as upstreams do."""
    keyless: bool = False
    """Whether no key is asked for, also where keys are."""


_TIMERS = "(connect|first_token|between_tokens|total)=[0-9]{1,6}"

ENCODING_OPTIONS = (
    Parameter("Headrace-Event-Ids", "header", Flag, "`true`: each frame carries the offset of its event as `id:`."),
    Parameter("Headrace-Rationale", "header", Flag, "`false`: reasoning is not sent."),
    Parameter("Headrace-Pace", "header", Literal["recorded"], "A recorded stream is replayed at its own speed."),
    Parameter("Headrace-Heartbeat", "header", Seconds, "Seconds that the connection may be silent; 0: for ever."),
)
"""What every reader of a stream may ask of its encoding."""

OPTIONS = (
    *ENCODING_OPTIONS,
    Parameter(
        "Headrace-On-Disconnect",
        "header",
        Annotated[str, Meta(pattern=r"^(cancel|continue|[0-9]{1,6})$")],
        "What becomes of the answer when its last reader leaves: `cancel`, `continue`, or seconds to wait for one.",
    ),
    Parameter(
        "Headrace-On-Interruption",
        "header",
        Interruption,
        "What becomes of an answer that breaks off: the same model goes on, or any of its list, or it ends there.",
    ),
    Parameter(
        "Headrace-Timeouts",
        "header",
        Annotated[str, Meta(pattern=f"^{_TIMERS}(,{_TIMERS})*$")],
        "The timers of this request in seconds, as `first_token=60,total=300`; 0: no limit.",
    ),
    Parameter(
        "Headrace-Parent",
        "header",
        StreamID,
        "The stream of a conversation that this one comes after. Left out: the conversation's latest.",
    ),
    Parameter(
        "Headrace-Relation",
        "header",
        Literal["follow", "sibling", "continue"],
        "How it belongs to that stream: a question after it, another answer beside it, or a continuation of it.",
    ),
    Parameter("Headrace-Early-Headers", "header", Flag, "`true`: the answer opens at once, before the first token."),
    Parameter("Headrace-Stream", "header", StreamID, "The id of the new stream, made of 128 random bits."),
    Parameter(
        "Idempotency-Key",
        "header",
        Annotated[str, Meta(pattern=r"^[!-~]{1,255}$")],
        "Makes the request one that can be sent again: it joins the stream of the first, and is paid for once.",
    ),
)
"""What every request that starts an answer may ask for; all but the last three also stand in the body's `headrace`."""

REQUEST_ID = Parameter(
    "X-Request-Id",
    "header",
    Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")],
    "An id of your own for this request; the answer repeats it.",
)

PAGING = (
    Parameter("limit", "query", Annotated[int, Meta(ge=1, le=100)], "The most of one page. Left out: 20."),
    Parameter("before", "query", str, "The `last_id` of the page before: only what stands behind that one."),
)
"""What every list may be asked for."""

QUESTION = "What is a stream?"
"""One that a server without any settings has an answer to."""
