"""A disk that fills up while a server streams: readers are told, nothing is spoiled, and with room it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from pathlib import Path

import pytest
from tests.server.conftest import Process, process, until
from tests.server.reader import Reader, asking, chat, connected, encoded, query

from headrace.testing.upstream import Exchange, ScriptedUpstream, finish_chunk, text_chunk

pytestmark = pytest.mark.anyio

PIECE = "0123456789abcdef" * 64


async def go_on_and_on(exchange: Exchange) -> None:
    if exchange.json()["model"] == "short":
        await exchange.head()
        await exchange.chunk(text_chunk("done"))
        await exchange.chunk(finish_chunk())
        await exchange.end()
        return
    await exchange.head()
    for _ in range(100_000):
        await exchange.chunk(text_chunk(PIECE))
        await asyncio.sleep(0.002)


def let_files_grow_to(server: Process, size_bytes: int) -> None:
    """A write behind this size fails, as one on a full disk does."""
    resource.prlimit(server.popen.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def file_sizes(folder: Path) -> int:
    kept = folder / ".local/share/headrace"
    return max(path.stat().st_size for path in kept.iterdir())


async def told(reader: Reader) -> list[str]:
    frames = []
    with contextlib.suppress(asyncio.IncompleteReadError):
        async for frame in reader.frames():
            frames.append(frame)
    return frames


async def test_a_full_disk_ends_streams_with_a_clear_error_and_the_server_goes_on(tmp_path: Path) -> None:
    async with ScriptedUpstream(go_on_and_on) as upstream:
        with process(tmp_path, f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n') as server:
            readers = [connected(server.port, encoded("POST", "/chat/basic", query())) for _ in range(5)]
            open_readers = [await each.__aenter__() for each in readers]
            for reader in open_readers:
                await reader.head()
                assert await reader.piece()
            let_files_grow_to(server, file_sizes(tmp_path) + 100_000)
            for reader in open_readers:
                *_, error, _metadata, done = [None, *await told(reader)]
                frames = f"{error}{_metadata}"
                assert '"code":"store_failed"' in frames, frames
                assert done == "[DONE]"
            for each in readers:
                await each.__aexit__(None, None, None)
            # Nobody reads them any more, and the upstream was told to stop.
            await until(lambda: not upstream.active)
            async with asking(server.port, "POST", "/v1/chat/completions", chat(model="lab/short")) as refused:
                assert refused.status == 503
                assert (await refused.json())["error"]["code"] == "store_failed"
            let_files_grow_to(server, resource.RLIM_INFINITY)
            async with asking(server.port, "POST", "/v1/chat/completions", chat(model="lab/short")) as well:
                assert b'"done"' in await well.body()
                stream_id = well.headers["headrace-stream"]
        with process(tmp_path, "") as server:
            async with asking(server.port, "GET", f"/v1/streams/{stream_id}/events?protocol=plain_text") as again:
                assert await again.body() == b"done"
    connection = sqlite3.connect(tmp_path / ".local/share/headrace/headrace.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
