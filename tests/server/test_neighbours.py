"""L19: a fault of one stream or of one reader is its own; everybody beside it is served to the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tests.server.conftest import Place, until
from tests.server.reader import Reader, asking, chat, query
from uvicorn.server import ServerState

from headrace.clock import SystemClock
from headrace.events import Ended, Event, TextDelta
from headrace.interfaces import Encoder, ReaderProtocol, Stream, Write
from headrace.protocols import PROTOCOLS
from headrace.requests import GenerationRequest, Message, ReaderOptions
from headrace.runs import Models, Runs, Upstream
from headrace.server.answering import answer_live, answer_whole
from headrace.server.connection import Connection, connection_class
from headrace.server.socket_doors import Sockets
from headrace.settings.tree import DEFAULT_TIMEOUTS
from headrace.streams.memory import MemoryStore
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

NEIGHBOURS = 100
TEXTS = ["One", " two", " three", " four"]


class Boom(Exception):
    """A mistake in a plug-in."""


class Plugin:
    """A provider that says its texts a turn apart, and does one thing wrong for those who ask for it."""

    def __init__(self) -> None:
        self.asked = 0
        self.everyone = asyncio.Event()

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """Performs one attempt."""
        marks.connected_ns = marks.sent_ns = marks.asked_ns
        self.asked += 1
        await self.everyone.wait()
        match request.model:
            case "raise first":
                raise Boom(f"mistake with {request.messages[0].text()}")
            case "no ending":
                write((TextDelta(TEXTS[0]),))
                return None  # type: ignore[return-value]  # what a provider must not do is what is tried here
            case "an empty batch":
                write((TextDelta(TEXTS[0]),))
                write(())
            case _:
                pass
        for text in TEXTS:
            write((TextDelta(text),))
            await asyncio.sleep(0)
            if request.model == "raise in the middle":
                raise Boom("mistake in the middle")
        return Ended("stop")

    async def models(self) -> Sequence[str]:
        """None to speak of."""
        return ()

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        """Keeps nothing open."""


async def read(place: Place, model: str, *, stream: bool = True) -> tuple[int, list[str]]:
    """Status and frames of one reader; of a whole answer its body is the only frame."""
    body = query(model=f"lab/{model}", stream=stream)
    async with asking(place.port, "POST", "/chat/basic", body) as reader:
        if not stream or reader.status != 200:
            return reader.status, [(await reader.body()).decode()]
        return reader.status, [frame async for frame in reader.frames()]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", ["raise first", "raise in the middle", "no ending", "an empty batch"])
async def test_l19_a_mistake_in_a_provider_ends_its_stream_and_no_other(place: Place, fault: str, stream: bool) -> None:
    plugin = Plugin()
    with place.provider(plugin):
        neighbours = [asyncio.ensure_future(read(place, "well")) for _ in range(NEIGHBOURS)]
        faulty = [asyncio.ensure_future(read(place, fault, stream=stream)) for _ in range(3)]
        await until(lambda: plugin.asked == NEIGHBOURS + 3)
        plugin.everyone.set()
        for status, frames in await asyncio.gather(*neighbours):
            assert status == 200
            assert [json.loads(frame)["content"] for frame in frames[1:-3]] == TEXTS
            assert frames[-1] == "[DONE]"
        for status, frames in await asyncio.gather(*faulty):
            if stream:
                error = json.loads(frames[-2])
                assert (error["type"], error["code"], error["ending"]) == ("error", "internal_error", "error")
                assert frames[-1] == "[DONE]"
            else:
                assert status == 500
                assert json.loads(frames[0])["error"]["code"] == "internal_error"
            assert "mistake" not in "".join(frames).replace("headrace made a mistake", ""), (
                "its details are for the log"
            )
        await place.emptied()


class FaultyEncoder:
    """An encoder that fails at one event."""

    def __init__(self, encoder: Encoder, at: int) -> None:
        self._encoder = encoder
        self._at = at

    def __getattr__(self, name: str) -> Any:
        # In everything else it is the encoder it is made of.
        return getattr(self._encoder, name)

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The records for `events`, until it fails."""
        if offset <= self._at < offset + len(events) and not isinstance(events[0], Ended):
            raise Boom("mistake in an encoder")
        return self._encoder.encode(offset, events)


