"""OpenAI's older completions, as readers speak it: `POST /v1/completions`, streamed or whole.

Pure. Source: `reference/openai-chat.md`, section 8. The prompt is put to the model as a message of its user: upstreams
speak chat. What chat cannot carry is refused rather than answered wrongly: token ids, `suffix`, `echo`, and
`logprobs`, whose shape is another there. Several prompts in one request are refused too: one stream is one
generation, with one cancel and one usage; `n` answers to one prompt are choices as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

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
from headrace.folding import fold
from headrace.protocols.framing import OPENAI_EVENT_STREAM, joined
from headrace.protocols.objects import DONE, error_body, error_object, extras_field, extras_object
from headrace.protocols.openai_chat import usage_object
from headrace.protocols.reading import Fields, generation_request, read_options, read_wants_usage, reader_options
from headrace.requests import GenerationRequest, Message, ReaderOptions
from headrace.usage import Usage
from headrace.wire import json_text


class OpenAICompletions:
    """Requests and answers of `/v1/completions`."""

    name = "openai_completions"
    framing = OPENAI_EVENT_STREAM
    holds_status = True

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`."""
        fields = Fields(body)
        asked = read_options(fields, options)
        model = fields.take("model", str)
        if not model:
            raise InvalidRequest('"model" is missing; GET /v1/models lists the names', parameter="model")
        prompt = _prompt(fields)
        _refuse_what_chat_cannot_carry(fields)
        stream = bool(fields.take("stream", bool))
        wants_usage = read_wants_usage(fields)
        request = generation_request(fields, asked, model=model, messages=(Message("user", prompt),), stream=stream)
        return request, reader_options(asked, include_usage=stream and wants_usage)

    def encoder(self, options: ReaderOptions) -> CompletionEncoder:
        """A new encoder for one reader."""
        return CompletionEncoder(options)

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The answer as one `text_completion`."""
        answer = fold(events)
        assert answer.started is not None
        body: dict[str, Any] = {
            **_shared(answer.started),
            "choices": [
                {
                    "index": index,
                    "text": "".join(answer.choices[index].text),
                    "logprobs": None,
                    "finish_reason": answer.ending_of(index),
                }
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


class CompletionEncoder:
    """Events as chunks, each a `text_completion` with one choice. What they share is prepared at `Started`."""

    __slots__ = ("_between", "_choices", "_close", "_head", "_open", "_options", "_sources", "_tail", "_usage")

    def __init__(self, options: ReaderOptions) -> None:
        self._options = options
        self._choices = {0}
        self._head = self._tail = self._open = self._close = self._between = b""
        self._usage: Usage | None = None
        self._sources: list[Source] = []

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The chunks for `events`."""
        records: list[bytes] = []
        texts: list[bytes] = []
        for event in events:
            # The hot path: chunks of the first choice differ in their text alone, so a run of them is one join.
            if type(event) is TextDelta and event.choice == 0:
                texts.append(json_text.string(event.text))
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
                self._choices.add(event.choice)
                records.append(self._chunk(event.choice, json_text.string(event.text)))
            case Started():
                self._head = json_text.encode(_shared(event))[:-1] + b',"choices":['
                self._tail = b'],"usage":null}' if self._options.include_usage else b"]}"
                self._open = self._head + b'{"index":0,"text":'
                self._close = b',"logprobs":null,"finish_reason":null}' + self._tail
                self._between = self._close + OPENAI_EVENT_STREAM.between + self._open
                if self._options.opens_at_once:
                    records.append(self._chunk(0, b'""'))
            case Sources():
                self._sources.extend(event.sources)
            case UsageKnown():
                self._usage = event.usage
            case Ended():
                self._end(event, records)
            case ReasoningDelta() | ToolCallDelta() | Passthrough() | Status():
                pass  # this protocol has text and nothing else
            case _:
                assert_never(event)

    def _chunk(self, choice: int, text: bytes, *, finish_reason: bytes = b"null", extras: bytes = b"") -> bytes:
        entry = b'{"index":%d,"text":%b,"logprobs":null,"finish_reason":%b}' % (choice, text, finish_reason)
        return self._head + entry + self._tail[:-1] + extras + b"}"

    def _end(self, ended: Ended, records: list[bytes]) -> None:
        if ended.ending in FINISHED:
            endings = dict(ended.choices)
            extras = extras_field(self._sources, None)
            for choice in sorted(self._choices | endings.keys()):
                reason = json_text.string(endings.get(choice, ended.ending))
                records.append(self._chunk(choice, b'""', finish_reason=reason, extras=extras))
        if self._options.include_usage and self._usage is not None:
            usage = json_text.encode(usage_object(self._usage))
            records.append(b'%b],"usage":%b%b}' % (self._head, usage, extras_field((), self._usage)))
        if ended.ending not in FINISHED:
            assert ended.failure is not None
            records.append(json_text.encode({"error": error_object(ended.failure)}))
        records.append(DONE)


def _shared(started: Started) -> dict[str, Any]:
    """What is equal in the whole answer and in all chunks of a stream."""
    return {
        "id": f"cmpl-{started.stream_id}",
        "object": "text_completion",
        "created": started.created_ns // 1_000_000_000,
        "model": started.model,
    }


def _prompt(fields: Fields) -> str:
    prompt = fields.take("prompt", _Prompt)
    if isinstance(prompt, list):
        if any(not isinstance(each, str) for each in prompt):
            raise InvalidRequest(
                '"prompt" holds token ids, which only the model that made them can read; send text', parameter="prompt"
            )
        if len(prompt) > 1:
            raise InvalidRequest(
                f'"prompt" holds {len(prompt)} prompts; send a request for each, they are answered at the same time',
                parameter="prompt",
            )
        prompt = prompt[0] if prompt else None
    if not prompt:
        raise InvalidRequest('"prompt" is missing or empty; send {"model": "…", "prompt": "…"}', parameter="prompt")
    assert isinstance(prompt, str)
    return prompt


_Prompt: Any = str | list[str | int | list[int]]


def _refuse_what_chat_cannot_carry(fields: Fields) -> None:
    for name in ("suffix", "echo", "logprobs"):
        if _wanted(fields.take(name, _ANYTHING)):
            raise InvalidRequest(
                f'"{name}" is not served here: the prompt is put to the model as a message of a chat', parameter=name
            )
    # The best of several is one of several: whoever asks for it gets one.
    fields.take_raw("best_of")


def _wanted(value: object) -> bool:
    # `logprobs: 0` asks for those of the chosen tokens.
    return value is not None and value is not False and value != ""


_ANYTHING: Any = Any
