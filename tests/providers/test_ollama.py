"""An Ollama over real sockets: what is told while a model is loaded, and what is done when it cannot answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from headrace.clock import SystemClock
from headrace.errors import UpstreamKeyMissing, UpstreamMalformed, UpstreamRefused, UpstreamReset, UpstreamTruncated
from headrace.events import Ended, Event, Status, TextDelta
from headrace.interfaces import Batch
from headrace.providers import PROVIDERS, ollama
from headrace.requests import GenerationRequest, Message
from headrace.settings import UpstreamSettings
from headrace.testing.ollama import NDJSON, last_ollama_line, ollama_answer, ollama_line
from headrace.testing.upstream import EVENT_STREAM, Exchange, Handler, ScriptedUpstream
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest("qwen3", (Message("user", "q"),), stream=True)


class Written(list[Event]):
    """What a provider wrote, and when there was some of it."""

    def __init__(self) -> None:
        super().__init__()
        self.something = asyncio.Event()

    def write(self, batch: Batch) -> None:
        self.extend(batch)
        self.something.set()


@asynccontextmanager
async def opened(handler: Handler, path: str = "", key: str | None = None) -> AsyncIterator[ollama.OllamaProvider]:
    """A provider before an upstream that does so."""
    async with ScriptedUpstream(handler) as upstream:
        settings = UpstreamSettings("larch", "ollama", base_url=upstream.origin + path)
        provider = PROVIDERS["ollama"](settings, key, SystemClock())
        assert isinstance(provider, ollama.OllamaProvider)
        try:
            yield provider
        finally:
            await provider.close()


@pytest.mark.parametrize("head_first", [False, True])
async def test_o6_a_silence_before_the_first_line_is_told_as_loading_once(
    monkeypatch: pytest.MonkeyPatch, head_first: bool
) -> None:
    monkeypatch.setattr(ollama, "SECONDS_OF_SILENCE", 0.02)
    written = Written()

    async def load_first(exchange: Exchange) -> None:
        if head_first:
            await exchange.head(200, NDJSON)
        await written.something.wait()
        await asyncio.sleep(0.06)  # three times as long: it is not said again
        if not head_first:
            await exchange.head(200, NDJSON)
        await exchange.chunk(ollama_line({"content": "a"}))
        await exchange.chunk(last_ollama_line())
        await exchange.end()

    async with opened(load_first) as provider, asyncio.timeout(10):
        assert await provider.generate(REQUEST, Marks(0), written.write) == Ended("stop")
    status, text = written
    assert isinstance(status, Status)
    assert (status.phase, "qwen3" in status.message) == ("loading", True)
    assert text == TextDelta("a")


async def test_o6_a_silence_in_the_middle_is_no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama, "SECONDS_OF_SILENCE", 0.02)
    written = Written()

    async def pause(exchange: Exchange) -> None:
        await exchange.head(200, NDJSON)
        await exchange.chunk(ollama_line({"content": "a"}))
        await written.something.wait()
        await asyncio.sleep(0.06)
        await exchange.chunk(last_ollama_line())
        await exchange.end()

    async with opened(pause) as provider, asyncio.timeout(10):
        await provider.generate(REQUEST, Marks(0), written.write)
    assert written == [TextDelta("a")]


async def test_o6_nothing_is_told_after_the_attempt_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama, "SECONDS_OF_SILENCE", 0.02)
    written = Written()

    async def refuse(exchange: Exchange) -> None:
        await exchange.whole(b'{"error":"model \\"qwen3\\" not found, try pulling it first"}', 404)

    async with opened(refuse) as provider:
        with pytest.raises(UpstreamRefused, match="try pulling it first") as caught:
            await provider.generate(REQUEST, Marks(0), written.write)
        await asyncio.sleep(0.05)
    assert (caught.value.status, written) == (404, [])


@pytest.mark.parametrize("path", ["", "/", "/v1", "/api"])
async def test_o1_its_own_api_is_asked_whichever_address_is_given(path: str) -> None:
    asked: list[str] = []

    async def answer(exchange: Exchange) -> None:
        asked.append(exchange.path)
        assert exchange.headers["authorization"] == "Bearer k"
        await ollama_answer(exchange, ["a", "b"], usage=(1, 2))

    written = Written()
    async with opened(answer, path, key="k") as provider:
        await provider.generate(REQUEST, Marks(0), written.write)
    assert asked == ["/api/chat"]
    assert written[:2] == [TextDelta("a"), TextDelta("b")]


async def test_o1_a_line_is_an_event_before_the_next_is_sent() -> None:
    gap, written = asyncio.Event(), Written()

    def write(batch: Batch) -> None:
        written.write(batch)
        gap.set()

    async def answer(exchange: Exchange) -> None:
        await ollama_answer(exchange, ["a", "b", "c"], gap=gap)

    async with opened(answer) as provider, asyncio.timeout(10):
        await provider.generate(REQUEST, Marks(0), write)
    assert written == [TextDelta("a"), TextDelta("b"), TextDelta("c")]


@pytest.mark.parametrize("how", ["end", "close", "reset"])
async def test_l15_an_end_without_the_word_done_is_no_end(how: str) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.head(200, NDJSON)
        await exchange.chunk(ollama_line({"content": "a"}))
        match how:
            case "end":
                await exchange.end()
            case "close":
                exchange.close()
            case _:
                exchange.reset()

    written = Written()
    async with opened(break_off) as provider:
        with pytest.raises(UpstreamReset if how == "reset" else UpstreamTruncated):
            await provider.generate(REQUEST, Marks(0), written.write)
    assert written in ([TextDelta("a")], []) if how == "reset" else written == [TextDelta("a")]


async def test_l18_an_error_in_the_middle_says_more_than_the_leaving_behind_it() -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.head(200, NDJSON)
        await exchange.chunk(ollama_line({"content": "a"}) + b'{"error":"out of memory"}')
        exchange.close()

    written = Written()
    async with opened(fail) as provider:
        with pytest.raises(UpstreamRefused, match="out of memory"):
            await provider.generate(REQUEST, Marks(0), written.write)
    assert written == [TextDelta("a")]


async def test_what_is_not_json_is_not_ollama() -> None:
    async def speak_otherwise(exchange: Exchange) -> None:
        await exchange.head(200, EVENT_STREAM)
        await exchange.chunk(b"data: {}\n\n")
        await exchange.end()

    async with opened(speak_otherwise) as provider:
        with pytest.raises(UpstreamMalformed, match="text/event-stream instead of JSON"):
            await provider.generate(REQUEST, Marks(0), Written().write)
        with pytest.raises(UpstreamMalformed, match="no list of models"):
            await provider.models()


async def test_a_key_that_is_not_set_is_named_and_nothing_is_asked() -> None:
    settings = UpstreamSettings("larch", "ollama", base_url="http://127.0.0.1:1", api_key_env="LARCH_API_KEY")
    provider = PROVIDERS["ollama"](settings, None, SystemClock())
    with pytest.raises(UpstreamKeyMissing, match="LARCH_API_KEY"):
        await provider.generate(REQUEST, Marks(0), Written().write)
    await provider.close()
