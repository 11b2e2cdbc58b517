"""Row T4: usage is known for every answer, and every request is one log line that holds no word of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from tests.server.conftest import Place, Process, process, serving, until
from tests.server.reader import DOORS, asking, chat, query

from headrace.testing.upstream import Exchange, ScriptedUpstream, answer, text_chunk

pytestmark = pytest.mark.anyio

MODES = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])

# Each stands for something that must not be written down.
QUESTION = "secret-question-4711"
ANSWER = "secret-answer-4712"
READER_KEY = "secret-reader-key-4713"
UPSTREAM_KEY = "secret-upstream-key-4714"
SECRETS = (QUESTION, ANSWER, READER_KEY, UPSTREAM_KEY, hashlib.sha256(READER_KEY.encode()).hexdigest())


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Place]:
    """A server of this file's own."""
    async with serving() as shared:
        yield shared


async def usage_of(place: Place, protocol: str, body: dict[str, object]) -> Any:
    """The usage that an answer tells, and what is said of how it is known."""
    async with asking(place.port, "POST", DOORS[protocol][0], body) as reader:
        assert reader.status == 200
        if reader.headers["content-type"] == "application/json":
            told = await reader.json()
        else:
            frames = [json.loads(frame) async for frame in reader.frames() if frame != "[DONE]"]
            told = next(frame for frame in frames if frame.get("usage"))
    if protocol == "typed_events":
        return told["usage"]
    marks = told.get("headrace", {}).get("usage", {"source": "reported", "by": None})
    return told["usage"] | marks


def asked(protocol: str, stream: bool, **more: Any) -> dict[str, object]:
    body = DOORS[protocol][1](QUESTION, stream=stream, **more)
    return body | {"stream_options": {"include_usage": True}} if protocol == "openai_chat" else body


@MODES
@pytest.mark.parametrize("protocol", DOORS)
async def test_t4_usage_that_the_upstream_reports_is_told_as_reported(
    place: Place, protocol: str, stream: bool
) -> None:
    async def say(exchange: Exchange) -> None:
        await answer(exchange, ["Hello", " there"], usage=(30, 12))

    async with place.upstream(say):
        usage = await usage_of(place, protocol, asked(protocol, stream))
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (30, 12, 42)
    assert usage["source"] == "reported"


@MODES
@pytest.mark.parametrize("protocol", DOORS)
async def test_t4_usage_that_nobody_reports_is_estimated_and_marked(place: Place, protocol: str, stream: bool) -> None:
    async def say(exchange: Exchange) -> None:
        await answer(exchange, ["Hello there, you!"])

    async with place.upstream(say):
        usage = await usage_of(place, protocol, asked(protocol, stream))
    assert usage["prompt_tokens"] == round(len(QUESTION) / 4)
    assert usage["completion_tokens"] == round(len("Hello there, you!") / 4)
    assert (usage["source"], usage["by"]) == ("estimated", "headrace")


@MODES
@pytest.mark.parametrize("protocol", DOORS)
async def test_t4_usage_of_the_offline_model_is_counted_and_marked(place: Place, protocol: str, stream: bool) -> None:
    usage = await usage_of(place, protocol, asked(protocol, stream, model="offline"))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert usage["source"] == "counted"


async def test_t4_a_stream_shows_its_usage_when_it_has_ended(place: Place) -> None:
    async def say(exchange: Exchange) -> None:
        await answer(exchange, ["Hello"], usage=(3, 2))

    async with place.upstream(say), asking(place.port, "POST", "/v1/chat/completions", chat()) as reader:
        await reader.body()
        async with asking(place.port, "GET", f"/v1/streams/{reader.headers['headrace-stream']}") as shown:
            known = await shown.json()
    assert known["usage"] | {"prompt_tokens": 3, "completion_tokens": 2, "source": "reported"} == known["usage"]
    assert known["timing"]["total_ms"] >= known["timing"]["first_token_ms"] > 0


# -- the log, of a server in a process of its own


async def lines_of(server: Process, count: int) -> list[dict[str, Any]]:
    """The lines of so many requests."""

    def found() -> list[dict[str, Any]]:
        return [line for line in server.log if line["logger"] == "headrace.requests"]

    await until(lambda: len(found()) >= count)
    return found()


