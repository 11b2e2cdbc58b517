"""The whole answer as a fold over the events: what every protocol's unstreamed form, and a client's, is made of.

Vocabulary: imports only its neighbours on this floor. The same events give the same answer whether they came live or
were read back years later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from headrace.events import (
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
from headrace.usage import Usage


@dataclass(slots=True)
class ToolCall:
    """One tool call, put together."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Choice:
    """One of the answers asked for."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: dict[int, ToolCall] = field(default_factory=dict)
    fields: dict[str, list[msgspec.Raw]] = field(default_factory=dict)
    """What was passed through for this choice, in the order it came."""
    message_fields: dict[str, list[msgspec.Raw]] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """Everything said so far. `choices` has an entry for each choice that said something or ended, always one for 0."""

    started: Started | None = None
    choices: dict[int, Choice] = field(default_factory=lambda: {0: Choice()})
    sources: list[Source] = field(default_factory=list)
    usage: Usage | None = None
    ended: Ended | None = None

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return "".join(self.choices[0].text)

    @property
    def reasoning(self) -> str:
        """The reasoning of the first choice."""
        return "".join(self.choices[0].reasoning)

    def choice(self, index: int) -> Choice:
        """The choice of that index."""
        # Not `setdefault`: it would make a choice for each delta, to throw it away.
        choice = self.choices.get(index)
        if choice is None:
            choice = self.choices[index] = Choice()
        return choice

    def ending_of(self, index: int) -> str:
        """Why that choice closed."""
        assert self.ended is not None
        for each, ending in self.ended.choices:
            if each == index:
                return ending
        return self.ended.ending

    def feed(self, event: Event) -> None:
        """Takes in the next event."""
        match event:
            case TextDelta():
                self.choice(event.choice).text.append(event.text)
            case ReasoningDelta():
                self.choice(event.choice).reasoning.append(event.text)
            case ToolCallDelta():
                call = self.choice(event.choice).tool_calls.setdefault(event.index, ToolCall())
                call.id = event.id or call.id
                call.name = event.name or call.name
                call.arguments.append(event.arguments)
            case Started():
                self.started = event
            case Sources():
                self.sources.extend(event.sources)
            case Passthrough():
                choice = self.choice(event.choice)
                for kept, given in ((choice.fields, event.fields), (choice.message_fields, event.delta_fields)):
                    for key, value in given.items():
                        kept.setdefault(key, []).append(value)
            case UsageKnown():
                self.usage = event.usage
            case Ended():
                self.ended = event
                for index, _ in event.choices:
                    self.choice(index)
            case Status():
                pass  # a phase is over when the answer is whole
            case _:
                assert_never(event)


def fold(events: Iterable[Event]) -> Answer:
    """The answer that `events` say."""
    answer = Answer()
    for event in events:
        answer.feed(event)
    return answer
