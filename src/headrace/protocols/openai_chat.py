"""OpenAI's chat completions, as readers speak it: `POST /v1/chat/completions`, streamed or whole.

Pure. Source: OpenAI's API reference and what its SDKs do with it (`reference/openai-chat.md`): every choice begins with
a role chunk and ends with one finish chunk; usage comes if and only if it was asked for; a stream that did not end by
itself ends with an error object, never with a finish reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import msgspec

from headrace.errors import HeadraceError, InvalidRequest
from headrace.events import (
    FINISHED,
    Ended,
    Event,
    Passthrough,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.folding import Choice, fold
from headrace.protocols.framing import OPENAI_EVENT_STREAM, joined
from headrace.protocols.objects import DONE, error_body, error_object, extras_field, extras_object
from headrace.protocols.reading import (
    MOST_CHOICES,
    Fields,
    generation_request,
    read_messages,
    read_options,
    read_wants_usage,
    reader_options,
)
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.usage import Usage
from headrace.wire import json_text


class OpenAIChat:
    """Requests and answers of `/v1/chat/completions`."""

    name = "openai_chat"
    framing = OPENAI_EVENT_STREAM
    holds_status = True

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`."""
        fields = Fields(body)
        asked = read_options(fields, options)
        model = fields.take("model", str)
        if not model:
            raise InvalidRequest('"model" is missing; GET /v1/models lists the names', parameter="model")
        messages = read_messages(fields)
        if not messages:
            raise InvalidRequest(
                '"messages" is missing or empty; send at least [{"role": "user", "content": "…"}]',
                parameter="messages",
            )
        stream = bool(fields.take("stream", bool))
        wants_usage = read_wants_usage(fields)
        request = generation_request(fields, asked, model=model, messages=messages, stream=stream)
        return request, reader_options(asked, include_usage=stream and wants_usage)

    def encoder(self, options: ReaderOptions) -> ChunkEncoder:
        """A new encoder for one reader."""
        return ChunkEncoder(options)

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer as one `chat.completion`."""
        answer = fold(events)
        started, ended = answer.started, answer.ended
        assert started is not None
        assert ended is not None
        body: dict[str, Any] = {
            "id": completion_id(started),
            "object": "chat.completion",
            "created": started.created_ns // 1_000_000_000,
            "model": started.model,
            "choices": [
                _whole_choice(index, answer.choices[index], answer.ending_of(index), options)
                for index in sorted(answer.choices)
            ],
        }
        if answer.usage is not None:
            body["usage"] = usage_object(answer.usage)
        if extras := extras_object(answer.sources, answer.usage):
            body["headrace"] = extras
        return json_text.encode(body)

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_body(error)


class ChunkEncoder:
    """Events as chunks. What is equal in all chunks of a stream is prepared at `Started`."""

    __slots__ = (
        "_begun",
        "_between",
        "_close",
        "_head",
        "_open",
        "_options",
        "_sources",
        "_tail",
        "_usage",
    )

    def __init__(self, options: ReaderOptions) -> None:
        self._options = options
        self._begun: set[int] = set()
        self._head = self._tail = self._open = self._close = self._between = b""
        self._usage: Usage | None = None
        self._sources: list[Source] = []

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The chunks for `events`."""
        records: list[bytes] = []
        texts: list[bytes] = []
        begun, string = self._begun, json_text.string
        for event in events:
            # The hot path: text of the first choice, once its role chunk is out. Such chunks are equal but for the
            # text, so a run of them is one join.
            if type(event) is TextDelta and begun and not event.choice:
                texts.append(string(event.text))
                continue
            if texts:
                records.append(joined(self._open, texts, self._between, self._close))
                texts = []
            self._encode(event, records)
        if texts:
            records.append(joined(self._open, texts, self._between, self._close))
        return records

    def heartbeat(self) -> list[bytes]:
        """None: the framing has one."""
        return []

    def _encode(self, event: Event, records: list[bytes]) -> None:
        match event:
            case TextDelta():
                self._begin(event.choice, records)
                records.append(self._chunk(event.choice, b'{"content":%b}' % json_text.string(event.text)))
            case ReasoningDelta():
                if self._options.rationale:
                    self._begin(event.choice, records)
                    # Under both names: one half of the clients reads the one, the other half the other, none adds both.
                    text = json_text.string(event.text)
                    delta = b'{"reasoning_content":%b,"reasoning":%b}' % (text, text)
                    records.append(self._chunk(event.choice, delta))
            case ToolCallDelta():
                self._begin(event.choice, records)
                records.append(self._chunk(event.choice, json_text.encode({"tool_calls": [_tool_call_piece(event)]})))
            case Passthrough():
                if event.family == "openai_chat":
                    self._begin(event.choice, records)
                    delta = json_text.encode(event.delta_fields)
                    records.append(self._chunk(event.choice, delta, fields=event.fields))
            case Started():
                self._prepare(event)
                if self._options.opens_at_once:
                    self._begin(0, records)
            case Sources():
                self._sources.extend(event.sources)
            case UsageKnown():
                self._usage = event.usage
            case Ended():
                self._end(event, records)
            case Status():
                pass  # this protocol has no word for it
            case _:
                assert_never(event)

    def _prepare(self, started: Started) -> None:
        self._head = b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            json_text.string(completion_id(started)),
            started.created_ns // 1_000_000_000,
            json_text.string(started.model),
        )
        self._tail = b'],"usage":null}' if self._options.include_usage else b"]}"
        self._open = self._head + b'{"index":0,"delta":{"content":'
        self._close = b'},"finish_reason":null}' + self._tail
        self._between = self._close + OpenAIChat.framing.between + self._open

    def _begin(self, choice: int, records: list[bytes]) -> None:
        if choice in self._begun:
            return
        # Choices begin in their order, whichever speaks first: OpenAI's Python helper fails on any other, and the hot
        # path asks only whether 0 has begun.
        before = range(min(choice, MOST_CHOICES))
        for each in (*before, choice):
            if each not in self._begun:
                self._begun.add(each)
                records.append(self._chunk(each, b'{"role":"assistant","content":""}'))

    def _chunk(
        self,
        choice: int,
        delta: bytes,
        *,
        finish_reason: bytes = b"null",
        fields: Mapping[str, msgspec.Raw] = {},
        extras: bytes = b"",
    ) -> bytes:
        more = b"".join(b",%b:%b" % (json_text.string(key), json_text.encode(raw)) for key, raw in fields.items())
        entry = b'{"index":%d,"delta":%b%b,"finish_reason":%b}' % (choice, delta, more, finish_reason)
        return self._head + entry + self._tail[:-1] + extras + b"}"

    def _end(self, ended: Ended, records: list[bytes]) -> None:
        if ended.ending in FINISHED:
            self._begin(0, records)
            endings = dict(ended.choices)
            extras = extras_field(self._sources, None)
            for choice in sorted(self._begun | endings.keys()):
                self._begin(choice, records)
                reason = json_text.string(endings.get(choice, ended.ending))
                records.append(self._chunk(choice, b"{}", finish_reason=reason, extras=extras))
        if self._options.include_usage and self._usage is not None:
            usage = json_text.encode(usage_object(self._usage))
            records.append(b'%b],"usage":%b%b}' % (self._head, usage, extras_field((), self._usage)))
        if ended.ending not in FINISHED:
            assert ended.failure is not None
            records.append(json_text.encode({"error": error_object(ended.failure)}))
        records.append(DONE)


