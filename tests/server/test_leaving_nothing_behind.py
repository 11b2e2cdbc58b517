"""After many streams of every kind a server holds no more than before: no stream, no task, no descriptor, no object."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest
from tests.server import test_malformed_requests, test_malformed_sockets
from tests.server.conftest import Place, serving, until
from tests.server.raw import ANSWER_SECONDS, read_responses
from tests.server.reader import asking, chat, connected, encoded, query

from headrace.errors import UpstreamError
from headrace.providers.http_connection import Connection as UpstreamConnection
from headrace.runs import Run
from headrace.server.connection import Connection
from headrace.server.delivery import Delivery
from headrace.server.outlet import Outlet
from headrace.settings import Settings, StoreSettings
from headrace.streams.memory import MemoryStream
from headrace.testing.upstream import Exchange, answer, text_chunk

pytestmark = pytest.mark.anyio

STREAMS = 1000
AT_ONCE = 50
KINDS = (Run, Connection, Outlet, Delivery, MemoryStream, UpstreamConnection, UpstreamError)


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server that forgets a stream when it has ended."""
    async with serving(Settings(store=StoreSettings(retention_hours=0))) as forgetful:
        yield forgetful


class Anything:
    """Answers well, breaks off, refuses or falls silent, as the model's name says."""

    def __init__(self) -> None:
        self.used: set[int] = set()

    async def __call__(self, exchange: Exchange) -> None:
        """Answers as a handler."""
        model, used = exchange.json()["model"], exchange.connection in self.used
        self.used.add(exchange.connection)
        match model:
            case "break":
                await exchange.head()
                await exchange.chunk(text_chunk("One"))
                exchange.reset()
            case "again" if used:
                exchange.reset()
            case "refuse":
                await exchange.whole(b'{"error":{"message":"no"}}', 400)
            case "silent":
                await exchange.head()
                await exchange.chunk(text_chunk("One"))
                await exchange.left()
            case _:
                await answer(exchange, ["One", " two"], usage=(1, 2))


async def visit(place: Place, number: int) -> None:
    """One reader, of one of many kinds."""
    port = place.port
    match number % 11:
        case 0 | 1:
            async with asking(port, "POST", "/v1/chat/completions", chat()) as reader:
                assert b"[DONE]" in await reader.body()
        case 2:
            async with asking(port, "POST", "/chat/basic", query(stream=False)) as reader:
                assert reader.status == 200
        case 3:
            async with asking(port, "POST", "/chat/basic", query(model="lab/break")) as reader:
                await reader.body()
        case 4:
            async with asking(port, "POST", "/v1/chat/completions", chat(model="lab/refuse")) as reader:
                assert reader.status == 400
        case 5:
            async with asking(port, "POST", "/chat/basic", query(model="lab/silent")) as reader:
                await reader.piece()  # and leaves in the middle
        case 6:
            async with connected(port, encoded("POST", "/v1/chat/completions", chat(model="lab/silent"))):
                pass  # leaves at once
        case 7:
            headers = {"Headrace-On-Disconnect": "continue"}
            async with asking(port, "POST", "/chat/basic", query(), headers) as reader:
                await reader.piece()
        case 8:
            async with asking(port, "POST", "/chat/basic", query(model="lab/silent")) as reader:
                stream_id = reader.headers["headrace-stream"]
                async with asking(port, "GET", f"/v1/streams/{stream_id}/events") as second:
                    async with asking(port, "POST", f"/v1/streams/{stream_id}/cancel"):
                        pass
                    await second.body()
        case 9:  # a connection that was kept turns out to be dead: it is asked again on a new one
            async with asking(port, "POST", "/chat/basic", query(model="lab/again")) as reader:
                assert b"done" in await reader.body()
        case _:
            async with asking(port, "POST", "/chat/basic", b"{") as reader:
                assert reader.status == 400


async def visits(place: Place, count: int) -> None:
    """So many readers, some at once, until the server has forgotten them all."""
    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*(visit(place, number) for number in range(start, start + AT_ONCE)))
    await place.emptied()
    await until(lambda: not place.server.server_state.connections and not place.server.server_state.tasks)
    place.house.forget_expired()
    assert not place.house.store.list("local")


def held() -> dict[str, int]:
    """What a process holds."""
    return {"descriptors": len(os.listdir("/proc/self/fd")), "tasks": len(asyncio.all_tasks())}


def made() -> dict[int, object]:
    """What there is of what every request makes, by identity."""
    return {id(thing): thing for thing in gc.get_objects() if isinstance(thing, KINDS) and not is_kept(thing)}


def is_kept(thing: object) -> bool:
    """Whether it is a connection to the upstream that waits for the next request."""
    return isinstance(thing, UpstreamConnection) and thing.resting and not thing.lost


def left_since(before: dict[int, object]) -> Counter[str]:
    """How many there are more than `before`, which other tests of this process may still hold."""
    return Counter(type(thing).__name__ for key, thing in made().items() if key not in before)


async def test_after_1000_streams_a_server_holds_what_it_held_before(place: Place) -> None:
    found = []
    before = made()
    async with asking(place.port, "GET", "/v1/conversations") as reader:
        assert reader.status == 200, "the file of the conversations is open, which would be opened a moment later"
    for count in (AT_ONCE, STREAMS):
        async with place.upstream(Anything()):
            await visits(place, count)
        gc.collect()
        found.append(held())
    assert found[1] == found[0]
    assert left_since(before) == {}


def visit_malformed(port: int, seed: int) -> None:
    """A client of every kind that is wrong, but for those that take their time."""
    for kind in test_malformed_requests.KINDS:
        if kind is not test_malformed_requests.unfinished:
            with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
                with suppress(OSError):  # it has heard enough, and its answer waits to be read
                    connection.sendall(kind(Random(f"left {kind.__name__} {seed}")))
                assert read_responses(connection, 1)
    for wrong in test_malformed_sockets.KINDS:
        if wrong not in (test_malformed_sockets.unfinished, test_malformed_sockets.anything):
            sent = wrong(Random(f"left {wrong.__name__} {seed}"))
            with test_malformed_sockets.connect(port, sent.data) as connection:
                test_malformed_sockets.check(connection, sent)


async def test_what_is_malformed_leaves_no_task_and_no_descriptor(place: Place) -> None:
    state = place.server.server_state
    found: list[dict[str, int]] = []
    for count in (3, 30):
        for seed in range(count):
            await asyncio.to_thread(visit_malformed, place.port, seed)
        await until(lambda: not state.connections and not state.tasks)
        found.append(held())
    assert found[1] == found[0]


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing is freed but what nobody holds."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_what_a_request_made_is_freed_without_the_garbage_collector(place: Place) -> None:
    # `serve` lets the collector run seldom: what waits for it would be most of what a busy server holds.
    async with place.upstream(Anything()):
        await visits(place, AT_ONCE)
        with without_collector():
            before = made()
            await visits(place, 100)
            found = left_since(before)
    assert found == {}
