"""Text over server-sent events: `POST /chat`, an event for each piece of text (row R1).

Pure. Lines of a text become `data:` lines of one event, as the standard says, so that readers get line breaks back as
LF. The end of the stream is the end of the body; what did not end well says so in an event named `error`.
Source: `reference/headrace-protocols.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from headrace.errors import HeadraceError
from headrace.events import (
    FINISHED,
    Ended,
    Event,
    Passthrough,
    ReasoningDelta,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.folding import fold
from headrace.protocols.framing import EVENT_LINES_STREAM
from headrace.protocols.objects import error_body, source_objects, usage_object
from headrace.protocols.questions import read_question
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.wire import json_text
from headrace.wire.sse import event as event_of_lines


class Text:
    """Requests and answers of `/chat`."""

    name = "text"
    framing = EVENT_LINES_STREAM
    holds_status = False

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`."""
        return read_question(body, options, ("prompt", "query", "message"))

    def encoder(self, options: ReaderOptions) -> TextEncoder:
        """A new encoder for one reader."""
        return TextEncoder()

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer as one object."""
        answer = fold(events)
        started, ended = answer.started, answer.ended
        assert started is not None
        assert ended is not None
        body: dict[str, Any] = {
            "content": answer.text,
            "stream_id": started.stream_id,
            "conversation_id": started.conversation_id,
            "model": started.model,
            "finish_reason": ended.ending,
            "sources": source_objects(answer.sources),
            "usage": None if answer.usage is None else usage_object(answer.usage),
        }
        return json_text.encode(body)

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_body(error)


class TextEncoder:
    """Events as the lines of server-sent events."""

    __slots__ = ()

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The records for `events`."""
        records = []
        for event in events:
            match event:
                case TextDelta():
                    if event.choice == 0:
                        records.append(_lines(event.text))
                case Ended():
                    if event.ending not in FINISHED:
                        assert event.failure is not None
                        said = {"code": event.failure.code, "message": event.failure.message}
                        records.append(b"event: error\ndata: " + json_text.encode(said))
                case Started() | Status() | Sources() | ReasoningDelta() | ToolCallDelta() | Passthrough():
                    pass  # this protocol has text and nothing else
                case UsageKnown():
                    pass
                case _:
                    assert_never(event)
        return records

    def heartbeat(self) -> list[bytes]:
        """None: the framing has one."""
        return []


def _lines(text: str) -> bytes:
    if "\n" in text or "\r" in text or not text.isascii():
        return event_of_lines(text)[:-2]  # without the blank line, which the framing writes
    return b"data: " + text.encode("ascii")
