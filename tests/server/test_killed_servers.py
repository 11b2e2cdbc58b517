"""SIGKILL in mid-stream: what a reader has seen is there after a restart, and every stream has an ending (L7)."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import requests
from tests.server.conftest import DEADLINE_SECONDS, Process, process
from tests.server.talking import talking

from headrace.testing.paced import PacedAnswer
from headrace.testing.upstream import Exchange, ScriptedUpstream, answer, text_chunk

pytestmark = pytest.mark.anyio

STREAMS = 50
TOKENS = 400


class Reader(threading.Thread):
    """Reads one answer as typed events, and keeps what it got, however its connection ends."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.number = number
        self.stream_id = ""
        self.frames: list[bytes] = []

    def run(self) -> None:
        body = {"query": f"question {self.number}", "model": "lab/m", "stream": True}
        try:
            with requests.post(f"{self.url}/chat/basic", json=body, stream=True, timeout=DEADLINE_SECONDS) as response:
                self.stream_id = response.headers["Headrace-Stream"]
                rest = b""
                for piece in response.iter_content(None):
                    *whole, rest = (rest + piece).split(b"\n\n")
                    self.frames += [frame for frame in whole if frame.startswith(b"data: ")]
        except requests.RequestException:
            pass  # the server was killed: that is what is tried


def read_again(server: Process, stream_id: str) -> list[bytes]:
    response = requests.get(f"{server.url}/v1/streams/{stream_id}/events", timeout=DEADLINE_SECONDS)
    assert response.status_code == 200, response.text
    return [frame for frame in response.content.split(b"\n\n") if frame.startswith(b"data: ")]


async def killed_once(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with ScriptedUpstream(PacedAnswer(TOKENS, 400)) as upstream:
        settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'
        with process(folder, settings) as server:
            readers = [Reader(server.url, number) for number in range(STREAMS)]
            for reader in readers:
                reader.start()
            seen = chance.randrange(STREAMS * 5, STREAMS * 200)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while sum(len(reader.frames) for reader in readers) < seen:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)  # the kill comes at a number of frames, not at a time
            server.popen.kill()
            server.popen.wait()
        for reader in readers:
            await asyncio.to_thread(reader.join, DEADLINE_SECONDS)
    check_after_restart(folder, settings, readers)


def check_after_restart(folder: Path, settings: str, readers: Sequence[Reader]) -> None:
    before = time.monotonic()
    with process(folder, settings) as server:
        # 0.3 s where nothing else runs; a machine that is busy with other tests took 2.
        assert time.monotonic() - before < 6
        for reader in readers:
            if not reader.stream_id:
                continue  # nothing of its answer was sent
            again = read_again(server, reader.stream_id)
            assert again[: len(reader.frames)] == reader.frames, "what was shown is there, unchanged and in order"
            assert again[-1] == b"data: [DONE]"
            last = msgspec.json.decode(again[-2][6:])
            if last["type"] == "error":
                assert (last["ending"], last["code"]) == ("interrupted", "interrupted")
            shown = requests.get(f"{server.url}/v1/streams/{reader.stream_id}", timeout=DEADLINE_SECONDS).json()
            assert shown["state"] == "ended"
            assert shown["usage"]["source"] in ("reported", "estimated")
        running = requests.get(f"{server.url}/health", timeout=DEADLINE_SECONDS).json()["streams"]
        assert running == 0, "no stream without a run stays open"


@pytest.mark.parametrize("seed", range(10))
async def test_l7_a_killed_server_has_lost_nothing_that_was_shown(tmp_path: Path, seed: int) -> None:
    await killed_once(tmp_path, seed)


async def test_l7_an_answer_that_shall_be_carried_on_is_gone_on_with_after_a_kill(tmp_path: Path) -> None:
    async def hang_once(exchange: Exchange) -> None:
        last = exchange.json()["messages"][-1]
        if last["role"] == "assistant":
            assert last["content"] == "The mill grinds wheat,"
            await answer(exchange, [" rye", " and oats."])
        else:
            await exchange.head()
            await exchange.chunk(text_chunk("The mill grinds wheat,"))
            await exchange.left()

    body = {"model": "lab/m", "stream": True, "messages": [{"role": "user", "content": "Mill?"}]}
    headers = {"Headrace-On-Disconnect": "continue"}
    async with ScriptedUpstream(hang_once) as upstream:
        settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\nprefill = "assistant"\n'

        def ask(url: str) -> tuple[str, bytes]:
            address = f"{url}/v1/chat/completions"
            with requests.post(address, json=body, headers=headers, stream=True, timeout=DEADLINE_SECONDS) as response:
                return response.headers["Headrace-Stream"], next(response.iter_content(None))

        with process(tmp_path, settings) as server:
            stream_id, first = await asyncio.to_thread(ask, server.url)
            assert b"wheat" in first
            server.popen.kill()
            server.popen.wait()
        with process(tmp_path, settings) as server:
            frames = [msgspec.json.decode(frame[6:]) for frame in await asyncio.to_thread(follow, server, stream_id)]
    assert (
        "".join(frame["content"] for frame in frames if frame["type"] == "token")
        == "The mill grinds wheat, rye and oats."
    )
    assert [frame["type"] for frame in frames].count("start") == 1
    assert any(frame.get("phase") == "continued" for frame in frames)
    assert next(frame for frame in frames if frame["type"] == "done")["finish_reason"] == "stop"


async def test_l7_a_socket_resumes_after_a_kill_and_is_told_that_its_answer_was_interrupted(tmp_path: Path) -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("The mill grinds wheat,"))
        await exchange.left()

    async with ScriptedUpstream(hang) as upstream:
        settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'
        with process(tmp_path, settings) as server:
            async with talking(server.port) as client:
                await client.say({"model": "lab/m", "messages": [{"role": "user", "content": "Mill?"}]})
                heard = [await client.hear(), await client.hear()]
                server.popen.kill()
                server.popen.wait()
        with process(tmp_path, settings) as server:
            async with talking(server.port) as client:
                await client.say(type="resume", stream_id=heard[0]["headrace"]["stream_id"], after=0)
                rest = await client.answer()
    assert rest[0] == heard[1], "what was shown is there"
    assert rest[-1]["error"]["code"] == "interrupted"
    assert "usage" in rest[-1]


def follow(server: Process, stream_id: str) -> list[bytes]:
    """The frames of a stream to its end, but for the last."""
    address = f"{server.url}/v1/streams/{stream_id}/events?protocol=typed_events"
    response = requests.get(address, timeout=DEADLINE_SECONDS)
    return [frame for frame in response.content.split(b"\n\n") if frame.startswith(b"data: {")]


@pytest.mark.slow
@pytest.mark.parametrize("tens", range(10))
async def test_a_hundred_kills_lose_nothing(tmp_path: Path, tens: int) -> None:
    for seed in range(100 + 10 * tens, 110 + 10 * tens):
        await killed_once(tmp_path, seed)
