"""How records become bytes on a connection: server-sent events in two ways, lines of JSON, bare text.

Pure. Sources: WHATWG HTML, section 9.2, by way of `headrace.wire.sse`; NDJSON, by way of `headrace.wire.ndjson`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.wire.ndjson import lines
from headrace.wire.sse import BETWEEN_DATA_FRAMES, comment, comment_line, data_frames, retry

RETRY = retry(250)
"""Browsers wait three seconds of their own before they come back."""


class EventStream:
    """Server-sent events: a `data:` line and a blank line for each record, which is one line of JSON.

    Args:
        opening: how soon an `EventSource` shall come back; empty where clients would take it for an event.
        heartbeat_with_ids: the heartbeat where frames carry ids. OpenAI's Python clients take a blank line after an id
            for an event and fail on its empty data, so theirs has none.
    """

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = comment("hb")
    tells_endings = True
    may_be_cut = True
    between = BETWEEN_DATA_FRAMES

    def __init__(self, *, opening: bytes, heartbeat_with_ids: bytes = comment("hb")) -> None:
        self.opening = opening
        self.heartbeat_with_ids = heartbeat_with_ids

    @staticmethod
    def frame(records: Sequence[bytes]) -> bytes:
        """The records for one write."""
        # As `data_frames` does it, without the call: this runs once a token.
        return b"".join((b"data: ", BETWEEN_DATA_FRAMES.join(records), b"\n\n")) if records else b""

    def frame_with_id(self, records: Sequence[bytes], offset: int) -> bytes:
        """The records made from one event, the last with its offset."""
        if not records:
            return b""
        return data_frames(records, identifiers=[*[None] * (len(records) - 1), offset])


class EventLinesStream:
    """Server-sent events whose records are all lines of an event, `event:` and several `data:` where there are such."""

    content_type = EventStream.content_type
    opening = RETRY
    heartbeat = heartbeat_with_ids = EventStream.heartbeat
    tells_endings = True
    may_be_cut = True
    between = b"\n\n"

    @staticmethod
    def frame(records: Sequence[bytes]) -> bytes:
        """The records for one write."""
        return b"\n\n".join(records) + b"\n\n" if records else b""

    def frame_with_id(self, records: Sequence[bytes], offset: int) -> bytes:
        """The records made from one event, the last with its offset."""
        return self.frame([*records[:-1], b"id: %d\n%b" % (offset, records[-1])]) if records else b""


class JSONLines:
    """NDJSON: a line for each record, and no room for ids or heartbeats: a blank line is taken for broken JSON."""

    content_type = "application/x-ndjson"
    heartbeat = heartbeat_with_ids = opening = b""
    tells_endings = True
    may_be_cut = True
    between = b"\n"

    @staticmethod
    def frame(records: Sequence[bytes]) -> bytes:
        """The records for one write."""
        return lines(records)

    def frame_with_id(self, records: Sequence[bytes], offset: int) -> bytes:
        """The records made from one event."""
        return lines(records)


class BareText:
    """The text and nothing else. It cannot say how it ended."""

    content_type = "text/plain; charset=utf-8"
    heartbeat = heartbeat_with_ids = opening = b""
    tells_endings = False
    may_be_cut = True
    between = b""

    @staticmethod
    def frame(records: Sequence[bytes]) -> bytes:
        """The records for one write."""
        return b"".join(records)

    def frame_with_id(self, records: Sequence[bytes], offset: int) -> bytes:
        """The records made from one event."""
        return b"".join(records)


EVENT_STREAM = EventStream(opening=RETRY)
OPENAI_EVENT_STREAM = EventStream(opening=b"", heartbeat_with_ids=comment_line("hb"))
EVENT_LINES_STREAM = EventLinesStream()
JSON_LINES = JSONLines()
BARE_TEXT = BareText()


def joined(before: bytes, middles: list[bytes], between: bytes, behind: bytes) -> bytes:
    """Records that differ in their middles alone, with what frames put between them: one copy of the whole.

    `middles` is used up.
    """
    middles[0] = before + middles[0]
    middles[-1] += behind
    return between.join(middles)
