"""The doors to streams: their list in pages, each as it is known, and its deletion."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.server.conftest import Place, serving, until
from tests.server.reader import asking, chat, query

from headrace.streams.database import Database
from headrace.testing.upstream import Exchange, answer, text_chunk

pytestmark = pytest.mark.anyio


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A server with no streams yet."""
    async with serving() as own:
        yield own


async def say(exchange: Exchange) -> None:
    await answer(exchange, ["One", ", two"])


async def go_on(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


async def asked(place: Place, **more: Any) -> str:
    """The id of a stream that has ended."""
    async with asking(place.port, "POST", "/chat/basic", query(**more)) as reader:
        await reader.body()
        return reader.headers["headrace-stream"]


async def listed(place: Place, words: str = "") -> dict[str, Any]:
    async with asking(place.port, "GET", f"/v1/streams?{words}") as reader:
        assert reader.status == 200
        page: dict[str, Any] = await reader.json()
        return page


async def test_streams_are_listed_newest_first_in_pages(place: Place) -> None:
    assert await listed(place) == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    async with place.upstream(say):
        ids = [await asked(place) for _ in range(7)]
    newest_first = ids[::-1]
    found: list[str] = []
    words = "limit=3"
    while True:
        page = await listed(place, words)
        found += [stream["id"] for stream in page["data"]]
        assert page["has_more"] == (len(found) < 7)
        if not page["has_more"]:
            break
        assert len(page["data"]) == 3
        words = f"limit=3&before={page['last_id']}"
    assert found == newest_first
    whole = await listed(place)
    assert (whole["first_id"], whole["last_id"], whole["has_more"]) == (ids[-1], ids[0], False)
    async with asking(place.port, "GET", f"/v1/streams/{ids[0]}") as reader:
        assert await reader.json() == whole["data"][-1], "each as it is shown by itself"


async def test_a_conversation_is_the_list_of_its_streams(place: Place) -> None:
    async with place.upstream(say):
        first = await asked(place, conversation_id="talk")
        await asked(place, conversation_id="another")
        second = await asked(place, conversation_id="talk")
    page = await listed(place, "conversation_id=talk")
    assert [stream["id"] for stream in page["data"]] == [second, first]
    assert {stream["conversation_id"] for stream in page["data"]} == {"talk"}


async def test_streams_are_listed_by_their_state(place: Place) -> None:
    async with place.upstream(say):
        ended = [await asked(place) for _ in range(2)]
    async with place.upstream(go_on), AsyncExitStack() as stack:
        running = []
        for _ in range(2):
            reader = await stack.enter_async_context(asking(place.port, "POST", "/chat/basic", query()))
            running.append(reader.headers["headrace-stream"])
        for state, ids in (("running", running), ("ended", ended)):
            page = await listed(place, f"state={state}&limit=2")
            assert [stream["id"] for stream in page["data"]] == ids[::-1]
            assert {stream["state"] for stream in page["data"]} == {state}


@pytest.mark.parametrize("wrong", ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "state=waiting", "state="])
async def test_a_page_that_cannot_be_is_refused_and_the_parameter_named(place: Place, wrong: str) -> None:
    async with asking(place.port, "GET", f"/v1/streams?{wrong}") as reader:
        assert reader.status == 400
        assert (await reader.json())["error"]["param"] == wrong.split("=")[0]


async def change(place: Place, stream_id: str, body: object) -> tuple[int, Any]:
    async with asking(place.port, "PATCH", f"/v1/streams/{stream_id}", body) as changed:
        return changed.status, await changed.json()


async def test_what_becomes_of_a_stream_without_readers_may_be_decided_while_it_goes_on(place: Place) -> None:
    async with place.upstream(go_on) as upstream:
        async with asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
            stream_id = reader.headers["headrace-stream"]
            said: dict[str, object] = {"id": stream_id, "state": "running", "on_disconnect": "continue"}
            assert await change(place, stream_id, {"on_disconnect": "continue"}) == (200, said)
        stream = place.house.store.open(stream_id, "local")
        await until(lambda: not stream.readers)
        assert upstream.active == 1
        # Nobody reads it, and nobody shall be waited for: it ends at once.
        assert (await change(place, stream_id, {"on_disconnect": "cancel"}))[0] == 200
        await until(lambda: stream.ended is not None)
        assert stream.ended is not None
        assert stream.ended.ending == "cancelled"
    status, answered = await change(place, stream_id, {"on_disconnect": 3})
    assert (status, answered["state"], answered["on_disconnect"]) == (200, "ended", 3.0)


