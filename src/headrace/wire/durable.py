"""The Durable Streams protocol as pure functions: offsets, headers, JSON mode, cursors and its server-sent events.

Pure: imports the vocabulary, the standard library, msgspec and its own room; opens nothing, waits for nothing.
What is kept of a stream is in `headrace.streams.byte_logs`; who is answered what, in `headrace.server.durable_routes`.
Source: the Durable Streams HTTP protocol, draft 1.0.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from headrace.errors import InvalidRequest, MalformedBody
from headrace.wire import json_text

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"
JSON: Final = "application/json"
MOST_NUMBER: Final = 2**53 - 1
"""The largest whole number that every language's clients hold exactly."""
MOST_TTL_SECONDS: Final = 10**10 - 1
MOST_PRODUCER_ID: Final = 256
DEPTH_LIMIT: Final = 64

CURSOR_EPOCH_NS: Final = 1_728_432_000 * 10**9
"""2024-10-09T00:00:00Z, from which cursors count."""
CURSOR_INTERVAL_NS: Final = 20 * 10**9
MOST_JITTER_SECONDS: Final = 3600
TOLD_CLOSED: Final = 10**6
"""How many intervals ahead the cursor is that goes with the news that a stream is closed. A reader that comes back with
it has not understood the news (as the PyPI client 0.1.0), and is not answered at once a second time."""

Live: TypeAlias = Literal["long-poll", "sse"]
Kind: TypeAlias = Literal["json", "text", "binary"]
"""How a stream of this content type is read: as messages, as characters, or as bytes that no event can carry."""

_OFFSET = re.compile(r"(\d{16})_(\d{16})\Z", re.ASCII)
_NUMBER = re.compile(r"(0|[1-9]\d{0,15})\Z", re.ASCII)
_CONTENT_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*(;[ -~]*)?\Z")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)
_LINE_END = re.compile(rb"\r\n|\r|\n")


# -- offsets and the query of a read


def offset_text(position: int) -> str:
    """A position as readers see it: they compare offsets as text, so that all have the same length."""
    return f"{0:016d}_{position:016d}"


def read_offset(text: str, parameter: str = "offset") -> int | None:
    """The position that `text` names, not yet known to exist; `None` for `now`.

    Raises:
        InvalidRequest: it is none of ours.
    """
    if text == "-1":
        return 0
    if text == "now":
        return None
    if (match := _OFFSET.match(text)) is None:
        raise InvalidRequest(
            f"{text[:50]!r} is no offset: send a Stream-Next-Offset as it was given, -1 for the start, or now",
            parameter=parameter,
        )
    return int(match[1]) * 10**16 + int(match[2])


class Reading(NamedTuple):
    """What a `GET` asks for."""

    position: int | None
    """`None`: the tail as it is now."""
    live: Live | None
    cursor: int | None
    """The cursor of the answer before, where the reader sent it."""


def read_query(query: bytes) -> Reading:
    """What the query of a read asks for; parameters that are not known are passed over.

    Raises:
        InvalidRequest: an offset that is none, or a live read without one.
    """
    try:
        given = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise InvalidRequest("the query of the URL cannot be read: encode what is not ASCII, and send less") from None
    offsets = [value for name, value in given if name == "offset"]
    if len(offsets) > 1:
        raise InvalidRequest("the URL names more than one offset; send one", parameter="offset")
    position = read_offset(offsets[0]) if offsets else 0
    rest = dict(given)
    match rest.get("live"):
        case None:
            return Reading(position, None, None)
        case "long-poll" | "sse" as live:
            if not offsets:
                raise InvalidRequest("a live read needs an offset: add offset=-1 for the start", parameter="offset")
            cursor = rest.get("cursor", "")
            return Reading(position, live, int(cursor) if _NUMBER.match(cursor) else None)
        case unknown:
            raise InvalidRequest(f"live={unknown[:50]!r} is not known; use long-poll or sse", parameter="live")


# -- headers


def kind_of(content_type: str) -> Kind:
    """How a stream of this type is read."""
    media_type = media_type_of(content_type)
    if media_type == JSON:
        return "json"
    return "text" if media_type.startswith("text/") else "binary"