def completion_id(started: Started) -> str:
    """The id that all chunks of a stream carry."""
    return f"chatcmpl-{started.stream_id}"


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as OpenAI writes it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


def _whole_choice(index: int, choice: Choice, ending: str, options: ReaderOptions) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(choice.text) or None, "refusal": None}
    if not choice.tool_calls:
        message["content"] = "".join(choice.text)
    if choice.reasoning and options.rationale:
        message["reasoning_content"] = message["reasoning"] = "".join(choice.reasoning)
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for _, call in sorted(choice.tool_calls.items())
        ]
    for key, pieces in choice.message_fields.items():
        message[key] = _joined(pieces)
    entry: dict[str, Any] = {"index": index, "message": message, "logprobs": None, "finish_reason": ending}
    for key, pieces in choice.fields.items():
        entry[key] = _joined(pieces)
    return entry


def _joined(pieces: Sequence[msgspec.Raw]) -> Any:
    """Pieces of one field put together: texts and lists are joined, objects merged by the same rule; else the last."""
    return _merged([json_text.decode(bytes(piece)) for piece in pieces])


# What is told with each piece and is no piece itself.
_TOLD_AGAIN = frozenset({"id", "index", "type"})


def _merged(values: list[Any]) -> Any:
    if not values:
        return None
    if all(isinstance(value, str) for value in values):
        return "".join(values)
    if all(isinstance(value, list) for value in values):
        return [entry for value in values for entry in value]
    if all(isinstance(value, dict) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        told = {key: [value[key] for value in values if value.get(key) is not None] for key in keys}
        return {key: _merged(given[-1:] if key in _TOLD_AGAIN else given) for key, given in told.items()}
    return values[-1]


def _tool_call_piece(event: ToolCallDelta) -> dict[str, Any]:
    if event.id is None:
        return {"index": event.index, "function": {"arguments": event.arguments}}
    return {
        "index": event.index,
        "id": event.id,
        "type": "function",
        "function": {"name": event.name or "", "arguments": event.arguments},
    }
