"""Hearing an OpenAI-compatible upstream: the bytes of its answer become events.

Pure: bytes in, events out, the same at any cutting of the bytes. `headrace.providers.openai` owns the connection.
An answer ends with the upstream's finish reason and with nothing else: after a bare `[DONE]` or the end of the bytes
without one, the failure is `UpstreamTruncated`. Once the answer has ended, nothing can spoil it.
May import floors 0 to 2 and its own room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamTruncated
from headrace.events import Ended, Ending, Event, Passthrough, ReasoningDelta, TextDelta, UsageKnown
from headrace.providers.openai_refusals import json_or_text, refused, without_secrets
from headrace.providers.tool_calls import ToolCalls
from headrace.usage import reported
from headrace.wire import json_text
from headrace.wire.chunk_template import ChunkTemplate
from headrace.wire.openai_chat import Choice, Chunk, ChunkUsage, PlainChoice, decode, decode_plain
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

# How often a template is learned in one answer. Some upstreams write the second into each chunk, so that one lasts for
# a second; others a new id, and it is never of use.
LESSONS = 64

_Kind: TypeAlias = Literal["text", "reasoning"]


class Hearing:
    """One answer. Feed it what arrives, then `finish`; look at `failure` after each; `ended` is how it ended.

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
        self._choices: set[int] = set()
        self._endings: dict[int, Ending] = {}
        self._calls: dict[int, ToolCalls] = {}
        # The first half of a character whose second half has not come yet.
        self._halves: dict[tuple[_Kind, int], str] = {}
        self.done = False
        """Nothing more is expected: `[DONE]` was heard, or nonsense after the end of the answer."""
        self.failure: UpstreamError | None = None
        """What went wrong in the last bytes fed, after the events that `feed` gave of them."""

    @property
    def finished(self) -> bool:
        """Whether every choice asked for has its finish reason; usage may still come."""
        return len(self._endings) >= self._asked_choices

    def feed(self, pieces: Sequence[bytes]) -> Sequence[Event]:
        """The events in `pieces`, which may be cut anywhere. What follows `[DONE]` is not heard."""
        events: list[Event] = []
        place = 0
        try:
            while place < len(pieces) and self.failure is None and not self.done:
                # The hot path: more of the text that came before, a piece an event.
                template = self._template
                if template is not None and self._parser.at_boundary and (texts := template.texts(pieces, place)):
                    choice = template.choice
                    events += [TextDelta(text, choice) for text in texts if text]
                    place += len(texts)
                    continue
                self._hear_events(self._parser.feed(pieces[place]), events)
                place += 1
        except EventTooLarge as error:
            self.failure = UpstreamMalformed(f"{self._upstream}: {error}", upstream=self._upstream)
        if self.failure is not None and self.finished:
            self.failure, self.done = None, True
        return events

    def hear_whole(self, payload: bytes) -> Sequence[Event]:
        """The events of an answer that came in one piece."""
        events: list[Event] = []
        chunk = self._hear(payload, events)
        if chunk is not None and chunk.choices is None and self.failure is None:
            said = without_secrets(payload.decode("utf-8", "replace"), self._secret)[:200]
            self.failure = UpstreamMalformed(
                f"{self._upstream} answered with JSON that is no answer: {said}", upstream=self._upstream
            )
        return events

    def finish(self) -> Sequence[Event]:
        """The last events, at the end of the bytes. A `failure` unless the upstream itself has ended its answer."""
        events: list[Event] = []
        if not self.finished and not self.done and self._parser.pending:
            # An upstream that leaves out the last blank line has said its last chunk all the same, if it is a chunk.
            self._hear_events(self._parser.feed(b"\n\n"), events)
        events += [_delta(kind, "\ufffd", choice) for kind, choice in self._halves]
        self._halves.clear()
        cut = not self._endings or not self._choices <= self._endings.keys()
        if cut and not isinstance(self.failure, UpstreamRefused):
            self.failure = UpstreamTruncated(
                f"{self._upstream} stopped without a finish reason: its answer may be half of what it meant to say",
                upstream=self._upstream,
            )
        for choice, calls in self._calls.items():
            well = self._endings.get(choice) in ("stop", "tool_calls")
            events += calls.finish(well=well)
            if well and self.failure is None and (name := calls.unfinished()) is not None:
                self.failure = UpstreamMalformed(
                    f"{self._upstream} ended its call of the tool {name[:100]!r} with arguments that are not JSON",
                    upstream=self._upstream,
                )
        return events

    def ended(self) -> Ended:
        """How the answer ended, once it is finished without a failure."""
        several = tuple(sorted(self._endings.items())) if len(self._endings) > 1 else ()
        return Ended(self._endings[min(self._endings)], choices=several)

    def _hear_events(self, payloads: list[bytes], events: list[Event]) -> None:
        types = self._parser.types
        plain: tuple[bytes, PlainChoice] | None = None
        for place, payload in enumerate(payloads):
            if types.get(place) == "error":
                self.failure = refused(self._upstream, None, json_or_text(payload), secret=self._secret)
            elif self._plain and (choice := _plain_choice(payload)) is not None:
                self._choices.add(choice.index)
                if choice.delta.content:
                    events.append(TextDelta(choice.delta.content, choice.index))
                    plain = (payload, choice)
            elif (bare := payload.strip()) == b"[DONE]":
                self.done = True
                return
            elif bare:
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

    def _hear(self, payload: bytes, events: list[Event]) -> Chunk | None:
        try:
            chunk = decode(payload)
        except ValueError as error:
            self.failure = UpstreamMalformed(
                f"{self._upstream} sent what is not a chunk ({error})", upstream=self._upstream
            )
            return None
        if said := chunk.said_error():
            self.failure = refused(self._upstream, None, said, secret=self._secret)
            return chunk
        for choice in chunk.choices or ():
            self._hear_choice(choice, events)
        if (usage := chunk.said_usage()) is not None and (known := usage_known(usage, self._upstream)) is not None:
            events.append(known)
        return chunk

    def _hear_choice(self, choice: Choice, events: list[Event]) -> None:
        index = choice.index or 0
        self._choices.add(index)
        delta = choice.delta if choice.delta is not None else choice.message or {}
        before = len(events)
        if reasoning := _reasoning_text(delta):
            self._say("reasoning", reasoning, index, events)
        content = delta.get("content")
        for part in content if isinstance(content, list) else (content,):
            self._hear_part(part, index, events)
        calls = delta.get("tool_calls")
        calls = [call for call in calls if not _is_custom(call)] if isinstance(calls, list) else []
        if isinstance(called := delta.get("function_call"), dict):  # OpenAI before November 2023
            calls = [*calls, {"index": 0, "function": called}]
        if calls:
            events += self._calls.setdefault(index, ToolCalls(index)).hear(calls)
        self._plain = not self._halves and (len(events) == before or type(events[-1]) is TextDelta)
        fields, delta_fields = _extras(choice, delta)
        if fields or delta_fields:
            events.append(Passthrough("openai_chat", fields, delta_fields, index))
        if not choice.finish_reason:  # some write "" where others write null
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

    def _hear_part(self, part: Any, choice: int, events: list[Event]) -> None:
        # Text, or one of Mistral's list of parts, in which reasoning has a type of its own.
        if isinstance(part, dict):
            if part.get("type") in ("thinking", "reasoning"):
                if reasoning := _text_of(part):
                    self._say("reasoning", reasoning, choice, events)
                return
            part = part.get("text")
        if isinstance(part, str) and part:
            self._say("text", part, choice, events)

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


