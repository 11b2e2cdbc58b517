"""Server-sent events as bytes: a parser by the letter of the standard, a fast one for upstreams, and the writers.

Pure: imports the standard library, msgspec and its own room; opens nothing, waits for nothing.
What the events mean is decided by providers and protocols; this file knows only the framing.
Source: WHATWG HTML, section 9.2 (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Lines end at CRLF, LF or CR and nowhere else: bytes are cut before they are decoded, since U+2028, U+0085 and their like
end no line. Both parsers stand on two steps: every line end becomes LF (`_LineEnds`), then LF alone is looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from headrace.wire.bounds import EVENT_LIMIT_BYTES, EventTooLarge

__all__ = [
    "BETWEEN_DATA_FRAMES",
    "DataParser",
    "EventTooLarge",
    "SSEParser",
    "ServerSentEvent",
    "comment",
    "comment_line",
    "data_frames",
    "event",
]

# As numbers: `13 in data` took 20 ns where `b"\r" in data` took 170 (CPython 3.11, 281 bytes).
_LF: Final = 0x0A
_CR: Final = 0x0D
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
BETWEEN_DATA_FRAMES: Final = b"\n\ndata: "
"""What `data_frames` puts between two records: joined by it, they are framed as they would be one by one."""
_RETRY_DIGITS: Final = 15
"""Longer waits than 30,000 years are not believed; int() itself refuses digits without end."""
_NO_TYPES: Final[Mapping[int, str]] = MappingProxyType({})


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event as an EventSource would hand it over."""

    type: str
    data: str
    last_event_id: str


class _LineEnds:
    """CRLF and CR written as LF, over any cutting: a CR ends its line at once, the LF after it is dropped."""

    __slots__ = ("_after_cr",)

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data


