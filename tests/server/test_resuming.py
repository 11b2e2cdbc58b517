"""Coming back to a stream at any event: what came before and what comes after are the bytes of an unbroken reader."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from tests.server.conftest import Place
from tests.server.reader import DOORS, asking, query
from tests.upstream_answers import TEXTS, say_everything

from headrace.testing.upstream import DONE, Exchange, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

EVENTS = len(TEXTS) + 5  # start, reasoning, the texts, a tool call, usage, end


async def read(place: Place, path: str, **headers: str) -> bytes:
    """Everything a reader gets at `path`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asking(place.port, "GET", path, headers=named) as reader:
        assert reader.status == 200
        return (await reader.body()).removeprefix(b"retry: 250\n\n")


async def started(place: Place, protocol: str = "openai_chat", **headers: str) -> tuple[str, bytes]:
    """A stream that was read to its end, and the bytes of its first reader."""
    path, body = DOORS[protocol]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with place.upstream(say_everything), asking(place.port, "POST", path, body(), named) as reader:
        return reader.headers["headrace-stream"], await reader.body()


def cut(framed: bytes) -> dict[int, bytes]:
    """The offset of each frame with an id, and the bytes up to its end."""
    return {int(found[1]): framed[: found.end()] for found in re.finditer(rb"id: ?(\d+)\n(?:data: .*\n)\n", framed)}


@pytest.mark.parametrize("protocol", DOORS)
@pytest.mark.parametrize("started_as", DOORS)
async def test_before_and_after_any_event_are_the_bytes_of_an_unbroken_reader(
    place: Place, started_as: str, protocol: str
) -> None:
    stream_id, _ = await started(place, started_as)
    events = f"/v1/streams/{stream_id}/events?protocol={protocol}"
    whole = await read(place, events)
    ends = cut(await read(place, events, Headrace_Event_Ids="true"))
    assert max(ends) == EVENTS - 1
    without_ids = {offset: re.sub(rb"id: ?\d+\n", b"", before) for offset, before in ends.items()}
    assert without_ids[EVENTS - 1] == whole
    before = b""
    for after in range(-1, EVENTS):
        # Events without a frame of their own add nothing to what came before.
        before = without_ids.get(after, before)
        query_after = "" if after < 0 else f"&after={after}"
        assert before + await read(place, events + query_after) == whole


@pytest.mark.parametrize("protocol", DOORS)
async def test_the_first_readers_bytes_are_those_of_any_later_one(place: Place, protocol: str) -> None:
    stream_id, first = await started(place, protocol)
    assert await read(place, f"/v1/streams/{stream_id}/events?protocol={protocol}") == first


@pytest.mark.parametrize("protocol", DOORS)
async def test_ids_are_the_offsets_of_the_events(place: Place, protocol: str) -> None:
    stream_id, framed = await started(place, protocol, Headrace_Event_Ids="true")
    stream = place.house.store.open(stream_id, "local")
    offsets = list(cut(framed))
    assert offsets == sorted(set(offsets)), "each id once, of several frames made from one event the last"
    assert offsets[-1] == stream.length - 1 == EVENTS - 1
    if protocol == "typed_events":
        kinds = {int(found[1]): json.loads(found[2])["type"] for found in
                 re.finditer(rb'id: ?(\d+)\ndata: (\{.*\})\n\n', framed)}  # fmt: skip
        texts = dict.fromkeys(range(2, 2 + len(TEXTS)), "token")
        assert kinds == {0: "start", 1: "rationale", **texts, 2 + len(TEXTS): "tool_call"}
    assert framed.rstrip().endswith(b"data: [DONE]")


async def test_an_eventsource_is_told_early_to_come_back_soon_but_no_reader_that_could_not_go_on(place: Place) -> None:
    stream_id, _ = await started(place)
    for words, opening in {
        "event_ids=true": b"retry: 250\n\nid: 0\n",
        "event_ids=true&protocol=text": b"retry: 250\n\nid: ",
        "event_ids=true&protocol=token_frames": b"retry: 250\n\nid: ",
        "": b"data: ",
        "event_ids=true&protocol=openai_chat": b"data: {",
        "event_ids=true&protocol=openai_completions": b"id: 2\n",
        "event_ids=true&protocol=ollama_chat": b"{",
        "event_ids=true&protocol=plain_text": TEXTS[0].encode(),
    }.items():
        async with asking(place.port, "GET", f"/v1/streams/{stream_id}/events?{words}") as reader:
            told = await reader.body()
        assert told.startswith(opening)
        assert told.count(b"retry:") == opening.count(b"retry:")
    _, first = await started(place, Headrace_Event_Ids="true")
    assert b"retry:" not in first, "what was asked for with POST is not asked for again"


