"""Leaving at every offset and coming back, in every protocol, over every kind of event (L6, L11, L14)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import msgspec
import openai
import pytest
from tests.server.conftest import Place, serving, until
from tests.server.reader import Reader, asking, query

from headrace.errors import UpstreamReset
from headrace.events import (
    Ended,
    Event,
    Passthrough,
    ReasoningDelta,
    Source,
    Sources,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.interfaces import Stream, Write
from headrace.protocols import PROTOCOLS
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.settings import AssistantSettings, Settings
from headrace.testing.generations import AWKWARD_TEXTS
from headrace.testing.upstream import DONE, Exchange, finish_chunk, text_chunk
from headrace.timing import Marks
from headrace.usage import reported

pytestmark = pytest.mark.anyio

SOURCE = Source(1, "handbook.md#2", "Handbook", "Rest is \n important.", 0.75)
RICH: Sequence[Event] = (
    Status("searching", "searching the documents"),
    Sources((SOURCE,)),
    ReasoningDelta("Let me"),
    ReasoningDelta(" think."),
    *map(TextDelta, AWKWARD_TEXTS),
    ToolCallDelta(0, "call_1", "look_up", '{"place":'),
    Passthrough("openai_chat", {"logprobs": msgspec.Raw(b'{"content":[]}')}),
    ToolCallDelta(0, arguments=' "Lëns"}'),
    TextDelta("And so", 1),
    Sources((msgspec.structs.replace(SOURCE, number=2, id="other"),)),
    TextDelta("Rest. [1] [2]"),
    UsageKnown(reported(3, 9, by="lab")),
)
EVENTS = len(RICH) + 2  # and the first and the last


class SaysAll:
    """A provider that says everything there is, an event at a time, each once `step` lets it."""

    def __init__(self, *, breaks_off: bool = False) -> None:
        self.step = asyncio.Semaphore(10**6)
        self._breaks_off = breaks_off

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """Performs one attempt."""
        marks.sent_ns = marks.asked_ns
        for event in RICH:
            await self.step.acquire()
            write((event,))
        await self.step.acquire()
        if self._breaks_off:
            raise UpstreamReset("the connection to lab broke", upstream="lab")
        return Ended("tool_calls")

    async def models(self) -> Sequence[str]:
        """Its only one."""
        return ("m",)

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    discreet = AssistantSettings(rationale=False, metadata=False, chunk_size=3)
    async with serving(Settings(assistants={"basic": AssistantSettings(), "discreet": discreet})) as shared:
        yield shared


async def everything(reader: Reader) -> bytes:
    """What a reader gets until it is told that there is no more, or is cut off."""
    read = b""
    try:
        while piece := await reader.piece():
            read += piece
    except asyncio.IncompleteReadError:
        read += b"<cut off>"
    return read.removeprefix(b"retry: 250\n\n")


def pieces_of(stream: Stream, protocol: str, *, event_ids: bool) -> list[bytes]:
    """The bytes of each event so far, as a reader who never left gets them."""
    view = stream.request.view
    options = ReaderOptions(event_ids=event_ids, include_usage=view.include_usage).within(view)
    encoder, framing = PROTOCOLS[protocol].encoder(options), PROTOCOLS[protocol].framing
    pieces = []
    for offset, event in enumerate(stream.said()):
        records = encoder.encode(offset, (event,))
        pieces.append(framing.frame_with_id(records, offset) if event_ids else framing.frame(records))
    return pieces


@pytest.mark.parametrize("event_ids", [False, True], ids=["without ids", "with ids"])
@pytest.mark.parametrize("breaks_off", [False, True], ids=["whole", "broken off"])
@pytest.mark.parametrize("assistant", ["basic", "discreet"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_l6_before_and_after_every_offset_are_the_bytes_of_an_unbroken_reader(
    place: Place, protocol: str, assistant: str, breaks_off: bool, event_ids: bool
) -> None:
    with place.provider(SaysAll(breaks_off=breaks_off)):
        async with asking(place.port, "POST", f"/chat/{assistant}", query()) as first:
            await everything(first)
    stream = place.house.store.open(first.headers["headrace-stream"], "local")
    assert stream.length == EVENTS
    events = f"/v1/streams/{stream.id}/events?protocol={protocol}&event_ids={str(event_ids).lower()}"
    async with asking(place.port, "GET", events) as reader:
        unbroken = await everything(reader)
    pieces = pieces_of(stream, protocol, event_ids=event_ids)
    cut_off = b"<cut off>" if breaks_off and protocol == "plain_text" else b""
    assert unbroken == b"".join(pieces) + cut_off
    for after in range(-1, EVENTS):
        async with asking(place.port, "GET", f"{events}&after={after}" if after >= 0 else events) as reader:
            assert b"".join(pieces[: after + 1]) + await everything(reader) == unbroken


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_l11_readers_that_leave_and_return_at_every_event_get_the_same_live(place: Place, protocol: str) -> None:
    provider = SaysAll()
    provider.step = asyncio.Semaphore(0)
    headers = {"Headrace-On-Disconnect": "continue"}
    with place.provider(provider):
        async with asking(place.port, "POST", "/chat/basic", query(), headers) as starter:
            stream = place.house.store.open(starter.headers["headrace-stream"], "local")
        events = f"/v1/streams/{stream.id}/events?protocol={protocol}"
        read = b""
        for offset in range(EVENTS):
            position = f"&after={offset - 1}" if offset else ""
            async with asking(place.port, "GET", events + position) as reader:
                if offset:
                    provider.step.release()  # said while this reader is there
                await until(lambda: stream.length > offset)  # noqa: B023 - awaited within this turn
                expected = len(b"".join(pieces_of(stream, protocol, event_ids=False)[: offset + 1]))
                while len(read) < expected:
                    read += (await reader.piece()).removeprefix(b"retry: 250\n\n")
                assert len(read) == expected
    assert stream.ended is not None
    assert read == b"".join(pieces_of(stream, protocol, event_ids=False))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_l8_resuming_before_the_first_token_is_200_and_heartbeats(place: Place, protocol: str) -> None:
    provider = SaysAll()
    provider.step = asyncio.Semaphore(0)
    chosen = {"Headrace-Stream": f"joined-in-prefill-{protocol}"}
    path = f"/v1/streams/{chosen['Headrace-Stream']}"
    with place.provider(provider):
        # The status of the first reader is held: it has nothing to know the id from but its own choice.
        starter = asyncio.create_task(ask(place, "/v1/chat/completions", chosen))
        await until(lambda: len(place.house.runs) == 1)
        headers = {"Headrace-Heartbeat": "0.1"}
        async with asking(place.port, "GET", f"{path}/events?protocol={protocol}", headers=headers) as joined:
            assert joined.status == 200
            if protocol in ("openai_chat", "typed_events"):  # they are looked after once a second
                beat = b""
                while b": hb\n" not in beat:
                    beat += await joined.piece()
            for _ in range(EVENTS):
                provider.step.release()
            assert b"Rest. [1] [2]" in await everything(joined)
        assert "Rest. [1] [2]" in await starter
    await place.emptied()


async def ask(place: Place, path: str, headers: dict[str, str]) -> str:
    body = {"model": "lab/m", "messages": [{"role": "user", "content": "q"}], "stream": True}
    async with asking(place.port, "POST", path, body, headers) as reader:
        assert reader.status == 200
        return (await reader.body()).decode()


async def test_l14_a_stream_is_begun_with_the_openai_sdk_followed_typed_and_finished_with_curl(place: Place) -> None:
    step: asyncio.Queue[None] = asyncio.Queue()

    async def say(exchange: Exchange) -> None:
        await exchange.head()
        for text in ("One", ", two", ", three"):
            await exchange.chunk(text_chunk(text))
            await step.get()
        for piece in (finish_chunk(), DONE):
            await exchange.chunk(piece)
        await exchange.end()

    async with place.upstream(say), openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key="none") as client:
        chunks = await client.chat.completions.create(
            model="lab/m",
            messages=[{"role": "user", "content": "q"}],
            stream=True,
            extra_headers={"Headrace-On-Disconnect": "30"},
        )
        read = []
        async for chunk in chunks:
            if chunk.choices[0].delta.content:
                read.append(chunk.choices[0].delta.content)
                break
        stream = place.house.store.open(chunk.id.removeprefix("chatcmpl-"), "local")
        after = stream.length - 1
        await chunks.close()
        path = f"/v1/streams/{stream.id}/events"
        async with asking(place.port, "GET", f"{path}?event_ids=true", headers={"Last-Event-ID": str(after)}) as typed:
            step.put_nowait(None)
            framed = b""
            while b"\n\n" not in framed.removeprefix(b"retry: 250\n\n"):
                framed += await typed.piece()
        lines = dict(line.split(b": ", 1) for line in framed.removeprefix(b"retry: 250\n\n").splitlines() if line)
        read.append(json.loads(lines[b"data"])["content"])
        curl = await asyncio.create_subprocess_exec(
            "curl",
            "-sN",
            f"{place.url}{path}?protocol=plain_text&after={int(lines[b'id'])}",
            stdout=asyncio.subprocess.PIPE,
        )
        await until(lambda: len(place.house.deliveries) == 1)
        step.put_nowait(None)
        step.put_nowait(None)
        rest, _ = await curl.communicate()
        read.append(rest.decode())
    assert curl.returncode == 0
    assert read == ["One", ", two", ", three"]
