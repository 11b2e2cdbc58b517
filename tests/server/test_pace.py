"""L39: a recorded stream at its own speed, timed on the reader's side, and at once for everybody else."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from tests.server.conftest import Place
from tests.server.reader import asking, query
from tests.server.talking import is_last, said_in, talking

from headrace.testing.upstream import Exchange, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

GAP_SECONDS = 0.15
TEXTS = ("One", " two", " three", " four")


async def slowly(exchange: Exchange) -> None:
    await exchange.head()
    for text in TEXTS:
        await exchange.chunk(text_chunk(text))
        await asyncio.sleep(GAP_SECONDS)  # the pace that is recorded
    await exchange.chunk(finish_chunk())
    await exchange.end()


async def recorded(place: Place) -> str:
    async with place.upstream(slowly), asking(place.port, "POST", "/chat/basic", query()) as reader:
        await reader.body()
        return reader.headers["headrace-stream"]


async def arrivals(place: Place, path: str, **headers: str) -> list[tuple[float, str]]:
    """When each text of a stream came, from the first on."""
    loop = asyncio.get_running_loop()
    found: list[tuple[float, str]] = []
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asking(place.port, "GET", path, headers=named) as reader:
        async for text in reader.texts():
            found.append((loop.time(), text))
    return [(when - found[0][0], text) for when, text in found]


@pytest.mark.parametrize(("query_of_path", "headers"), [("", {"Headrace_Pace": "recorded"}), ("?pace=recorded", {})])
async def test_l39_a_recorded_stream_is_replayed_at_its_own_speed(
    place: Place, query_of_path: str, headers: dict[str, str]
) -> None:
    path = f"/v1/streams/{await recorded(place)}/events"
    times = [when for when, _ in await arrivals(place, path + query_of_path, **headers)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap > GAP_SECONDS * 0.7 for gap in gaps), gaps
    at_once = await arrivals(place, path)
    assert [text for _, text in at_once] == list(TEXTS)
    assert at_once[-1][0] < GAP_SECONDS


async def test_l39_a_socket_is_replayed_to_at_the_streams_own_speed_and_only_if_it_asks(place: Place) -> None:
    stream_id = await recorded(place)
    loop = asyncio.get_running_loop()
    async with talking(place.port) as client:
        for options in ({"pace": "recorded"}, {}):
            await client.say(type="resume", stream_id=stream_id, headrace=options)
            times = []
            while not is_last(message := await client.hear()):
                if said_in([message]):
                    times.append(loop.time())
            gaps = [later - earlier for earlier, later in pairwise(times)]
            assert len(gaps) == len(TEXTS) - 1
            assert all(gap > GAP_SECONDS * 0.7 for gap in gaps) if options else sum(gaps) < GAP_SECONDS


async def test_the_bytes_are_those_of_a_reader_who_is_given_them_at_once(place: Place) -> None:
    path = f"/v1/streams/{await recorded(place)}/events"
    for after in (-1, 1, 3):
        async with asking(place.port, "GET", f"{path}?after={after}&pace=recorded") as paced:
            slowly_read = await paced.body()
        async with asking(place.port, "GET", f"{path}?after={after}") as reader:
            assert slowly_read == await reader.body()


async def test_a_reader_that_leaves_a_replay_leaves_nothing_behind(place: Place) -> None:
    path = f"/v1/streams/{await recorded(place)}/events?pace=recorded"
    async with asking(place.port, "GET", path) as reader:
        await reader.piece()
    await place.emptied()


async def test_another_pace_is_refused_by_name(place: Place) -> None:
    path = f"/v1/streams/{await recorded(place)}/events?pace=double"
    async with asking(place.port, "GET", path) as reader:
        assert reader.status == 400
        assert "recorded" in (await reader.json())["error"]["message"]