class FaultyProtocol:
    """Typed events that fail at one event, and whose whole answers always fail."""

    name = "faulty"

    def __init__(self, at: int) -> None:
        self._at = at

    def __getattr__(self, name: str) -> Any:
        # In everything else it is the protocol it is made of.
        return getattr(PROTOCOLS["typed_events"], name)

    def encoder(self, options: ReaderOptions) -> Encoder:
        """A new encoder that will fail."""
        return cast("Encoder", FaultyEncoder(PROTOCOLS["typed_events"].encoder(options), self._at))

    def whole(self, events: Sequence[Event], options: ReaderOptions) -> bytes:
        """No answer."""
        raise Boom("mistake in a whole answer")


@asynccontextmanager
async def faulty_door(place: Place, at: int) -> AsyncIterator[int]:
    """The port of a second door to the same streams, whose protocol makes a mistake at one event."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        stream = place.house.store.open(scope["path"].rpartition("/")[2], "local")
        options = ReaderOptions(event_ids=b"ids" in scope["query_string"])
        faulty = cast("ReaderProtocol", FaultyProtocol(at))
        if b"whole" in scope["query_string"]:
            await answer_whole(place.house, stream, faulty, options, scope)
        else:
            offset = 2 if b"resumed" in scope["query_string"] else 0
            await answer_live(place.house, stream, faulty, options, scope, offset=offset)

    ours = connection_class(place.house.settings.server, Sockets(place.house))
    config = uvicorn.Config(application, http=ours, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    protocol = cast("type[Connection]", config.http_protocol_class)
    server = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await server.wait_closed()


async def everything(reader: Reader) -> tuple[bool, bytes]:
    """Whether the body was cut off, and what came of it."""
    read_bytes = b""
    try:
        while piece := await reader.piece():
            read_bytes += piece
    except asyncio.IncompleteReadError:
        return True, read_bytes
    return False, read_bytes


@pytest.mark.parametrize("way", ["", "ids", "resumed"])
@pytest.mark.parametrize("at", [0, 1, 3])
async def test_l19_a_mistake_in_an_encoder_ends_its_reader_and_no_other(place: Place, at: int, way: str) -> None:
    plugin = Plugin()
    with place.provider(plugin):
        async with (
            asking(place.port, "POST", "/chat/basic", query(model="lab/well")) as neighbour,
            faulty_door(place, at) as port,
        ):
            stream_id = neighbour.headers["headrace-stream"]
            if way == "resumed":
                plugin.everyone.set()
                stream = place.house.store.open(stream_id, "local")
                await until(lambda: stream.length > 2)
            async with asking(port, "GET", f"/{stream_id}?{way}") as reader:
                plugin.everyone.set()
                cut_off, read_bytes = await everything(reader)
            assert cut_off, "nobody takes it for whole"
            events = [event for event in read_bytes.split(b"\n\n") if event]
            assert json.loads(events[-2][6:])["code"] == "internal_error"
            assert events[-1] == b"data: [DONE]"
            assert "".join([text async for text in neighbour.texts()]) == "".join(TEXTS)
        async with asking(place.port, "GET", f"/v1/streams/{stream_id}") as shown:
            assert (await shown.json())["ending"] == "stop", "the stream itself knows nothing of it"
        await place.emptied()


async def test_l19_a_mistake_in_a_whole_answer_is_an_error_of_its_reader_alone(place: Place) -> None:
    plugin = Plugin()
    plugin.everyone.set()
    with place.provider(plugin):
        async with asking(
            place.port, "POST", "/v1/chat/completions", chat(model="lab/well", stream=False)
        ) as neighbour:
            assert neighbour.status == 200
            stream_id = neighbour.headers["headrace-stream"]
        async with faulty_door(place, 0) as port, asking(port, "GET", f"/{stream_id}?whole") as reader:
            assert reader.status == 500


class FaultyObserver:
    """An observer that fails whenever it is told something."""

    def ended(self, stream: Stream) -> None:
        """A stream has ended."""
        raise Boom("mistake in an observer")


async def test_l19_a_mistake_in_an_observer_harms_neither_the_stream_nor_the_next_observer() -> None:
    seen = []

    class Honest:
        def ended(self, stream: Stream) -> None:
            seen.append(stream.id)

    clock = SystemClock()
    plugin = Plugin()
    plugin.everyone.set()
    upstreams = {"lab": Upstream("lab", plugin, DEFAULT_TIMEOUTS)}
    runs = Runs(MemoryStore(clock, 60), Models(upstreams), clock, observers=(FaultyObserver(), Honest()), most=10)
    runs.open()
    request = GenerationRequest("lab/well", (Message("user", "q"),), on_disconnect="continue")
    streams = [runs.start(request, "local") for _ in range(3)]
    await until(lambda: not len(runs))
    await runs.close()
    assert seen == [stream.id for stream in streams]
    assert all(stream.ended is not None and stream.ended.ending == "stop" for stream in streams)
