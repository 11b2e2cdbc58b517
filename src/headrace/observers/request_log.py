"""One log line for every request: its model, mode, tokens, duration, TTFT and ending, or its refusal (row T4).

Lines are written a tenth of a second later, those of many generations together: a line by itself costs as much as a
third of a short answer. What waits is what will be written, never the stream. Where nobody has set logging up, as in
`headrace ask` or a program that calls `headrace.generate`, nothing is written: these tell of a failure themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from headrace.errors import HeadraceError
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


class _Line(NamedTuple):
    level: int
    message: str
    facts: dict[str, Any]


class RequestLog:
    """Writes the lines. What was asked and answered is not in them, nor any key.

    Args:
        loop: where the gathering waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gathered: list[_Line] = []

    def ended(self, stream: Stream) -> None:
        """Takes one stream in."""
        assert stream.ended is not None
        message = _MESSAGES.get(stream.ended.ending, "answered")
        level = logging.WARNING if message == "failed" else logging.INFO
        if logger.isEnabledFor(level):
            self._gather(_Line(level, message, facts(stream)))

    def refused(self, error: HeadraceError, request: Mapping[str, Any]) -> None:
        """Takes in a request that became no stream; `request` is what may be known of it."""
        failure = error.failure()
        level = logging.WARNING if failure.http_status >= 500 else logging.INFO
        if logger.isEnabledFor(level):
            # Not the message: it may repeat what was sent.
            self._gather(_Line(level, "refused", {**request, "status": failure.http_status, "code": failure.code}))

    def _gather(self, line: _Line) -> None:
        if not self._gathered:
            self._loop.call_later(GATHERED_SECONDS, self.flush)
        self._gathered.append(line)

    def flush(self) -> None:
        """Writes what was gathered. Call it before the end."""
        lines, self._gathered = self._gathered, []
        if not logger.hasHandlers():
            return  # where nobody has set logging up, warnings would go to stderr all the same
        # Made by hand: finding out which line of code logs is half the cost of logging, and here it is always this; and
        # what is the same of all records is found out once.
        common = vars(logger.makeRecord(logger.name, logging.INFO, __file__, 0, "", (), None))
        for place, line in enumerate(lines, 1):
            record = object.__new__(logging.LogRecord)
            record.__dict__ = {
                **common,
                "levelno": line.level,
                "levelname": logging.getLevelName(line.level),
                "msg": line.message,
                "facts": line.facts,
                "more_follow": place < len(lines),
            }
            logger.handle(record)


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
    for event in reversed(stream.said()):
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
