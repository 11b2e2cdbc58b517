"""What is said on stderr beside an answer: phases, sources, statistics. Nothing here is needed to read the answer."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.cli.exits import say
from headrace.cli.printing import without_controls
from headrace.events import Source, Status
from headrace.timing import Timing
from headrace.usage import Usage

SHORTEST_NS = 10_000_000
"""A rate over less than 10 ms says more about the machine's clock than about anything that was generated."""


class Notices:
    """Notices to a person; none where they want quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def status(self, status: Status) -> None:
        """A phase of the generation."""
        self._say(f"· {status.message}")

    def sources(self, sources: Sequence[Source]) -> None:
        """What the answer rests on, one line each, numbered as the text cites them."""
        for source in sources:
            self._say(f"[{source.number}] {source.title}")

    def statistics(self, model: str, usage: Usage | None, timing: Timing | None) -> None:
        """TTFT, tokens and how they are known, and tokens a second."""
        self._say(" · ".join(statistics(model, usage, timing)))

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(without_controls(text))


def statistics(model: str, usage: Usage | None, timing: Timing | None) -> list[str]:
    """The figures of one answer. Tokens a second count from the first token to the end."""
    parts = [model]
    ttft_ns = None if timing is None else timing.time_to_first_token_ns
    if ttft_ns is not None:
        parts.append(f"TTFT {_duration(ttft_ns)}")
    if usage is not None:
        parts.append(f"{usage.completion_tokens} tokens ({usage.completion_source})")
    if timing is not None:
        speaking_ns = timing.total_ns - (timing.queue_ns or 0) - (ttft_ns or 0)
        if usage is not None and ttft_ns is not None and usage.completion_tokens > 1 and speaking_ns >= SHORTEST_NS:
            parts.append(f"{(usage.completion_tokens - 1) / speaking_ns * 1e9:.0f} tokens/s")
        parts.append(f"{_duration(timing.total_ns)} in all")
        if timing.attempts > 1:
            parts.append(f"{timing.attempts} attempts")
    return parts


def _duration(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