@pytest.mark.parametrize("body", [{}, {"on_disconnect": None}, {"on_disconnect": "stop"}, {"on_disconnect": -1}, []])
async def test_a_policy_that_is_none_is_refused_with_what_it_may_be(place: Place, body: object) -> None:
    async with place.upstream(say):
        stream_id = await asked(place)
    status, said = await change(place, stream_id, body)
    assert status == 400
    assert "send" in said["error"]["message"] or "must be" in said["error"]["message"]


async def test_a_deleted_stream_is_there_no_more(place: Place) -> None:
    async with place.upstream(say):
        stream_id, other = await asked(place, conversation_id="talk"), await asked(place, conversation_id="talk")
    path = f"/v1/streams/{stream_id}"
    async with asking(place.port, "DELETE", path) as reader:
        assert reader.status == 200
        assert await reader.json() == {"id": stream_id, "object": "stream", "deleted": True}
    for method, rest in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        async with asking(place.port, method, path + rest) as reader:
            assert reader.status == 404
            assert (await reader.json())["error"]["code"] == "stream_not_found"
    assert [stream["id"] for stream in (await listed(place, "conversation_id=talk"))["data"]] == [other]


async def test_a_running_stream_that_is_deleted_is_cancelled_and_its_id_is_free(place: Place) -> None:
    chosen = {"Headrace-Stream": "deleted-and-used-again-01"}
    path = f"/v1/streams/{chosen['Headrace-Stream']}"
    async with place.upstream(go_on) as upstream, AsyncExitStack() as stack:
        first = await stack.enter_async_context(asking(place.port, "POST", "/chat/basic", query(), chosen))
        await until(lambda: bool(upstream.exchanges))
        async with asking(place.port, "DELETE", path) as reader:
            assert reader.status == 200
            assert len(place.house.runs) == 0
        frames = [frame async for frame in first.frames()]
        assert '"ending":"cancelled"' in frames[-2], "its readers read it to its end"
        await upstream.emptied()
        second = await stack.enter_async_context(asking(place.port, "POST", "/v1/chat/completions", chat(), chosen))
        assert second.status == 200
        async with asking(place.port, "GET", path) as reader:
            known = await reader.json()
        assert (known["id"], known["state"]) == (chosen["Headrace-Stream"], "running")
        async with asking(place.port, "POST", f"{path}/cancel") as reader:
            assert reader.status == 200
        await upstream.emptied()
        await place.emptied()


async def test_two_that_delete_at_once_both_learn_that_it_is_gone(place: Place) -> None:
    async with place.upstream(go_on), asking(place.port, "POST", "/chat/basic", query()) as first:
        path = f"/v1/streams/{first.headers['headrace-stream']}"

        async def delete() -> int:
            async with asking(place.port, "DELETE", path) as reader:
                await reader.body()
                return reader.status

        statuses = sorted(await asyncio.gather(delete(), delete()))
    assert statuses[0] == 200
    assert statuses[1] in (200, 404)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_deletion_is_answered_when_it_is_written_down(
    place: Place, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    async with place.upstream(say):
        stream_id = await asked(place)
    whole, let = Database.write_group, threading.Event()

    def slow(database: Database, sequence: int, entries: bytes) -> None:
        assert let.wait(10)
        if fails:
            raise sqlite3.OperationalError("database or disk is full")
        whole(database, sequence, entries)

    monkeypatch.setattr(Database, "write_group", slow)

    async def delete() -> tuple[int, dict[str, Any]]:
        async with asking(place.port, "DELETE", f"/v1/streams/{stream_id}") as reader:
            return reader.status, await reader.json()

    deleting = asyncio.create_task(delete())
    try:
        # It is unknown to everybody already, and not answered yet.
        await until(lambda: not place.house.store.list("local"))
        await listed(place)
        assert not deleting.done()
    finally:
        let.set()
    status, answered = await deleting
    assert (status, answered["error"]["code"] if fails else answered["deleted"]) == (
        (503, "store_failed") if fails else (200, True)
    )
