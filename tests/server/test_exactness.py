"""Every reader of every stream gets exactly what was said, however it was cut, however many there are, however slowly
they read."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from tests.server.conftest import Place, until
from tests.server.reader import DOORS, Reader, asking, chat, connected, encoded, query, text_of

from headrace.testing.upstream import DONE, Exchange, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

STREAMS = 500
READERS = 1000
# Everything that some reader or writer of text was seen to trip over.
ALPHABET = [
    *("a", " ", "word ", "日本語", "한국어", "العربية", "é", "e\u0301", "\ufeff", "\ufffd", "\U0010ffff"),
    *("🏝️", "\U0001f469\u200d\U0001f467", "\U0001f1e8\U0001f1ed"),
    *("\n", "\r\n", "\r", "\n\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\t", "\x01", "\x7f"),
    *('"', "\\", "\\n", "\\u2028", "{", "}", "data: ", "[DONE]", "data: [DONE]\n\n", "<|im_end|>", "</script>"),
]


def words(number: int, count: int) -> list[str]:
    """The deltas of one stream, which no other has."""
    chance = random.Random(number)
    return [f"{number}:", *("".join(chance.choices(ALPHABET, k=chance.randint(1, 3))) for _ in range(count))]


async def exactly(reader: Reader, protocol: str) -> str:
    """The text of a stream, whose frames were seen to be right."""
    assert reader.status == 200
    frames = [frame async for frame in reader.frames()]
    assert frames.count("[DONE]") == 1
    assert frames[-1] == "[DONE]"
    said = [json.loads(frame) for frame in frames[:-1]]
    if protocol == "openai_chat":
        finishes = [choice["finish_reason"] for frame in said for choice in frame["choices"]]
        assert finishes == [None] * (len(said) - 1) + ["stop"]
        assert len({(frame["id"], frame["created"]) for frame in said}) == 1
    else:
        kinds = [frame["type"] for frame in said]
        assert kinds == ["start", *["token"] * (len(said) - 3), "done", "metadata"]
        assert said[-2]["content"] == "".join(map(text_of, frames))
    return "".join(map(text_of, frames))


async def test_500_streams_at_once_split_at_every_byte_are_exact(place: Place) -> None:
    everyone = asyncio.Event()

    async def split_at_every_byte(exchange: Exchange) -> None:
        number = int(exchange.json()["messages"][0]["content"])
        texts = words(number, 3)
        said = (
            b"".join(map(raw_chunk, texts)) + b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        )
        if len(upstream.exchanges) == STREAMS:
            everyone.set()
        await everyone.wait()
        await exchange.head()
        for at in range(len(said)):
            await exchange.chunk(said[at : at + 1])
            await asyncio.sleep(0)
        await exchange.chunk(DONE)
        await exchange.end()

    async def read(number: int) -> str:
        protocol = ("openai_chat", "typed_events")[number % 2]
        path, body = DOORS[protocol]
        async with asking(place.port, "POST", path, body(str(number))) as reader:
            return await exactly(reader, protocol)

    async with place.upstream(split_at_every_byte) as upstream:
        read_texts = await asyncio.gather(*map(read, range(STREAMS)))
    assert read_texts == ["".join(words(number, 3)) for number in range(STREAMS)]


def raw_chunk(text: str) -> bytes:
    """A delta as briefly as an upstream can say it, its characters as they are, so that a cut may go through one."""
    return (
        f'data: {{"choices":[{{"index":0,"delta":{{"content":{json.dumps(text, ensure_ascii=False)}}}}}]}}\n\n'.encode()
    )


async def test_500_streams_at_once_are_exact_for_readers_that_read_slowly(place: Place) -> None:
    async def say(exchange: Exchange) -> None:
        number = int(exchange.json()["messages"][0]["content"])
        await exchange.head()
        for text in words(number, 150):
            await exchange.chunk(text_chunk(text))
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()

    async def read(number: int) -> str:
        protocol = ("openai_chat", "typed_events")[number % 2]
        path, body = DOORS[protocol]
        request = encoded("POST", path, body(str(number)))
        async with connected(place.port, request, receive_bytes=2048) as reader:
            await reader.head()
            stream = place.house.store.open(reader.headers["headrace-stream"], "local")
            if number % 4 == 0:  # reads nothing until all is said
                await until(lambda: stream.ended is not None)
            return await exactly(reader, protocol)

    async with place.upstream(say):
        read_texts = await asyncio.gather(*map(read, range(STREAMS)))
    assert read_texts == ["".join(words(number, 150)) for number in range(STREAMS)]


async def test_1000_readers_of_one_stream_get_the_same_bytes(place: Place) -> None:
    texts = words(0, 30)
    all_here = asyncio.Event()

    async def say(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk(texts[0]))
        await all_here.wait()
        for text in texts[1:]:
            await exchange.chunk(text_chunk(text))
            await asyncio.sleep(0)
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()

    async with place.upstream(say), asking(place.port, "POST", "/chat/basic", query()) as first:
        events = f"/v1/streams/{first.headers['headrace-stream']}/events?protocol="

        async def read(number: int) -> tuple[str, bytes]:
            protocol = ("openai_chat", "typed_events")[number % 2]
            async with asking(place.port, "GET", events + protocol) as reader:
                return protocol, await reader.body()

        others = [asyncio.ensure_future(read(number)) for number in range(READERS - 1)]
        await until(lambda: len(place.house.deliveries) == READERS)
        all_here.set()
        expected = await first.body()
        bodies = set(await asyncio.gather(*others))
    assert len(bodies) == 2, "all of one protocol got the same"
    assert ("typed_events", expected) in bodies
    assert all(body.endswith(b"data: [DONE]\n\n") for _, body in bodies)


async def test_whole_answers_at_once_are_exact(place: Place) -> None:
    async def say(exchange: Exchange) -> None:
        request = exchange.json()
        number = int(request["messages"][0]["content"])
        assert not request.get("stream")
        message = {"role": "assistant", "content": "".join(words(number, 20))}
        completion = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        await exchange.whole(json.dumps(completion, ensure_ascii=False).encode())

    async def read(number: int) -> str:
        async with asking(place.port, "POST", "/v1/chat/completions", chat(str(number), stream=False)) as reader:
            return str((await reader.json())["choices"][0]["message"]["content"])

    async with place.upstream(say):
        read_texts = await asyncio.gather(*map(read, range(STREAMS)))
    assert read_texts == ["".join(words(number, 20)) for number in range(STREAMS)]


async def test_a_very_long_answer_is_exact(place: Place) -> None:
    texts = words(1, 20_000)

    async def say(exchange: Exchange) -> None:
        await exchange.head()
        for start in range(0, len(texts), 50):
            await exchange.chunk(b"".join(map(text_chunk, texts[start : start + 50])))
        await exchange.chunk(finish_chunk() + DONE)
        await exchange.end()

    async with place.upstream(say), asking(place.port, "POST", "/chat/basic", query()) as reader:
        assert await exactly(reader, "typed_events") == "".join(texts)
