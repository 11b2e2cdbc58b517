"""What a server's memory does: a reader that takes nothing costs a cursor, and what ended leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.server.conftest import Process, process
from tests.server.reader import asking, chat, connected, encoded, query

from headrace.streams.journaled import REMEMBERED_SECONDS
from headrace.testing.upstream import Exchange, ScriptedUpstream, answer, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

MIB = 1 << 20
STALLED = 100
PIECE = "0123456789abcdef" * 64


def resident_bytes(server: Process) -> int:
    pages = Path(f"/proc/{server.popen.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


async def ten_mebibytes(exchange: Exchange) -> None:
    await exchange.head()
    for _ in range(10 * 1024):
        await exchange.chunk(text_chunk(PIECE))
    await exchange.chunk(finish_chunk())
    await exchange.end()


async def whole_and_short(exchange: Exchange) -> None:
    await (ten_mebibytes(exchange) if exchange.json()["model"] == "long" else answer(exchange, ["One", " two"] * 20))


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Process]:
    async with ScriptedUpstream(whole_and_short) as upstream:
        with process(folder, f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n') as server:
            yield server


async def resident_with_stalled(folder: Path, stalled: int) -> int:
    """What a server holds that has given a long answer to one reader, and to others who take nothing."""
    async with served(folder) as server, AsyncExitStack() as stack:
        headers = {"Headrace-Stream": "s" * 32}
        request = encoded("POST", "/chat/basic", query(model="lab/long"), headers)
        reader = await stack.enter_async_context(connected(server.port, request))
        await reader.head()
        path = f"/v1/streams/{headers['Headrace-Stream']}/events"
        for _ in range(stalled):
            other = connected(server.port, encoded("GET", path), receive_bytes=4096)
            await (await stack.enter_async_context(other)).head()
        assert len(await reader.body()) > 10 * MIB
        return resident_bytes(server)


async def test_l46_a_reader_that_takes_nothing_leaves_memory_flat(tmp_path_factory: pytest.TempPathFactory) -> None:
    alone = await resident_with_stalled(tmp_path_factory.mktemp("alone"), 0)
    watched = await resident_with_stalled(tmp_path_factory.mktemp("watched"), STALLED)
    # Ten mebibytes wait for each of them, and what is held is a piece or two on their way. What the journal has yet to
    # write when the answer ends differs from run to run by some 30 MiB, with and without them.
    assert watched - alone < STALLED * 10 * MIB / 8, (alone // 1024, watched // 1024)


async def test_after_a_thousand_streams_memory_is_back_where_it_was(tmp_path: Path) -> None:
    async def visit(number: int) -> None:
        async with asking(server.port, "POST", "/v1/chat/completions", chat(f"question {number}")) as reader:
            assert b"[DONE]" in await reader.body()

    async def thousand() -> int:
        for start in range(0, 1000, 50):
            await asyncio.gather(*(visit(number) for number in range(start, start + 50)))
        await asyncio.sleep(REMEMBERED_SECONDS + 3)  # what is measured is what is left after this time
        return resident_bytes(server)

    async with served(tmp_path) as server:
        warm = await thousand()
        assert await thousand() - warm < 2 * MIB
