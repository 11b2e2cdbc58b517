"""A scripted answer at the pace of a model: counted tokens over a real socket, for demonstrations and tests.

It is not a model, and says so in its first words. May import what `upstream.py` beside it may.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from headrace.testing.upstream import DONE, Exchange, delta_chunk, finish_chunk, role_chunk, usage_chunk
from headrace.wire import json_text

FIRST_WORDS = ("This ", "is ", "not ", "a ", "model: ", "a ", "script ", "counts.\n")

# What tears apart where bytes, characters or lines are cut carelessly: several bytes each, a line end in the middle.
_BETWEEN = ("\n", " 東京 ", " 🏝️ ", "\u2028", " école\r\n")


class Left(NamedTuple):
    """A reader left before the answer was over."""

    tokens: int
    """How many it was sent."""
    at_seconds: float
    """When its connection was seen to close, on the event loop's clock."""


class PacedAnswer:
    """A handler of `ScriptedUpstream` that gives everybody the same answer, one token after the other.

    Streamed where it is asked for a stream; otherwise in one piece, when the last token would have been there.

    Args:
        tokens: how many.
        tokens_per_second: how quickly.
        breaks_after: after so many tokens the connection is reset; `None`: never.
    """

    def __init__(self, tokens: int, tokens_per_second: float, *, breaks_after: int | None = None) -> None:
        self.texts = tuple(texts(tokens))
        """What it says, token by token."""
        self.left: dict[str, asyncio.Future[Left]] = {}
        """For each model that was asked for: what there is to know once a reader of it leaves early."""
        self._gap_seconds = 1 / tokens_per_second
        self._breaks_after = breaks_after

    async def __call__(self, exchange: Exchange) -> None:
        """Answers one request."""
        asked = exchange.json()
        loop = asyncio.get_running_loop()
        began = loop.time()
        left = self.left.setdefault(str(asked.get("model")), loop.create_future())
        if asked.get("stream"):
            await exchange.head()
            await exchange.chunk(role_chunk())
        for place, text in enumerate(self.texts):
            if await _left_before(exchange, began + (place + 1) * self._gap_seconds):
                if not left.done():
                    left.set_result(Left(place, loop.time()))
                return
            if place == self._breaks_after:
                exchange.reset()
                return
            if asked.get("stream"):
                await exchange.chunk(delta_chunk({"content": text}))
        if asked.get("stream"):
            await exchange.chunk(finish_chunk())
            await exchange.chunk(usage_chunk(len(asked["messages"]), len(self.texts)))
            await exchange.chunk(DONE)
            await exchange.end()
        else:
            await exchange.whole(json_text.encode(self._whole(len(asked["messages"]))))

    def _whole(self, prompt_tokens: int) -> dict[str, object]:
        message = {"role": "assistant", "content": "".join(self.texts)}
        completion_tokens = len(self.texts)
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }


def texts(tokens: int) -> list[str]:
    """So many tokens: the first words, then numbers with what is easily torn apart between them."""
    numbers = (
        f"{number}{_BETWEEN[number // 8 % len(_BETWEEN)] if number % 8 == 0 else ' '}" for number in range(tokens)
    )
    return [*FIRST_WORDS, *numbers][:tokens]


async def _left_before(exchange: Exchange, when: float) -> bool:
    """Whether the other side leaves before `when`; returns then, or at once when it does."""
    try:
        async with asyncio.timeout_at(when):
            await exchange.left()
    except TimeoutError:
        return False
    return True