def media_type_of(content_type: str) -> str:
    """A content type as it is compared: without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def read_content_type(headers: Mapping[str, str]) -> str | None:
    """The declared content type; `None` where there is none.

    Raises:
        InvalidRequest: it is no content type.
    """
    given = headers.get("content-type", "").strip()
    if not given:
        return None
    if len(given) > 256 or _CONTENT_TYPE.match(given) is None:
        raise InvalidRequest(f"{given[:50]!r} is no content type; send one such as {JSON}", parameter="Content-Type")
    return given


def closes(headers: Mapping[str, str]) -> bool:
    """Whether the request closes the stream: no value but `true` does."""
    return headers.get("stream-closed", "").strip().lower() == "true"


class Lifetime(NamedTuple):
    """How long a stream lives: by idle time, until an instant, or for ever."""

    ttl_seconds: int | None = None
    expires_at: str | None = None
    """As it was given."""

    @property
    def expires_ns(self) -> int | None:
        """The instant in nanoseconds since 1970 UTC."""
        return None if self.expires_at is None else _instant_ns(self.expires_at)

    def equals(self, other: Lifetime) -> bool:
        """Whether both mean the same; an instant may be written in several ways."""
        return (self.ttl_seconds, self.expires_ns) == (other.ttl_seconds, other.expires_ns)


def read_lifetime(headers: Mapping[str, str]) -> Lifetime:
    """How long the stream shall live.

    Raises:
        InvalidRequest: both headers are there, or one cannot be read.
    """
    ttl, expires_at = headers.get("stream-ttl"), headers.get("stream-expires-at")
    if ttl is not None and expires_at is not None:
        raise InvalidRequest("send Stream-TTL or Stream-Expires-At, not both", parameter="Stream-TTL")
    if ttl is not None:
        return Lifetime(ttl_seconds=_number(ttl, "Stream-TTL", MOST_TTL_SECONDS))
    if expires_at is not None:
        try:
            _instant_ns(expires_at)
        except ValueError:
            raise InvalidRequest(
                f"{expires_at[:50]!r} is no time of RFC 3339; send one such as 2026-11-20T10:00:00Z",
                parameter="Stream-Expires-At",
            ) from None
    return Lifetime(expires_at=expires_at)


class Producer(NamedTuple):
    """Who appends, and its count of appends: what makes an append that is sent twice count once."""

    id: str
    epoch: int
    seq: int


def read_producer(headers: Mapping[str, str]) -> Producer | None:
    """The producer of an append; `None` where it has none.

    Raises:
        InvalidRequest: some of its three headers are missing, or one cannot be read.
    """
    given = [headers.get(name) for name in ("producer-id", "producer-epoch", "producer-seq")]
    if all(value is None for value in given):
        return None
    name, epoch, seq = given
    if name is None or epoch is None or seq is None:
        raise InvalidRequest("send Producer-Id, Producer-Epoch and Producer-Seq together", parameter="Producer-Id")
    if not 0 < len(name) <= MOST_PRODUCER_ID:
        raise InvalidRequest(f"Producer-Id has 1 to {MOST_PRODUCER_ID} characters", parameter="Producer-Id")
    return Producer(name, _number(epoch, "Producer-Epoch", MOST_NUMBER), _number(seq, "Producer-Seq", MOST_NUMBER))


class Fork(NamedTuple):
    """Where a stream branches off another."""

    source: str
    """The path of the other, as the header has it."""
    position: int | None
    """In the other; `None`: its tail."""
    sub_offset: int
    """How many bytes further, or messages in JSON mode."""


def read_fork(headers: Mapping[str, str]) -> Fork | None:
    """The branching that is asked for; `None` where none is.

    Raises:
        InvalidRequest: a header cannot be read, or stands without those that it needs.
    """
    source = headers.get("stream-forked-from")
    offset, sub_offset = headers.get("stream-fork-offset"), headers.get("stream-fork-sub-offset")
    if source is None:
        if offset is not None or sub_offset is not None:
            raise InvalidRequest(
                "Stream-Fork-Offset and Stream-Fork-Sub-Offset need Stream-Forked-From", parameter="Stream-Forked-From"
            )
        return None
    further = 0
    if sub_offset is not None:
        further = _number(sub_offset, "Stream-Fork-Sub-Offset", MOST_NUMBER)
        if further and offset is None:
            raise InvalidRequest("Stream-Fork-Sub-Offset needs Stream-Fork-Offset", parameter="Stream-Fork-Offset")
    position = None if offset is None else read_offset(offset, "Stream-Fork-Offset")
    return Fork(source, position, further)


def matches_etag(headers: Mapping[str, str], etag: str) -> bool:
    """Whether `If-None-Match` names this ETag (RFC 9110, 13.1.2: compared weakly)."""
    given = [one.strip().removeprefix("W/") for one in headers.get("if-none-match", "").split(",")]
    return etag in given or "*" in given


def _number(text: str, header: str, most: int) -> int:
    if _NUMBER.match(text) is None or int(text) > most:
        raise InvalidRequest(
            f"{header} is {text[:50]!r}; it must be a whole number from 0 to {most} in plain digits", parameter=header
        )
    return int(text)


def _instant_ns(text: str) -> int:
    if _TIMESTAMP.match(text) is None:
        raise ValueError(text)
    return round(datetime.fromisoformat(text.upper()).timestamp() * 1e9)


# -- JSON mode


def split_messages(body: bytes) -> list[bytes]:
    """The messages of a body in JSON mode: an array is taken apart, one level deep; anything else is one message.

    Raises:
        MalformedBody: it is not JSON.
    """
    if json_text.depth_exceeds(body, DEPTH_LIMIT):
        raise MalformedBody(f"the JSON is nested more than {DEPTH_LIMIT} levels deep")
    try:
        if not body.isascii():
            body.decode("utf-8")  # all of it at once: a raw message is not looked into
        if body.lstrip(b" \t\r\n").startswith(b"["):
            return [bytes(message) for message in _decode_array(body)]
        return [bytes(_decode_one(body))]
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8 (byte {error.start})") from None
    except msgspec.DecodeError as error:
        if (half := json_text.half_character(body)) is not None:
            raise MalformedBody(f'the body is JSON, but "{half}" in it is half a character; send both halves') from None
        raise MalformedBody(f"the body is not JSON: {error}") from None


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_one = msgspec.json.Decoder(msgspec.Raw).decode


def joined(kind: Kind, pieces: Sequence[bytes]) -> bytes:
    """Pieces of a stream as the body of an answer."""
    return b"[%b]" % b",".join(pieces) if kind == "json" else b"".join(pieces)


# -- live reads


def cursor_after(now_unix_ns: int, asked: int | None, chance: float) -> int:
    """The cursor of an answer: the number of the current interval, and always more than the reader's own.

    Args:
        now_unix_ns: the time in nanoseconds since 1970 UTC.
        asked: the cursor that the reader sent.
        chance: from 0 to just below 1; readers that would all return with one cursor are spread by it.
    """
    current = max(0, now_unix_ns - CURSOR_EPOCH_NS) // CURSOR_INTERVAL_NS
    if asked is None or asked < current:
        return current
    jitter_ns = (1 + int(chance * MOST_JITTER_SECONDS)) * 10**9
    return asked + max(1, jitter_ns // CURSOR_INTERVAL_NS)


def closed_cursor(now_unix_ns: int) -> int:
    """The cursor that goes with the news that a stream is closed."""
    return cursor_after(now_unix_ns, None, 0.0) + TOLD_CLOSED


def was_told_closed(now_unix_ns: int, asked: int | None) -> bool:
    """Whether the reader's cursor came with that news."""
    return asked is not None and asked >= closed_cursor(now_unix_ns) - TOLD_CLOSED // 2


