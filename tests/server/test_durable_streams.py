"""Streams that clients write, and generations read as they are, over bare sockets: what the official suite leaves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from tests.server.conftest import Place, serving, until
from tests.server.raw import Response, converse
from tests.server.reader import asking, connected, encoded, query
from tests.server.test_resuming import EVENTS
from tests.upstream_answers import TEXTS, say_everything

from headrace.errors import Unauthorized
from headrace.server.connection import Connection
from headrace.server.log_reading import LIVE_SECONDS
from headrace.settings import KeySettings, ServerSettings, Settings, StoreSettings
from headrace.streams.byte_log import Appending
from headrace.testing.upstream import Exchange, role_chunk, text_chunk
from headrace.wire.durable import offset_text
from headrace.wire.sse import SSEParser

pytestmark = pytest.mark.anyio

PLAIN = {"Content-Type": "text/plain"}
TEXT = {"Content_Type": "text/plain"}
START = offset_text(0)


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server of which one origin is allowed, and on which nobody waits long."""
    server = ServerSettings(allowed_origins=("https://app.example",), long_poll_seconds=0.3)
    async with serving(Settings(server=server, store=StoreSettings(kind="memory"))) as own:
        yield own


def ask(place: Place, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    """A reader that has asked; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = body or b""
    if method in ("PUT", "POST", "PATCH"):
        named["Content-Length"] = str(len(sent))
    else:
        sent = b""
    return connected(place.port, encoded(method, path, None, named) + sent)


async def done(place: Place, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
    """The answer, read whole."""
    async with ask(place, method, path, body, **headers) as reader:
        await reader.head()
        empty = method == "HEAD" or reader.status in (204, 304)
        return Response(reader.status, reader.headers, b"" if empty else await reader.body())


async def made(place: Place, path: str, content: bytes = b"", content_type: str = "text/plain") -> str:
    """A new stream; gives where it ends."""
    answer = await done(place, "PUT", path, content, Content_Type=content_type)
    assert answer.status == 201, answer
    return answer.headers["stream-next-offset"]


# -- a stream of one's own


async def test_what_another_writes_reaches_everyone_who_follows(place: Place) -> None:
    path = "/v1/stream/followed/by all".replace(" ", "%20")
    tail = await made(place, path, b"before;")
    async with (
        ask(place, "GET", f"{path}?offset={tail}&live=sse") as events,
        ask(place, "GET", f"{path}?offset={tail}&live=long-poll") as poll,
    ):
        await events.head()
        await until(lambda: len(place.house.byte_logs.open("local", "followed/by all")._wakes) == 2)
        assert (await done(place, "POST", path, "grüße\n".encode(), Content_Type="text/plain")).status == 204
        await poll.head()
        assert await poll.body() == "grüße\n".encode()
        closed = await done(place, "POST", path, b"end", Content_Type="TEXT/plain; charset=utf-8", Stream_Closed="true")
        assert closed.headers["stream-closed"] == "true"
        told = SSEParser().feed(await events.body())
    assert [(each.type, each.data) for each in told if each.type == "data"] == [("data", "grüße\n"), ("data", "end")]
    controls = [json.loads(each.data) for each in told if each.type == "control"]
    assert [control.get("streamClosed") for control in controls] == [None, None, True]
    assert len(controls) == 3, "one at once, and one behind each piece"


async def test_one_who_waits_misses_nothing_of_two_appends_at_once(place: Place) -> None:
    path = "/v1/stream/at-once"
    await made(place, path)
    log = place.house.byte_logs.open("local", "at-once")
    async with ask(place, "GET", f"{path}?offset=now&live=long-poll") as poll:
        await until(lambda: log.readers == 1)
        appends = [place.house.byte_logs.append(log, Appending([piece])) for piece in (b"one", b"two")]
        assert await asyncio.gather(*appends) == ["append", "append"]
        await poll.head()
        read, offset = await poll.body(), poll.headers["stream-next-offset"]
    assert read + (await done(place, "GET", f"{path}?offset={offset}")).body == b"onetwo"


async def test_text_that_is_cut_inside_a_character_reaches_readers_whole(place: Place) -> None:
    path = "/v1/stream/cut-characters"
    await made(place, path)
    text = "日本語 🏝️ école"
    async with ask(place, "GET", f"{path}?offset=-1&live=sse") as events:
        await events.head()
        for byte in text.encode():
            await done(place, "POST", path, bytes((byte,)), Content_Type="text/plain")
        await done(place, "POST", path, b"", Stream_Closed="true")
        told = SSEParser().feed(await events.body())
    assert "".join(each.data for each in told if each.type == "data") == text


async def test_large_content_comes_in_pieces_and_whole(place: Place) -> None:
    path = "/v1/stream/large"
    content = random.Random(1).randbytes(1_500_000)
    await made(place, path, content, "application/octet-stream")
    read, offset, answers = b"", "-1", 0
    while True:
        answer = await done(place, "GET", f"{path}?offset={offset}")
        read, offset, answers = read + answer.body, answer.headers["stream-next-offset"], answers + 1
        if "stream-up-to-date" in answer.headers:
            break
        assert len(answer.body) <= 256 * 1024
    assert (read, answers) == (content, 6)


async def test_a_reader_that_stalls_costs_no_memory_and_misses_nothing(place: Place) -> None:
    path = "/v1/stream/stalled"
    await made(place, path, b"x" * 1_000_000)
    for _ in range(9):
        await done(place, "POST", path, b"x" * 1_000_000, Content_Type="text/plain")
    await done(place, "POST", path, Stream_Closed="true")
    connections = place.server.server_state.connections
    before = set(connections)
    asked = encoded("GET", f"{path}?offset=-1&live=sse")
    async with connected(place.port, asked, receive_bytes=65536) as reader:
        await reader.head()
        (own,) = (each for each in connections - before if isinstance(each, Connection))
        await until(lambda: own.transport.get_write_buffer_size() > 0)
        assert own.transport.get_write_buffer_size() < 1_000_000
        told = SSEParser(limit_bytes=1 << 20).feed(await reader.body())
    assert sum(len(each.data) for each in told if each.type == "data") == 10_000_000
    assert json.loads(told[-1].data)["streamClosed"] is True


async def test_heartbeats_and_the_end_of_a_minute_are_those_of_the_server(place: Place) -> None:
    path = "/v1/stream/quiet"
    await made(place, path, b"a")
    async with ask(place, "GET", f"{path}?offset=-1&live=sse") as reader:
        await reader.head()
        first = await reader.piece()
        (delivery,) = place.house.deliveries
        now = asyncio.get_running_loop().time()
        delivery.check_heartbeat(now + 1, 15)
        delivery.check_heartbeat(now + 17, 15)
        delivery.check_heartbeat(now + 18, 15)
        assert await reader.piece() == b": hb\n\n"
        delivery.check_heartbeat(now + LIVE_SECONDS + 1, 15)
        assert await reader.piece() == b"", "a whole body: the reader comes back"
    assert [each.type for each in SSEParser().feed(first)] == ["data", "control"]


async def test_a_reader_whose_key_was_revoked_is_sent_away(place: Place) -> None:
    await made(place, "/v1/stream/revoked")
    async with ask(place, "GET", "/v1/stream/revoked?offset=-1&live=sse") as reader:
        await reader.head()
        await reader.piece()
        (delivery,) = place.house.deliveries
        delivery.dismiss(Unauthorized("no more").failure())
        assert await reader.piece() == b""


async def test_deleting_a_stream_sends_its_readers_away(place: Place) -> None:
    path = "/v1/stream/doomed"
    await made(place, path, b"x")
    async with (
        ask(place, "GET", f"{path}?offset=-1&live=sse") as events,
        ask(place, "GET", f"{path}?offset=now&live=long-poll") as poll,
    ):
        await events.head()
        await until(lambda: len(place.house.byte_logs.open("local", "doomed")._wakes) == 2)
        assert (await done(place, "DELETE", path)).status == 204
        await events.body()
        await poll.head()
        assert poll.status == 204
    assert (await done(place, "GET", path)).status == 404


async def test_one_who_does_not_understand_the_end_is_made_to_wait(place: Place) -> None:
    path = "/v1/stream/misunderstood"
    tail = await made(place, path, b"x")
    await done(place, "POST", path, Stream_Closed="true")
    loop = asyncio.get_running_loop()
    cursor, waited = "", []
    for _ in range(3):
        before = loop.time()
        answer = await done(place, "GET", f"{path}?offset={tail}&live=long-poll{cursor}")
        assert (answer.status, answer.headers["stream-closed"]) == (204, "true")
        cursor = f"&cursor={answer.headers['stream-cursor']}"
        waited.append(loop.time() - before)
    assert waited[0] < 0.2, "the news comes at once"
    assert min(waited[1:]) >= 0.29, "and then as late as no news"


async def test_the_way_down_sends_readers_away_at_once() -> None:
    async with serving(Settings(store=StoreSettings(kind="memory"))) as own:
        await made(own, "/v1/stream/a")
        async with (
            ask(own, "GET", "/v1/stream/a?offset=-1&live=sse") as events,
            ask(own, "GET", "/v1/stream/a?offset=now&live=long-poll") as poll,
        ):
            await events.head()
            await until(lambda: len(own.house.byte_logs.open("local", "a")._wakes) == 2)
            own.server.should_exit = True
            await events.body()
            await poll.head()
            assert poll.status == 204


async def test_content_may_run_nothing_in_a_browser(place: Place) -> None:
    await made(place, "/v1/stream/page", b"<script>alert(1)</script>", "text/html")
    for path in ("/v1/stream/page", "/v1/stream/none"):
        answer = await done(place, "GET", path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_a_foreign_page_may_ask_and_do_nothing(place: Place, method: str) -> None:
    path = "/v1/stream/foreign"
    asking_first = {"Origin": "https://evil.example", "Access_Control_Request_Method": method}
    preflight = await done(place, "OPTIONS", path, None, **asking_first)
    assert preflight.status == 204
    assert "access-control-allow-origin" not in preflight.headers
    refused = await done(place, method, path, b"x", Origin="https://evil.example", Content_Type="text/plain")
    assert refused.status == 403
    own = {**asking_first, "Origin": "https://app.example"}
    preflight = await done(place, "OPTIONS", path, None, **own)
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"


async def test_a_page_of_an_allowed_origin_can_read_where_it_stands(place: Place) -> None:
    await made(place, "/v1/stream/shared", b"x")
    answer = await done(place, "GET", "/v1/stream/shared", Origin="https://app.example")
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "stream-next-offset" in answer.headers["access-control-expose-headers"]


# -- what is refused

BAD: list[tuple[str, str, bytes | None, dict[str, str], int]] = [
    ("PUT", "a/../b", None, {}, 404),
    ("PUT", "a//b", None, {}, 404),
    ("PUT", "%00", None, {}, 404),
    ("PUT", "", None, {}, 404),
    ("PUT", "x" * 1100, None, {}, 404),
    ("PUT", "a", b"{", {"Content_Type": "application/json"}, 400),
    ("PUT", "a", b"[" * 80, {"Content_Type": "application/json"}, 400),
    ("PUT", "a", None, {"Content_Type": "nothing"}, 400),
    ("PUT", "a", None, {"Stream_TTL": "1", "Stream_Expires_At": "2033-05-18T03:33:20Z"}, 400),
    ("PUT", "a", None, {"Stream_Forked_From": "elsewhere"}, 400),
    ("PUT", "a", None, {"Stream_Forked_From": "/v1/stream/missing"}, 404),
    ("PUT", "a", None, {"Stream_Forked_From": "/v1/stream/generations/x"}, 403),
    ("PUT", "a", b"x" * 3_000_000, {}, 413),
    ("PUT", "generations/mine", None, {}, 403),
    ("POST", "generations/mine", b"x", {}, 403),
    ("DELETE", "generations/mine", None, {}, 403),
    ("GET", "generations/mine", None, {}, 404),
    ("POST", "missing", b"x", {"Content_Type": "text/plain"}, 404),
    ("POST", "there", b"", {"Content_Type": "text/plain"}, 400),
    ("POST", "there", b"x", {}, 400),
    ("POST", "there", b"x", {"Content_Type": "text/html"}, 409),
    ("POST", "there", b"x", {"Content_Type": "text/plain", "Producer_Id": "p"}, 400),
    ("GET", "there?offset=0000000000000000_0000000000000009", None, {}, 400),
    ("GET", "there?offset=9999999999999999_9999999999999999", None, {}, 400),
    ("GET", "there?live=sse", None, {}, 400),
    ("GET", "there?offset=-1&live=x", None, {}, 400),
    ("GET", "messages?offset=0000000000000000_0000000000000001", None, {}, 400),
    ("PATCH", "there", b"x", {}, 405),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status"), BAD, ids=lambda each: str(each)[:40])
async def test_bad_input_is_told_what_to_do(
    method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    settings = Settings(server=ServerSettings(body_limit_bytes=2_000_000), store=StoreSettings(kind="memory"))
    async with serving(settings) as own:
        await made(own, "/v1/stream/there", b"x")
        await made(own, "/v1/stream/messages", b"[12,3]", "application/json")
        answer = await done(own, method, f"/v1/stream/{path}", body, **headers)
        assert answer.status == status, answer
        assert answer.error["message"]
        assert len(own.house.byte_logs) == 2
        assert own.house.byte_logs.open("local", "there").length == 1


async def test_a_request_that_breaks_off_anywhere_changes_nothing(place: Place) -> None:
    await made(place, "/v1/stream/broken-off")
    asked = encoded("POST", "/v1/stream/broken-off", None, {**PLAIN, "Content-Length": "40"}) + b"y" * 40
    chance = random.Random(3)
    for cut in sorted(chance.sample(range(1, len(asked)), 40)):
        async with connected(place.port, asked[:cut]) as reader:
            reader.half_close()
            await reader.gone()
    assert place.house.byte_logs.open("local", "broken-off").length == 0
    # Cut anywhere, but sent to its end, it is whole.
    pieces = [asked[at : at + 7] for at in range(0, len(asked), 7)]
    (answer,) = await asyncio.to_thread(converse, place.port, *pieces)
    assert answer.status == 204
    assert place.house.byte_logs.open("local", "broken-off").length == 40
    assert (await done(place, "GET", "/v1/stream/broken-off")).body == b"y" * 40


async def test_l13_a_path_of_one_owner_is_not_there_for_another() -> None:
    keys = tuple(KeySettings(owner, hashlib.sha256(owner.encode()).hexdigest()) for owner in ("ann", "bob"))
    settings = Settings(server=ServerSettings(auth=True), keys=keys, store=StoreSettings(kind="memory"))
    ann, bob = {"Authorization": "Bearer ann"}, {"Authorization": "Bearer bob"}
    async with serving(settings) as own:
        path = "/v1/stream/diary"
        assert (await done(own, "PUT", path, b"secret", **TEXT, **ann)).status == 201
        fork = {"Stream_Forked_From": path}
        for method, body, more in (
            ("GET", None, {}), ("HEAD", None, {}), ("DELETE", None, {}), ("POST", b"x", TEXT), ("PUT", b"", fork)
        ):  # fmt: skip
            to = "/v1/stream/copy" if more is fork else path
            assert (await done(own, method, to, body, **more, **bob)).status == 404
        assert (await done(own, "GET", path)).status == 401
        assert (await done(own, "PUT", path, b"other", **TEXT, **bob)).status == 201, "the name is free for another"
        assert (await done(own, "GET", path, None, **ann)).body == b"secret"


# -- generations


async def ended(place: Place) -> str:
    """The id of a generation that has everything in it, and has ended."""
    async with place.upstream(say_everything), asking(place.port, "POST", "/chat/basic", query()) as reader:
        await reader.body()
        return reader.headers["headrace-stream"]


async def messages_once(place: Place, path: str, offset: str) -> list[dict[str, Any]]:
    answer = await done(place, "GET", f"{path}?offset={offset}")
    assert (answer.headers["stream-closed"], answer.headers["content-type"]) == ("true", "application/json")
    return json.loads(answer.body)  # type: ignore[no-any-return]  # a test's own


async def messages_polled(place: Place, path: str, offset: str) -> list[dict[str, Any]]:
    answer = await done(place, "GET", f"{path}?offset={offset}&live=long-poll")
    assert answer.headers["stream-closed"] == "true"
    return [] if answer.status == 204 else json.loads(answer.body)


async def messages_sent(place: Place, path: str, offset: str) -> list[dict[str, Any]]:
    answer = await done(place, "GET", f"{path}?offset={offset}&live=sse")
    told = SSEParser().feed(answer.body)
    assert json.loads(told[-1].data)["streamClosed"] is True
    return [message for each in told if each.type == "data" for message in json.loads(each.data)]


@pytest.mark.parametrize("read", [messages_once, messages_polled, messages_sent])
async def test_a_generation_is_read_from_every_offset_as_an_unbroken_reader_read_it(place: Place, read: Any) -> None:
    path = f"/v1/stream/generations/{await ended(place)}"
    whole = await read(place, path, "-1")
    assert [each["type"] for each in whole] == [
        "start", "rationale", *["token"] * len(TEXTS), "tool_call", "metadata", "done"
    ]  # fmt: skip
    assert [each["content"] for each in whole if each["type"] == "token"] == TEXTS
    offsets = [each["offset"] for each in whole]
    assert offsets == sorted(offsets)
    assert offsets[-1] == EVENTS - 1
    for position in range(EVENTS + 1):
        assert await read(place, path, offset_text(position)) == [each for each in whole if each["offset"] >= position]
    head = await done(place, "HEAD", path)
    assert (head.headers["stream-next-offset"], head.headers["stream-closed"]) == (offset_text(EVENTS), "true")
    assert (await done(place, "GET", f"{path}?offset={offset_text(EVENTS + 1)}")).status == 400


async def test_the_bytes_of_a_generation_do_not_change_from_reader_to_reader(place: Place) -> None:
    path = f"/v1/stream/generations/{await ended(place)}"
    first = await done(place, "GET", path)
    again = await done(place, "GET", path)
    assert first.body == again.body
    assert first.headers["etag"] == again.headers["etag"]
    unchanged = await done(place, "GET", path, If_None_Match=first.headers["etag"])
    assert (unchanged.status, unchanged.headers["stream-closed"]) == (304, "true")
    silent = await done(place, "GET", path, If_None_Match=first.headers["etag"], Headrace_Rationale="false")
    assert silent.status == 200
    assert b'"rationale"' in first.body
    assert b'"rationale"' not in silent.body


async def half(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.chunk(text_chunk("half"))
    await exchange.left()


def last(events: Iterable[Any]) -> dict[str, Any]:
    *_, message = [message for each in events if each.type == "data" for message in json.loads(each.data)]
    return message  # type: ignore[no-any-return]  # a test's own


async def test_the_last_word_of_a_cancelled_generation_is_its_ending(place: Place) -> None:
    async with place.upstream(half), asking(place.port, "POST", "/chat/basic", query()) as writer:
        stream_id = writer.headers["headrace-stream"]
        path = f"/v1/stream/generations/{stream_id}"
        async with ask(place, "GET", f"{path}?offset=-1&live=sse") as reader:
            await reader.head()
            await until(lambda: place.house.store.open(stream_id, "local").length == 2)
            assert (await done(place, "GET", f"{path}?offset=now")).body == b"[]"
            assert (await done(place, "POST", f"/v1/streams/{stream_id}/cancel")).status == 200
            told = SSEParser().feed(await reader.body())
    assert last(told)["type"] == "error"
    assert (last(told)["ending"], last(told)["partial"]) == ("cancelled", True)
    assert json.loads(told[-1].data)["streamClosed"] is True


async def test_a_reader_that_polls_is_waited_for_between_its_polls(place: Place) -> None:
    body = {**query(), "headrace": {"on_disconnect": "cancel"}}
    async with place.upstream(half) as upstream:
        async with asking(place.port, "POST", "/chat/basic", body) as first:
            stream = place.house.store.open(first.headers["headrace-stream"], "local")
            await until(lambda: stream.length == 2)
            path = f"/v1/stream/generations/{stream.id}"
            async with ask(place, "GET", f"{path}?offset=now&live=long-poll") as poll:
                await until(lambda: stream.readers == 2)
                first.leave()
                await poll.head()
                assert poll.status == 204
        assert stream.ended is None, "it is just about to ask again"
        assert upstream.active == 1
        assert (await done(place, "POST", f"/v1/streams/{stream.id}/cancel")).status == 200
