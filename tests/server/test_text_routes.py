"""The routes that answer with text and little else: R1, T8, O2 and O4, byte by byte and with the clients people use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import anyio.to_thread
import pytest
import requests
from tests.server.clients import NODE
from tests.server.conftest import DEADLINE_SECONDS, Place
from tests.server.reader import asking, connected, encoded

from headrace.testing.upstream import Exchange, answer, text_chunk

pytestmark = pytest.mark.anyio

TEXTS = ["One", " delta", "\n\n  at", " a time", ",\r\n", "日本語 🏝️", " \u2028"]
MODEL = "lab/m"


async def speak(exchange: Exchange) -> None:
    await answer(exchange, TEXTS, usage=(3, 7))


async def break_off(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(text_chunk("half an answer"))
    exchange.close()


async def refuse(exchange: Exchange) -> None:
    await exchange.whole(b'{"error":{"message":"the lab says no"}}', 400)


async def body_of(place: Place, path: str, body: object) -> bytes:
    async with asking(place.port, "POST", path, body) as reader:
        assert reader.status == 200
        return await reader.body()


# -- R1


async def test_r1_each_delta_is_an_event_and_a_line_break_a_line_of_it(place: Place) -> None:
    async with place.upstream(speak), asking(place.port, "POST", "/chat", {"prompt": "q", "model": MODEL}) as reader:
        assert reader.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (
            await reader.body()
            == (
                "data: One\n\n"
                "data:  delta\n\n"
                "data: \ndata: \ndata:   at\n\n"
                "data:  a time\n\n"
                "data: ,\ndata: \n\n"
                "data: 日本語 🏝️\n\n"
                "data:  \u2028\n\n"
            ).encode()
        )


@pytest.mark.parametrize("name", ["prompt", "query", "message"])
async def test_r1_a_whole_answer_is_one_object(place: Place, name: str) -> None:
    async with place.upstream(speak):
        said = json.loads(await body_of(place, "/chat", {name: "q", "model": MODEL, "stream": False}))
    assert said["content"] == "".join(TEXTS)
    assert said["usage"]["completion_tokens"] == 7
    assert said["stream_id"]


async def test_r1_a_failure_is_an_event_of_its_own_name(place: Place) -> None:
    async with place.upstream(break_off):
        events = (await body_of(place, "/chat", {"prompt": "q", "model": MODEL})).split(b"\n\n")
    assert events[0] == b"data: half an answer"
    name, data = events[1].split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["code"] == "upstream_truncated"
    assert events[2:] == [b""]


@pytest.mark.parametrize("path", ["/chat", "/api/chat/stream"])
async def test_a_conversation_is_carried_on_where_it_is_named(place: Place, path: str) -> None:
    async with place.upstream(speak) as upstream:
        for question in ("first", "second"):
            body = {"message": question, "model": MODEL, "conversation_id": f"conversation-of{path}"}
            await body_of(place, path, body)
    asked = upstream.exchanges[-1].json()["messages"]
    assert [message["content"] for message in asked] == ["first", "".join(TEXTS), "second"]


# -- T8


@pytest.mark.parametrize("name", ["question", "query", "prompt"])
async def test_t8_plain_text_is_the_answer_and_nothing_else(place: Place, name: str) -> None:
    body = {name: "q", "model": MODEL, "stream": False}
    async with place.upstream(speak), asking(place.port, "POST", "/api/query/stream", body) as reader:
        assert reader.headers["content-type"] == "text/plain; charset=utf-8"
        assert reader.headers["transfer-encoding"] == "chunked"
        assert await reader.body() == "".join(TEXTS).encode()


async def test_t8_a_query_is_answered_with_one_object(place: Place) -> None:
    async with place.upstream(speak):
        said = json.loads(await body_of(place, "/api/query", {"question": "q", "model": MODEL, "stream": True}))
    assert list(said) == ["answer", "sources", "usage", "model", "stream_id", "timing"]
    assert (said["answer"], said["model"], said["usage"]["prompt_tokens"]) == ("".join(TEXTS), MODEL, 3)


async def test_t8_a_refusal_is_an_http_status(place: Place) -> None:
    body = {"question": "q", "model": MODEL}
    async with place.upstream(refuse), asking(place.port, "POST", "/api/query/stream", body) as reader:
        assert reader.status == 400
        assert (await reader.json())["error"]["code"] == "upstream_rejected"


async def test_t8_a_failure_in_the_middle_cuts_the_body_off(place: Place) -> None:
    body = {"question": "q", "model": MODEL}
    async with place.upstream(break_off), asking(place.port, "POST", "/api/query/stream", body) as reader:
        assert await reader.piece() == b"half an answer"
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.piece()
        stream_id = reader.headers["headrace-stream"]
    async with asking(place.port, "GET", f"/v1/streams/{stream_id}") as reader:
        assert (await reader.json())["error"]["code"] == "upstream_truncated", "the record says why"


async def test_t8_no_client_takes_a_half_for_the_whole(place: Place) -> None:
    url, body = f"{place.url}/api/query/stream", {"question": "q", "model": MODEL}

    def read() -> None:
        with requests.post(url, json=body, stream=True, timeout=DEADLINE_SECONDS) as response:
            list(response.iter_content(chunk_size=None))

    async with place.upstream(break_off):
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            await anyio.to_thread.run_sync(read)
        code, said = await run("curl", "-sN", url, "-H", "Content-Type: application/json", "-d", json.dumps(body))
        assert (code, said) == (18, b"half an answer"), "curl calls it a partial file"
        code, said = await run(NODE, "-e", FETCH, url, json.dumps(body))
        assert (code, said) == (3, b"half an answer"), "fetch throws"


FETCH = """
const [url, body] = process.argv.slice(1);
const response = await fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body});
try {
  for await (const piece of response.body) process.stdout.write(piece);
} catch (error) {
  process.exitCode = 3;
}
"""


async def run(*command: str, read: Callable[[bytes], None] | None = None) -> tuple[int, bytes]:
    arguments = command if command[0] != NODE else (command[0], "--input-type=module", *command[1:])
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while piece := await process.stdout.read(4096):
            said += piece
            if read is not None:
                read(said)
        return await process.wait(), said


@pytest.mark.parametrize("client", ["curl", "node"])
async def test_t8_a_delta_reaches_a_client_before_the_upstream_sends_the_next(place: Place, client: str) -> None:
    gap = asyncio.Event()
    places = [len("".join(TEXTS[: count + 1]).encode()) for count in range(len(TEXTS))]

    def read(said: bytes) -> None:
        if len(said) in places:
            gap.set()

    async def converse(exchange: Exchange) -> None:
        await answer(exchange, TEXTS, gap=gap)

    url, body = f"{place.url}/api/query/stream", json.dumps({"question": "q", "model": MODEL})
    commands = {
        "curl": ("curl", "-sN", url, "-H", "Content-Type: application/json", "-d", body),
        "node": (NODE, "-e", FETCH, url, body),
    }
    async with place.upstream(converse):
        code, said = await run(*commands[client], read=read)
    assert (code, said.decode()) == (0, "".join(TEXTS))


# -- O2, O4


async def test_o2_frames_hold_a_token_and_whether_it_is_the_last(place: Place) -> None:
    body = {"model": MODEL, "prompt": "q", "system": "be brief", "options": {"temperature": 0, "num_predict": 9}}
    async with place.upstream(speak) as upstream:
        frames = (await body_of(place, "/api/generate/stream", body)).decode().split("\n\n")
    assert [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]] == [
        *({"token": text, "done": False} for text in TEXTS),
        {"done": True},
    ]
    asked = upstream.exchanges[0].json()
    assert asked["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "q"}]
    assert (asked["temperature"], asked["max_tokens"]) == (0, 9)
    assert "options" not in asked


async def test_o4_frames_have_the_type_token(place: Place) -> None:
    async with place.upstream(speak):
        frames = (await body_of(place, "/api/chat/stream", {"message": "q", "model": MODEL})).decode().split("\n\n")
    assert [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]] == [
        *({"type": "token", "content": text} for text in TEXTS),
        {"type": "done"},
    ]


async def test_o2_o4_a_failure_is_told_in_the_last_frame(place: Place) -> None:
    async with place.upstream(break_off):
        told = []
        for path, body in (("/api/generate/stream", {"prompt": "q"}), ("/api/chat/stream", {"messages": [
            {"role": "user", "content": "q"}]})):  # fmt: skip
            frames = (await body_of(place, path, {**body, "model": MODEL})).decode().split("\n\n")
            told.append(json.loads(frames[-2].removeprefix("data: ")))
    message = told[1]["content"]
    assert told == [
        {"error": {"code": "upstream_truncated", "message": message}, "done": True},
        {"type": "error", "content": message, "code": "upstream_truncated"},
    ]


@pytest.mark.parametrize(
    "path", ["/chat", "/api/query", "/api/query/stream", "/api/generate/stream", "/api/chat/stream"]
)
@pytest.mark.parametrize("body", [{}, {"model": MODEL}, {"model": MODEL, "prompt": "", "message": " ", "question": ""}])
async def test_a_body_without_a_question_is_refused_with_what_to_send(
    place: Place, path: str, body: dict[str, str]
) -> None:
    async with connected(place.port, encoded("POST", path, body)) as reader:
        await reader.head()
        assert reader.status == 400
        assert "missing" in (await reader.json())["error"]["message"]
