"""What stands for the beginning of a shortened stream says what its events said, in fewer of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headrace.events import Event, ReasoningDelta, Started, TextDelta, ToolCallDelta
from headrace.folding import fold
from headrace.streams.joining import joined
from headrace.testing.generations import GENERATIONS

STARTED = Started("s", "m", 0)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([STARTED, TextDelta("a"), TextDelta("b"), TextDelta("c")], [STARTED, TextDelta("abc")]),
        ([ReasoningDelta("a"), ReasoningDelta("b"), TextDelta("c")], [ReasoningDelta("ab"), TextDelta("c")]),
        ([TextDelta("a"), ReasoningDelta("b"), TextDelta("c")], [TextDelta("a"), ReasoningDelta("b"), TextDelta("c")]),
        ([TextDelta("a"), TextDelta("b", 1), TextDelta("c", 1)], [TextDelta("a"), TextDelta("bc", 1)]),
        (
            [ToolCallDelta(0, "x", "f", "{"), ToolCallDelta(0, arguments="}"), ToolCallDelta(1, "y", "g", "{}")],
            [ToolCallDelta(0, "x", "f", "{}"), ToolCallDelta(1, "y", "g", "{}")],
        ),
        (
            [ToolCallDelta(0, "x", "f", "{}"), ToolCallDelta(0, "y", "f", "{}")],
            [ToolCallDelta(0, "x", "f", "{}"), ToolCallDelta(0, "y", "f", "{}")],
        ),
    ],
)
def test_deltas_in_a_row_are_joined_and_nothing_else_is(events: Sequence[Event], expected: Sequence[Event]) -> None:
    assert joined(events) == expected


@pytest.mark.parametrize("name", GENERATIONS)
def test_what_is_joined_says_what_was_said_wherever_it_is_cut(name: str) -> None:
    events = GENERATIONS[name]

    def said(events: Sequence[Event]) -> object:
        answer = fold(events)
        calls = {
            index: {key: (call.id, call.name, "".join(call.arguments)) for key, call in choice.tool_calls.items()}
            for index, choice in answer.choices.items()
        }
        texts = {index: ("".join(each.text), "".join(each.reasoning)) for index, each in answer.choices.items()}
        passed = {index: (choice.fields, choice.message_fields) for index, choice in answer.choices.items()}
        return answer.started, answer.ended, answer.usage, answer.sources, texts, calls, passed

    for cut in range(len(events) + 1):
        assert said([*joined(events[:cut]), *events[cut:]]) == said(events)
        # Shortened twice is shortened once.
        assert joined([*joined(events[:cut]), *events[cut:]]) == joined(events)
