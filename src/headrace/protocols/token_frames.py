"""Token frames: server-sent events with a JSON object for each piece of text, in two spellings (rows O2, O4).

Pure. `POST /api/generate/stream` takes the body of Ollama's generate and writes `{"token":"…","done":false}`;
`POST /api/chat/stream` takes a message and writes `{"type":"token","content":"…"}`. Both end with one frame that says
whether the answer is whole. Source: `reference/headrace-protocols.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from headrace.errors import HeadraceError, InvalidRequest
from headrace.events import FINISHED, Ended, Event, Failure, TextDelta
from headrace.folding import fold
from headrace.protocols.framing import EVENT_STREAM, joined
from headrace.protocols.objects import error_body
from headrace.protocols.ollama_requests import read_generate
from headrace.protocols.questions import read_question
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.wire import json_text


class _Spelling(msgspec.Struct, frozen=True):
    """What stands round a text, and the last frame of an answer that is whole."""

    open: bytes
    close: bytes
    done: bytes


_GENERATE = _Spelling(b'{"token":', b',"done":false}', b'{"done":true}')
_CHAT = _Spelling(b'{"type":"token","content":', b"}", b'{"type":"done"}')


class TokenFrames:
    """Requests and answers of `/api/generate/stream`."""

    name = "token_frames"
    framing = EVENT_STREAM
    holds_status = False

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`."""
        request, asked = read_generate(body, options)
        if not request.messages:
            raise InvalidRequest('"prompt" is missing or empty; send {"model": "…", "prompt": "…"}', parameter="prompt")
        return request, asked

    def encoder(self, options: ReaderOptions) -> TokenFrameEncoder:
        """A new encoder for one reader."""
        return TokenFrameEncoder(_GENERATE, _generate_failure)

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer as one frame."""
        return json_text.encode({"token": fold(events).text, "done": True})

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_body(error)


class ChatTokenFrames:
    """Requests and answers of `/api/chat/stream`."""

    name = "chat_token_frames"
    framing = EVENT_STREAM
    holds_status = False

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`."""
        return read_question(body, options, ("message", "query", "prompt"), conversation="messages")

    def encoder(self, options: ReaderOptions) -> TokenFrameEncoder:
        """A new encoder for one reader."""
        return TokenFrameEncoder(_CHAT, _chat_failure)

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer as one frame."""
        return json_text.encode({"type": "done", "content": fold(events).text})

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_body(error)


class TokenFrameEncoder:
    """Events as frames of one spelling.

    Args:
        spelling: how a text and a good end are written.
        failure: writes the end of an answer that is not whole.
    """

    __slots__ = ("_between", "_failure", "_spelling")

    def __init__(self, spelling: _Spelling, failure: Callable[[Failure], bytes]) -> None:
        self._spelling = spelling
        self._failure = failure
        self._between = spelling.close + EVENT_STREAM.between + spelling.open

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The frames for `events`; there is no word for anything but text and the end."""
        spelling = self._spelling
        texts = [json_text.string(event.text) for event in events if type(event) is TextDelta and event.choice == 0]
        records = [joined(spelling.open, texts, self._between, spelling.close)] if texts else []
        # An `Ended` is the last event there is.
        if events and isinstance(last := events[-1], Ended):
            if last.ending in FINISHED:
                records.append(spelling.done)
            else:
                assert last.failure is not None
                records.append(self._failure(last.failure))
        return records

    def heartbeat(self) -> list[bytes]:
        """None: the framing has one."""
        return []


def _generate_failure(failure: Failure) -> bytes:
    return json_text.encode({"error": {"code": failure.code, "message": failure.message}, "done": True})


def _chat_failure(failure: Failure) -> bytes:
    return json_text.encode({"type": "error", "content": failure.message, "code": failure.code})