def _plain_choice(payload: bytes) -> PlainChoice | None:
    """The choice of a chunk that is one piece of text and nothing else; `None` for any other."""
    if b'"delta":{}' in payload or b'"choices":[]' in payload:
        return None  # the last chunks, as most upstreams write them: known without the cost of a failed decoding
    try:
        return decode_plain(payload).choices[0]
    except (ValueError, RecursionError):  # broken UTF-8 is a ValueError of its own
        return None


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
            return _text_of(value.get("text") or value.get("content") or value.get("thinking") or value.get("summary"))
        case _:
            return ""


def _is_custom(call: Any) -> bool:
    return isinstance(call, dict) and "custom" in call


def _extras(choice: Choice, delta: dict[str, Any]) -> tuple[dict[str, msgspec.Raw], dict[str, msgspec.Raw]]:
    fields = {}
    if choice.logprobs is not None:
        fields["logprobs"] = msgspec.Raw(json_text.encode(choice.logprobs))
    if choice.content_filter_results:
        fields["content_filter_results"] = msgspec.Raw(json_text.encode(choice.content_filter_results))
    others = {key: value for key, value in delta.items() if key not in _DELTA_KEYS and value is not None}
    if isinstance(delta.get("refusal"), str) and delta["refusal"]:
        others["refusal"] = delta["refusal"]
    # Calls of tools whose input is no JSON (OpenAI since August 2025): they have no `function`, and no word here.
    if isinstance(calls := delta.get("tool_calls"), list) and (customs := [each for each in calls if _is_custom(each)]):
        others["tool_calls"] = customs
    return fields, {key: msgspec.Raw(json_text.encode(value)) for key, value in others.items()}
