"""Keys that come and go while a server runs: what is made lets in, what is revoked ends everything it began."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
import openai
import pytest
import requests
from tests.server.conftest import DEADLINE_SECONDS, HEADRACE, Place, process, serving, until
from tests.server.reader import asking, chat, connected, encoded, query

from headrace.keys.database import KeyDatabase
from headrace.settings import ServerSettings, Settings
from headrace.testing.upstream import Exchange, text_chunk

pytestmark = pytest.mark.anyio

SEEN_SECONDS = 1.0
"""How long a running server may take to see what was revoked."""


class Keyed(NamedTuple):
    """A server that asks for keys, and the file they are in."""

    place: Place
    database: KeyDatabase

    def new(self, owner: str = "ann") -> str:
        """A key that the server knows."""
        return self.database.create(owner, time.time_ns())[0]


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    path = tmp_path / "keys.db"
    async with serving(Settings(server=ServerSettings(auth=True)), keys=path) as place:
        yield Keyed(place, KeyDatabase(path))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def say_one(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


async def say_nothing(exchange: Exchange) -> None:
    await exchange.left()


async def status_with(place: Place, key: str) -> int:
    async with asking(place.port, "GET", "/v1/models", headers=bearer(key)) as reader:
        return reader.status


async def test_a_key_that_is_made_lets_in_at_once_and_one_that_is_revoked_no_more_within_a_second(
    keyed: Keyed,
) -> None:
    key, _ = keyed.database.create("ann", time.time_ns())
    assert await status_with(keyed.place, key) == 200
    keyed.database.revoke(key)
    before = asyncio.get_running_loop().time()
    while await status_with(keyed.place, key) != 401:
        await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - before < SEEN_SECONDS


ASKING = {
    "/v1/chat/completions": chat(),
    "/openai/v1/chat/completions": chat(),
    "/v1/completions": {"model": "lab/m", "prompt": "q", "stream": True},
    "/chat": {"prompt": "q", "model": "lab/m"},
    "/chat/basic": query(),
    "/api/generate/stream": {"model": "lab/m", "prompt": "q"},
    "/api/chat/stream": {"model": "lab/m", "message": "q"},
    "/api/generate": {"model": "lab/m", "prompt": "q"},
    "/api/chat": {"model": "lab/m", "messages": [{"role": "user", "content": "q"}]},
}


@pytest.mark.parametrize("path", ASKING)
async def test_revoking_cancels_up_to_the_upstream_and_tells_the_reader_in_its_protocol(
    keyed: Keyed, path: str
) -> None:
    key = keyed.new()
    async with keyed.place.upstream(say_one) as upstream:
        async with asking(keyed.place.port, "POST", path, ASKING[path], bearer(key)) as reader:
            assert reader.status == 200
            read = b""
            while b"One" not in read:
                read += await reader.piece()
            before = asyncio.get_running_loop().time()
            keyed.database.revoke(key)
            read += await reader.body()
            assert asyncio.get_running_loop().time() - before < SEEN_SECONDS
        await upstream.emptied()
        assert b"revoked" in read
        if path not in ("/api/generate", "/api/chat"):  # Ollama's errors have no code
            assert b"invalid_api_key" in read
        await keyed.place.emptied()


async def test_plain_text_which_cannot_say_so_is_cut_off(keyed: Keyed) -> None:
    key = keyed.new()
    asked = asking(keyed.place.port, "POST", "/api/query/stream", {"question": "q", "model": "lab/m"}, bearer(key))
    async with keyed.place.upstream(say_one) as upstream, asked as reader:
        assert await reader.piece() == b"One"
        keyed.database.revoke(key)
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.piece()
        await upstream.emptied()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_whose_answer_has_not_begun_is_refused(keyed: Keyed, stream: bool) -> None:
    key = keyed.new()
    request = encoded("POST", "/v1/chat/completions", chat(stream=stream), bearer(key))
    async with keyed.place.upstream(say_nothing) as upstream, connected(keyed.place.port, request) as reader:
        await until(lambda: upstream.active == 1)
        keyed.database.revoke(key)
        await reader.head()
        assert reader.status == 401
        assert (await reader.json())["error"]["code"] == "invalid_api_key"
        await upstream.emptied()


@pytest.mark.parametrize("live", ["long-poll", "sse"])
async def test_a_live_reader_of_a_log_is_ended_and_comes_back_in_vain(keyed: Keyed, live: str) -> None:
    writing, reading = keyed.new(), keyed.new()
    port, path = keyed.place.port, "/v1/stream/notes"
    async with asking(port, "PUT", path, None, {"Content-Type": "text/plain", **bearer(writing)}) as made:
        assert made.status == 201
    request = encoded("GET", f"{path}?offset=-1&live={live}", None, bearer(reading))
    keyring = keyed.place.house.keyring
    assert keyring is not None
    async with connected(port, request) as reader:
        await until(lambda: sum(each.readers for each in keyring._kept.values()) == 1)
        keyed.database.revoke(reading)
        await reader.head()
        assert reader.status == (401 if live == "long-poll" else 200)
        await reader.body()
    async with asking(port, "GET", f"{path}?offset=-1&live={live}", None, bearer(reading)) as again:
        assert again.status == 401
    async with asking(port, "GET", path, None, bearer(writing)) as other:
        assert other.status == 200


async def test_revoking_ends_one_keys_doings_and_nobody_elses(keyed: Keyed) -> None:
    first, second, bobs = keyed.new("ann"), keyed.new("ann"), keyed.new("bob")
    port = keyed.place.port
    async with (
        keyed.place.upstream(say_one) as upstream,
        asking(port, "POST", "/v1/chat/completions", chat(), bearer(first)) as reading,
        asking(port, "POST", "/v1/chat/completions", chat(), bearer(bobs)) as bob,
    ):
        assert b"One" in await reading.piece()
        path = f"/v1/streams/{reading.headers['headrace-stream']}/events"
        async with asking(port, "GET", path, headers=bearer(second)) as other:
            while b"One" not in await other.piece():
                pass
            keyed.database.revoke(second)
            assert b"invalid_api_key" in await other.body()
        assert upstream.active == 2, "the stream was begun with the owner's other key, and goes on"
        async with asking(port, "GET", "/v1/models", headers=bearer(bobs)) as models:
            assert models.status == 200
        keyed.database.revoke(first)
        await until(lambda: upstream.active == 1)
        async with asking(port, "POST", f"/v1/streams/{bob.headers['headrace-stream']}/cancel", {}, bearer(bobs)) as it:
            assert (await it.json())["cancelled"] is True


async def test_a_request_that_is_still_arriving_is_refused(keyed: Keyed) -> None:
    key = keyed.new()
    request = encoded("POST", "/v1/chat/completions", chat(), bearer(key))
    async with keyed.place.upstream(say_one) as upstream, connected(keyed.place.port, request[:-1]) as reader:
        keyring = keyed.place.house.keyring
        assert keyring is not None
        await until(lambda: keyring.find(key) is not None)
        keyed.database.revoke(key)
        await until(lambda: keyring.find(key) is None)
        await reader.send(request[-1:])
        await reader.head()
        assert reader.status == 401
        assert not upstream.exchanges


async def test_a_run_that_goes_on_without_readers_is_ended_too(keyed: Keyed) -> None:
    key = keyed.new()
    headers = {**bearer(key), "Headrace-On-Disconnect": "continue"}
    async with keyed.place.upstream(say_one) as upstream:
        async with asking(keyed.place.port, "POST", "/v1/chat/completions", chat(), headers) as reader:
            await reader.piece()
        await until(lambda: not keyed.place.house.deliveries)
        assert upstream.active == 1
        keyed.database.revoke(key)
        await upstream.emptied()


async def test_what_is_kept_of_a_key_goes_when_its_streams_have_ended(keyed: Keyed) -> None:
    key = keyed.new()
    keyed.place.house.refresh_keys()
    assert keyed.place.house.keyring is not None
    found = keyed.place.house.keyring.find(key)
    assert found is not None
    async with keyed.place.upstream(say_one) as upstream:
        async with asking(keyed.place.port, "POST", "/v1/chat/completions", chat(), bearer(key)) as reader:
            await reader.piece()
            assert (len(found.streams), found.readers) == (1, 1)
        await upstream.emptied()
        await until(lambda: (len(found.streams), found.readers) == (0, 0))


async def test_keys_stay_as_they_were_while_their_file_cannot_be_read(
    keyed: Keyed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = keyed.new()
    assert await status_with(keyed.place, key) == 200
    (tmp_path / "keys.db").chmod(0o666)
    (tmp_path / "keys.db").rename(tmp_path / "aside")
    (tmp_path / "aside").rename(tmp_path / "keys.db")
    keyed.place.house.keyring._database.close()  # type: ignore[union-attr]  # as if the file had been put there anew
    for _ in range(3):
        keyed.place.house.refresh_keys()
    assert await status_with(keyed.place, key) == 200
    assert caplog.text.count("keys stay as they were") == 1
    (tmp_path / "keys.db").chmod(0o600)


# -- the command, a server of its own, and the clients people use


def headrace(folder: Path, *arguments: str) -> str:
    made = subprocess.run(
        [HEADRACE, *arguments],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    return made.stdout.strip()


def test_sdk_curl_and_requests_come_in_with_a_key_and_not_without(tmp_path: Path) -> None:
    key = headrace(tmp_path, "keys", "create", "ann")
    curl = shutil.which("curl")
    assert curl is not None
    with process(tmp_path, "[server]\nauth = true\n") as server:
        url = f"{server.url}/v1"
        for header in (f"Authorization: Bearer {key}", f"x-api-key: {key}", f"api-key: {key}"):
            answer = subprocess.run(
                [curl, "-s", "-w", "%{http_code}", f"{url}/models", "-H", header], capture_output=True, text=True
            )
            assert answer.stdout.endswith("200")
            name, _, value = header.partition(": ")
            assert requests.get(f"{url}/models", headers={name: value}, timeout=DEADLINE_SECONDS).status_code == 200
        refused = requests.get(f"{url}/models", timeout=DEADLINE_SECONDS)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        asked: list[openai.types.chat.ChatCompletionUserMessageParam] = [{"role": "user", "content": "What is a run?"}]
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
            assert client.chat.completions.create(model="offline", messages=asked).choices[0].message.content
            chunks = list(client.chat.completions.create(model="offline", messages=asked, stream=True))
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            headrace(tmp_path, "keys", "revoke", key[:11])
            deadline = time.monotonic() + SEEN_SECONDS
            code = None
            while code is None:
                assert time.monotonic() < deadline
                try:
                    client.models.list()
                except openai.AuthenticationError as error:
                    code = error.code
            assert code == "invalid_api_key"
        assert key.encode() not in server.log_path.read_bytes()


def test_l53_an_open_address_starts_with_auth_and_a_key_and_not_without_one(tmp_path: Path) -> None:
    refused = subprocess.run(
        [HEADRACE, "serve", "--host", "0.0.0.0", "--port", "0", "--auth"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("Make one: headrace keys create me")
    key = headrace(tmp_path, "keys", "create", "me")
    with process(tmp_path, '[server]\nauth = true\nhost = "0.0.0.0"\n') as server:
        url = f"http://127.0.0.1:{server.port}/v1/models"
        assert requests.get(url, timeout=DEADLINE_SECONDS).status_code == 401
        assert requests.get(url, headers=bearer(key), timeout=DEADLINE_SECONDS).status_code == 200


async def test_the_event_loop_is_not_held_up_by_somebody_who_writes_keys(keyed: Keyed) -> None:
    key = keyed.new()

    def make_many() -> None:
        for _ in range(50):
            keyed.database.create("bob", time.time_ns())

    made = asyncio.ensure_future(anyio.to_thread.run_sync(make_many))
    slowest = 0.0
    while not made.done():
        before = asyncio.get_running_loop().time()
        keyed.place.house.refresh_keys()
        slowest = max(slowest, asyncio.get_running_loop().time() - before)
        await asyncio.sleep(0.001)
    await made
    assert slowest < 0.25
    assert await status_with(keyed.place, key) == 200
