"""The Python client of others, version 0.1.0: it writes, reads and follows; what it misunderstands costs little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from durable_streams import DurableStream, StreamNotFoundError, stream
from tests.server.conftest import Place, serving, until
from tests.server.reader import asking, query
from tests.upstream_answers import TEXTS, say_everything

from headrace.settings import ServerSettings, Settings

pytestmark = pytest.mark.anyio

LONG_POLL_SECONDS = 0.5


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    async with serving(Settings(server=ServerSettings(long_poll_seconds=LONG_POLL_SECONDS))) as own:
        yield own


async def test_it_writes_messages_and_reads_them_from_an_offset(place: Place) -> None:
    def talk() -> tuple[list[Any], list[Any]]:
        with DurableStream.create(f"{place.url}/v1/stream/of-python", content_type="application/json") as own:
            own.append({"n": 1})
            offset = own.append([{"n": 2}, [3]]).next_offset
            own.append("four")
            with own.stream(live=False) as whole, own.stream(live=False, offset=offset) as rest:
                return list(whole.iter_json()), list(rest.iter_json())

    whole, rest = await asyncio.to_thread(talk)
    assert whole == [{"n": 1}, [{"n": 2}, [3]], "four"], "a list is one message, as this client sends it"
    assert rest == ["four"]


@pytest.mark.parametrize("live", ["sse", "long-poll"])
async def test_it_follows_a_generation_to_its_ending(place: Place, live: Any) -> None:
    async with place.upstream(say_everything), asking(place.port, "POST", "/chat/basic", query()) as writer:
        stream_id = writer.headers["headrace-stream"]

        def follow() -> list[Any]:
            messages = []
            with stream(f"{place.url}/v1/stream/generations/{stream_id}", offset="-1", live=live) as response:
                for message in response.iter_json():
                    messages.append(message)
                    if message["type"] == "done":
                        break
            return messages

        messages = await asyncio.to_thread(follow)
    assert [each["content"] for each in messages if each["type"] == "token"] == TEXTS


async def test_that_it_does_not_know_of_closed_streams_costs_two_requests_a_second(place: Place) -> None:
    address = f"{place.url}/v1/stream/closed"
    async with asking(place.port, "PUT", "/v1/stream/closed", b'"x"', {"Stream-Closed": "true"}) as made:
        assert made.status == 201

    def follow() -> None:
        with stream(address, offset="-1", live="long-poll") as response:
            for _ in response:
                pass

    following = asyncio.ensure_future(asyncio.to_thread(follow))
    log = place.house.byte_logs.open("local", "closed")
    await until(lambda: log.readers == 1)
    before = place.server.server_state.total_requests
    await asyncio.sleep(4 * LONG_POLL_SECONDS)  # what is counted is how often it asks in this time
    assert place.server.server_state.total_requests - before <= 5
    async with asking(place.port, "DELETE", "/v1/stream/closed") as deleted:
        assert deleted.status == 204
    with pytest.raises(StreamNotFoundError):
        await following
