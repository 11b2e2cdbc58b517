"""Readers that are cut off again and again, at any byte, and come back to the event after the last whole one (L6)."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.server.conftest import Place
from tests.server.reader import Reader, chat, connected, encoded, query

from headrace.protocols import PROTOCOLS
from headrace.testing.upstream import Exchange, finish_chunk, role_chunk, text_chunk

pytestmark = pytest.mark.anyio

# Texts of their own at every place, so that none can be lost, doubled or moved unseen; with what tears easily.
TEXTS = [f"{number}{tail}" for number, tail in enumerate([" ", "\n", " 日本語 ", "🏝️ ", "\u2028", '"\\" '] * 7)]
WHOLE = "".join(TEXTS)
# What every connection of an EventSource begins with: advice to that connection, no part of the stream.
RETRY = b"retry: 250\n\n"
DROPS = 5
AT_ONCE = 40

MESSAGES = {"model": "lab/m", "messages": [{"role": "user", "content": "q"}]}
ROUTES: dict[str, tuple[str, object]] = {
    "openai_chat": ("/v1/chat/completions", chat()),
    "openai_completions": ("/v1/completions", {"model": "lab/m", "prompt": "q", "stream": True}),
    "ollama_chat": ("/api/chat", MESSAGES),
    "ollama_generate": ("/api/generate", {"model": "lab/m", "prompt": "q"}),
    "typed_events": ("/chat/basic", query()),
    "text": ("/chat", {"prompt": "q", "model": "lab/m"}),
    "plain_text": ("/api/query/stream", {"question": "q", "model": "lab/m"}),
    "token_frames": ("/api/generate/stream", {"model": "lab/m", "prompt": "q"}),
    "chat_token_frames": ("/api/chat/stream", {"message": "q", "model": "lab/m"}),
}


def test_no_protocol_is_left_out() -> None:
    # As messages of Durable Streams, which readers follow by its own offsets: test_durable_drops.py.
    assert {*ROUTES, "durable_json"} == set(PROTOCOLS)


async def say(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(role_chunk())
    for text in TEXTS:
        await exchange.chunk(text_chunk(text))
        await asyncio.sleep(0.002)  # a model's pace: readers come and go while it speaks
    await exchange.chunk(finish_chunk())
    await exchange.end()


# --- what a reader of each framing knows: how much of its bytes is whole, and the offset of the last event in them


def by_ids(data: bytes) -> tuple[int, int]:
    """Server-sent events with ids."""
    whole = data[: data.rfind(b"\n\n") + 2] if b"\n\n" in data else b""
    ids = list(re.finditer(rb"(?m)^id: (\d+)\n", whole))
    if not ids:
        return 0, -1
    # Of several frames made of one event the last carries its id: what follows it without one is asked for again.
    end = whole.index(b"\n\n", ids[-1].end() - 1) + 2
    return end, int(ids[-1][1])


def by_lines(data: bytes) -> tuple[int, int]:
    """A line for each text; the stream's first event makes none."""
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].count(b"\n")
    return whole, lines if lines <= len(TEXTS) else len(TEXTS) + 2


def by_length(data: bytes) -> tuple[int, int]:
    """The texts themselves."""
    whole = count = 0
    for text in TEXTS:
        if whole + len(text.encode()) > len(data):
            break
        whole += len(text.encode())
        count += 1
    return whole, count


def position(protocol: str) -> Callable[[bytes], tuple[int, int]]:
    match PROTOCOLS[protocol].framing.content_type.partition(";")[0]:
        case "text/event-stream":
            return by_ids
        case "application/x-ndjson":
            return by_lines
        case _:
            return by_length


def text_in(protocol: str, data: bytes) -> str:
    """The answer in the bytes of a whole stream."""
    text = data.decode()
    if protocol == "plain_text":
        return text
    if protocol.startswith("ollama"):
        lines = [json.loads(line) for line in text.split("\n") if line]
        return "".join(line["message"]["content"] if "message" in line else line["response"] for line in lines)
    events = [event for event in text.split("\n\n") if event and not event.startswith("retry:")]
    data_of = ["\n".join(line[6:] for line in event.split("\n") if line.startswith("data: ")) for event in events]
    if protocol == "text":
        return "".join(data_of)
    frames = [json.loads(each) for each in data_of if each and each != "[DONE]"]
    said = []
    for frame in frames:
        if "choices" in frame:
            said += [each.get("text") or each.get("delta", {}).get("content") or "" for each in frame["choices"]]
        elif "token" in frame:
            said.append(frame["token"])
        elif frame.get("type") == "token":
            said.append(frame["content"])
    return "".join(said)


@dataclass
class Dropped:
    """What one reader has, over all its connections."""

    whole: bytes = b""
    after: int = -1
    connections: int = 0
    ended: bool = field(default=False)


async def read_some(place: Place, request: bytes, most: int) -> tuple[bytes, bool]:
    """At most so many bytes of an answer, and whether it came to its end; then the connection is reset."""
    read = bytearray()
    async with connected(place.port, request) as reader:
        await reader.head()
        assert reader.status == 200, (reader.status, await reader.body())
        while len(read) < most:
            piece = await reader.piece()
            if not piece:
                return bytes(read), True
            read += piece
        reset(reader)
    return bytes(read[:most]), False


def reset(reader: Reader) -> None:
    connection = reader._outgoing.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def survives(place: Place, protocol: str, seed: str) -> None:
    chance = random.Random(seed)
    stream_id = f"{chance.getrandbits(128):032x}"
    path, body = ROUTES[protocol]
    headers = {"Headrace-Stream": stream_id, "Headrace-Event-Ids": "true", "Headrace-On-Disconnect": "continue"}
    request = encoded("POST", path, body, headers)
    where = position(protocol)
    reader = Dropped()
    while not reader.ended:
        most = chance.randrange(1, 700) if reader.connections < DROPS else 1 << 30
        data, reader.ended = await read_some(place, request, most)
        length, last = (len(data), reader.after) if reader.ended else where_after(where, reader, data)
        reader.whole += data[:length]
        reader.after = last
        reader.connections += 1
        request = encoded(
            "GET",
            f"/v1/streams/{stream_id}/events?after={reader.after}&protocol={protocol}",
            headers={"Headrace-Event-Ids": "true"},
        )
    unbroken = f"/v1/streams/{stream_id}/events?protocol={protocol}"
    async with connected(place.port, encoded("GET", unbroken, headers={"Headrace-Event-Ids": "true"})) as again:
        await again.head()
        assert reader.whole.replace(RETRY, b"") == (await again.body()).replace(RETRY, b""), (protocol, seed)
    assert text_in(protocol, reader.whole) == WHOLE, (protocol, seed)


def where_after(where: Callable[[bytes], tuple[int, int]], reader: Dropped, data: bytes) -> tuple[int, int]:
    """How much of `data` is whole, and the offset of the last event that the reader has then."""
    total, last = where(reader.whole + data)
    return total - len(reader.whole), max(last, reader.after)


async def drill(place: Place, protocol: str, streams: int) -> None:
    async with place.upstream(say):
        for start in range(0, streams, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, streams))
            await asyncio.gather(
                *(survives(place, protocol, f"{protocol} {number} of {streams}") for number in numbers)
            )


@pytest.mark.parametrize("protocol", ROUTES)
async def test_l6_readers_dropped_five_times_at_any_byte_have_it_all(place: Place, protocol: str) -> None:
    await drill(place, protocol, 60)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", ROUTES)
async def test_a_thousand_streams_dropped_five_times_each_are_exact(place: Place, protocol: str) -> None:
    await drill(place, protocol, 1000)
