"""The proof run: headrace's promises kept before one's eyes, on real sockets. What `headrace demo` performs.

Two readers follow one stream, and one of them is cut off after an offset and resumes; a second stream is cancelled; the
same question is asked whole; the offline provider answers another. All of it is steered by offsets, none of it by time.
What is made of it is in `verdict.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from headrace.cli.reading import Reading, query
from headrace.cli.verdict import Cancelled, Observed, Shared, Whole
from headrace.clock import Clock
from headrace.testing.paced import PacedAnswer

CUT_AT = 40
"""The offset after which one reader is cut off."""
RESUMED_AT = 80
"""The offset the other reader has come to when it returns: so there is something to catch up with."""
CANCELLED_AT = 20
"""The offset at which the second stream is cancelled."""
DEADLINE_SECONDS = 15.0
NOTICE_SECONDS = 2.0
"""How long it is waited for the upstream to notice that it was cancelled."""
QUESTION = "How does a reader resume a stream?"
"""What the offline provider is asked."""

_WITH_IDS = {"Headrace-Event-Ids": "true"}


class CameToNoEnd(Exception):
    """The run could not be performed; the message says why."""


async def perform(url: str, upstream: PacedAnswer, clock: Clock) -> Observed:
    """Performs the run against the server at `url`, which has `upstream` as its upstream `scripted`.

    Raises:
        CameToNoEnd: the server did not answer as it should, or not in time.
    """
    # Every reader has a connection of its own, and no proxy has any business here.
    limits = httpx2.Limits(max_keepalive_connections=0)
    try:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            httpx2.AsyncClient(base_url=url, timeout=DEADLINE_SECONDS, limits=limits, trust_env=False) as client,
        ):
            await client.get("/health")  # what the client imports with its first request is no part of any figure
            async with asyncio.TaskGroup() as tasks:
                shared = tasks.create_task(_shared(client, clock))
                cancelled = tasks.create_task(_cancelled(client, upstream, clock))
                whole = tasks.create_task(_whole(client, clock))
                offline = tasks.create_task(_offline(client, clock))
    except (TimeoutError, httpx2.HTTPError, ExceptionGroup) as error:
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        match cause:
            case TimeoutError():
                raise CameToNoEnd(f"it was not over after {DEADLINE_SECONDS:g} s") from error
            case httpx2.HTTPError():
                raise CameToNoEnd(f"the server did not answer as it should: {cause}") from error
            case _:
                raise
    return Observed(upstream.texts, shared.result(), cancelled.result(), whole.result(), offline.result())


async def _shared(client: httpx2.AsyncClient, clock: Clock) -> Shared:
    unbroken, resumed = Reading(clock), Reading(clock)

    async def cut_and_resumed(events: str) -> int:
        async with client.stream("GET", events, headers=_WITH_IDS) as response:
            await resumed.read(response, last_offset=CUT_AT)
        had = len(resumed.offsets)
        await unbroken.reaches(RESUMED_AT)
        async with client.stream("GET", f"{events}?after={CUT_AT}", headers=_WITH_IDS) as response:
            await resumed.read(response)
        return resumed.offsets[had] if len(resumed.offsets) > had else -1

    async with _asking(client, "Count.", "scripted/streamed") as response:
        reading = asyncio.create_task(unbroken.read(response))
        resumed_with = await cut_and_resumed(f"{_stream(response)}/events")
        await reading
    return Shared(unbroken, resumed, CUT_AT, resumed_with)


async def _cancelled(client: httpx2.AsyncClient, upstream: PacedAnswer, clock: Clock) -> Cancelled:
    reading = Reading(clock)
    loop = asyncio.get_running_loop()
    async with _asking(client, "Count.", "scripted/cancelled") as response:
        following = asyncio.create_task(reading.read(response))
        await reading.reaches(CANCELLED_AT)
        asked_seconds = loop.time()
        await client.post(f"{_stream(response)}/cancel")
        await following
    shown = (await client.get(_stream(response))).json()
    try:
        async with asyncio.timeout(NOTICE_SECONDS):
            left = await upstream.left["cancelled"]
    except TimeoutError:
        return Cancelled(reading, shown["ending"], None, None)
    return Cancelled(reading, shown["ending"], left.tokens, (left.at_seconds - asked_seconds) * 1000)


async def _whole(client: httpx2.AsyncClient, clock: Clock) -> Whole:
    asked_ns = clock.monotonic_ns()
    answer = await client.post("/chat/basic", json=query("Count.", "scripted/whole", stream=False))
    text = answer.json()["content"] if answer.status_code == 200 else ""
    return Whole(text, clock.monotonic_ns() - asked_ns)


async def _offline(client: httpx2.AsyncClient, clock: Clock) -> Reading:
    reading = Reading(clock)
    async with _asking(client, QUESTION, "offline") as response:
        await reading.read(response)
    return reading


@asynccontextmanager
async def _asking(client: httpx2.AsyncClient, question: str, model: str) -> AsyncIterator[httpx2.Response]:
    body = query(question, model, stream=True)
    async with client.stream("POST", "/chat/basic", json=body, headers=_WITH_IDS) as response:
        response.raise_for_status()
        yield response


def _stream(response: httpx2.Response) -> str:
    return f"/v1/streams/{response.headers['headrace-stream']}"