def data_event(kind: Kind, payload: bytes) -> bytes:
    """What was read as one event: text and JSON line by line, anything else in base64."""
    if kind == "binary":
        return b"event: data\ndata:%b\n\n" % base64.b64encode(payload)
    if kind == "text":
        payload = _readable(payload)
    # Every line end there is: a payload must not be able to end its event, or to begin another.
    lines = _LINE_END.split(payload)
    return b"event: data\n" + b"".join(_LINE % (b" " if line.startswith(b" ") else b"", line) for line in lines) + b"\n"


# One space behind the colon would be taken away, so that a line that begins with one needs another.
_LINE: Final = b"data:%b%b\n"


def control_event(position: int, *, cursor: int | None, up_to_date: bool, closed: bool) -> bytes:
    """Where the reader stands now. A closed stream's last one needs no cursor: nobody comes back."""
    told: dict[str, object] = {"streamNextOffset": offset_text(position)}
    if closed:
        told["streamClosed"] = True
    else:
        told["streamCursor"] = str(cursor)
        if up_to_date:
            told["upToDate"] = True
    return b"event: control\ndata:%b\n\n" % json_text.encode(told)


def whole_text(payload: bytes) -> int:
    """How many bytes of a piece of text can go into an event: neither a character nor CRLF is cut in two."""
    end = len(payload)
    for back in range(1, min(4, end) + 1):
        byte = payload[end - back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return end - back if back < needed else end
    return end - 1 if payload.endswith(b"\r") else end


def _readable(payload: bytes) -> bytes:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return payload.decode("utf-8", "replace").encode()
    return payload
