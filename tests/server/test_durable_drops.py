"""Readers of generations over Durable Streams, cut off at any byte, who go on at the offset they were last told."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from tests.server.conftest import Place
from tests.server.reader import connected, encoded, query
from tests.server.test_drops import AT_ONCE, DROPS, WHOLE, read_some, say

from headrace.wire.sse import SSEParser

pytestmark = pytest.mark.anyio


def told_in(data: bytes, mode: str, whole: bool) -> tuple[list[Any], str | None, bool]:
    """The messages that a reader has for certain, the offset behind them, and whether nothing follows."""
    if mode == "sse":
        messages: list[Any] = []
        pending: list[Any] = []
        offset, closed = None, False
        for event in SSEParser().feed(data):
            if event.type == "data":
                pending += json.loads(event.data)
            else:
                control = json.loads(event.data)
                messages, pending = messages + pending, []
                offset, closed = control["streamNextOffset"], control.get("streamClosed", False)
        return messages, offset, closed
    if not whole:
        return [], None, False
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    messages = json.loads(body) if b" 200 " in head.split(b"\r\n")[0] else []
    return messages, fields[b"stream-next-offset"].decode(), fields.get(b"stream-closed") == b"true"


async def poll_some(place: Place, request: bytes, most: int) -> tuple[bytes, bool]:
    """At most so many bytes of one polled answer, head and all, and whether that was all of it."""
    async with connected(place.port, request) as reader:
        read = b""
        while len(read) < most:
            async with asyncio.timeout(20):
                piece = await reader._incoming.read(most - len(read))
            if not piece:
                return read, True
            read += piece
    return read, False


async def survives(place: Place, mode: str, seed: str) -> None:
    chance = random.Random(seed)
    stream_id = f"{chance.getrandbits(128):032x}"
    headers = {"Headrace-Stream": stream_id, "Headrace-On-Disconnect": "continue"}
    async with connected(place.port, encoded("POST", "/chat/basic", query(), headers)) as first:
        await first.head()
    path = f"/v1/stream/generations/{stream_id}"
    had: list[Any] = []
    offset, closed, connections = "-1", False, 0
    while not closed:
        most = chance.randrange(1, 900) if connections < DROPS else 1 << 30
        request = encoded("GET", f"{path}?offset={offset}&live={mode}", headers={"Connection": "close"})
        data, whole = await (read_some if mode == "sse" else poll_some)(place, request, most)
        messages, told, closed = told_in(data, mode, whole)
        had += messages
        offset = told or offset
        connections += 1
    async with connected(place.port, encoded("GET", path)) as again:
        await again.head()
        assert had == await again.json(), seed
    assert "".join(each["content"] for each in had if each["type"] == "token") == WHOLE, seed


async def drill(place: Place, mode: str, streams: int) -> None:
    async with place.upstream(say):
        for start in range(0, streams, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, streams))
            await asyncio.gather(*(survives(place, mode, f"{mode} {number} of {streams}") for number in numbers))


@pytest.mark.parametrize("mode", ["sse", "long-poll"])
async def test_l6_readers_dropped_five_times_at_any_byte_have_every_message_once(place: Place, mode: str) -> None:
    await drill(place, mode, 60)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["sse", "long-poll"])
async def test_a_thousand_streams_dropped_five_times_each_are_exact(place: Place, mode: str) -> None:
    await drill(place, mode, 1000)
