"""Every provider of the table, and the one that is always there, held to what `Provider` promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
from tests.knowledge.searching import searching

from headrace.clock import SystemClock
from headrace.errors import UpstreamError, UpstreamReset
from headrace.events import Ended, Failure, Started, TextDelta
from headrace.interfaces import Provider, Write
from headrace.knowledge.index import KnowledgeIndex
from headrace.providers import PROVIDERS
from headrace.providers.offline import OfflineProvider
from headrace.requests import GenerationRequest, Message
from headrace.settings import UpstreamSettings
from headrace.testing.check_provider import Situation, check_provider
from headrace.testing.ollama import NDJSON, last_ollama_line, ollama_line
from headrace.testing.upstream import (
    DONE,
    JSON,
    Exchange,
    ScriptedUpstream,
    delta_chunk,
    finish_chunk,
    role_chunk,
    text_chunk,
    usage_chunk,
)
from headrace.timing import Marks

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest("m", (Message("user", "How much rest does dough need?"),))


@dataclass(frozen=True)
class Situations:
    """What a provider is shown in."""

    answers: Situation
    goes_on: Situation
    fails: Situation | None = None
    silent: Situation | None = None


# --- upstreams that speak OpenAI's language

Handler = Callable[[Exchange], Awaitable[None]]


async def openai_models(exchange: Exchange) -> bool:
    if exchange.path == "/v1/models":
        await exchange.whole(json.dumps({"object": "list", "data": [{"id": "a"}, {"id": "org/b"}]}).encode())
    return exchange.path == "/v1/models"


async def openai_answer(exchange: Exchange) -> None:
    if await openai_models(exchange):
        return
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    if not exchange.json().get("stream"):
        message = {"role": "assistant", "content": "Hello", "reasoning": "Hm", "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 2}
        await exchange.whole(json.dumps({"choices": [choice], "usage": usage}).encode())
        return
    await exchange.head()
    for frame in (
        role_chunk(),
        delta_chunk({"reasoning": "Hm"}),
        *(text_chunk(text) for text in ("", "Hel", "lo 天气", "😀")),
        delta_chunk({"content": "\ud83d"}),
        delta_chunk({"content": "\ude00"}),
        delta_chunk({"tool_calls": [call]}),
        finish_chunk(),
        usage_chunk(1, 2),
        DONE,
    ):
        await exchange.chunk(frame)
    await exchange.end()


async def openai_goes_on(exchange: Exchange) -> None:
    await exchange.head()
    while True:
        await exchange.chunk(text_chunk("more"))
        await asyncio.sleep(0)


async def openai_fails(exchange: Exchange) -> None:
    if exchange.json().get("stream"):
        await exchange.head()
        await exchange.chunk(text_chunk("half"))
    else:
        await exchange.head(200, {**JSON, "Content-Length": "100"}, chunked=False)
        await exchange.write(b'{"choices":[')
    exchange.close()


async def openai_silent(exchange: Exchange) -> None:
    await exchange.left()


def before(handler: Handler, transport: str, name: str = "openai") -> Situation:
    """A provider before an upstream that does so; on the way out, its connections must be closed."""

    @asynccontextmanager
    async def situation() -> AsyncIterator[tuple[Provider, GenerationRequest]]:
        async with ScriptedUpstream(handler) as upstream:
            settings = UpstreamSettings(name="larch", base_url=upstream.base_url)
            if transport == "httpx2":
                settings = UpstreamSettings(name="larch", base_url=upstream.base_url, transport="httpx2")
            yield PROVIDERS[name](settings, None, SystemClock()), REQUEST
            async with asyncio.timeout(0.1):
                await upstream.emptied()

    return situation


def openai_situations(transport: str) -> Situations:
    return Situations(
        answers=before(openai_answer, transport),
        goes_on=before(openai_goes_on, transport),
        fails=before(openai_fails, transport),
        silent=before(openai_silent, transport),
    )


# --- an Ollama


async def ollama_answers(exchange: Exchange) -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    if exchange.path == "/api/tags":
        await exchange.whole(json.dumps({"models": [{"name": "a:latest"}, {"name": "b"}]}).encode())
    elif not exchange.json()["stream"]:
        message = {"content": "Hello", "thinking": "Hm", "tool_calls": [call, call]}
        await exchange.whole(ollama_line(message, done=True, done_reason="stop", prompt_eval_count=1, eval_count=2))
    else:
        await exchange.head(200, NDJSON)
        await exchange.chunk(ollama_line({"content": "", "thinking": "Hm"}))
        for text in ("", "Hel", "lo 天气", "😀", "\ud83d"):
            await exchange.chunk(ollama_line({"content": text}))
        for _ in range(2):
            await exchange.chunk(ollama_line({"content": "", "tool_calls": [call]}))
        await exchange.chunk(last_ollama_line(usage=(0, 2)))
        await exchange.end()


async def ollama_goes_on(exchange: Exchange) -> None:
    await exchange.head(200, NDJSON)
    while True:
        await exchange.chunk(ollama_line({"content": "more"}))
        await asyncio.sleep(0)


async def ollama_fails(exchange: Exchange) -> None:
    if exchange.json()["stream"]:
        await exchange.head(200, NDJSON)
        await exchange.chunk(ollama_line({"content": "half"}))
    else:
        await exchange.head(200, {**JSON, "Content-Length": "100"}, chunked=False)
        await exchange.write(b'{"model":')
    exchange.close()


def ollama_situations() -> Situations:
    return Situations(
        answers=before(ollama_answers, "headrace", "ollama"),
        goes_on=before(ollama_goes_on, "headrace", "ollama"),
        fails=before(ollama_fails, "headrace", "ollama"),
        silent=before(openai_silent, "headrace", "ollama"),
    )


# --- documents


@contextmanager
def documents() -> Iterator[KnowledgeIndex]:
    index = KnowledgeIndex.open()
    sentences = (f"Dough needs rest for reason {number}." for number in range(200))
    index.add_document(
        "dough.md", "# Dough\n\n## Rest\n\n" + "\n\n".join(f"## Rest {each}\n\n{each}" for each in sentences)
    )
    yield index
    index.close()


@asynccontextmanager
async def offline() -> AsyncIterator[tuple[Provider, GenerationRequest]]:
    with documents() as index:
        yield OfflineProvider(searching(index)), REQUEST


SITUATIONS: Mapping[str, Situations] = {
    "openai": openai_situations("headrace"),
    "openai through httpx2": openai_situations("httpx2"),
    "ollama": ollama_situations(),
    "offline": Situations(answers=offline, goes_on=offline),
}


@pytest.mark.parametrize("name", SITUATIONS)
async def test_every_provider_keeps_its_promises(name: str) -> None:
    shown = SITUATIONS[name]
    await check_provider(answers=shown.answers, goes_on=shown.goes_on, fails=shown.fails, silent=shown.silent)


async def test_every_provider_of_the_table_is_shown_in_situations() -> None:
    assert set(PROVIDERS) <= set(SITUATIONS)


# --- the suite finds what is wrong


class Good:
    """A provider that keeps every promise; the others break one each."""

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        marks.connected_ns, marks.sent_ns, marks.first_byte_ns = 1, 2, 3
        if request.model == "fails":
            raise UpstreamReset("the connection to larch broke", upstream="larch")
        if request.model == "silent":
            await asyncio.Event().wait()
        write([TextDelta("a")])
        while request.model == "goes on":
            write([TextDelta("b")])
            await asyncio.sleep(0)
        return Ended("stop")

    async def models(self) -> Sequence[str]:
        return ["m"]

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        pass


class WritesNothing(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        return await super().generate(request, marks, lambda batch: None)


class EmptyBatches(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        write([])
        return await super().generate(request, marks, write)


class EmptyDeltas(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        write([TextDelta("")])
        return await super().generate(request, marks, write)


class HalfCharacters(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        write([TextDelta("\ud83d")])
        return await super().generate(request, marks, write)


class ChangesItsBatches(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        batch = [TextDelta("a")]
        write(batch)
        batch.append(TextDelta("b"))
        return await super().generate(request, marks, write)


class SaysTheFirstEvent(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        write([Started("s", "m", 0)])
        return await super().generate(request, marks, write)


class TakesNoMarks(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        return await super().generate(request, Marks(0), write)


class MakesUpAnEnding(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        try:
            return await super().generate(request, marks, write)
        except UpstreamError:
            return Ended("stop")


class GivesAFailure(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        ended = await super().generate(request, marks, write)
        return Ended(ended.ending, Failure("x", "x", 500))


class FailsInAnotherWay(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        try:
            return await super().generate(request, marks, write)
        except UpstreamError:
            raise OSError("broken pipe") from None


class SwallowsBeingCancelled(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        try:
            return await super().generate(request, marks, write)
        except asyncio.CancelledError:
            return Ended("stop")


class WritesAfterBeingCancelled(Good):
    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        try:
            return await super().generate(request, marks, write)
        finally:
            if request.model == "goes on":
                asyncio.get_running_loop().call_soon(write, [TextDelta("late")])


class HasNamelessModels(Good):
    async def models(self) -> Sequence[str]:
        return [""]


def of(provider: Provider, model: str) -> Situation:
    """This provider, asked for a model of that name."""

    @asynccontextmanager
    async def situation() -> AsyncIterator[tuple[Provider, GenerationRequest]]:
        yield provider, GenerationRequest(model, REQUEST.messages)

    return situation


async def checked(provider: Provider) -> None:
    await check_provider(
        answers=of(provider, "answers"),
        goes_on=of(provider, "goes on"),
        fails=of(provider, "fails"),
        silent=of(provider, "silent"),
    )


async def test_the_suite_has_nothing_against_a_good_provider() -> None:
    await checked(Good())


@pytest.mark.parametrize("broken", Good.__subclasses__(), ids=lambda broken: broken.__name__)
async def test_the_suite_finds_a_broken_promise(broken: type[Good]) -> None:
    with pytest.raises((AssertionError, OSError)):
        await checked(broken())
