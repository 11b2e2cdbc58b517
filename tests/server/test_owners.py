"""Keys and owners: what belongs to one is not there for another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from tests.server.conftest import Place, serving
from tests.server.reader import asking, chat, query

from headrace.server.house import House
from headrace.server.routes import routes
from headrace.settings import KeySettings, ServerSettings, Settings
from headrace.testing.upstream import Exchange, answer, text_chunk

pytestmark = pytest.mark.anyio

KEYS = {"ann": "ann-key-1", "bob": "bob-key-2"}


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server with two owners, one of whom has two keys."""
    keys = {**KEYS, "ann ": "ann-key-3"}
    settings = Settings(
        server=ServerSettings(auth=True),
        keys=tuple(KeySettings(owner.strip(), hashlib.sha256(key.encode()).hexdigest()) for owner, key in keys.items()),
    )
    async with serving(settings) as guarded:
        yield guarded


def key(owner: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[owner]}"}


async def say(exchange: Exchange) -> None:
    await answer(exchange, ["for ", "one only"])


async def start(place: Place, owner: str, **headers: str) -> str:
    """The id of a stream of this owner, which has ended."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = asking(place.port, "POST", "/v1/chat/completions", chat(), {**key(owner), **named})
    async with place.upstream(say), asked as reader:
        assert reader.status == 200
        await reader.body()
        return reader.headers["headrace-stream"]


async def refusal(place: Place, method: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    async with asking(place.port, method, path, None, headers) as reader:
        said = {} if method == "HEAD" else await reader.json()
        return reader.status, {**said, "headers": sorted(reader.headers)}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer ann-key-1x"},
        {"Authorization": "Basic ann-key-1"},
        {"Authorization": "ann-key-1"},
        {"X-Api-Key": "wrong"},
        {"Api-Key": "wrong"},
        {"Cookie": "headrace_session=ann-key-1"},
        {"Cookie": "ann-key-1"},
        {"Authorization": "Bearer " + hashlib.sha256(b"ann-key-1").hexdigest()},
        {"Authorization": "Bearer \xe9\xff"},
    ],
)
async def test_without_a_known_key_nobody_comes_in(place: Place, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/nowhere")):
        status, body = await refusal(place, method, path, headers)
        assert status == 401
        assert body["error"]["code"] == "invalid_api_key"
        assert body["error"]["type"] == "authentication_error"


async def test_a_refusal_says_how_a_key_is_sent(place: Place) -> None:
    async with asking(place.port, "GET", "/v1/models") as reader:
        assert reader.headers["www-authenticate"] == "Bearer"
        assert "Authorization: Bearer" in (await reader.json())["error"]["message"]


@pytest.mark.parametrize("name", ["key", "api_key", "api-key", "apikey", "token", "access_token", "Key", "%6bey"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer ann-key-1"}])
async def test_a_key_in_the_url_is_refused_and_said_to_be(place: Place, name: str, headers: dict[str, str]) -> None:
    status, body = await refusal(place, "GET", f"/v1/models?after=1&{name}={KEYS['ann']}", headers)
    assert status == 400
    assert "never taken from a URL" in body["error"]["message"]
    assert KEYS["ann"] not in str(body)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer ann-key-1"},
        {"authorization": "bearer ann-key-1"},
        {"Authorization": "Bearer   ann-key-1  "},
        {"X-Api-Key": "ann-key-1"},
        {"X-Api-Key": "bob-key-2"},
        {"Api-Key": "ann-key-1"},
        {"Authorization": "Bearer", "Api-Key": "ann-key-1"},
        {"Authorization": "Basic dTpw", "X-Api-Key": "ann-key-1"},
    ],
)
async def test_a_known_key_comes_in(place: Place, headers: dict[str, str]) -> None:
    async with asking(place.port, "GET", "/v1/models", headers=headers) as reader:
        assert reader.status == 200


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_probes_need_no_key(place: Place, path: str) -> None:
    async with asking(place.port, "GET", path) as reader:
        assert reader.status == 200


OPEN = {"/health", "/health/ready", "/login", "/logout", "/docs", "/openapi.json", "/pages/{digest}/{file:path}"}
OPEN_PAGES = {("GET", "/chat"), ("HEAD", "/chat")}
"""What is answered without a key; everything else asks for one."""
PARAMETERS = {
    "stream_id": "none-of-anybody-0000001",
    "document_id": "0" * 32,
    "conversation_id": "none-of-anybody",
    "name": "offline",
    "assistant": "basic",
    "digest": "0",
    "file": "none.js",
    "path": "none-of-anybody",
}
"""What stands in a path, and something that may stand there: a new one has to be named here, and whose it is."""
EVERY_DOOR = [
    (method, route.path)
    for route in routes(cast("House", None))  # a door asks nothing of its house before somebody knocks
    for method in sorted(route.methods or ())
]


TO_STREAMS = [
    *(door for door in EVERY_DOOR if "{stream_id}" in door[1]),
    ("GET", "/v1/stream/generations/{stream_id}"),
    ("HEAD", "/v1/stream/generations/{stream_id}"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_DOOR)
async def test_every_door_asks_for_a_key_but_those_that_are_open(place: Place, method: str, path: str) -> None:
    filled = re.sub(r"\{(\w+)(:path)?\}", lambda found: PARAMETERS[found[1]], path)
    async with asking(place.port, method, filled) as reader:
        preflight = method == "OPTIONS" and path.startswith("/v1/stream/")  # which carries no key
        assert (reader.status == 401) == (path not in OPEN and (method, path) not in OPEN_PAGES and not preflight)
        if reader.status == 401:
            assert reader.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), TO_STREAMS)
async def test_l13_every_door_to_a_stream_answers_for_anothers_as_for_one_that_is_not_there(
    place: Place, method: str, path: str
) -> None:
    stream_id = await start(place, "ann")
    status, theirs = await refusal(place, method, path.replace("{stream_id}", stream_id), key("bob"))
    _, missing = await refusal(place, method, path.replace("{stream_id}", "0" * 32), key("bob"))
    assert status == 404
    assert str(theirs).replace(stream_id, "0" * 32) == str(missing)


DOORS = [
    ("GET", ""),
    ("GET", "/events"),
    ("GET", "/events?protocol=openai_chat&after=1"),
    ("POST", "/cancel"),
    ("PATCH", ""),
    ("DELETE", ""),
]


@pytest.mark.parametrize(("method", "rest"), DOORS)
async def test_anothers_stream_is_answered_exactly_as_one_that_is_not_there(
    place: Place, method: str, rest: str
) -> None:
    stream_id = await start(place, "ann")
    nothing = stream_id[:-1] + ("0" if stream_id[-1] != "0" else "1")
    status, theirs = await refusal(place, method, f"/v1/streams/{stream_id}{rest}", key("bob"))
    _, missing = await refusal(place, method, f"/v1/streams/{nothing}{rest}", key("bob"))
    assert status == 404
    theirs["error"]["message"] = theirs["error"]["message"].replace(stream_id, nothing)
    assert theirs == missing


async def test_l13_a_list_holds_nobody_elses_streams_and_goes_on_behind_none_of_theirs(place: Place) -> None:
    of_ann, of_bob = await start(place, "ann"), await start(place, "bob")
    listed = {}
    for owner in ("ann", "bob"):
        async with asking(place.port, "GET", "/v1/streams?limit=100", headers=key(owner)) as reader:
            listed[owner] = [stream["id"] for stream in (await reader.json())["data"]]
    assert of_ann in listed["ann"]
    assert of_bob in listed["bob"]
    assert not set(listed["ann"]) & set(listed["bob"])
    nothing = of_ann[:-1] + ("0" if of_ann[-1] != "0" else "1")
    status, theirs = await refusal(place, "GET", f"/v1/streams?before={of_ann}", key("bob"))
    _, missing = await refusal(place, "GET", f"/v1/streams?before={nothing}", key("bob"))
    assert status == 404
    theirs["error"]["message"] = theirs["error"]["message"].replace(of_ann, nothing)
    assert theirs == missing


async def test_l13_anothers_deletion_deletes_nothing(place: Place) -> None:
    stream_id = await start(place, "ann")
    assert (await refusal(place, "DELETE", f"/v1/streams/{stream_id}", key("bob")))[0] == 404
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}", headers=key("ann")) as reader:
        assert reader.status == 200


async def test_anothers_cancel_stops_nothing(place: Place) -> None:
    async def say_one(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await exchange.left()

    asked = asking(place.port, "POST", "/v1/chat/completions", chat(), key("ann"))
    async with place.upstream(say_one) as upstream, asked as reader:
        path = f"/v1/streams/{reader.headers['headrace-stream']}"
        assert (await refusal(place, "POST", f"{path}/cancel", key("bob")))[0] == 404
        async with asking(place.port, "GET", path, headers=key("ann")) as shown:
            assert (await shown.json())["state"] == "running"
        assert upstream.active == 1
        async with asking(place.port, "POST", f"{path}/cancel", headers=key("ann")) as cancelled:
            assert cancelled.status == 200
        await upstream.emptied()


async def test_every_key_of_an_owner_reads_the_owners_streams(place: Place) -> None:
    stream_id = await start(place, "ann")
    other_key = {"Authorization": "Bearer ann-key-3"}
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}/events", headers=other_key) as reader:
        assert "".join([text async for text in reader.texts()]) == "for one only"


async def test_a_chosen_id_is_unique_for_each_owner_alone(place: Place) -> None:
    chosen = "chosen-by-two-owners-0001"
    assert await start(place, "ann", Headrace_Stream=chosen) == chosen
    assert await start(place, "bob", Headrace_Stream=chosen) == chosen, "a clash would tell of another's stream"


async def test_d1_a_conversation_is_carried_on_by_its_owner_alone(place: Place) -> None:
    async with place.upstream(say) as upstream:
        for owner, question in (("ann", "a secret"), ("bob", "what was said?"), ("ann", "and now?")):
            body = query(question, conversation_id="c1")
            async with asking(place.port, "POST", "/chat/basic", body, key(owner)) as reader:
                await reader.body()
        asked = [[message["content"] for message in exchange.json()["messages"]] for exchange in upstream.exchanges]
    assert asked == [["a secret"], ["what was said?"], ["a secret", "for one only", "and now?"]]
