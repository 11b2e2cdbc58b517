"""A stream whose beginning was let go: what readers are told below the horizon, and what they get from there (L10)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from tests.server.bare_sockets import TEXT, bare, frame
from tests.server.conftest import Place, serving, until
from tests.server.reader import Reader, asking, connected, encoded, query
from tests.server.talking import said_in, talking

from headrace.events import Ended, ReasoningDelta, TextDelta
from headrace.folding import fold
from headrace.interfaces import Stream, Write
from headrace.protocols import PROTOCOLS
from headrace.requests import GenerationRequest
from headrace.settings import Settings, StoreSettings
from headrace.streams.memory import MemoryStore
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

COUNT = 12_000
CHOSEN = "a-stream-that-becomes-long-1"
PATH = f"/v1/streams/{CHOSEN}"


class SaysLong:
    """A provider that says much, and ends when it is told to."""

    def __init__(self, count: int = COUNT) -> None:
        self._count = count
        self.said = asyncio.Event()
        self.go_on = asyncio.Event()

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """Performs one attempt."""
        marks.sent_ns = marks.asked_ns
        write([ReasoningDelta("Hm. "), ReasoningDelta("So.")])
        for number in range(0, self._count, 100):
            write([TextDelta(f"日本語 🏝️ {each} ") for each in range(number, number + 100)])
            await asyncio.sleep(0)
        self.said.set()
        await self.go_on.wait()
        write([TextDelta("The end.")])
        return Ended("stop")

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        """Nothing."""
        return ()

    async def models(self) -> Sequence[str]:
        """Its only one."""
        return ("m",)

    async def close(self) -> None:
        """Nothing is open."""


SWEEP = MemoryStore.sweep


@pytest.fixture(autouse=True)
def _only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are shortened when a test says so, rather than once a second."""
    monkeypatch.setattr(MemoryStore, "sweep", lambda store: None)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A server whose streams are shortened from 1 MiB on."""
    async with serving(Settings(store=StoreSettings(kind="memory", stream_limit_megabytes=1))) as own:
        yield own


async def shortened(place: Place, provider: SaysLong) -> Stream:
    """The stream, once it was shortened."""
    await provider.said.wait()
    SWEEP(cast("MemoryStore", place.house.store))
    stream = place.house.store.open(CHOSEN, "local")
    assert stream.horizon > 1000
    return stream


async def everything(reader: Reader, read: bytearray | None = None) -> bytes:
    read = bytearray() if read is None else read
    try:
        while piece := await reader.piece():
            read += piece
    except asyncio.IncompleteReadError:
        read += b"<cut off>"
    return bytes(read)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_l10_below_the_horizon_is_410_with_the_text_and_from_there_on_all_is_as_ever(
    place: Place, protocol: str
) -> None:
    provider = SaysLong()
    events = f"{PATH}/events?protocol={protocol}"
    with place.provider(provider):
        async with (
            asking(place.port, "POST", "/chat/basic", query(), {"Headrace-Stream": CHOSEN}) as starter,
            asking(place.port, "GET", events) as unbroken,
        ):
            read = bytearray(), bytearray()
            bodies = [
                asyncio.create_task(everything(reader, into))
                for reader, into in zip((starter, unbroken), read, strict=True)
            ]
            await until(lambda: all(b" %d " % (COUNT - 1) in into for into in read))
            stream = await shortened(place, provider)
            horizon = stream.horizon
            told: dict[str, Any] = {}
            for after in ("", "&after=0", f"&after={horizon - 2}"):
                async with asking(place.port, "GET", events + after) as reader:
                    assert reader.status == 410
                    assert reader.headers["headrace-stream"] == CHOSEN
                    told = await reader.json()
                assert (told["error"]["code"], told["error"]["param"]) == ("below_horizon", "after")
                assert f"after={horizon - 1}" in told["error"]["message"]
                assert told["horizon"] == horizon
            async with asking(place.port, "GET", f"{events}&after={horizon - 1}") as resumed:
                provider.go_on.set()
                rest = await everything(resumed)
            whole = [await body for body in bodies]
    assert whole[1].endswith(rest), "a reader that returns at the horizon gets what an unbroken one gets from there"
    done = json.loads(whole[0].split(b"\n\n")[-4].removeprefix(b"data: "))
    assert done["content"] == fold(stream.said()).text
    assert done["content"].startswith(told["content"])
    async with asking(place.port, "GET", PATH) as reader:
        known = await reader.json()
    assert (known["ending"], known["events"], known["usage"]["source"]) == ("stop", COUNT + 6, "estimated")


async def test_l10_a_reader_that_was_too_slow_is_cut_off_and_told_when_it_returns(place: Place) -> None:
    provider = SaysLong(50_000)  # more than sockets take in for a reader that does not read
    headers = {"Headrace-Stream": CHOSEN, "Headrace-Event-Ids": "true", "Headrace-On-Disconnect": "continue"}
    with place.provider(provider):
        request = encoded("POST", "/v1/chat/completions", {**CHAT, "stream": True}, headers)
        async with connected(place.port, request, receive_bytes=4096) as slow:
            await slow.head()
            stream = await shortened(place, provider)
            body = await everything(slow)
        assert body.endswith(b"<cut off>")
        after = int(body.rpartition(b"\nid: ")[2].split(b"\n")[0])
        assert after < stream.horizon - 1
        async with asking(place.port, "GET", f"{PATH}/events", headers={"Last-Event-ID": str(after)}) as returned:
            assert returned.status == 410
        provider.go_on.set()
        await until(lambda: stream.ended is not None)


async def test_l10_a_socket_is_told_of_the_horizon_in_a_message_and_reads_on_behind_it(place: Place) -> None:
    provider = SaysLong()
    with place.provider(provider):
        async with talking(place.port, max_size=None) as client:
            own = {"stream_id": CHOSEN, "on_disconnect": "continue"}
            await client.say({**CHAT, "headrace": own})
            stream = await shortened(place, provider)
            client.cut()
        horizon = stream.horizon
        told: dict[str, Any] = {}
        async with talking(place.port, max_size=None) as client:
            for after in (-1, 0, horizon - 2):
                await client.say(type="resume", stream_id=CHOSEN, after=after, request_id="r")
                told = await client.hear()
                assert told["error"]["code"] == "below_horizon"
                assert told["horizon"] == horizon
                assert told["headrace"] == {"stream_id": CHOSEN}
                assert told["request_id"] == "r"
            await client.say(type="resume", stream_id=CHOSEN, after=horizon - 1)
            provider.go_on.set()
            rest = await client.answer()
    assert rest[0]["headrace"]["seq"] == horizon
    assert told["content"] + said_in(rest) == fold(stream.said()).text


async def test_l10_a_socket_that_was_too_slow_is_told_so_and_lives(place: Place) -> None:
    provider = SaysLong(50_000)  # more than sockets take in for a client that does not read
    with place.provider(provider):
        async with bare(place.port, receive_bytes=4096) as slow:
            own = {"stream_id": CHOSEN, "on_disconnect": "continue"}
            await slow.send(frame(TEXT, json.dumps({**CHAT, "headrace": own}).encode()))
            stream = await shortened(place, provider)
            _, message = await slow.next()
            while b'"error"' not in message:
                _, message = await slow.next()
            assert json.loads(message)["error"]["code"] == "below_horizon"
            await slow.send(frame(TEXT, b'{"type":"ping"}'))
            assert await slow.next() == (TEXT, b'{"type":"pong"}')
        provider.go_on.set()
        await until(lambda: stream.ended is not None)


async def test_a_retry_below_the_horizon_is_told_so_and_a_whole_one_gets_it_all(place: Place) -> None:
    for stream_wanted, status in ((True, 410), (False, 200)):
        provider = SaysLong()
        chosen = {"Headrace-Stream": CHOSEN, "Idempotency-Key": "long", "Headrace-On-Disconnect": "continue"}
        request = encoded("POST", "/v1/chat/completions", {**CHAT, "stream": stream_wanted}, chosen)
        with place.provider(provider):
            async with connected(place.port, request):
                stream = await shortened(place, provider)
            async with connected(place.port, request) as again:
                provider.go_on.set()
                await again.head()
                assert again.status == status
                told = await again.json()
            await until(lambda: stream.ended is not None)  # noqa: B023 - awaited within this turn
        if not stream_wanted:
            assert told["choices"][0]["message"]["content"] == fold(stream.said()).text
        async with asking(place.port, "DELETE", PATH) as deleted:
            assert deleted.status == 200


CHAT: dict[str, object] = {"model": "lab/m", "messages": [{"role": "user", "content": "q"}]}
