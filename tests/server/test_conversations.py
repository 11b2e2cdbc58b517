"""Conversations: their list, their titles, what is found in them, their branches, and their end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.server.conftest import Place, process, serving, until
from tests.server.reader import asking, query

from headrace.settings import KeySettings, ServerSettings, Settings, StoreSettings
from headrace.testing.upstream import Exchange, ScriptedUpstream, answer, text_chunk

pytestmark = pytest.mark.anyio

KEYS = {"ann": "ann-key-1", "bob": "bob-key-2"}


def guarded(kind: Any) -> Settings:
    keys = tuple(KeySettings(owner, hashlib.sha256(key.encode()).hexdigest()) for owner, key in KEYS.items())
    return Settings(server=ServerSettings(auth=True), store=StoreSettings(kind=kind), keys=keys)


@pytest.fixture(params=["sqlite", "memory"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A server with two owners and no streams."""
    async with serving(guarded(request.param)) as opened:
        yield opened


def of(owner: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[owner]}"}


async def ask_for(
    place: Place, path: str, method: str = "GET", body: object = None, owner: str = "ann"
) -> tuple[int, Any]:
    async with asking(place.port, method, path, body, of(owner)) as reader:
        return reader.status, await reader.json()


async def listed(place: Place, words: str = "", owner: str = "ann") -> Any:
    status, page = await ask_for(place, f"/v1/conversations?{words}", owner=owner)
    assert status == 200
    return page


