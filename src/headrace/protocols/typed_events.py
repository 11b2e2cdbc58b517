"""Headrace's own typed events: `POST /chat/{assistant}`, streamed or whole (rows D1, D2).

Pure. Frames are JSON objects whose `type` says what they are; the names are those of `reference/headrace-protocols.md`
and existing front ends read them, so none is ever renamed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import msgspec

from headrace.clock import utc_timestamp
from headrace.errors import HeadraceError, InvalidRequest
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
from headrace.folding import Answer, fold
from headrace.protocols.framing import EVENT_STREAM, joined
from headrace.protocols.objects import (
    DONE,
    error_body,
    milliseconds,
    source_objects,
    timing_object,
    usage_object,
)
from headrace.protocols.reading import (
    Fields,
    generation_request,
    read_messages,
    read_options,
    reader_options,
)
from headrace.requests import GenerationRequest, Message, ReaderOptions
from headrace.timing import Timing
from headrace.usage import Usage
from headrace.wire import json_text


class TypedEvents:
    """Requests and answers of `/chat/{assistant}`."""

    name = "typed_events"
    framing = EVENT_STREAM
    holds_status = False

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`. An empty model means: the assistant's own."""
        fields = Fields(body)
        asked = read_options(fields, options)
        query = fields.take_first(("query", "message", "prompt"), str)
        if not query or not query.strip():
            raise InvalidRequest('"query" is missing or empty; send {"query": "…"}', parameter="query")
        meta = fields.take("meta_params", _MetaParams) or _MetaParams()
        stream = fields.take("stream", bool)
        request = generation_request(
            fields,
            asked,
            model=fields.take("model", str) or "",
            messages=(*read_messages(fields, "history"), Message("user", query)),
            stream=bool(meta.stream if stream is None else stream),
            language=fields.take("language", str),
            conversation_id=fields.take("conversation_id", str),
        )
        return request, reader_options(asked)

    def encoder(self, options: ReaderOptions) -> TypedEncoder:
        """A new encoder for one reader."""
        return TypedEncoder(options)

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer as one object."""
        answer = fold(events)
        started, ended = answer.started, answer.ended
        assert started is not None
        assert ended is not None
        body: dict[str, Any] = {"content": answer.text, "sources": source_objects(answer.sources)}
        if options.rationale:
            body["rationale"] = answer.reasoning or None
        body |= {
            "finish_reason": ended.ending,
            "conversation_id": started.conversation_id,
            "stream_id": started.stream_id,
            "language": started.language,
            "model": started.model,
            "usage": None if answer.usage is None else usage_object(answer.usage),
        }
        if options.metadata:
            body["metadata"] = _metadata(answer.usage, ended.timing)
        return json_text.encode(body)

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_body(error)


class _MetaParams(msgspec.Struct):
    stream: bool | None = None


_TOKEN_OPEN = b'{"type":"token","content":'
_TOKEN_CLOSE = b"}"
_BETWEEN_TOKENS = _TOKEN_CLOSE + TypedEvents.framing.between + _TOKEN_OPEN


class TypedEncoder:
    """Events as typed frames. Keeps the answer so far, since the last frame repeats it whole."""

    __slots__ = ("_answer", "_options")

    def __init__(self, options: ReaderOptions) -> None:
        self._options = options
        self._answer = Answer()

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The frames for `events`."""
        records: list[bytes] = []
        said = self._answer.choices[0].text
        whole_deltas = self._options.chunk_size is None
        texts: list[bytes] = []
        for event in events:
            # The hot path: a piece of text that need not be split. A run of them is one join.
            if type(event) is TextDelta and event.choice == 0 and whole_deltas:
                said.append(event.text)
                texts.append(json_text.string(event.text))
                continue
            if texts:
                records.append(joined(_TOKEN_OPEN, texts, _BETWEEN_TOKENS, _TOKEN_CLOSE))
                texts = []
            self._answer.feed(event)
            self._encode(event, records)
        if texts:
            records.append(joined(_TOKEN_OPEN, texts, _BETWEEN_TOKENS, _TOKEN_CLOSE))
        return records

    def heartbeat(self) -> list[bytes]:
        """None: the framing has one."""
        return []

    def _encode(self, event: Event, records: list[bytes]) -> None:
        match event:
            case TextDelta():
                if event.choice == 0:
                    records.extend(
                        _TOKEN_OPEN + json_text.string(piece) + _TOKEN_CLOSE
                        for piece in split(event.text, self._options.chunk_size)
                    )
            case ReasoningDelta():
                if self._options.rationale and event.choice == 0:
                    records.append(b'{"type":"rationale","content":%b}' % json_text.string(event.text))
            case ToolCallDelta():
                if event.choice == 0:
                    records.append(json_text.encode(_tool_call(event)))
            case Started():
                records.append(json_text.encode(_start(event)))
            case Status():
                frame: dict[str, object] = {"type": "status", "phase": event.phase, "message": event.message}
                if event.origin is not None:
                    frame["from"] = event.origin
                if event.destination is not None:
                    frame["to"] = event.destination
                if event.offset is not None:
                    frame["offset"] = event.offset
                records.append(json_text.encode(frame))
            case Sources():
                records.append(json_text.encode({"type": "sources", "sources": source_objects(event.sources)}))
            case Ended():
                self._end(event, records)
            case UsageKnown() | Passthrough():
                pass  # usage is told in `metadata`; the rest belongs to other families
            case _:
                assert_never(event)

    def _end(self, ended: Ended, records: list[bytes]) -> None:
        metadata = json_text.encode({"type": "metadata", **_metadata(self._answer.usage, ended.timing)})
        if ended.ending in FINISHED:
            done = {
                "type": "done",
                "content": self._answer.text,
                "sources": source_objects(self._answer.sources),
                "finish_reason": ended.ending,
            }
            records.append(json_text.encode(done))
            if self._options.metadata:
                records.append(metadata)
        else:
            assert ended.failure is not None
            if self._options.metadata:
                records.append(metadata)
            records.append(
                json_text.encode(
                    {
                        "type": "error",
                        "content": ended.failure.message,
                        "code": ended.failure.code,
                        "ending": ended.ending,
                        "partial": bool(self._answer.choices[0].text),
                    }
                )
            )
        records.append(DONE)


def split(text: str, size: int | None) -> list[str]:
    """`text` in pieces of at most `size` characters (row D7); nothing is held back, and no character is cut."""
    if size is None or len(text) <= size:
        return [text]
    return [text[start : start + size] for start in range(0, len(text), size)]


def _start(started: Started) -> dict[str, Any]:
    return {
        "type": "start",
        "timestamp": utc_timestamp(started.created_ns),
        "language": started.language,
        "stream_id": started.stream_id,
        "conversation_id": started.conversation_id,
        "model": started.model,
    }


def _tool_call(event: ToolCallDelta) -> dict[str, Any]:
    frame: dict[str, Any] = {"type": "tool_call", "index": event.index}
    if event.id is not None:
        frame |= {"id": event.id, "name": event.name}
    return frame | {"arguments": event.arguments}


def _metadata(usage: Usage | None, timing: Timing | None) -> dict[str, Any]:
    ttft = None if timing is None else timing.time_to_first_token_ns
    return {
        "token_count": None if usage is None else usage.completion_tokens,
        "duration_ms": None if timing is None else milliseconds(timing.total_ns),
        "ttft_ms": None if ttft is None else milliseconds(ttft),
        "usage": None if usage is None else usage_object(usage),
        "timing": {} if timing is None else timing_object(timing),
    }
