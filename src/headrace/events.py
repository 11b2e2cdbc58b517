"""The events of a generation, and the table of which may follow which.

A generation is a sequence of events, numbered from 0 by its stream. The set is closed: a new event
is a new class here, a new row in `FOLLOWS`, and a new case wherever `assert_never` asks for one.
Vocabulary: imports only its neighbours on this floor; opens nothing, waits for nothing.
How a protocol spells an event is in `headrace.protocols`; who makes events, in `headrace.providers`.

The order, as a machine of four states:

    new ──Started──▶ waiting ──content──▶ speaking ──Ended──▶ ended
                        │  ▲ Status, Sources,   │ ▲ anything but Started
                        │  └ UsageKnown, …──────┘ └─────────────────────
                        └──────────────Ended──────────────────▶ ended

*Content* is text, reasoning or a tool call: what a person would be sorry to lose. The step from waiting
to speaking is the commit boundary: before it a failed attempt may be repeated unseen, after it never.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from headrace.timing import Timing
from headrace.usage import Usage

# `gc=False` throughout: frozen data that refers to nothing but data can be in no cycle, and the log of a busy server is
# long; the garbage collector need not walk through it.

Ending: TypeAlias = Literal[
    "stop", "length", "tool_calls", "content_filter", "cancelled", "incomplete", "interrupted", "error"
]
"""Why a stream closed. The first four are the upstream's own word; the others are ours."""

FINISHED: frozenset[str] = frozenset({"stop", "length", "tool_calls", "content_filter"})
"""Endings that an upstream gave by itself: the answer is as whole as its model made it."""

Phase: TypeAlias = Literal["searching", "loading", "waiting", "retrying", "failed_over", "continued", "trimmed"]


class Started(msgspec.Struct, frozen=True, gc=False, tag="started"):
    """The first event. Ids and times that protocols print come from here, so that they are equal for every reader."""

    stream_id: str
    model: str
    """The model as the reader asked for it."""
    created_ns: int
    """Wall time, nanoseconds since 1970 UTC."""
    language: str | None = None
    conversation_id: str | None = None


class Status(msgspec.Struct, frozen=True, gc=False, tag="status"):
    """A phase a person may want to know about while nothing is said yet, or when the upstream changes."""

    phase: Phase
    message: str
    origin: str | None = None
    """The upstream left, where there is one."""
    destination: str | None = None
    """The upstream gone to, where there is one."""
    offset: int | None = None
    """Of this event, where it stands at a seam: another attempt said the events after it."""


class Source(msgspec.Struct, frozen=True, gc=False):
    """One passage an answer rests on. `number` counts from 1 in the order used; the text cites it as [number]."""

    number: int
    id: str
    title: str
    passage: str
    score: float


class Sources(msgspec.Struct, frozen=True, gc=False, tag="sources"):
    """The passages found, numbered in the order used. A later `Sources` adds to the earlier ones."""

    sources: tuple[Source, ...]


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False, tag="reasoning"):
    """A piece of the model's reasoning, as the upstream cut it; never empty."""

    text: str
    choice: int = 0


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """A piece of the answer, as the upstream cut it; never empty, never half a character."""

    text: str
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False, tag="tool_call"):
    """A piece of a tool call. The first piece of a call carries `id` and `name`, later ones only `arguments`."""

    index: int
    """Which call of this choice, counted from 0 in the order the calls began."""
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    """A piece of the JSON text of the arguments."""
    choice: int = 0


class Passthrough(msgspec.Struct, frozen=True, gc=False, tag="passthrough"):
    """What an upstream sent that has no word here, kept as JSON for a protocol of the same family.

    For the family `openai_chat`, `fields` are keys of one choice (such as `logprobs`) and `delta_fields`
    keys of its delta (such as `audio`).
    """

    family: str
    fields: dict[str, msgspec.Raw] = {}
    delta_fields: dict[str, msgspec.Raw] = {}
    choice: int = 0


class UsageKnown(msgspec.Struct, frozen=True, gc=False, tag="usage"):
    """The tokens of this generation so far. A later one replaces an earlier one."""

    usage: Usage


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a stream did not end well, in words that may be shown to its readers."""

    code: str
    """Stable, from `headrace.errors`."""
    message: str
    http_status: int
    """What a reader is answered when nothing was sent yet."""
    retryable: bool = False
    retry_after_seconds: float | None = None
    upstream: str | None = None
    upstream_status: int | None = None
    """HTTP status the upstream answered with, untouched."""
    upstream_code: str | None = None


class Ended(msgspec.Struct, frozen=True, gc=False, tag="ended"):
    """The last event, exactly one in every stream, whatever happened."""

    ending: Ending
    failure: Failure | None = None
    """Present unless the upstream finished by itself."""
    timing: Timing | None = None
    choices: tuple[tuple[int, Ending], ...] = ()
    """Each choice's own ending where there are several; empty for a single choice."""


Event: TypeAlias = (
    Started | Status | Sources | ReasoningDelta | TextDelta | ToolCallDelta | Passthrough | UsageKnown | Ended
)

CONTENT: tuple[type[Event], ...] = (TextDelta, ReasoningDelta, ToolCallDelta)
"""The events that cross the commit boundary."""

State: TypeAlias = Literal["new", "waiting", "speaking", "ended"]

_AROUND: tuple[type[Event], ...] = (Status, Sources, Passthrough, UsageKnown)

FOLLOWS: dict[State, dict[type[Event], State]] = {
    "new": {Started: "waiting"},
    "waiting": {**dict.fromkeys(_AROUND, "waiting"), **dict.fromkeys(CONTENT, "speaking"), Ended: "ended"},
    "speaking": {**dict.fromkeys(_AROUND, "speaking"), **dict.fromkeys(CONTENT, "speaking"), Ended: "ended"},
    "ended": {},
}
"""State and kind of the next event → the state after it. What is missing is not allowed."""


def next_state(state: State, event: Event) -> State:
    """The state after `event`.

    Raises:
        ValueError: this event may not come here.
    """
    try:
        return FOLLOWS[state][type(event)]
    except KeyError:
        raise ValueError(f"a {type(event).__name__} may not follow in the state {state!r}") from None
