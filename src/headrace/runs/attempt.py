"""One attempt at one upstream: what is held back until it says something, and which of its timers has run out.

The commit boundary is crossed here. Until then what an attempt writes waits, so that one that fails leaves no trace;
after it a batch goes straight into the stream: `Attempt.write` is the hot path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from headrace.clock import Clock
from headrace.errors import Timer
from headrace.events import (
    CONTENT,
    Event,
    Passthrough,
    ReasoningDelta,
    Sources,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.interfaces import Batch, Stream
from headrace.requests import GenerationRequest, Timeouts
from headrace.runs.recovery import MOST_HELD_BYTES, MOST_HELD_CHUNKS
from headrace.runs.seam import Seam
from headrace.runs.upstreams import Candidate
from headrace.timing import Marks, TokenKind

WINDOW_SECONDS = 2.0
"""How long an upstream that has to say so many characters a second may take for its first ones (L29)."""


class Attempt:
    """One attempt of a run.

    Args:
        stream: what it writes into.
        candidate: the upstream that is asked, and its name of the model.
        request: what it is asked, under that name.
        timeouts: the timers it is asked under.
        clock: for its marks.
        seam: what it is held against, where it goes on with what another has said.
        least_per_second: the characters that its upstream has to say in a second while it begins; 0: any number.
        on_speaking: called once, before what it says first is shown; `None`: nobody needs to know.
    """

    __slots__ = (
        "_append",
        "_clock",
        "_held",
        "_held_bytes",
        "_held_characters",
        "_least",
        "_on_speaking",
        "_quiet_since_ns",
        "_seam",
        "_seen_length",
        "_stream",
        "candidate",
        "lost",
        "marks",
        "request",
        "speaking",
        "timeouts",
    )

    def __init__(
        self,
        stream: Stream,
        candidate: Candidate,
        request: GenerationRequest,
        timeouts: Timeouts,
        clock: Clock,
        seam: Seam | None = None,
        least_per_second: float = 0.0,
        on_speaking: Callable[[Attempt], None] | None = None,
    ) -> None:
        self.candidate = candidate
        self.request = request
        self.marks = Marks(clock.monotonic_ns())
        self.speaking = False
        """Whether it has shown something: the commit boundary lies behind it."""
        self.lost = False
        """Whether another attempt spoke first: what this one still says is not heard."""
        self.timeouts = timeouts
        self._on_speaking = on_speaking
        self._stream = stream
        self._append = stream.append
        self._clock = clock
        self._seam = seam
        # What waits for its first content.
        self._held: list[Event] = []
        self._held_bytes = 0
        # Words are held too, until there are as many as the first seconds have to bring.
        self._least = least_per_second * WINDOW_SECONDS
        self._held_characters = 0
        self._seen_length = 0
        self._quiet_since_ns = 0

    def write(self, batch: Batch) -> None:
        """Takes a batch of the provider's."""
        # The hot path: once something was said, a batch goes straight into the stream.
        if not self.speaking:
            batch = self._before_content(batch)
            if not batch:
                return
        self._append(batch)

    def finish(self) -> None:
        """Shows what is still held, once the provider has said how the attempt ended."""
        if self._seam is not None and not self.speaking and (rest := self._seam.finish()):
            self._append(self._commit((TextDelta(rest),)))
        if self._held:
            self._append(self._commit(()))

    def overdue(self, now_ns: int) -> Timer | Literal["too_slow"] | None:
        """The timer that has run out while the upstream is being asked; the total is the run's affair.

        `too_slow`: the first words came more slowly than they have to.
        """
        timeouts, marks = self.timeouts, self.marks
        if self.speaking:
            length = self._stream.length
            if length != self._seen_length:
                self._seen_length = length
                self._quiet_since_ns = now_ns
            return "between_tokens" if over(now_ns - self._quiet_since_ns, timeouts.between_tokens) else None
        if marks.connected_ns is None and over(now_ns - marks.asked_ns, timeouts.connect):
            return "connect"
        if marks.first_token_ns is not None:
            return "too_slow" if over(now_ns - marks.first_token_ns, WINDOW_SECONDS) else None
        # A whole answer has no first token before its last: for it there is only the total.
        if self.request.stream and over(now_ns - marks.asked_ns, timeouts.first_token):
            return "first_token"
        return None

    def _before_content(self, batch: Batch) -> Batch:
        """What of a batch may be shown before the commit boundary; crosses it with the first content.

        Events that belong to an attempt rather than to the answer wait, so that a repeated attempt leaves no trace.
        """
        if self.lost:
            return ()
        if self._seam is not None:
            batch = _past(self._seam, batch)
        for event in batch:
            if isinstance(event, CONTENT):
                if self.marks.first_token_ns is None:
                    self.marks.first_token_ns = self._clock.monotonic_ns()
                    self.marks.first_token_kind = _KINDS[type(event)]
                if self._least:
                    self._held_characters += _characters_of(batch)
                if self._held_characters >= self._least:
                    return self._commit(batch)
                return self._hold(batch, [each for each in batch if not isinstance(each, Status | Sources)])
        # Of two attempts at once, one's sources may turn out to be no part of the answer.
        held = _HELD if self._on_speaking is None else _HELD_OF_ONE
        return self._hold(batch, [event for event in batch if isinstance(event, held)])

    def _hold(self, batch: Batch, held: Sequence[Event]) -> Batch:
        """Holds a part of a batch, and gives the rest; past the bounds, all that was held is given."""
        if not held:
            return batch
        self._held_bytes += sum(map(_bytes_of, held))
        if len(self._held) + len(held) > MOST_HELD_CHUNKS or self._held_bytes > MOST_HELD_BYTES:
            return self._commit(batch)
        self._held.extend(held)
        return [event for event in batch if event not in held] if len(held) < len(batch) else []

    def _commit(self, batch: Batch) -> Batch:
        self.speaking = True
        if self._on_speaking is not None:
            self._on_speaking(self)
        self._quiet_since_ns = self._clock.monotonic_ns()
        return [*self._take_held(), *batch]

    def _take_held(self) -> list[Event]:
        held, self._held = self._held, []
        return held


_HELD = (Passthrough, UsageKnown)
_HELD_OF_ONE = (Passthrough, UsageKnown, Sources)
_KINDS: dict[type[Event], TokenKind] = {TextDelta: "text", ReasoningDelta: "reasoning", ToolCallDelta: "tool_call"}


def over(elapsed_ns: int, limit_seconds: float | None) -> bool:
    """Whether more time has passed than a timer allows; 0 is no limit."""
    return limit_seconds is not None and 0 < limit_seconds * 1e9 < elapsed_ns


def _past(seam: Seam, batch: Batch) -> Batch:
    """What of a batch is no repetition of what was said before."""
    new: list[Event] = []
    for event in batch:
        match event:
            case TextDelta():
                if text := seam.feed(event.text):
                    new.append(TextDelta(text, event.choice))
            case ReasoningDelta() | ToolCallDelta() if rest := seam.finish():
                new += [TextDelta(rest), event]
            case _:
                new.append(event)
    return new


def _characters_of(batch: Batch) -> int:
    texts = (getattr(event, "text", "") or getattr(event, "arguments", "") for event in batch)
    return sum(map(len, texts))


def _bytes_of(event: Event) -> int:
    if not isinstance(event, Passthrough):
        return _characters_of((event,))
    return sum(len(bytes(value)) for fields in (event.fields, event.delta_fields) for value in fields.values())