async def logged(
    tmp_path: Path, handler: Any, requests: list[tuple[str, dict[str, object]]]
) -> tuple[list[dict[str, Any]], str]:
    """The request lines, and the whole log, of a server that was asked all this."""
    digest = hashlib.sha256(READER_KEY.encode()).hexdigest()
    async with ScriptedUpstream(handler) as upstream:
        settings = (
            f'[server]\nauth = true\n[[keys]]\nowner = "me"\nhash = "{digest}"\n[logging]\nlevel = "debug"\n'
            f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\napi_key_env = "LAB_KEY"\n'
        )
        with process(tmp_path, settings, {"LAB_KEY": UPSTREAM_KEY}) as server:
            headers = {"Authorization": f"Bearer {READER_KEY}"}
            for path, body in requests:
                async with asking(server.port, "POST", path, body, headers) as reader:
                    await reader.body()
            lines = await lines_of(server, len(requests))
            async with asking(
                server.port, "POST", "/chat/basic", query(), {"Authorization": f"Bearer {ANSWER}"}
            ) as refused:
                assert refused.status == 401
            assert await anyio.to_thread.run_sync(server.stop) == 0
            assert upstream.exchanges[0].headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
            return lines, server.log_path.read_text()


async def test_t4_every_request_is_one_line_with_model_mode_tokens_duration_and_ttft(tmp_path: Path) -> None:
    async def say(exchange: Exchange) -> None:
        await answer(exchange, [ANSWER], usage=(3, 2))

    modes = [(path, body(QUESTION, stream=stream)) for path, body in DOORS.values() for stream in (True, False)]
    lines, whole = await logged(tmp_path, say, modes)
    assert len(lines) == 4
    for line in lines:
        assert line["message"] == "answered"
        assert (line["model"], line["ending"]) == ("lab/m", "stop")
        assert (line["prompt_tokens"], line["completion_tokens"], line["usage"]) == (3, 2, "reported")
        assert isinstance(line["duration_ms"], float)
        assert 0 < line["ttft_ms"] <= line["duration_ms"]
        assert len(line["stream"]) == 32
    assert sorted(line["mode"] for line in lines) == ["stream", "stream", "whole", "whole"]
    assert not [secret for secret in SECRETS if secret in whole]


async def test_t4_what_failed_is_a_line_with_its_code_and_holds_no_secret(tmp_path: Path) -> None:
    async def fail(exchange: Exchange) -> None:
        if exchange.json()["model"] == "refuse":
            # Some upstreams repeat the key they refuse.
            await exchange.whole(f'{{"error":{{"message":"bad key {UPSTREAM_KEY}"}}}}'.encode(), 401)
        else:
            await exchange.head()
            await exchange.chunk(text_chunk(ANSWER))
            exchange.reset()

    lines, whole = await logged(
        tmp_path,
        fail,
        [
            ("/chat/basic", query(QUESTION, model="lab/cut")),
            ("/v1/chat/completions", chat(QUESTION, model="lab/refuse")),
        ],
    )
    assert [(line["ending"], line["code"]) for line in lines] == [
        ("incomplete", "upstream_reset"),
        ("error", "upstream_authentication"),
    ]
    assert [(line["message"], line["level"]) for line in lines] == [("failed", "warning")] * 2
    assert (lines[1]["prompt_tokens"], lines[1]["completion_tokens"], lines[1]["usage"]) == (0, 0, "counted")
    assert "ttft_ms" in lines[0]
    assert "ttft_ms" not in lines[1]
    assert all(line["upstream"] == "lab" for line in lines)
    assert not [secret for secret in SECRETS if secret in whole]


async def test_t4_a_refused_request_is_a_line_with_no_word_of_what_was_sent(tmp_path: Path) -> None:
    settings = '[logging]\nlevel = "debug"\n'
    with process(tmp_path, settings) as server:
        for number, body in enumerate(
            (
                b'{"query":"' + QUESTION.encode(),
                json.dumps({"query": QUESTION, "model": ANSWER}).encode(),
                json.dumps({"query": QUESTION, "temperature": ANSWER}).encode(),
                json.dumps({"query": QUESTION, "model": "groq/m"}).encode(),
            )
        ):
            headers = {"Authorization": f"Bearer {READER_KEY}", "X-Request-Id": f"r{number}"}
            async with asking(server.port, "POST", f"/chat/basic?key={READER_KEY}", body, headers) as reader:
                assert reader.status in (400, 404, 503)
        async with asking(server.port, "GET", f"/no%0Asuch/{'x' * 500}", headers={"X-Request-Id": "r4"}) as reader:
            assert reader.status == 404
        lines = await lines_of(server, 5)
        assert await anyio.to_thread.run_sync(server.stop) == 0
        assert {line["message"] for line in lines} == {"refused"}
        assert [(line["request"], line["method"], line["path"], line["status"], line["code"]) for line in lines] == [
            ("r0", "POST", "/chat/basic", 400, "invalid_json"),
            ("r1", "POST", "/chat/basic", 404, "model_not_found"),
            ("r2", "POST", "/chat/basic", 400, "invalid_request"),
            ("r3", "POST", "/chat/basic", 503, "upstream_key_missing"),
            ("r4", "GET", f"/no%0Asuch/{'x' * 189}", 404, "route_not_found"),
        ]
        assert [line["level"] for line in lines] == ["info", "info", "info", "warning", "info"]
        assert not [secret for secret in SECRETS if secret in server.log_path.read_text()]
