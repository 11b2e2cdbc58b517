"""One log line for every generation: model, mode, tokens, duration, TTFT, ending (row T4).

Lines are written a tenth of a second later, those of many generations together: a line by itself costs as much as a
third of a short answer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from headrace.events import Ending, UsageKnown
from headrace.interfaces import Stream

logger = logging.getLogger("headrace.requests")

GATHERED_SECONDS = 0.1

# What a line says first; of all other endings, "answered".
_MESSAGES: dict[Ending, str] = {
    "cancelled": "cancelled",
    "interrupted": "interrupted",
    "incomplete": "failed",
    "error": "failed",
}


class RequestLog:
    """Writes the lines. What was asked and answered is not in them, nor any key.

    Args:
        loop: where the gathering waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gathered: list[Stream] = []

    def ended(self, stream: Stream) -> None:
        """Takes one stream in."""
        if not logger.isEnabledFor(_level(stream)):
            return
        if not self._gathered:
            self._loop.call_later(GATHERED_SECONDS, self.flush)
        self._gathered.append(stream)

    def flush(self) -> None:
        """Writes what was gathered. Call it before the end."""
        streams, self._gathered = self._gathered, []
        for place, stream in enumerate(streams, 1):
            # Made by hand: finding out which line of code logs is half the cost of logging, and here it is always this.
            record = logger.makeRecord(
                logger.name,
                _level(stream),
                __file__,
                0,
                _message(stream),
                (),
                None,
                extra={"facts": facts(stream), "more_follow": place < len(streams)},
            )
            logger.handle(record)


def _level(stream: Stream) -> int:
    return logging.WARNING if _message(stream) == "failed" else logging.INFO


def _message(stream: Stream) -> str:
    assert stream.ended is not None
    return _MESSAGES.get(stream.ended.ending, "answered")


def facts(stream: Stream) -> dict[str, Any]:
    """What a log line says of a stream that has ended."""
    ended = stream.ended
    assert ended is not None
    known: dict[str, Any] = {
        "stream": stream.id,
        "model": stream.request.model,
        "mode": "stream" if stream.request.stream else "whole",
        "ending": ended.ending,
    }
    if ended.failure is not None:
        known["code"] = ended.failure.code
        if ended.failure.upstream is not None:
            known["upstream"] = ended.failure.upstream
    for event in reversed(stream.read(0, stream.length)):
        if isinstance(event, UsageKnown):
            known["prompt_tokens"] = event.usage.prompt_tokens
            known["completion_tokens"] = event.usage.completion_tokens
            known["usage"] = event.usage.source
            break
    timing = ended.timing
    if timing is not None:
        known["duration_ms"] = round(timing.total_ns / 1e6, 1)
        if timing.time_to_first_token_ns is not None:
            known["ttft_ms"] = round(timing.time_to_first_token_ns / 1e6, 1)
    return known
