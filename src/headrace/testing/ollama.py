"""What an Ollama would send, for `headrace.testing.upstream` to say. May import floors 0 to 3 and asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from headrace.testing.upstream import Exchange
from headrace.wire import json_text

NDJSON: Mapping[str, str] = MappingProxyType({"Content-Type": "application/x-ndjson"})


def ollama_line(message: Mapping[str, object], *, done: bool = False, **more: object) -> bytes:
    """One line of the answer to `POST /api/chat`."""
    said = {"role": "assistant", "content": "", **message}
    line = {"model": "scripted", "created_at": "2026-11-20T12:00:00.123456789Z", "message": said, "done": done, **more}
    return json_text.encode(line) + b"\n"


def last_ollama_line(reason: str = "stop", usage: tuple[int, int] | None = None) -> bytes:
    """The line that ends an answer."""
    counts = {} if usage is None else {"prompt_eval_count": usage[0], "eval_count": usage[1]}
    return ollama_line({}, done=True, done_reason=reason, total_duration=5_000_000, **counts)


async def ollama_answer(
    exchange: Exchange,
    texts: Iterable[str],
    usage: tuple[int, int] | None = None,
    gap: asyncio.Event | None = None,
) -> None:
    """Answers well, streamed or whole as it was asked.

    Args:
        exchange: what is answered.
        texts: the pieces of the answer.
        usage: prompt and completion tokens; `None`: none is told.
        gap: waited for, and cleared, before every text but the first: so a test decides when the next one is sent.
    """
    if not exchange.json().get("stream", True):
        counts = {} if usage is None else {"prompt_eval_count": usage[0], "eval_count": usage[1]}
        await exchange.whole(ollama_line({"content": "".join(texts)}, done=True, done_reason="stop", **counts))
        return
    await exchange.head(200, NDJSON)
    for place, text in enumerate(texts):
        if place and gap is not None:
            await gap.wait()
            gap.clear()
        await exchange.chunk(ollama_line({"content": text}))
    await exchange.chunk(last_ollama_line(usage=usage))
    await exchange.end()
