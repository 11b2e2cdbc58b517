"""Answers of a scripted upstream that several folders of tests read in their own ways."""

from __future__ import annotations

import asyncio

from headrace.testing.upstream import DONE, Exchange, delta_chunk, finish_chunk, role_chunk, text_chunk, usage_chunk

# What tears apart where bytes, characters or lines are cut carelessly.
TEXTS = ["One", " two", ",\n\n", "日本語 🏝️", "\u2028", "école\r\n", '"quoted"', " ", "العربية", " end"]
WHOLE = "".join(TEXTS)


async def say_everything(exchange: Exchange) -> None:
    """Reasoning, `TEXTS`, a tool call and usage, each read by itself."""
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.chunk(delta_chunk({"reasoning_content": "Hm."}))
    for text in TEXTS:
        await exchange.chunk(text_chunk(text))
        await asyncio.sleep(0)  # so that they are read one by one
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    await exchange.chunk(delta_chunk({"tool_calls": [call]}))
    await exchange.chunk(finish_chunk())
    await exchange.chunk(usage_chunk(3, 9))
    await exchange.chunk(DONE)
    await exchange.end()


async def hang(exchange: Exchange) -> None:
    """Half an answer, and then nothing until the other side leaves."""
    await exchange.head()
    await exchange.chunk(text_chunk("half an "))
    await exchange.chunk(text_chunk("answer"))
    await exchange.left()
