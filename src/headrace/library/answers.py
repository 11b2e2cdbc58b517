"""The shape in which every answer ends, streamed or not (row T1): a fold over the events of its stream.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.errors import HeadraceError
from headrace.events import Ending, Event, Failure, Source
from headrace.folding import fold
from headrace.timing import Timing
from headrace.usage import Usage


class ToolCall(msgspec.Struct, frozen=True):
    """One tool that the model wants to be called."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    text: str
    reasoning: str
    """What a reasoning model thought first; empty where it did not, or did not say."""
    tool_calls: tuple[ToolCall, ...]
    sources: tuple[Source, ...]
    """The passages it rests on, where it was answered from documents."""
    model: str
    """The model as it was asked for."""
    ending: Ending
    usage: Usage
    """Tokens in and out, and how they are known."""
    timing: Timing
    stream_id: str
    failure: Failure | None = None
    """Why it did not end well; `None` where it did."""


class GenerationFailed(HeadraceError):
    """The answer did not end well; what was said before is in `answer`, and why it ended in `answer.failure`."""

    code = "generation_failed"

    def __init__(self, answer: Answer, failure: Failure) -> None:
        super().__init__(failure.message, retry_after_seconds=failure.retry_after_seconds)
        self.answer = answer
        self._failure = failure

    def failure(self) -> Failure:
        """Why, with the code of what went wrong."""
        return self._failure


def answer_of(events: Iterable[Event]) -> Answer:
    """The answer that the events of an ended stream say."""
    whole = fold(events)
    started, usage, ended = whole.started, whole.usage, whole.ended
    # Every stream has these three, whatever happened to it: its run sees to that.
    assert started is not None
    assert usage is not None
    assert ended is not None
    assert ended.timing is not None
    calls = whole.choices[0].tool_calls
    return Answer(
        text=whole.text,
        reasoning=whole.reasoning,
        tool_calls=tuple(ToolCall(call.id, call.name, "".join(call.arguments)) for _, call in sorted(calls.items())),
        sources=tuple(whole.sources),
        model=started.model,
        ending=ended.ending,
        usage=usage,
        timing=ended.timing,
        stream_id=started.stream_id,
        failure=ended.failure,
    )
