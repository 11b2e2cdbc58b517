"""Typed events as a headrace server writes them, back as events: the other half of `POST /chat/{assistant}`.

Pure: records in, events out. Unknown types are passed over, since the server may know more than we do. What the
frames do not carry is not made up: the offsets of events, and where a failure's numbers came from.
"""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import msgspec

from headrace.events import (
    Ended,
    Ending,
    Event,
    Failure,
    Phase,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.timing import Timing, TokenKind
from headrace.usage import Provenance, Usage


class _Source(msgspec.Struct):
    n: int
    id: str = ""
    title: str = ""
    passage: str = ""
    score: float = 0.0


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    source: Provenance = "estimated"
    prompt_source: Provenance | None = None
    completion_source: Provenance | None = None
    by: str = ""
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    may_have_gone_on: bool = False


class _Timing(msgspec.Struct):
    queue_ms: float | None = None
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None
    first_token_kind: TokenKind | None = None
    attempts: int = 1


class _Frame(msgspec.Struct):
    """The fields of all types together; what each has is in `reference/headrace-protocols.md`."""

    type: str
    content: str = ""
    timestamp: str = ""
    stream_id: str = ""
    model: str = ""
    language: str | None = None
    conversation_id: str | None = None
    phase: str = ""
    message: str = ""
    origin: str | None = msgspec.field(name="from", default=None)
    destination: str | None = msgspec.field(name="to", default=None)
    offset: int | None = None
    sources: list[_Source] = []
    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    finish_reason: str = "stop"
    usage: _Usage | None = None
    timing: _Timing | None = None
    code: str = ""
    ending: str = "error"


_decode = msgspec.json.Decoder(_Frame).decode


class Hearing:
    """Turns the records of one answer into events, one by one."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the last event was given."""
        self._ending: Ended | None = None
        self._timing: Timing | None = None

    def feed(self, record: str) -> list[Event]:
        """The events of one record; the ending comes with `[DONE]`, when all there is to know of it is known.

        Raises:
            msgspec.DecodeError: it is no typed event.
        """
        if record == "[DONE]":
            if self._ending is None:
                return []
            self.ended = True
            return [msgspec.structs.replace(self._ending, timing=self._timing)]
        try:
            frame = _decode(record)
        except RecursionError:
            raise msgspec.DecodeError("it is nested too deeply") from None
        match frame.type:
            case "start":
                created_ns = _unix_ns(frame.timestamp)
                return [Started(frame.stream_id, frame.model, created_ns, frame.language, frame.conversation_id)]
            case "status":
                return [Status(_phase(frame.phase), frame.message, frame.origin, frame.destination, frame.offset)]
            case "sources":
                return [Sources(tuple(Source(each.n, each.id, each.title, each.passage, each.score)
                                      for each in frame.sources))]  # fmt: skip
            case "token":
                return [TextDelta(frame.content)]
            case "rationale":
                return [ReasoningDelta(frame.content)]
            case "tool_call":
                return [ToolCallDelta(frame.index, frame.id, frame.name, frame.arguments)]
            case "metadata":
                self._timing = _timing(frame.timing)
                return [] if frame.usage is None else [UsageKnown(_usage(frame.usage))]
            case "done":
                self._ending = Ended(_ending(frame.finish_reason))
            case "error":
                self._ending = Ended(_ending(frame.ending), Failure(frame.code, frame.content, 500))
            case _:
                pass  # a type of a newer server
        return []


def _phase(text: str) -> Phase:
    return next((phase for phase in get_args(Phase) if phase == text), "waiting")


def _ending(text: str) -> Ending:
    return next((ending for ending in get_args(Ending) if ending == text), "error")


def _unix_ns(timestamp: str) -> int:
    try:
        return round(datetime.fromisoformat(timestamp).timestamp() * 1000) * 1_000_000
    except ValueError:
        return 0


def _usage(usage: _Usage) -> Usage:
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_source or usage.source,
        usage.completion_source or usage.source,
        usage.by,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.may_have_gone_on,
    )


def _timing(timing: _Timing | None) -> Timing | None:
    if timing is None or timing.total_ms is None:
        return None
    return Timing(
        total_ns=round(timing.total_ms * 1e6),
        queue_ns=_nanoseconds(timing.queue_ms),
        connect_ns=_nanoseconds(timing.connect_ms),
        first_byte_ns=_nanoseconds(timing.first_byte_ms),
        time_to_first_token_ns=_nanoseconds(timing.first_token_ms),
        first_token_kind=timing.first_token_kind,
        attempts=timing.attempts,
    )


def _nanoseconds(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds * 1e6)
