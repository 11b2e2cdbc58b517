"""Ollama's native API, as readers speak it: `POST /api/chat` and `POST /api/generate`, lines of JSON or one object.

Pure. Source: `reference/ollama.md`. An answer ends with a line that says `done`, a failure with a line whose `error` is
a text, which Ollama's clients raise. A cancelled stream is told as both, so that nobody takes a half for the whole.
Tool calls come whole, with their arguments as an object, when the answer is finished.
Every line carries the time at which the stream began, but for the last: bytes do not depend on when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import msgspec

from headrace.clock import utc_timestamp
from headrace.errors import HeadraceError
from headrace.events import (
    FINISHED,
    Ended,
    Ending,
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
from headrace.folding import Answer, ToolCall, fold
from headrace.protocols.framing import JSON_LINES, joined
from headrace.protocols.objects import extras_object
from headrace.protocols.ollama_requests import FAMILY, read_chat, read_generate
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.wire import json_text


class OllamaChat:
    """Requests and answers of `/api/chat`."""

    name = "ollama_chat"
    framing = JSON_LINES
    holds_status = True

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`; one without messages asks for a model to be loaded."""
        return read_chat(body, options)

    def encoder(self, options: ReaderOptions) -> LineEncoder:
        """A new encoder for one reader."""
        return LineEncoder(options, chat=True)

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The last line, with everything that was said."""
        return whole(events, options, chat=True)

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_text(error)


class OllamaGenerate:
    """Requests and answers of `/api/generate`."""

    name = "ollama_generate"
    framing = JSON_LINES
    holds_status = True

    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        """The request in `body`; one without a prompt asks for a model to be loaded."""
        return read_generate(body, options)

    def encoder(self, options: ReaderOptions) -> LineEncoder:
        """A new encoder for one reader."""
        return LineEncoder(options, chat=False)

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """The last line, with everything that was said."""
        return whole(events, options, chat=False)

    def error(self, error: HeadraceError | Ended) -> bytes:
        """The body of an HTTP error."""
        return error_text(error)


class LineEncoder:
    """Events as lines. What stands round each piece of text is prepared at `Started`."""

    __slots__ = ("_answer", "_between", "_chat", "_close", "_open", "_options", "_started")

    def __init__(self, options: ReaderOptions, *, chat: bool) -> None:
        self._options = options
        self._chat = chat
        self._started: Started | None = None
        self._open = self._close = self._between = b""
        # All but the text of the answer, for the last line.
        self._answer = Answer()

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The lines for `events`."""
        records: list[bytes] = []
        texts: list[bytes] = []
        for event in events:
            # The hot path: lines of text differ in their text alone, so a run of them is one join.
            if type(event) is TextDelta:
                if event.choice == 0:
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
        """A line that says nothing."""
        return [] if self._started is None else [self._open + b'""' + self._close]

    def _encode(self, event: Event, records: list[bytes]) -> None:
        match event:
            case ReasoningDelta():
                if self._options.rationale and event.choice == 0:
                    records.append(self._open + b'"","thinking":' + json_text.string(event.text) + self._close)
            case Started():
                self._prepare(event)
            case Ended():
                self._end(event, records)
            case ToolCallDelta() | Sources() | UsageKnown():
                self._answer.feed(event)
            case TextDelta() | Status() | Passthrough():
                pass  # text is written above; for the rest there is no word
            case _:
                assert_never(event)

    def _prepare(self, started: Started) -> None:
        self._started = started
        head = json_text.encode({"model": started.model, "created_at": utc_timestamp(started.created_ns)})[:-1]
        if self._chat:
            self._open = head + b',"message":{"role":"assistant","content":'
            self._close = b'},"done":false}'
        else:
            self._open = head + b',"response":'
            self._close = b',"done":false}'
        self._between = self._close + JSON_LINES.between + self._open

    def _end(self, ended: Ended, records: list[bytes]) -> None:
        if ended.ending in FINISHED:
            if calls := tool_calls(self._answer.choices[0].tool_calls):
                records.append(self._open + b'"","tool_calls":' + json_text.encode(calls) + self._close)
            self._answer.ended = ended
            records.append(json_text.encode(last_line(self._started, self._answer, said("", chat=self._chat))))
            return
        assert ended.failure is not None
        if ended.ending == "cancelled" and self._started is not None:
            line = last_line(self._started, Answer(ended=ended), said("", chat=self._chat))
            records.append(json_text.encode({**line, "error": ended.failure.message}))
        else:
            records.append(json_text.encode({"error": ended.failure.message, "code": ended.failure.code}))


