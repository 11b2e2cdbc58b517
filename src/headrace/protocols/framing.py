"""How records become bytes on a connection. Server-sent events so far; a record is one line of JSON.

Pure. Source: WHATWG HTML, section 9.2, by way of `headrace.wire.sse`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.wire.sse import BETWEEN_DATA_FRAMES, comment, comment_line, data_frames


class EventStream:
    """Server-sent events: a `data:` line and a blank line for each record.

    Args:
        heartbeat_with_ids: the heartbeat where frames carry ids. OpenAI's Python clients take a blank line after an id
            for an event and fail on its empty data, so theirs has none.
    """

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = comment("hb")
    between = BETWEEN_DATA_FRAMES

    def __init__(self, *, heartbeat_with_ids: bytes = comment("hb")) -> None:
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


EVENT_STREAM = EventStream()
OPENAI_EVENT_STREAM = EventStream(heartbeat_with_ids=comment_line("hb"))


def joined(before: bytes, middles: list[bytes], between: bytes, behind: bytes) -> bytes:
    """Records that differ in their middles alone, with what frames put between them: one copy of the whole.

    `middles` is used up.
    """
    middles[0] = before + middles[0]
    middles[-1] += behind
    return between.join(middles)
