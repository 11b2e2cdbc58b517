"""One log line for every generation: model, mode, tokens, duration, TTFT, ending (row T4)."""

from __future__ import annotations

import logging
from typing import Any

from headrace.events import UsageKnown
from headrace.interfaces import Stream

logger = logging.getLogger("headrace.requests")


class RequestLog:
    """Writes the line when a stream has ended. What was asked and answered is not in it, nor any key."""

    def ended(self, stream: Stream) -> None:
        """Logs one stream."""
        ended = stream.ended
        if ended is None or not logger.isEnabledFor(logging.INFO):
            return
        usage = next(
            (event.usage for event in reversed(stream.read(0, stream.length)) if isinstance(event, UsageKnown)), None
        )
        timing = ended.timing
        facts: dict[str, Any] = {
            "stream": stream.id,
            "model": stream.request.model,
            "mode": "stream" if stream.request.stream else "whole",
            "ending": ended.ending,
        }
        if ended.failure is not None:
            facts["code"] = ended.failure.code
            if ended.failure.upstream is not None:
                facts["upstream"] = ended.failure.upstream
        if usage is not None:
            facts |= {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "usage": usage.source,
            }
        if timing is not None:
            facts["duration_ms"] = round(timing.total_ns / 1e6, 1)
            if timing.time_to_first_token_ns is not None:
                facts["ttft_ms"] = round(timing.time_to_first_token_ns / 1e6, 1)
        logger.info("answered", extra={"facts": facts})