class SSEParser:
    """Reads events from bytes cut anywhere, exactly as the standard says.

    `last_event_id` and `retry` (milliseconds, None until one was sent) are what a reconnecting reader needs; they
    outlive `finish`, after which the parser takes the bytes of the next connection.
    """

    _at_start: bool
    _event_bytes: int
    """Of the lines that the event under way has so far."""
    _size_bytes: int
    """The same, with the unfinished line."""

    def __init__(self, *, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._limit = limit_bytes
        self.finish()

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that these bytes complete, in order.

        Raises:
            EventTooLarge: an event, ended or not, is larger than the limit.

        """
        lines = self._line_ends.feed(data).split(b"\n")
        tail = lines.pop()
        events: list[ServerSentEvent] = []
        if lines:
            lines[0] = b"".join((*self._unfinished, lines[0]))
            self._unfinished.clear()
            if self._at_start:
                self._at_start = False
                lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
            for line in lines:
                if line:
                    self._take(line)
                elif (finished := self._dispatch()) is not None:
                    events.append(finished)
            self._size_bytes = self._event_bytes
        if tail:
            self._unfinished.append(tail)
            self._size_bytes += len(tail)
            if self._size_bytes > self._limit:
                raise EventTooLarge(self._limit)
        return events

    def finish(self) -> None:
        """The bytes have ended: an event without its blank line is dropped, and its id with it."""
        self._line_ends = _LineEnds()
        self._at_start = True
        self._unfinished: list[bytes] = []
        self._id = self.last_event_id
        self._type = ""
        self._data: list[str] = []
        self._event_bytes = self._size_bytes = 0

    def _take(self, line: bytes) -> None:
        self._event_bytes += len(line) + 1
        if self._event_bytes > self._limit:
            raise EventTooLarge(self._limit)
        # A comment is a line whose name is empty, and an unknown name is ignored.
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:
            self.retry = int(value)

    def _dispatch(self) -> ServerSentEvent | None:
        kind, data = self._type or "message", self._data
        self.last_event_id = self._id
        self._type, self._data, self._event_bytes = "", [], 0
        # One empty data line is an event with empty data; none is no event.
        return ServerSentEvent(kind, "\n".join(data), self._id) if data else None


class DataParser:
    """Reads only the data of events, as bytes: what an upstream that sends JSON is read with.

    The same standard as `SSEParser`, without ids, `retry` and decoding. It works on whole events at once: the bytes
    are cut after the last blank line, and what an upstream usually sends (one `data: ` line an event) is one split.
    """

    __slots__ = ("_at_boundary", "_at_start", "_held", "_held_bytes", "_limit", "_line_ends", "types")

    types: Mapping[int, str]
    """Of the list last returned: place in it → event type, only where that is not the default (`event: error`)."""

    def __init__(self, *, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self.finish()

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that these bytes complete, in order; `types` says which have a type of their own.

        Raises:
            EventTooLarge: an event, ended or not, is larger than the limit.

        """
        self.types = _NO_TYPES
        if not (self._at_boundary and data[-2:] == b"\n\n" and _CR not in data):
            data = self._whole_events(data)
        if data[:6] == b"data: " and len(data) <= self._limit:
            body = data[6:-2]
            if _LF not in body:
                return [body]
            payloads = body.split(b"\n\ndata: ")
            # A line end left in any of them: another field, a comment, or data of several lines.
            if _LF not in b"".join(payloads):
                return payloads
        return self._line_by_line(data)

    def finish(self) -> None:
        """The bytes have ended: an event without its blank line is dropped. Ready for another connection's bytes."""
        self.types = _NO_TYPES
        self._line_ends = _LineEnds()
        self._at_start = True
        self._held: list[bytes] = []
        self._held_bytes = 0
        # Nothing held and no byte order mark to expect: whole events may be split as they are. (A LF that belongs to
        # the CR before it would be a blank line here, and mean nothing.)
        self._at_boundary = False

    @property
    def pending(self) -> bool:
        """Whether bytes are held that belong to no finished event (a comment's, too)."""
        return bool(self._held)

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte begins an event. Where it does, whole events may also be read by other means."""
        return self._at_boundary

    def _whole_events(self, data: bytes) -> bytes:
        """Everything up to the last blank line, line ends as LF; the rest is held for the next read."""
        data = self._line_ends.feed(data)
        if self._at_start:
            data = b"".join((*self._held, data))
            self._held.clear()
            if _BYTE_ORDER_MARK.startswith(data):
                # Nothing yet, or a part of the mark (and a mark alone changes nothing by waiting).
                self._hold(data)
                return b""
            self._at_start = False
            data = data.removeprefix(_BYTE_ORDER_MARK)
        end = data.rfind(b"\n\n") + 2
        if end < 2 and data.startswith(b"\n") and self._held and self._held[-1].endswith(b"\n"):
            end = 1
        elif end < 2:
            end = 0
        if end:
            whole = b"".join((*self._held, data[:end]))
            self._held.clear()
        else:
            whole = b""
        self._hold(data[end:])
        return whole

    def _hold(self, data: bytes) -> None:
        if not self._held:
            # Blank lines between events mean nothing.
            data = data.lstrip(b"\n")
            self._held_bytes = 0
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > self._limit:
                raise EventTooLarge(self._limit)
        self._at_boundary = not (self._held or self._at_start)

    def _line_by_line(self, whole: bytes) -> list[bytes]:
        """What the split gives, for events of any lines."""
        # The LF of an event's last line counts; its blank line does not.
        if len(whole) > self._limit and max(len(lines.strip(b"\n")) for lines in whole.split(b"\n\n")) >= self._limit:
            raise EventTooLarge(self._limit)
        payloads: list[bytes] = []
        types: dict[int, str] = {}
        values: list[bytes] = []
        kind = b""
        for line in whole.split(b"\n"):
            if line.startswith(b"data: "):
                values.append(line[6:])
            elif not line:
                if values:
                    if kind not in (b"", b"message"):
                        types[len(payloads)] = kind.decode("utf-8", "replace")
                    payloads.append(b"\n".join(values))
                    values = []
                kind = b""
            else:
                name, _, value = line.partition(b":")
                if name == b"data":
                    values.append(value.removeprefix(b" "))
                elif name == b"event":
                    kind = value.removeprefix(b" ")
        self.types = types
        return payloads


def event(data: str, *, event: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:
    """One event with its blank line, to be sent in one write.

    `data` may be any text: each of its lines becomes a `data:` line, and a reader gets it back with LF for every line
    end. Half a surrogate pair, which no UTF-8 can carry, becomes U+FFFD. `retry` is in milliseconds.

    Raises:
        ValueError: `event` or `id` holds CR, LF or NUL, `id` is not ASCII (an EventSource that got one could never
            reconnect), or `retry` is negative.

    """
    lines = []
    if event is not None:
        lines.append(f"event: {_one_line(event)}")
    if id is not None:
        if not id.isascii():
            raise ValueError(f"an event id must be ASCII: {id!r}")
        lines.append(f"id: {_one_line(id)}")
    if retry is not None:
        if retry < 0:
            raise ValueError(f"retry is a number of milliseconds, not {retry}")
        lines.append(f"retry: {retry}")
    # Always with the space, so that a space the text begins with is not the one that readers remove.
    lines.extend(f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return _utf8("\n".join(lines) + "\n\n")


def data_frames(records: Sequence[bytes], *, identifiers: Sequence[int | None] | None = None) -> bytes:
    """One `data:` event for each record, to be sent in one write. No records, no bytes.

    The records must hold no CR or LF, as what `json_text` writes: it is not looked at again, token for token.
    `identifiers`, one for each record, are event offsets; None writes no `id:`.

    Raises:
        ValueError: there are more or fewer identifiers than records.

    """
    if not records:
        return b""
    if identifiers is None:
        # One copy: the records of a burst are long.
        return b"".join((b"data: ", BETWEEN_DATA_FRAMES.join(records), b"\n\n"))
    return b"".join(
        b"data: %b\n\n" % record if offset is None else b"id: %d\ndata: %b\n\n" % (offset, record)
        for record, offset in zip(records, identifiers, strict=True)
    )


def retry(milliseconds: int) -> bytes:
    """How soon a reader shall come back after its connection ended; no event."""
    return b"retry: %d\n\n" % milliseconds


def comment(text: str) -> bytes:
    """A comment with a blank line: the heartbeat of streams without ids.

    Raises:
        ValueError: the text holds CR, LF or NUL.

    """
    return comment_line(text) + b"\n"


def comment_line(text: str) -> bytes:
    """A comment and nothing after it: the heartbeat of OpenAI-shaped streams with ids.

    With an id sent before, a blank line makes the Python SDKs (openai 1 to 3, groq) deliver an empty event and fail.

    Raises:
        ValueError: the text holds CR, LF or NUL.

    """
    return _utf8(f": {_one_line(text)}\n")


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"CR, LF and NUL cannot be written into one line of an event: {value!r}")
    return value


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # By way of UTF-16 two halves that stand together become the character they are.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
