"""The soak on a small scale: what `scripts/soak` finds in two minutes, and that its visitors measure headrace alone."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.soak import WORDS, Readers, words
from tests.server.conftest import Place

from headrace.testing.upstream import DONE, Exchange, finish_chunk, role_chunk, text_chunk

SOAK = Path(__file__).parents[2] / "scripts" / "soak.py"
MINUTES = 2.0


@pytest.mark.timeout(400)
def test_two_minutes_of_mixed_traffic_with_faults_leave_nothing_behind() -> None:
    command = [sys.executable, str(SOAK), "--minutes", str(MINUTES), "--readers", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MINUTES * 60 + 200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    for told in ("slope ", "tasks ", "descriptors ", "upstream    0 requests in hand", "wrong       0"):
        assert f"\n{told}" in done.stdout


class Hasty(random.Random):
    """Leaves each time after so many messages, with a goodbye."""

    def __init__(self, *counts: int) -> None:
        super().__init__(1)
        self._counts = iter(counts)

    def randint(self, a: int, b: int) -> int:
        return next(self._counts)

    def random(self) -> float:
        return 0.9


async def say_at_once(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(role_chunk() + b"".join(map(text_chunk, words(WORDS))) + finish_chunk() + DONE)
    await exchange.end()


@pytest.mark.anyio
async def test_a_visitor_who_heard_one_answer_of_two_asks_for_the_other_again(place: Place) -> None:
    """It once waited for an answer that it had not asked for on this connection, and called that silence."""
    readers = Readers(place.port, Hasty(2, 500))
    async with place.upstream(say_at_once) as upstream, asyncio.timeout(10):
        await readers.talks()
        assert len(upstream.exchanges) == 3
    assert readers.wrong == []


@pytest.mark.anyio
async def test_a_visitor_who_leaves_much_unread_says_goodbye_at_once(place: Place) -> None:
    """It once took ten seconds, as long as the server kept its streams."""
    readers = Readers(place.port, Hasty(10, 500))
    async with place.upstream(say_at_once), asyncio.timeout(5):
        await readers.talks()
    assert readers.wrong == []
