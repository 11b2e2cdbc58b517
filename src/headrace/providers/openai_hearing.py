"""Hearing an OpenAI-compatible upstream: the bytes of its answer become events.

Pure: bytes in, events out, at any cutting of the bytes. `headrace.providers.openai` owns the connection.
An answer ends with the upstream's finish reason and with nothing else: a bare `[DONE]` or the end of the bytes
without one raises `UpstreamTruncated`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamTruncated
from headrace.events import (
    Ended,
    Ending,
    Event,
    Passthrough,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.usage import reported
from headrace.wire import json_text
from headrace.wire.chunk_template import ChunkTemplate
from headrace.wire.openai_chat import Choice, ChunkUsage, PlainChoice, decode, decode_plain
from headrace.wire.sse import DataParser, EventTooLarge

# Finish reasons beyond OpenAI's own four. `None`: the upstream says itself that it did not finish.
_ENDINGS: dict[str, Ending | None] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",  # OpenAI before November 2023
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "error": None,  # OpenRouter, Mistral
    "abort": None,  # vLLM, when its engine drops the request
    "cancelled": None,
    "insufficient_system_resource": None,  # DeepSeek
}

_DELTA_KEYS = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "reasoning_content", "reasoning"})

# How often a template is learned in one answer. Some upstreams write the second into each chunk, so that one lasts for a
# second; others a new id, and it is never of use.
LESSONS = 64

_Kind: TypeAlias = Literal["text", "reasoning"]


class Hearing:
    """One answer. Feed it what arrives; `finish` at the end of the bytes.

    Args:
        upstream: its name, for errors and usage.
        choices: how many answers were asked for at once (`n`).
        secret: the upstream's key, removed from whatever it says.
    """

    def __init__(self, upstream: str, *, choices: int = 1, secret: str | None = None) -> None:
        self._upstream = upstream
        self._secret = secret
        self._parser = DataParser()
        # Whether the last piece was plain text, so that the next is likely to be: reasoning and tool calls
        # would otherwise pay for a decoding in vain each time.
        self._plain = True
        self._template: ChunkTemplate | None = None
        self._lessons = LESSONS
        self._asked_choices = choices
        self._choices = {0}
        self._endings: dict[int, Ending] = {}
        self._calls: dict[int, _Calls] = {}
        # The first half of a character whose second half has not come yet.
        self._halves: dict[tuple[_Kind, int], str] = {}
        self.done = False
        """`[DONE]` was heard: nothing more is expected."""
        self.failure: UpstreamError | None = None
        """What went wrong in the last bytes fed, after the events that `feed` gave of them."""

    @property
    def finished(self) -> bool:
        """Whether every choice asked for has its finish reason; usage may still come."""
        return len(self._endings) >= self._asked_choices

    def feed(self, pieces: Sequence[bytes]) -> Sequence[Event]:
        """The events in `pieces`, which may be cut anywhere. Look at `failure` after it."""
        events: list[Event] = []
        place = 0
        try:
            while place < len(pieces) and self.failure is None:
                if self._template is not None and self._parser.at_boundary:
                    # The hot path: more of the text that came before, a piece an event.
                    if texts := self._template.texts(pieces, place):
                        choice = self._template.choice
                        events += [TextDelta(text, choice) for text in texts if text]
                        place += len(texts)
                        continue
                self._hear_events(self._parser.feed(pieces[place]), events)
                place += 1
        except EventTooLarge as error:
            self.failure = UpstreamMalformed(f"{self._upstream}: {error}", upstream=self._upstream)
        return events

    def hear_whole(self, payload: bytes) -> Sequence[Event]:
        """The events of an answer that came in one piece, though a stream was asked for. Look at `failure` after it."""
        events: list[Event] = []
        self._hear(payload, events)
        return events

    def finish(self) -> tuple[Sequence[Event], Ended]:
        """The last events and the ending, at the end of the bytes.

        Raises:
            UpstreamTruncated: there was no finish reason.
        """
        events: list[Event] = []
        if not self.finished and self._parser.pending:
            # An upstream that leaves out the last blank line has said its last chunk all the same, if it is a chunk.
            self._hear_events(self._parser.feed(b"\n\n"), events)
        if not self._endings or not self._choices <= self._endings.keys():
            raise UpstreamTruncated(
                f"{self._upstream} stopped without a finish reason: its answer may be half of what it meant to say",
                upstream=self._upstream,
            )
        events += [_delta(kind, "\ufffd", choice) for kind, choice in self._halves]
        self._halves.clear()
        several = tuple(sorted(self._endings.items())) if len(self._endings) > 1 else ()
        return events, Ended(self._endings[min(self._endings)], choices=several)

    def _hear_events(self, payloads: list[bytes], events: list[Event]) -> None:
        types = self._parser.types
        if payloads and payloads[-1] == b"[DONE]":
            self.done = True
            payloads.pop()
        plain: tuple[bytes, PlainChoice] | None = None
        for place, payload in enumerate(payloads):
            if types.get(place) == "error":
                self.failure = refused(self._upstream, None, _json_or_text(payload), secret=self._secret)
            elif payload and self._plain and (choice := _plain_choice(payload)) is not None:
                self._choices.add(choice.index)
                if choice.delta.content:
                    events.append(TextDelta(choice.delta.content, choice.index))
                    plain = (payload, choice)
            elif payload:
                self._hear(payload, events)
            if self.failure is not None:
                return
        if plain is None:
            return
        # A single delta teaches nothing that would be of use: the second one does.
        if self._lessons < LESSONS and self._lessons:
            payload, choice = plain
            self._template = ChunkTemplate.learned(payload, choice.delta.content, choice.index)
        self._lessons = max(0, self._lessons - 1)

    def _hear(self, payload: bytes, events: list[Event]) -> None:
        try:
            chunk = decode(payload)
        except ValueError as error:
            self.failure = UpstreamMalformed(
                f"{self._upstream} sent what is not a chunk ({error})", upstream=self._upstream
            )
            return
        said = chunk.error if chunk.x_groq is None else chunk.error or chunk.x_groq.error
        if said is not None:
            self.failure = refused(self._upstream, None, said, secret=self._secret)
            return
        for choice in chunk.choices or ():
            self._hear_choice(choice, events)
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq is not None else None)
        if usage is not None and (known := usage_known(usage, self._upstream)) is not None:
            events.append(known)

    def _hear_choice(self, choice: Choice, events: list[Event]) -> None:
        index = choice.index
        self._choices.add(index)
        delta = choice.delta if choice.delta is not None else choice.message or {}
        before = len(events)
        if reasoning := _reasoning_text(delta):
            self._say("reasoning", reasoning, index, events)
        if isinstance(content := delta.get("content"), str) and content:
            self._say("text", content, index, events)
        for call in delta.get("tool_calls") or ():
            event = self._calls.setdefault(index, _Calls()).hear(call, index)
            if event is not None:
                events.append(event)
        self._plain = len(events) == before or (type(events[-1]) is TextDelta and not self._halves)
        fields, delta_fields = _extras(choice, delta)
        if fields or delta_fields:
            events.append(Passthrough("openai_chat", fields, delta_fields, index))
        if choice.finish_reason is None:
            return
        ending = _ENDINGS.get(choice.finish_reason, "stop")
        if ending is not None:
            self._endings[index] = ending
            return
        self.failure = UpstreamRefused(
            f"{self._upstream} gave up in the middle of its answer (finish reason {choice.finish_reason!r})",
            upstream=self._upstream,
            upstream_code=choice.finish_reason,
        )

    def _say(self, kind: _Kind, text: str, choice: int, events: list[Event]) -> None:
        key = (kind, choice)
        half = self._halves.pop(key, "")
        if half or not text.isascii():
            text = half + text
            if "\ud800" <= text[-1] <= "\udbff":
                self._halves[key] = text[-1]
                self._template = None
                text = text[:-1]
            # Put pairs together that were escaped as two; what stays single is no character.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if text:
            events.append(_delta(kind, text, choice))


class _Calls:
    """The tool calls of one choice: which piece belongs to which, by id, then index, then position (L37)."""

    def __init__(self) -> None:
        self._by_index: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._count = 0

    def hear(self, call: Any, choice: int) -> ToolCallDelta | None:
        """One piece as an event; `None` where it says nothing."""
        if not isinstance(call, dict):
            return None
        function = call.get("function") or {}
        identifier, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
        if isinstance(arguments, dict):  # Ollama's /v1 before 0.5 and some shims
            arguments = json_text.encode(arguments).decode()
        index, new = self._place(identifier, call.get("index"))
        arguments = arguments if isinstance(arguments, str) else ""
        if not new and not arguments:
            return None
        return ToolCallDelta(
            index,
            id=(identifier or f"call_{choice}_{index}") if new else None,
            name=name if new else None,
            arguments=arguments,
            choice=choice,
        )

    def _place(self, identifier: Any, index: Any) -> tuple[int, bool]:
        if isinstance(identifier, str) and identifier:
            if identifier in self._by_id:
                return self._by_id[identifier], False
        elif isinstance(index, int) and index in self._by_index:
            return self._by_index[index], False
        elif not isinstance(index, int) and self._count:
            return self._count - 1, False
        place = self._count
        self._count += 1
        if isinstance(identifier, str) and identifier:
            self._by_id[identifier] = place
        if isinstance(index, int):
            self._by_index[index] = place
        return place, True


def usage_known(usage: ChunkUsage, upstream: str) -> UsageKnown | None:
    """Usage as an event; `None` where the numbers are missing."""
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return UsageKnown(
        reported(
            usage.prompt_tokens or 0,
            usage.completion_tokens or 0,
            by=upstream,
            cached_tokens=prompt.cached_tokens if prompt is not None else usage.prompt_cache_hit_tokens,
            reasoning_tokens=completion.reasoning_tokens if completion is not None else None,
        )
    )


def refused(
    upstream: str,
    status: int | None,
    error: Any,
    *,
    retry_after_seconds: float | None = None,
    secret: str | None = None,
) -> UpstreamRefused:
    """What an upstream gave as an error, in any of the shapes they use: text, an object, or an object in an object."""
    if isinstance(error, dict) and "error" in error:
        error = error["error"]
    code = None
    if isinstance(error, dict):
        code = error.get("code") or error.get("type")
        message = error.get("message") or error.get("detail") or json_text.encode(error).decode()
        if status is None and isinstance(error.get("code"), int):
            status = error["code"]
        elif status is None and isinstance(error.get("status_code"), int):
            status = error["status_code"]
    else:
        message = str(error)
    said = without_secrets(str(message).strip()[:500], secret)
    first = f"{upstream} answered {status}" if status is not None else f"{upstream} sent an error"
    return UpstreamRefused(
        f"{first}: {said}" if said else first,
        upstream=upstream,
        status=status,
        upstream_code=None if code is None else without_secrets(str(code)[:100], secret),
        retry_after_seconds=retry_after_seconds,
    )


def _plain_choice(payload: bytes) -> PlainChoice | None:
    """The choice of a chunk that is one piece of text and nothing else; `None` for any other."""
    if b'"delta":{}' in payload or b'"choices":[]' in payload:
        return None  # the last chunks, as most upstreams write them: known without the cost of a failed decoding
    try:
        return decode_plain(payload).choices[0]
    except msgspec.DecodeError:
        return None


def _json_or_text(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload.decode("utf-8", "replace")


# Keys as services write them: a short prefix and a long run of letters and digits.
_KEY = re.compile(r"\b(?:sk|gsk|pk|rk|xai|key|Bearer)[-_ ][A-Za-z0-9_\-*.]{8,}")


def without_secrets(text: str, secret: str | None) -> str:
    """`text` without the key it may hold: services like to repeat the key they refuse."""
    if secret:
        text = text.replace(secret, "***")
    return _KEY.sub("***", text)


def _delta(kind: _Kind, text: str, choice: int) -> Event:
    return TextDelta(text, choice) if kind == "text" else ReasoningDelta(text, choice)


def _reasoning_text(delta: dict[str, Any]) -> str:
    """`reasoning_content`, else `reasoning`, never both; either may be text, an object or a list of them (L38)."""
    value = delta.get("reasoning_content")
    if not value:
        value = delta.get("reasoning")
    return _text_of(value)


def _text_of(value: Any) -> str:
    match value:
        case str():
            return value
        case list():
            return "".join(map(_text_of, value))
        case dict():
            return _text_of(value.get("text") or value.get("content") or value.get("summary"))
        case _:
            return ""


def _extras(choice: Choice, delta: dict[str, Any]) -> tuple[dict[str, msgspec.Raw], dict[str, msgspec.Raw]]:
    fields = {}
    if choice.logprobs is not None:
        fields["logprobs"] = msgspec.Raw(json_text.encode(choice.logprobs))
    if choice.content_filter_results:
        fields["content_filter_results"] = msgspec.Raw(json_text.encode(choice.content_filter_results))
    others = {key: value for key, value in delta.items() if key not in _DELTA_KEYS and value is not None}
    if isinstance(delta.get("refusal"), str) and delta["refusal"]:
        others["refusal"] = delta["refusal"]
    return fields, {key: msgspec.Raw(json_text.encode(value)) for key, value in others.items()}
