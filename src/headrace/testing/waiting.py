"""Waiting for a condition, with a deadline, rather than for a time.

Imports asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Gives everything else its turn until `condition` holds.

    Raises:
        TimeoutError: it does not within so many seconds.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for knows of no event that it could set
            await asyncio.sleep(0)


async def turns(count: int) -> None:
    """Gives everything else its turn, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