def whole(events: Sequence[Event], options: ReaderOptions, *, chat: bool) -> bytes:
    """An answer that ended well as one object."""
    answer = fold(events)
    words = said(answer.text, chat=chat)
    inner = words["message"] if chat else words
    if answer.reasoning and options.rationale:
        inner["thinking"] = answer.reasoning
    if calls := tool_calls(answer.choices[0].tool_calls):
        inner["tool_calls"] = calls
    return json_text.encode(last_line(answer.started, answer, words))


def loaded(request: GenerationRequest, unix_ns: int, *, chat: bool) -> bytes:
    """The answer to a request that only wants a model to be loaded, or to be unloaded: one line, nothing generated."""
    # What reading has accepted as JSON can be decoded.
    keep_alive = msgspec.json.decode(request.foreign.get(FAMILY, {}).get("keep_alive", b"null"))
    return json_text.encode(
        {
            "model": request.model,
            "created_at": utc_timestamp(unix_ns),
            **said("", chat=chat),
            "done": True,
            "done_reason": "unload" if keep_alive in (0, "0", "0s") and keep_alive is not False else "load",
        }
    )


def error_text(error: HeadraceError | Ended) -> bytes:
    """An error before anything was sent: text, since Ollama's Python client cannot read an object there."""
    failure = error.failure if isinstance(error, Ended) else error.failure()
    assert failure is not None
    return json_text.encode({"error": failure.message, "code": failure.code})


def said(text: str, *, chat: bool) -> dict[str, Any]:
    """The part of a line that holds what is said."""
    return {"message": {"role": "assistant", "content": text}} if chat else {"response": text}


def tool_calls(calls: Mapping[int, ToolCall]) -> list[dict[str, Any]]:
    """Whole tool calls as Ollama writes them."""
    return [
        {"id": call.id, "function": {"index": index, "name": call.name, "arguments": _object("".join(call.arguments))}}
        for index, call in sorted(calls.items())
    ]


def last_line(started: Started | None, answer: Answer, words: Mapping[str, Any]) -> dict[str, Any]:
    """The line that ends an answer, with what it took: tokens, and nanoseconds."""
    assert started is not None
    assert answer.ended is not None
    timing, usage = answer.ended.timing, answer.usage
    line: dict[str, Any] = {
        "model": started.model,
        "created_at": utc_timestamp(started.created_ns + (0 if timing is None else timing.total_ns)),
        **words,
        "done": True,
        "done_reason": _done_reason(answer.ended.ending),
    }
    if timing is not None:
        first_token = timing.time_to_first_token_ns or 0
        line["total_duration"] = timing.total_ns
        # What the model did before its first token, and after it, as far as it can be told from here.
        line["prompt_eval_duration"] = first_token
        line["eval_duration"] = max(0, timing.total_ns - first_token - (timing.queue_ns or 0))
    if usage is not None:
        line["prompt_eval_count"] = usage.prompt_tokens
        line["eval_count"] = usage.completion_tokens
    if extras := extras_object(answer.sources, usage):
        line["headrace"] = extras
    return line


def _done_reason(ending: Ending) -> str:
    # Ollama says `stop` after tool calls. Of a content filter it knows nothing; its clients take any text here.
    return "stop" if ending in ("tool_calls", "cancelled") else ending


def _object(arguments: str) -> Any:
    """Arguments as the object that Ollama's clients insist on; what is none is kept under a name of our own."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        value = arguments
    return value if isinstance(value, dict) else {"headrace_arguments": value}
