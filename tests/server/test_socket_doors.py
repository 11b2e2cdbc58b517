"""Who may open a WebSocket, how a client says who it is, and what each close code means (reference/websocket.md)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.server.bare_sockets import HANDSHAKE, TEXT, frame
from tests.server.conftest import Place, serving, until
from tests.server.reader import asking, chat, connected, encoded
from tests.server.talking import CHAT, said_in, talking
from websockets.exceptions import InvalidStatus

from headrace.keys.database import KeyDatabase
from headrace.server.socket_doors import DOORS as EVERY_DOOR
from headrace.settings import KeySettings, ServerSettings, Settings
from headrace.testing.upstream import Exchange, answer, text_chunk

pytestmark = pytest.mark.anyio

KEYS = {"ann": "ann-key-1", "bob": "bob/key=2"}
DOORS = tuple(EVERY_DOOR)
FOLLOWED = "/v1/streams/none-of-anybody-0000001/events"


def guarded_settings(**more: object) -> Settings:
    keys = tuple(KeySettings(owner, hashlib.sha256(key.encode()).hexdigest(), **more) for owner, key in KEYS.items())  # type: ignore[arg-type]  # whatever a key may have
    return Settings(server=ServerSettings(auth=True), keys=keys)


@pytest.fixture(scope="module")
async def guarded() -> AsyncIterator[Place]:
    """A server with two owners."""
    async with serving(guarded_settings()) as place:
        yield place


async def say(exchange: Exchange) -> None:
    await answer(exchange, ["for one ", "only"])


async def say_and_hold(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("One"))
    await exchange.left()


# -- a key


@pytest.mark.parametrize("owner", KEYS)
@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "Api-Key"])
async def test_a_key_in_a_header_lets_in(guarded: Place, owner: str, name: str) -> None:
    value = f"Bearer {KEYS[owner]}" if name == "Authorization" else KEYS[owner]
    async with guarded.upstream(say), talking(guarded.port, headers={name: value}) as client:
        await client.say(chat())
        assert said_in(await client.answer()) == "for one only"


async def test_a_login_lets_in(guarded: Place) -> None:
    async with asking(guarded.port, "POST", "/login", {"key": KEYS["ann"]}) as reader:
        cookie = reader.headers["set-cookie"].partition(";")[0]
    async with guarded.upstream(say), talking(guarded.port, headers={"Cookie": cookie}) as client:
        await client.say(chat())
        assert said_in(await client.answer()) == "for one only"


async def test_the_first_message_may_bring_the_key(guarded: Place) -> None:
    for path in ("/ws", CHAT):
        async with guarded.upstream(say), talking(guarded.port, path) as client:
            await client.say(type="auth", token=KEYS["ann"])
            await client.say(chat())
            assert said_in(await client.answer()) == "for one only"


@pytest.mark.parametrize("spelled", ["as it is", "as base64url"])
async def test_a_subprotocol_may_bring_the_key_and_is_never_answered(guarded: Place, spelled: str) -> None:
    owner = "ann" if spelled == "as it is" else "bob"
    token = KEYS[owner]
    if spelled == "as base64url":
        token = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    offered = ["headrace", f"bearer.{token}"]
    async with guarded.upstream(say), talking(guarded.port, subprotocols=offered) as client:
        assert client.socket.subprotocol == "headrace"
        assert client.socket.response is not None
        assert token not in str(client.socket.response.headers)
        await client.say(chat())
        assert said_in(await client.answer()) == "for one only"


async def test_a_subprotocol_of_somebody_elses_is_not_chosen(place: Place) -> None:
    async with talking(place.port, subprotocols=["graphql-ws", "bearer.x"]) as client:
        assert client.socket.subprotocol is None
    async with talking(place.port, subprotocols=["graphql-ws", "headrace"]) as client:
        assert client.socket.subprotocol == "headrace"


@pytest.mark.parametrize("path", [*DOORS, FOLLOWED])
async def test_a_wrong_key_closes_with_4401(guarded: Place, path: str) -> None:
    for headers in ({"Authorization": "Bearer wrong"}, {"X-Api-Key": "wrong"}):
        async with talking(guarded.port, path, headers) as client:
            code, reason = await client.closed()
            assert code == 4401
            assert "key" in reason
    async with talking(guarded.port, path, subprotocols=["headrace", "bearer.wrong"]) as client:
        assert (await client.closed())[0] == 4401
    async with talking(guarded.port, path) as client:
        await client.say(type="auth", token="wrong")
        assert (await client.hear())["error"]["code"] == "invalid_api_key"
        assert (await client.closed())[0] == 4401


@pytest.mark.parametrize("path", [*DOORS, FOLLOWED])
async def test_nothing_is_done_before_a_key_came(guarded: Place, path: str) -> None:
    for message in ({"type": "cancel"}, chat(), {"type": "resume", "stream_id": "0" * 32}):
        async with talking(guarded.port, path) as client:
            await client.say(message)
            said = await client.hear()
            assert said["error"]["code"] == "invalid_api_key"
            assert '"auth"' in said["error"]["message"]
            assert (await client.closed())[0] == 4401


async def test_who_brings_no_key_in_time_is_closed_with_4408(guarded: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.server.socket_session.AUTH_SECONDS", 0.05)
    async with talking(guarded.port) as client:
        code, reason = await client.closed()
        assert code == 4408
        assert "auth" in reason


def test_five_seconds_are_what_a_key_is_waited_for() -> None:
    from headrace.server import socket_session

    assert socket_session.AUTH_SECONDS == 5.0


@pytest.mark.parametrize("name", ["token", "key", "api_key", "access_token"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {KEYS['ann']}"}])
async def test_a_key_in_the_url_closes_with_4401_whatever_else_is_shown(
    guarded: Place, name: str, headers: dict[str, str]
) -> None:
    async with talking(guarded.port, f"{CHAT}?{name}={KEYS['ann']}", headers) as client:
        code, reason = await client.closed()
        assert code == 4401
        assert "URL" in reason
        assert KEYS["ann"] not in reason


async def test_where_no_keys_are_asked_for_auth_is_heard_and_means_nothing(place: Place) -> None:
    async with place.upstream(say), talking(place.port) as client:
        await client.say(type="auth", token="anything")
        await client.say(chat())
        assert said_in(await client.answer()) == "for one only"
    async with talking(place.port, f"{CHAT}?token=x") as client:
        assert (await client.closed())[0] == 4401


async def test_l13_anothers_stream_is_not_there(guarded: Place) -> None:
    ann, bob = ({"X-Api-Key": KEYS[owner]} for owner in ("ann", "bob"))
    async with guarded.upstream(say), talking(guarded.port, headers=ann) as client:
        await client.say(chat())
        stream_id = (await client.answer())[0]["headrace"]["stream_id"]
    heard = []
    for wanted in (stream_id, "0" * 32):
        async with talking(guarded.port, headers=bob) as client:
            await client.say(type="resume", stream_id=wanted)
            said = await client.text()
        async with talking(guarded.port, f"/v1/streams/{wanted}/events", bob) as client:
            heard.append((said, await client.text(), await client.closed()))
    assert str(heard[0]).replace(stream_id, "0" * 32) == str(heard[1])
    assert json.loads(heard[0][0])["error"]["code"] == "stream_not_found"
    assert heard[0][2][0] == 4404


# -- limits of a key


async def test_a_key_that_has_used_up_its_requests_is_told_in_a_message_and_at_the_door_with_4429() -> None:
    async with serving(guarded_settings(requests_per_minute=3)) as place:
        headers = {"X-Api-Key": KEYS["ann"]}
        async with place.upstream(say), talking(place.port, headers=headers) as client:
            assert client.socket.response is not None
            assert client.socket.response.headers["x-ratelimit-remaining"] == "2"
            for _ in range(2):
                await client.say(chat())
                assert said_in(await client.answer()) == "for one only"
            await client.say(chat())
            refused = await client.hear()
            assert refused["error"]["code"] == "rate_limited"
            assert 0 < refused["headrace"]["retry_after_seconds"] <= 60
            await client.say(type="ping")
            assert await client.hear() == {"type": "pong"}, "the socket lives"
        async with talking(place.port, headers=headers) as client:
            code, reason = await client.closed()
            assert code == 4429
            assert "requests_per_minute" in reason


async def test_readers_and_streams_of_a_key_are_counted_over_sockets_too() -> None:
    async with serving(guarded_settings(max_readers=2, max_streams=2)) as place:
        headers = {"X-Api-Key": KEYS["ann"]}
        async with place.upstream(say_and_hold), talking(place.port, headers=headers) as client:
            for name in ("a", "b"):
                await client.say(chat(), request_id=name)
            await until(lambda: len(place.house.deliveries) == 2)
            await client.say(chat(), request_id="c")
            said = await client.hear()
            while "error" not in said:
                said = await client.hear()
            assert (said["request_id"], said["error"]["code"]) == ("c", "rate_limited")
            client.cut()
        await until(lambda: not place.house.readers)


async def test_a_stream_with_as_many_readers_as_it_may_have_closes_one_more_with_1013() -> None:
    settings = Settings(server=ServerSettings(max_readers_per_stream=1))
    async with serving(settings) as place, place.upstream(say_and_hold), talking(place.port) as client:
        await client.say(chat())
        stream_id = (await client.hear())["headrace"]["stream_id"]
        async with talking(place.port, f"/v1/streams/{stream_id}/events") as follower:
            assert (await follower.hear())["error"]["code"] == "overloaded"
            assert (await follower.closed())[0] == 1013
        async with talking(place.port) as other:
            await other.say(type="resume", stream_id=stream_id)
            assert (await other.hear())["error"]["code"] == "overloaded"
            await other.say(type="ping")
            assert await other.hear() == {"type": "pong"}, "the socket lives"


async def test_a_revoked_key_tells_its_readers_and_closes_its_sockets(tmp_path: Path) -> None:
    keys = tmp_path / "keys.db"
    key, kept = KeyDatabase(keys).create("ann", 0)
    async with serving(Settings(server=ServerSettings(auth=True)), keys=keys) as place:
        headers = {"X-Api-Key": key}
        async with (
            place.upstream(say_and_hold),
            talking(place.port, headers=headers) as busy,
            talking(place.port) as idle,
        ):
            await idle.say(type="auth", token=key)
            await busy.say(chat())
            await busy.hear()
            KeyDatabase(keys).revoke(kept.id)
            heard = await busy.answer()
            assert heard[-1]["error"]["code"] in ("invalid_api_key", "cancelled")
            for client in (busy, idle):
                code, reason = await client.closed()
                assert code == 4401
                assert "revoked" in reason


# -- where a page comes from


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://[", "x"])
async def test_a_page_of_another_origin_is_closed_with_1008(place: Place, origin: str) -> None:
    for path in DOORS:
        async with talking(place.port, path, origin=origin) as client:
            code, reason = await client.closed()
            assert code == 1008
            assert "allowed_origins" in reason


async def test_an_own_page_and_an_allowed_one_may_come_in() -> None:
    settings = Settings(server=ServerSettings(allowed_origins=("https://pages.example",)))
    async with serving(settings) as place, place.upstream(say):
        for origin in (place.url, "https://pages.example"):
            async with talking(place.port, origin=origin) as client:
                await client.say(chat())
                assert said_in(await client.answer()) == "for one only"


async def test_a_name_that_is_not_ours_is_closed_with_4403(place: Place) -> None:
    request = encoded("GET", CHAT, headers=HANDSHAKE, host="evil.example")
    async with connected(place.port, request) as reader:
        await reader.head()
        assert reader.status == 101
        frame = await reader._incoming.readexactly(4)
    assert frame[0] == 0x88
    assert int.from_bytes(frame[2:4]) == 4403


# -- what is no WebSocket


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "!" * 24},
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": ""},
    ],
)
async def test_a_broken_handshake_is_an_error_of_http(place: Place, headers: dict[str, str]) -> None:
    async with asking(place.port, "GET", CHAT, headers={**HANDSHAKE, **headers}) as reader:
        assert reader.status == 400
        error = (await reader.json())["error"]
        assert error["code"] == "invalid_http"
        assert "handshake" in error["message"]


@pytest.mark.parametrize("missing", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
async def test_a_handshake_without_what_it_needs_is_an_error_of_http(place: Place, missing: str) -> None:
    headers = {name: value for name, value in HANDSHAKE.items() if name != missing}
    async with asking(place.port, "GET", CHAT, headers=headers) as reader:
        assert reader.status == 400
        assert missing in (await reader.json())["error"]["message"]


async def test_where_there_is_no_websocket_a_handshake_is_an_ordinary_request(place: Place) -> None:
    for path, status in (("/health", 200), ("/nowhere", 404), ("/chat/basic", 405), ("/v1/streams//events", 404)):
        async with asking(place.port, "GET", path, headers=HANDSHAKE) as reader:
            assert reader.status == status, path
    with pytest.raises(InvalidStatus):
        async with talking(place.port, "/v1/models"):
            pass


@pytest.mark.parametrize("path", DOORS)
async def test_who_forgot_to_ask_for_a_websocket_is_told_how(place: Place, path: str) -> None:
    headers = {name: value for name, value in HANDSHAKE.items() if name not in ("Connection", "Upgrade")}
    async with asking(place.port, "GET", path, headers=headers) as reader:
        assert reader.status == (404 if path == "/ws" else 405)
        assert "Upgrade: websocket" in (await reader.json())["error"]["message"]
    async with asking(place.port, "PUT", path) as reader:
        assert "websocket" not in (await reader.json())["error"]["message"]


async def test_subprotocols_may_be_offered_in_several_headers(guarded: Place) -> None:
    offered = "x\r\nSec-WebSocket-Protocol: headrace\r\nSec-WebSocket-Protocol: bearer.ann-key-1"
    headers = {**HANDSHAKE, "Sec-WebSocket-Protocol": offered}
    async with asking(guarded.port, "GET", CHAT, headers=headers) as reader:
        assert reader.status == 101
        assert reader.headers["sec-websocket-protocol"] == "headrace"
        message = b'{"type":"resume"}'
        await reader.send(frame(TEXT, message))
        assert b"stream_id" in await reader._incoming.readuntil(b"}"), "it is known, and only the message is wrong"


async def test_a_wish_for_another_protocol_is_not_one_for_a_websocket(place: Place) -> None:
    async with place.upstream(say):
        headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "x"}
        async with asking(place.port, "POST", CHAT, chat(stream=False), headers) as reader:
            assert reader.status == 200
        async with asking(place.port, "POST", CHAT, chat(stream=False), HANDSHAKE) as reader:
            assert reader.status == 200, "a request with a body is one, whatever it wishes for besides"


async def test_messages_may_come_in_the_packet_of_the_handshake(place: Place) -> None:
    ping = b'{"type":"ping"}'
    frame = bytes([0x81, 0x80 | len(ping)]) + b"\0\0\0\0" + ping
    async with connected(place.port, encoded("GET", CHAT, headers=HANDSHAKE) + frame) as reader:
        await reader.head()
        assert reader.status == 101
        assert reader.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert await reader._incoming.readexactly(17) == b'\x81\x0f{"type":"pong"}'


async def test_a_connection_that_has_answered_a_request_becomes_a_websocket(place: Place) -> None:
    async with connected(place.port, encoded("GET", "/health")) as reader:
        await reader.head()
        assert reader.status == 200
        await reader.body()
        await reader.send(encoded("GET", CHAT, headers=HANDSHAKE))
        await reader.head()
        assert reader.status == 101


async def test_no_extension_is_agreed_on(place: Place) -> None:
    async with talking(place.port, compression="deflate") as client:
        assert client.socket.response is not None
        assert "sec-websocket-extensions" not in client.socket.response.headers


async def test_the_handshakes_own_id_is_answered(place: Place) -> None:
    async with talking(place.port, headers={"X-Request-Id": "mine-1"}) as client:
        assert client.socket.response is not None
        assert client.socket.response.headers["x-request-id"] == "mine-1"
