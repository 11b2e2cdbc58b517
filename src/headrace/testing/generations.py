"""Generations to try things with: every kind of event, in every order that matters, and every ending.

May import floors 0 to 2. Each is a whole sequence, from `Started` to `Ended`, as a stream would hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from headrace.events import (
    Ended,
    Ending,
    Event,
    Failure,
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
from headrace.timing import Timing
from headrace.usage import Usage, reported

STARTED = Started("0123456789abcdef", "basic/model", 1_700_000_000_123_456_789, "en", "conversation-1")
TIMING = Timing(3_000_000_000, 1_000, 2_000_000, 3_000_000, 1_000_000_000, "text", 1)

AWKWARD_TEXTS = (
    "Hello",
    " ",
    "\n",
    "\r\n\r\n",
    "data: [DONE]\n\n",
    '"quotes" and \\backslashes\\',
    "天气预报",
    "طقس",
    "😀👩‍👩‍👧",
    "\u2028\u2029\x85",
    "\x00\x01\x1f\x7f",
    "</script>",
    "e\u0301",
)
"""Texts at which framings, escapes and readers go wrong."""

_SOURCE = Source(1, "handbook.md#2", "Handbook › Rest", "Rest is \n important.", 0.75)
_TOOL_CALL = (
    ToolCallDelta(0, "call_1", "look_up", '{"place":'),
    ToolCallDelta(1, "call_2", "tell_time"),
    ToolCallDelta(0, arguments=' "Lëns"}'),
    ToolCallDelta(1, arguments="{}"),
)


_FAILURES: Mapping[Ending, Failure] = MappingProxyType(
    {
        "cancelled": Failure("cancelled", "the answer was cancelled", 499),
        "interrupted": Failure("interrupted", "the server stopped", 503, retryable=True),
        "incomplete": Failure("upstream_truncated", "larch stopped in the middle", 502, True, upstream="larch"),
        "error": Failure(
            "upstream_rate_limited", "larch answered 429: \n slow down", 429, True, 2.5, "larch", 429, "rate_limit"
        ),
    }
)


def ended(ending: Ending = "stop") -> Ended:
    """The last event of a generation that closed so, with its failure where it has one."""
    return Ended(ending, _FAILURES.get(ending), TIMING)


ENDINGS: tuple[Ending, ...] = (
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "cancelled",
    "incomplete",
    "interrupted",
    "error",
)

GENERATIONS: Mapping[str, tuple[Event, ...]] = MappingProxyType(
    {
        "text": (STARTED, TextDelta("Hello"), TextDelta(" world"), UsageKnown(reported(3, 2, by="larch")), ended()),
        "nothing said": (STARTED, ended()),
        "awkward texts": (STARTED, *map(TextDelta, AWKWARD_TEXTS), ended()),
        "reasoning": (STARTED, *map(ReasoningDelta, AWKWARD_TEXTS), TextDelta("So."), ended("length")),
        "reasoning between": (STARTED, TextDelta("a"), ReasoningDelta("b"), TextDelta("c"), ended()),
        "sources": (
            STARTED,
            Status("searching", "searching the documents"),
            Sources((_SOURCE,)),
            TextDelta("Rest. [1]"),
            Sources((msgspec.structs.replace(_SOURCE, number=2, id="other"),)),
            TextDelta(" More. [2]"),
            UsageKnown(Usage(4, 5, "counted", "estimated", "headrace", 1, 2)),
            ended(),
        ),
        "tool calls": (STARTED, TextDelta("Let me see."), *_TOOL_CALL, ended("tool_calls")),
        "several choices": (
            STARTED,
            TextDelta("a"),
            TextDelta("b", 1),
            ReasoningDelta("c", 1),
            ToolCallDelta(0, "call_1", "f", "{}", 1),
            TextDelta("d"),
            Ended("stop", timing=TIMING, choices=((0, "stop"), (1, "tool_calls"))),
        ),
        "passed through": (
            STARTED,
            TextDelta("a"),
            Passthrough("openai_chat", {"logprobs": msgspec.Raw(b'{"content":[]}')}),
            Passthrough("openai_chat", delta_fields={"audio": msgspec.Raw(b'{"id":"x"}')}, choice=1),
            Passthrough("another family", {"x": msgspec.Raw(b"1")}),
            TextDelta("b"),
            ended(),
        ),
        "failed over": (
            STARTED,
            Status("failed_over", "larch did not answer", origin="larch", destination="birch"),
            UsageKnown(reported(1, 0, by="birch")),
            TextDelta("a"),
            UsageKnown(reported(1, 1, by="birch")),
            ended(),
        ),
        "without timing": (msgspec.structs.replace(STARTED, language=None), TextDelta("a"), Ended("stop")),
        **{f"ended: {ending}": (STARTED, TextDelta("some"), TextDelta(" text"), ended(ending)) for ending in ENDINGS},
        **{f"nothing, ended: {ending}": (STARTED, ended(ending)) for ending in ENDINGS},
    }
)
"""Each by a name for test reports."""
