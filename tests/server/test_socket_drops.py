"""Readers over WebSocket, cut off again and again at any byte, that resume behind the last whole message (L6)."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.server.bare_sockets import TEXT, bare, frame
from tests.server.conftest import Place
from tests.server.reader import asking, chat
from tests.server.talking import CHAT, talking
from tests.server.test_drops import AT_ONCE, DROPS, WHOLE, reset, say
from tests.server.test_every_ending import break_off, finished_stream, speak

from headrace.protocols import PROTOCOLS
from headrace.protocols.socket_messages import SPOKEN, message_encoder
from headrace.requests import ReaderOptions
from headrace.server.callers import LOCAL_OWNER
from headrace.testing.upstream import Exchange

pytestmark = pytest.mark.anyio

BODIES: dict[str, tuple[str, dict[str, object]]] = {
    "openai_chat": (CHAT, chat()),
    "openai_completions": ("/v1/completions", {"model": "lab/m", "prompt": "q"}),
    "typed_events": ("/chat/basic", {"query": "q", "model": "lab/m", "stream": True}),
}
"""Where each protocol that WebSockets speak is asked. Typed events have none of their own: they are followed."""

every_spoken = pytest.mark.parametrize("name", SPOKEN)
Message = dict[str, Any]


def test_no_protocol_is_left_out() -> None:
    assert BODIES.keys() == set(SPOKEN)


def is_last(message: Message) -> bool:
    if "type" in message:
        return message["type"] in ("metadata", "error")
    return "error" in message or any(choice["finish_reason"] for choice in message["choices"])


def text_in(messages: list[Message]) -> str:
    said = [message["content"] for message in messages if message.get("type") == "token"]
    for message in messages:
        said += [each.get("text") or each.get("delta", {}).get("content") or "" for each in message.get("choices", ())]
    return "".join(said)


async def read_some(place: Place, path: str, first: bytes, most: int) -> list[Message]:
    """The messages that are whole in at most so many bytes; then the connection is reset."""
    async with bare(place.port, path) as socket:
        if first:
            await socket.send(frame(TEXT, first))
        messages: list[Message] = []
        size = 0
        while True:
            _, payload = await socket.next()
            size += len(payload) + (2 if len(payload) < 126 else 4)
            if size > most:
                break
            messages.append(json.loads(payload))
            if is_last(messages[-1]):
                break
        reset(socket.reader)
    return messages


async def survives(place: Place, name: str, seed: str) -> None:
    chance = random.Random(seed)
    stream_id = f"{chance.getrandbits(128):032x}"
    path, body = BODIES[name]
    heard: list[Message] = []
    if name == "typed_events":
        headers = {"Headrace-Stream": stream_id, "Headrace-On-Disconnect": "continue"}
        async with asking(place.port, "POST", path, body, headers) as reader:
            assert reader.status == 200
        path, asked = f"/v1/streams/{stream_id}/events", b""
    else:
        own = {"stream_id": stream_id, "on_disconnect": "continue"}
        asked = json.dumps({**body, "headrace": own}).encode()
    connections = 0
    while not heard or not is_last(heard[-1]):
        most = chance.randrange(1, 1500) if connections < DROPS else 1 << 30
        heard += await read_some(place, path, asked, most)
        connections += 1
        # Behind the last offset that it has: what came after that without one is asked for again.
        while heard and "seq" not in heard[-1]["headrace"]:
            heard.pop()
        after = heard[-1]["headrace"]["seq"] if heard else -1
        if name == "typed_events":
            path = f"/v1/streams/{stream_id}/events?after={after}"
        else:
            asked = json.dumps({"type": "resume", "stream_id": stream_id, "after": after}).encode()
    async with talking(place.port, f"/v1/streams/{stream_id}/events?protocol={name}") as again:
        unbroken = [await again.hear()]
        while not is_last(unbroken[-1]):
            unbroken.append(await again.hear())
    assert heard == unbroken, (name, seed)
    assert text_in(heard) == WHOLE, (name, seed)


async def drill(place: Place, name: str, streams: int) -> None:
    async with place.upstream(say):
        for start in range(0, streams, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, streams))
            await asyncio.gather(*(survives(place, name, f"{name} {number} of {streams}") for number in numbers))


@every_spoken
async def test_l6_sockets_dropped_five_times_at_any_byte_have_it_all(place: Place, name: str) -> None:
    await drill(place, name, 60)


@pytest.mark.slow
@pytest.mark.timeout(600)
@every_spoken
async def test_a_thousand_streams_dropped_five_times_each_over_sockets_are_exact(place: Place, name: str) -> None:
    await drill(place, name, 1000)


@every_spoken
@pytest.mark.parametrize("handler", [speak, break_off])
async def test_l6_a_socket_that_joins_at_any_offset_gets_the_rest_message_by_message(
    place: Place, name: str, handler: Callable[[Exchange], Awaitable[None]]
) -> None:
    stream_id = await finished_stream(place, handler)
    stream = place.house.store.open(stream_id, LOCAL_OWNER)
    events = stream.read(0)
    encoder = message_encoder(PROTOCOLS[name], ReaderOptions())
    pieces = [[json.loads(each) for each in encoder.encode(offset, (event,))] for offset, event in enumerate(events)]
    for after in range(-1, len(events)):
        wanted = [message for piece in pieces[min(after + 1, len(events) - 1) :] for message in piece]
        async with talking(place.port, f"/v1/streams/{stream_id}/events?protocol={name}&after={after}") as client:
            assert [await client.hear() for _ in wanted] == wanted, after
            assert await client.closed() == (1000, "")