async def test_last_event_id_is_where_an_eventsource_goes_on_with_ids(place: Place) -> None:
    stream_id, _ = await started(place)
    events = f"/v1/streams/{stream_id}/events"
    with_ids = await read(place, events, Headrace_Event_Ids="true")
    ends = cut(with_ids)
    for after, before in ends.items():
        if after == EVENTS - 1:
            continue
        assert before + await read(place, events, Last_Event_ID=str(after)) == with_ids
        # The header is the browser's own word, and newer than the URL it was opened with.
        assert before + await read(place, f"{events}?after=0", Last_Event_ID=str(after)) == with_ids


@pytest.mark.parametrize("after", [EVENTS - 1, EVENTS, 10**17])
async def test_an_eventsource_that_has_read_it_all_is_told_to_stop(place: Place, after: int) -> None:
    stream_id, _ = await started(place)
    path = f"/v1/streams/{stream_id}/events"
    async with asking(place.port, "GET", path, headers={"Last-Event-ID": str(after)}) as reader:
        assert reader.status == 204
        assert "content-length" not in reader.headers
        assert (reader.headers["headrace-stream"], bool(reader.headers["x-request-id"])) == (stream_id, True)
    async with asking(place.port, "GET", f"{path}?after={after}") as reader:
        assert (reader.status, await reader.body()) == (200, b"")


@pytest.mark.parametrize("protocol", DOORS)
async def test_l8_a_reader_that_joins_before_the_first_token_gets_everything_live(place: Place, protocol: str) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        asked.set()
        await go_on.wait()
        await say_everything(exchange)

    async with place.upstream(wait), asking(place.port, "POST", "/chat/basic", query()) as first:
        await asked.wait()
        path = f"/v1/streams/{first.headers['headrace-stream']}/events?protocol={protocol}"
        async with asking(place.port, "GET", path) as joined:
            assert joined.status == 200, "there is nothing to wait for before the headers"
            go_on.set()
            assert "".join([text async for text in joined.texts()]) == "".join(TEXTS)


@pytest.mark.parametrize("protocol", DOORS)
async def test_readers_that_come_and_go_while_it_is_said_miss_nothing(place: Place, protocol: str) -> None:
    texts = [f"{number} " for number in range(60)]

    async def say(exchange: Exchange) -> None:
        await exchange.head()
        for text in texts:
            await exchange.chunk(text_chunk(text))
            await said.get()
        await exchange.chunk(finish_chunk())
        await exchange.chunk(DONE)
        await exchange.end()

    said: asyncio.Queue[None] = asyncio.Queue()
    headers = {"Headrace-Event-Ids": "true", "Headrace-On-Disconnect": "continue"}
    async with place.upstream(say):
        async with asking(place.port, "POST", "/chat/basic", query(), headers) as starter:
            stream_id = starter.headers["headrace-stream"]
        events = f"/v1/streams/{stream_id}/events?protocol={protocol}"
        read_so_far, after = b"", -1
        while not read_so_far.rstrip().endswith(b"[DONE]"):
            position = f"&after={after}" if after >= 0 else ""
            async with asking(place.port, "GET", events + position, headers=headers) as reader:
                # Each visit reads a few frames, lets the upstream go on for each, and leaves in the middle.
                for _ in range(7):
                    if not (piece := await reader.piece()):
                        break
                    read_so_far += piece.removeprefix(b"retry: 250\n\n")
                    said.put_nowait(None)
            ends = cut(read_so_far)
            after = max(ends)
            read_so_far = ends[after]
        assert read_so_far == await read(place, events, Headrace_Event_Ids="true")
    assert b"".join(json.dumps(text).encode() for text in texts[:1])[1:-1] in read_so_far


async def test_a_stream_that_broke_off_can_be_read_with_its_end(place: Place) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("half an answer"))
        exchange.reset()

    async with place.upstream(break_off), asking(place.port, "POST", "/chat/basic", query()) as reader:
        first = await reader.body()
        stream_id = reader.headers["headrace-stream"]
    assert b"half an answer" in first
    assert await read(place, f"/v1/streams/{stream_id}/events") == first
