"""`POST /login`: a cookie in place of a key, for pages and their `EventSource`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping

import pytest
from tests.server.conftest import Place, serving
from tests.server.reader import asking, chat

from headrace.settings import KeySettings, ServerSettings, Settings
from headrace.testing.upstream import Exchange, answer

pytestmark = pytest.mark.anyio

KEY = "ann-key-1"
PAGE = {"Origin": "http://127.0.0.1"}
FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server with two owners."""
    keys = tuple(
        KeySettings(owner, hashlib.sha256(key.encode()).hexdigest()) for owner, key in (("ann", KEY), ("bob", "bob-2"))
    )
    settings = Settings(server=ServerSettings(auth=True, allowed_origins=("https://app.example",)), keys=keys)
    async with serving(settings) as guarded:
        yield guarded


async def log_in(place: Place, body: object = {"key": KEY}, **headers: str) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asking(place.port, "POST", "/login", body, {**PAGE, **named}) as reader:
        return reader.status, reader.headers, await reader.body()


async def cookie(place: Place) -> dict[str, str]:
    _, headers, _ = await log_in(place)
    return {"Cookie": headers["set-cookie"].partition(";")[0]}


async def status(place: Place, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}) -> int:
    async with asking(place.port, method, path, body, headers) as reader:
        return reader.status


async def test_a_key_is_exchanged_for_a_cookie_that_no_script_and_no_other_site_can_use(place: Place) -> None:
    code, headers, body = await log_in(place)
    assert code == 200
    assert re.fullmatch(
        r"headrace_session=[A-Za-z0-9_-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", headers["set-cookie"]
    )
    assert headers["cache-control"] == "no-store"
    assert json.loads(body)["owner"] == "ann"
    assert KEY not in str(headers) + body.decode()


@pytest.mark.parametrize("over", [{"X_Forwarded_Proto": "https"}, {"Origin": "https://app.example"}])
async def test_over_https_the_cookie_goes_over_nothing_else(place: Place, over: dict[str, str]) -> None:
    _, headers, _ = await log_in(place, **over)
    assert headers["set-cookie"].endswith("; SameSite=Strict; Secure")


async def test_a_key_in_a_header_logs_in_too(place: Place) -> None:
    assert (await log_in(place, None, Authorization=f"Bearer {KEY}"))[0] == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"key": "wrong"}, 401),
        ({"key": ""}, 400),
        ({"key": 7}, 400),
        ({}, 400),
        (b"", 400),
        (b'{"key": "ann-key-1"', 400),
        (b"[" * 10_000, 400),
        (b'{"key": "\xff"}', 400),
    ],
)
async def test_what_is_no_key_of_this_server_is_refused_and_not_repeated(place: Place, body: object, code: int) -> None:
    status, headers, said = await log_in(place, body)
    assert status == code
    assert "set-cookie" not in headers
    assert KEY not in said.decode()


async def test_a_page_that_has_logged_in_asks_and_follows_as_the_owner_of_the_key(place: Place) -> None:
    async def say(exchange: Exchange) -> None:
        await answer(exchange, ["for ann"])

    shown = await cookie(place)
    async with place.upstream(say):
        asked = asking(place.port, "POST", "/v1/chat/completions", chat(), {**PAGE, **shown})
        async with asked as reader:
            assert reader.status == 200
            stream_id = reader.headers["headrace-stream"]
            await reader.body()
    # As an `EventSource` does it: a GET without any header of its own.
    path = f"/v1/streams/{stream_id}/events"
    async with asking(place.port, "GET", path, headers={"Accept": "text/event-stream", **shown}) as reader:
        assert "".join([text async for text in reader.texts()]) == "for ann"
    assert await status(place, "GET", f"/v1/streams/{stream_id}", headers={"Authorization": f"Bearer {KEY}"}) == 200
    assert await status(place, "GET", f"/v1/streams/{stream_id}", headers={"Authorization": "Bearer bob-2"}) == 404


async def test_a_page_of_another_site_gets_nothing_done_with_the_cookie(place: Place) -> None:
    shown = await cookie(place)
    for path, body in (("/v1/chat/completions", chat()), ("/logout", {}), ("/v1/streams/x/cancel", {})):
        assert await status(place, "POST", path, body, {**FOREIGN, **shown}) == 403
    assert await status(place, "POST", "/login", {"key": KEY}, FOREIGN) == 403
    assert await status(place, "GET", "/v1/models", headers=shown) == 200, "it is still logged in"


async def test_after_logout_the_cookie_lets_nobody_in(place: Place) -> None:
    shown, other = await cookie(place), await cookie(place)
    async with asking(place.port, "POST", "/logout", {}, {**PAGE, **shown}) as reader:
        assert reader.status == 200
        assert reader.headers["set-cookie"].startswith("headrace_session=; Path=/; Max-Age=0;")
    async with asking(place.port, "GET", "/v1/models", headers=shown) as reader:
        assert reader.status == 401
        assert "log in again: POST /login" in (await reader.json())["error"]["message"]
    assert await status(place, "GET", "/v1/models", headers=other) == 200
    assert await status(place, "POST", "/logout", {}, {**PAGE, **shown}) == 200, "twice is the same as once"


@pytest.mark.parametrize("headers", [{"Cookie": "headrace_session=x"}, {"Cookie": "headrace_session"}])
async def test_a_cookie_that_nobody_gave_lets_nobody_in(place: Place, headers: dict[str, str]) -> None:
    assert await status(place, "GET", "/v1/models", headers=headers) == 401


async def test_the_cookie_stands_among_others_and_a_key_beside_it_wins(place: Place) -> None:
    shown = (await cookie(place))["Cookie"]
    assert await status(place, "GET", "/v1/models", headers={"Cookie": f"theme=dark; {shown}; x=y"}) == 200
    assert await status(place, "GET", "/v1/models", headers={"Cookie": shown, "Authorization": "Bearer wrong"}) == 401


async def test_where_no_key_is_asked_for_there_is_nothing_to_log_in_to() -> None:
    async with serving() as open_place:
        code, _, said = await log_in(open_place)
        assert code == 400
        assert b"asks for no key" in said
        assert await status(open_place, "POST", "/logout", {}, PAGE) == 200


async def test_strangers_learn_of_health_only_that_somebody_is_there(place: Place) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "headrace_session=x"}):
        async with asking(place.port, "GET", "/health", headers=headers) as reader:
            assert (reader.status, await reader.json()) == (200, {"status": "ok", "service": "headrace"})
    for headers in ({"Authorization": f"Bearer {KEY}"}, await cookie(place)):
        async with asking(place.port, "GET", "/health", headers=headers) as reader:
            assert {"version", "streams", "readers", "upstreams"} <= (await reader.json()).keys()