async def say(
    place: Place,
    question: str,
    talk: str | None,
    owner: str = "ann",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> str:
    """Asks, reads to the end, and gives the stream's id."""
    if talk is not None:
        more["conversation_id"] = talk
    body = query(question, **more)
    async with asking(place.port, "POST", "/chat/basic", body, {**of(owner), **(headers or {})}) as reader:
        assert reader.status == 200, await reader.body()
        await reader.body()
        return reader.headers["headrace-stream"]


class Repeats:
    """An upstream that says what it was asked last, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[list[str]] = []

    async def __call__(self, exchange: Exchange) -> None:
        messages = exchange.json()["messages"]
        self.shown.append([message["content"] for message in messages])
        await answer(exchange, ["You asked: ", messages[-1]["content"]])


async def test_conversations_are_listed_the_latest_question_first_in_pages(place: Place) -> None:
    assert await listed(place) == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    async with place.upstream(Repeats()):
        for number in range(5):
            await say(place, f"Question {number}?", f"talk-{number}")
        await say(place, "And again?", "talk-1")
    order = ["talk-1", "talk-4", "talk-3", "talk-2", "talk-0"]
    found: list[str] = []
    words = "limit=2"
    while True:
        page = await listed(place, words)
        found += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        words = f"limit=2&before={page['last_id']}"
    assert found == order
    first = (await listed(place, "limit=1"))["data"][0]
    assert (first["title"], first["streams"], first["running"]) == ("Question 1?", 2, False)
    assert first["created_at"] < first["updated_at"]
    assert "found" not in first
    status, one = await ask_for(place, "/v1/conversations/talk-1")
    assert status == 200
    assert [stream["question"] for stream in one["data"]] == ["And again?", "Question 1?"]
    assert {**first, **{name: one[name] for name in ("data", "has_more", "first_id", "last_id")}} == one


async def test_a_conversation_is_listed_while_its_first_answer_is_made(place: Place) -> None:
    go_on = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await go_on.wait()

    async with (
        place.upstream(waits),
        asking(place.port, "POST", "/chat/basic", query("Slow?", conversation_id="slow"), of("ann")),
    ):
        assert [(each["id"], each["running"]) for each in (await listed(place))["data"]] == [("slow", True)]
        go_on.set()


async def test_words_are_found_in_questions_answers_and_titles(place: Place) -> None:
    async with place.upstream(Repeats()):
        stream = await say(place, "How deep is the millpond?", "pond")
        await say(place, "去青岛的船几点开？", "ship")
        await say(place, "متى تبحر العبارة؟", "ferry")
        await say(place, 'What about "quotes" AND NOT (this) * : ^ ?', "signs")
    for words, talk in (
        ("millp deep", "pond"),
        ("MILLPOND", "pond"),
        ("青岛", "ship"),
        ("几点", "ship"),
        ("العبارة", "ferry"),
        ('"quotes', "signs"),
    ):
        page = await listed(place, f"q={quote(words)}")
        assert [each["id"] for each in page["data"]] == [talk], words
        assert any(piece["match"] for piece in page["data"][0]["found"]["snippet"])
    found = (await listed(place, "q=millpond"))["data"][0]["found"]
    assert found["stream_id"] == stream
    assert "".join(piece["text"] for piece in found["snippet"]).startswith("How deep is the millpond?")
    assert {piece["text"] for piece in found["snippet"] if piece["match"]} == {"millpond"}
    for nothing in ("neverthere", "*", '"', "pond%00", "millpond OR ship", "NEAR(millpond ship)"):
        assert (await listed(place, f"q={quote(nothing, safe='%')}"))["data"] == []
    await ask_for(place, "/v1/conversations/ship", "PATCH", {"title": "The boat to Qingdao"})
    page = await listed(place, "q=boat")
    assert [each["id"] for each in page["data"]] == ["ship"]
    assert page["data"][0]["found"]["stream_id"] is None


async def test_a_title_stays_as_it_was_given(place: Place) -> None:
    async with place.upstream(Repeats()):
        await say(place, "Bread?", "talk")
        status, renamed = await ask_for(place, "/v1/conversations/talk", "PATCH", {"title": "  About \n bread "})
        assert (status, renamed["title"]) == (200, "About bread")
        await say(place, "Rolls?", "talk")
    assert [each["title"] for each in (await listed(place))["data"]] == ["About bread"]
    refusals: tuple[object, ...] = ({}, {"title": ""}, {"title": " \n"}, {"title": "x" * 201}, {"title": 3}, [])
    for wrong in refusals:
        status, refused = await ask_for(place, "/v1/conversations/talk", "PATCH", wrong)
        assert status in (400, 422), refused
    assert (await listed(place))["data"][0]["title"] == "About bread"


async def test_a_deleted_conversation_is_gone_with_its_streams_and_running_ones_are_stopped(place: Place) -> None:
    async def hangs(exchange: Exchange) -> None:
        if exchange.json()["messages"][-1]["content"] != "Slow?":
            await answer(exchange, ["Yes"])
            return
        await exchange.head()
        await exchange.chunk(text_chunk("One"))
        await exchange.left()

    async with place.upstream(hangs) as upstream:
        stream = await say(place, "Bread?", "talk")
        async with asking(
            place.port, "POST", "/chat/basic", query("Slow?", stream=True, conversation_id="talk"), of("ann")
        ) as reader:
            status, deleted = await ask_for(place, "/v1/conversations/talk", "DELETE")
            assert (status, deleted["deleted"], deleted["streams"]) == (200, True, 2)
            frames = [frame async for frame in reader.frames()]
            assert '"cancelled"' in "".join(frames), "who reads it is told"
        await until(lambda: upstream.active == 0)
    assert (await listed(place))["data"] == []
    assert (await listed(place, "q=bread"))["data"] == []
    for method in ("GET", "PATCH", "DELETE"):
        body = {"title": "x"} if method == "PATCH" else None
        status, gone = await ask_for(place, "/v1/conversations/talk", method, body)
        assert (status, gone["error"]["code"]) == (404, "conversation_not_found")
    assert (await ask_for(place, f"/v1/streams/{stream}"))[0] == 404


async def test_l13_anothers_conversation_is_answered_exactly_as_one_that_is_not_there(place: Place) -> None:
    async with place.upstream(Repeats()):
        stream = await say(place, "Where is the key?", "secret")
        await say(place, "Bob's own?", "own", "bob")
        status, refused = await ask_for(
            place, "/chat/basic", "POST", query("And?", headrace={"parent": stream}), owner="bob"
        )
        _, missing = await ask_for(
            place, "/chat/basic", "POST", query("And?", headrace={"parent": "0" * 22}), owner="bob"
        )
    assert status == 404
    assert refused["error"]["message"].replace(stream, "0" * 22) == missing["error"]["message"]
    for method, path in (("GET", ""), ("GET", "/export"), ("DELETE", ""), ("PATCH", "")):
        body = {"title": "Mine"} if method == "PATCH" else None
        theirs = await ask_for(place, f"/v1/conversations/secret{path}", method, body, "bob")
        nobodys = await ask_for(place, f"/v1/conversations/absent{path}", method, body, "bob")
        assert theirs[0] == nobodys[0] == 404
        assert theirs[1]["error"]["message"].replace("secret", "absent") == nobodys[1]["error"]["message"]
    assert [each["id"] for each in (await listed(place, owner="bob"))["data"]] == ["own"]
    assert (await listed(place, "q=key", "bob"))["data"] == []
    assert (await ask_for(place, "/v1/conversations?before=secret", owner="bob"))[0] == 404
    assert (await listed(place))["data"][0]["title"] == "Where is the key?"


async def test_each_branch_has_the_history_of_its_own(place: Place) -> None:
    upstream = Repeats()
    async with place.upstream(upstream):
        bread = await say(place, "Bread?", "talk")
        rolls = await say(place, "Rolls?", "talk")
        other = await say(place, "Cake?", None, headrace={"parent": rolls, "relation": "sibling"})
        again = await say(place, "Bread?", None, headers={"Headrace-Parent": bread, "Headrace-Relation": "sibling"})
        deeper = await say(place, "Which?", None, headrace={"parent": rolls})
        latest = await say(place, "More?", "talk")
    assert upstream.shown == [
        ["Bread?"],
        ["Bread?", "You asked: Bread?", "Rolls?"],
        ["Bread?", "You asked: Bread?", "Cake?"],
        ["Bread?"],
        ["Bread?", "You asked: Bread?", "Rolls?", "You asked: Rolls?", "Which?"],
        ["Bread?", "You asked: Bread?", "Rolls?", "You asked: Rolls?", "Which?", "You asked: Which?", "More?"],
    ]
    streams = (await ask_for(place, "/v1/conversations/talk"))[1]["data"]
    assert {stream["id"]: stream["parent"] for stream in streams} == {
        bread: None,
        rolls: bread,
        other: bread,
        again: None,
        deeper: rolls,
        latest: deeper,
    }
    assert {stream["relation"] for stream in streams} == {"follow"}
    assert {stream["conversation_id"] for stream in streams} == {"talk"}


async def test_what_goes_on_with_an_answer_is_part_of_it(place: Place) -> None:
    upstream = Repeats()
    async with place.upstream(upstream):
        first = await say(place, "Bread?", "talk")
        more = await say(place, "Go on", None, headrace={"parent": first, "relation": "continue"})
        await say(place, "Why?", "talk")
    assert upstream.shown[-1] == ["Bread?", "You asked: Bread?You asked: Go on", "Why?"]
    _, record = await ask_for(place, f"/v1/streams/{more}")
    assert (record["parent"], record["relation"]) == (first, "continue")


async def exported(place: Place, kind: str) -> tuple[str, str]:
    async with asking(place.port, "GET", f"/v1/conversations/talk/export?format={kind}", None, of("ann")) as reader:
        return reader.headers["content-type"], (await reader.body()).decode()


async def test_a_conversation_is_exported_to_be_read_to_be_worked_with_and_to_be_played_again(
    place: Place, tmp_path: Path
) -> None:
    async def breaks_off(exchange: Exchange) -> None:
        if exchange.json()["messages"][-1]["content"] != "Rolls?":
            await Repeats()(exchange)
            return
        await exchange.head()
        await exchange.chunk(text_chunk("Not 東\nwith"))
        exchange.reset()

    async with place.upstream(breaks_off):
        first = await say(place, "Bread?", "talk")
        await say(place, "Cake?", None, headrace={"parent": first, "relation": "sibling"})
        await say(place, "Rolls?", None, headrace={"parent": first, "on_interruption": "end"})
    kind, text = await exported(place, "md")
    assert kind == "text/markdown; charset=utf-8"
    assert text.startswith("# Bread?\n\n> Bread?\n\nYou asked: Bread?\n\n> Rolls?\n\nNot 東\nwith\n\n*(incomplete: ")
    assert text.endswith("*1 more on other branches: format=json has them.*\n")
    kind, text = await exported(place, "json")
    held = json.loads(text)
    assert (kind, held["title"], held["streams"]) == ("application/json", "Bread?", 3)
    assert [(each["question"], each["answer"], each["ending"]) for each in held["data"]] == [
        ("Bread?", "You asked: Bread?", "stop"),
        ("Cake?", "You asked: Cake?", "stop"),
        ("Rolls?", "Not 東\nwith", "incomplete"),
    ]
    kind, text = await exported(place, "ndjson")
    assert kind == "application/x-ndjson"
    (tmp_path / "talk.ndjson").write_text(text, encoding="utf-8")
    replay = [sys.executable, "-m", "headrace", "replay", "talk.ndjson"]
    played = await asyncio.to_thread(
        subprocess.run, replay, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert played.stdout == "You asked: Bread?\n\nYou asked: Cake?\n\nNot 東\nwith\n"
    assert played.returncode == 6, "one of them is not whole"
    status, refused = await ask_for(place, "/v1/conversations/talk/export?format=pdf")
    assert (status, refused["error"]["param"]) == (400, "format")


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"relation": "sibling"}, "parent"),
        ({"parent": "{stream}", "relation": "uncle"}, "relation"),
        ({"parent": 3}, "headrace"),
    ],
)
async def test_a_place_that_cannot_be_is_refused_and_named(
    place: Place, options: dict[str, Any], parameter: str
) -> None:
    async with place.upstream(Repeats()):
        stream = await say(place, "Bread?", "talk")
        options = {name: stream if value == "{stream}" else value for name, value in options.items()}
        status, refused = await ask_for(place, "/chat/basic", "POST", query("And?", headrace=options))
        assert (status, refused["error"]["param"]) == (400, parameter)
        status, refused = await ask_for(
            place, "/chat/basic", "POST", query("And?", conversation_id="other", headrace={"parent": stream})
        )
        assert (status, refused["error"]["param"]) == (400, "parent")
    assert (await listed(place))["data"][0]["streams"] == 1, "nothing was begun"


async def test_titles_and_words_are_there_after_a_kill_and_without_their_file(tmp_path: Path) -> None:
    async def told(path: str, method: str = "GET", body: object = None) -> Any:
        async with asking(server.port, method, path, body) as reader:
            return await reader.json()

    async def found(word: str) -> list[str]:
        return [each["id"] for each in (await told(f"/v1/conversations?q={word}"))["data"]]

    async with ScriptedUpstream(Repeats()) as upstream:
        settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n'
        with process(tmp_path, settings) as server:
            for talk, question in (("pond", "How deep is the millpond?"), ("bread", "Bread?")):
                await told("/chat/basic", "POST", query(question, stream=False, conversation_id=talk))
            await told("/v1/conversations/bread", "PATCH", {"title": "Of rolls"})
            before = await told("/v1/conversations")
            server.popen.kill()
            server.popen.wait(10)
        with process(tmp_path, settings) as server:
            assert await told("/v1/conversations") == before
            assert (await found("millpond"), await found("rolls")) == (["pond"], ["bread"])
        # All but a title that was given can be made again from the streams.
        (kept,) = tmp_path.rglob("*.conversations")  # noqa: ASYNC240  # no server runs meanwhile
        kept.unlink()
        with process(tmp_path, settings) as server:
            titles = {each["id"]: each["title"] for each in (await told("/v1/conversations"))["data"]}
            assert titles == {"pond": "How deep is the millpond?", "bread": "Bread?"}
            assert (await found("millpond"), await found("asked")) == (["pond"], ["bread", "pond"])
            await told("/v1/conversations/pond", "DELETE")
        with process(tmp_path, settings) as server:
            assert [each["id"] for each in (await told("/v1/conversations"))["data"]] == ["bread"]
            assert await found("millpond") == []


async def test_l7_an_answer_within_a_conversation_is_gone_on_with_after_a_kill(tmp_path: Path) -> None:
    shown: list[list[str]] = []

    async def breaks(exchange: Exchange) -> None:
        messages = [message["content"] for message in exchange.json()["messages"]]
        shown.append(messages)
        if messages[-1] == "Rolls?":
            await exchange.head()
            await exchange.chunk(text_chunk("No, "))
            await exchange.left()
        elif messages[-1] == "No,":
            await answer(exchange, [" but buns."])
        else:
            await answer(exchange, ["Yes"])

    async with ScriptedUpstream(breaks) as upstream:
        settings = (
            f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\nprefill = "assistant"\n'
            '[assistants.baker]\ninstructions = "Be a baker."\n'
        )
        asked = {"model": "lab/m", "stream": True, "conversation_id": "talk"}
        with process(tmp_path, settings) as server:
            async with asking(server.port, "POST", "/chat/baker", {**asked, "query": "Bread?"}) as reader:
                await reader.body()
            kept = {**asked, "query": "Rolls?", "headrace": {"on_disconnect": "continue"}}
            async with asking(server.port, "POST", "/chat/baker", kept) as reader:
                stream_id = reader.headers["headrace-stream"]
                async for frame in reader.frames():
                    if "No, " in frame:
                        break
                server.popen.kill()
                server.popen.wait(10)
        with process(tmp_path, settings) as server:
            async with asking(server.port, "GET", f"/v1/streams/{stream_id}/events?protocol=plain_text") as reader:
                assert await reader.body() == b"No, but buns."
    assert shown == [
        ["Be a baker.", "Bread?"],
        ["Be a baker.", "Bread?", "Yes", "Rolls?"],
        ["Be a baker.", "Bread?", "Yes", "Rolls?", "No,"],
    ]
