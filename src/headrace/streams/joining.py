"""What stands for the beginning of a stream that was shortened: its events, with the deltas in a row joined.

Pure. An event is never cut: a stream loses whole events, and what they said stays. Deltas are most of what a stream
takes, since each is an object of its own; joined, their text is all that is left of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.events import Event, ReasoningDelta, TextDelta, ToolCallDelta


def joined(events: Iterable[Event]) -> list[Event]:
    """The events, those deltas joined that follow each other and are of one kind, choice and call."""
    rows: list[list[Event]] = []
    for event in events:
        if rows and _continues(rows[-1][0], event):
            rows[-1].append(event)
        else:
            rows.append([event])
    return [_one(row) for row in rows]


def _continues(first: Event, event: Event) -> bool:
    match event:
        case TextDelta() | ReasoningDelta():
            return type(first) is type(event) and first.choice == event.choice
        case ToolCallDelta():
            # Of a call's pieces only the first has an id: one that has is the first of another.
            return (
                type(first) is ToolCallDelta
                and (first.choice, first.index) == (event.choice, event.index)
                and event.id is event.name is None
            )
        case _:
            return False


def _one(row: list[Event]) -> Event:
    match row[0]:
        case TextDelta() | ReasoningDelta() as first:
            return type(first)("".join([each.text for each in row if isinstance(each, type(first))]), first.choice)
        case ToolCallDelta() as first:
            arguments = "".join([each.arguments for each in row if isinstance(each, ToolCallDelta)])
            return ToolCallDelta(first.index, first.id, first.name, arguments, first.choice)
        case event:
            return event
