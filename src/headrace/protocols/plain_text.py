"""Plain text: `POST /api/query/stream` as it is made, `POST /api/query` as one object (row T8).

Pure. The body is the answer and nothing else, so it cannot say how it ended: the status waits for the first content,
and what does not end well is cut off before its last chunk (`BareText.tells_endings`), so that no client takes a half
for the whole. Source: `reference/headrace-protocols.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.errors import HeadraceError
from headrace.events import Ended, Event, TextDelta
from headrace.folding import fold
from headrace.protocols.framing import BARE_TEXT
from headrace.protocols.objects import error_body, source_objects, timing_object, usage_object
from headrace.protocols.questions import read_question
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.wire import json_text


class PlainText:
    """Requests and answers of `/api/query` and `/api/query/stream`, of which the route decides, not the body."""

    name = "plain_text"
    framing = BARE_TEXT
    holds_status = True

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`."""
        return read_question(body, options, ("question", "query", "prompt"))

    def encoder(self, options: ReaderOptions) -> PlainTextEncoder:
        """A new encoder for one reader."""
        return PlainTextEncoder()

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer as one object."""
        answer = fold(events)
        started, ended = answer.started, answer.ended
        assert started is not None
        assert ended is not None
        return json_text.encode(
            {
                "answer": answer.text,
                "sources": source_objects(answer.sources),
                "usage": None if answer.usage is None else usage_object(answer.usage),
                "model": started.model,
                "stream_id": started.stream_id,
                "timing": {} if ended.timing is None else timing_object(ended.timing),
            }
        )

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_body(error)


class PlainTextEncoder:
    """The text of the first choice as UTF-8."""

    __slots__ = ()

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The texts in `events`; there is no word for anything else."""
        # Half a surrogate pair, which no UTF-8 can carry, becomes a question mark rather than a broken stream.
        return [
            event.text.encode("utf-8", "replace") for event in events if type(event) is TextDelta and event.choice == 0
        ]

    def heartbeat(self) -> list[bytes]:
        """None: whatever is written is part of the answer."""
        return []
