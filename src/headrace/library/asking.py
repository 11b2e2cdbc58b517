"""`agenerate`: one generation in this process, for programs that have an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, overload

import msgspec

from headrace.cli import environment
from headrace.errors import InvalidRequest
from headrace.events import TextDelta
from headrace.interfaces import Stream
from headrace.library.answers import Answer, GenerationFailed, answer_of
from headrace.protocols import PROTOCOLS
from headrace.requests import GenerationRequest
from headrace.server.discovery import discover, missing_key
from headrace.server.wiring import open_house
from headrace.wire import json_text

Prompt: TypeAlias = str | Sequence[Mapping[str, object]]
"""A question, or messages as OpenAI's chat API has them."""


class Asked(msgspec.Struct, frozen=True):
    """The arguments of a call."""

    prompt: Prompt
    model: str | None
    stream: bool
    system: str | None
    max_tokens: int | None
    timeout_seconds: float | None
    config: Sequence[str]
    fields: Mapping[str, object]


@overload
def agenerate(
    prompt: Prompt,
    *,
    model: str | None = ...,
    stream: Literal[False] = ...,
    system: str | None = ...,
    max_tokens: int | None = ...,
    timeout_seconds: float | None = ...,
    config: Sequence[str] = ...,
    **fields: object,
) -> Coroutine[Any, Any, Answer]: ...
@overload
def agenerate(
    prompt: Prompt,
    *,
    model: str | None = ...,
    stream: Literal[True],
    system: str | None = ...,
    max_tokens: int | None = ...,
    timeout_seconds: float | None = ...,
    config: Sequence[str] = ...,
    **fields: object,
) -> AsyncDeltas: ...
@overload
def agenerate(
    prompt: Prompt,
    *,
    model: str | None = ...,
    stream: bool,
    system: str | None = ...,
    max_tokens: int | None = ...,
    timeout_seconds: float | None = ...,
    config: Sequence[str] = ...,
    **fields: object,
) -> Coroutine[Any, Any, Answer] | AsyncDeltas: ...
def agenerate(
    prompt: Prompt,
    *,
    model: str | None = None,
    stream: bool = False,
    system: str | None = None,
    max_tokens: int | None = None,
    timeout_seconds: float | None = None,
    config: Sequence[str] = (),
    **fields: object,
) -> Coroutine[Any, Any, Answer] | AsyncDeltas:
    """`generate` for programs with an event loop: awaited it gives the answer, with `stream=True` its deltas.

        answer = await headrace.agenerate("What is an offset?")
        async with headrace.agenerate("What is an offset?", stream=True) as deltas:
            async for text in deltas: ...
        deltas.answer  # the same shape

    Arguments, errors and the end are those of `headrace.generate`. Cancelling the task that waits cancels the run, up
    to its upstream.
    """
    asked = Asked(prompt, model, stream, system, max_tokens, timeout_seconds, config, fields)
    return AsyncDeltas(asked) if stream else whole(asked)


class AsyncDeltas:
    """The texts of an answer as they come, and then the answer.

    Closing it before the end, as leaving its `async with` does, cancels the run up to its upstream.
    """

    def __init__(self, asked: Asked) -> None:
        self.answer: Answer | None = None
        """The whole answer, once the iteration has ended; what there was of it, if it was closed or failed."""
        self._texts = self._follow(asked)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await anext(self._texts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends it; returns when the upstream's connection is closed."""
        await self._texts.aclose()

    async def _follow(self, asked: Asked) -> AsyncGenerator[str, None]:
        surroundings = environment.read(asked.config)
        settings = surroundings.settings({}).settings
        variables = surroundings.with_keys(settings)
        settings = (await discover(settings, variables)).settings
        async with open_house(settings, variables) as house:
            request = request_of(asked, house.runs.models.default)
            if (missing := missing_key(request.model, settings, variables)) is not None:
                raise missing
            stream = await house.start(request)
            try:
                async with aclosing(stream.follow()) as pieces:
                    async for _, events in pieces:
                        for event in events:
                            if type(event) is TextDelta and event.choice == 0:
                                yield event.text
            finally:
                house.cancel(stream)
                self.answer = await _ended(stream)
        if self.answer.failure is not None:
            raise GenerationFailed(self.answer, self.answer.failure)


async def whole(asked: Asked) -> Answer:
    """The answer, when it is whole."""
    async with AsyncDeltas(asked) as deltas:
        async for _ in deltas:
            pass
    assert deltas.answer is not None
    return deltas.answer


def request_of(asked: Asked, default_model: str) -> GenerationRequest:
    """The request that a call means, read as one of `POST /v1/chat/completions` is.

    Raises:
        InvalidRequest: an argument is not what it may be.
    """
    if asked.fields.get("n") not in (None, 1):
        raise InvalidRequest("generate gives one answer: call it again for another", parameter="n")
    prompt = [{"role": "user", "content": asked.prompt}] if isinstance(asked.prompt, str) else [*asked.prompt]
    system = [] if asked.system is None else [{"role": "system", "content": asked.system}]
    body = {
        **asked.fields,
        "model": asked.model or default_model,
        "messages": [*system, *prompt],
        "stream": asked.stream,
        "max_tokens": asked.max_tokens,
        "headrace": {"timeouts": {"total": asked.timeout_seconds}},
    }
    try:
        encoded = json_text.encode(body)
    except TypeError as error:
        raise InvalidRequest(f"an argument is nothing that JSON can hold: {error}") from error
    return PROTOCOLS["openai_chat"].read(encoded, {})[0]


async def _ended(stream: Stream) -> Answer:
    async with aclosing(stream.follow(stream.length - 1)) as rest:
        async for _ in rest:
            pass
    return answer_of(stream.said())
