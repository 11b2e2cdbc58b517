"""OpenAI's chat API as a source of tokens: Groq, OpenAI, vLLM, llama.cpp and everything else that speaks it.

How to ask and how to hear are pure (`asking_body`, `headrace.providers.openai_hearing`); the connection is
`headrace.providers.http`'s. What services do differently is a row in `headrace.providers.catalogue`.
May import floors 0 to 2 and its own room.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace.clock import Clock
from headrace.errors import UpstreamError, UpstreamKeyMissing, UpstreamMalformed, UpstreamRefused
from headrace.events import Ended
from headrace.interfaces import Write
from headrace.providers.catalogue import completed, service_of
from headrace.providers.exchanges import MOST_ERROR_BYTES, MOST_WHOLE_BYTES, open_transport, read_whole, refusal_of
from headrace.providers.left_out import foreign_names
from headrace.providers.openai_hearing import Hearing
from headrace.providers.openai_refusals import without_secrets
from headrace.providers.transport import Response, Transport
from headrace.requests import GenerationRequest, Message
from headrace.settings import UpstreamSettings
from headrace.timing import Marks
from headrace.wire import json_text

# How long to wait for usage and `[DONE]` once the finish reason was heard. The answer is whole by then.
SECONDS_AFTER_FINISH = 2.0

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]


class OpenAIProvider:
    """Speaks to one upstream with OpenAI's chat API.

    Args:
        name: the upstream's name, for errors and usage.
        transport: how requests reach it.
        clock: for `Retry-After` dates.
        max_tokens_field: the name this upstream knows the limit by (row T3).
        asks_usage: whether it knows `stream_options.include_usage`.
        secret: its key, so that it is removed from whatever the upstream says.
        missing_key: the variable that should hold its key and does not; nothing is asked then.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        clock: Clock,
        *,
        max_tokens_field: MaxTokensField = "max_tokens",
        asks_usage: bool = True,
        secret: str | None = None,
        missing_key: str | None = None,
    ) -> None:
        self._missing_key = missing_key
        self._name = name
        self._transport = transport
        self._clock = clock
        self._max_tokens_field = max_tokens_field
        self._asks_usage = asks_usage
        self._secret = secret

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """Performs one attempt, a batch for each read from the network."""
        self._require_key()
        body = asking_body(request, max_tokens_field=self._max_tokens_field, asks_usage=self._asks_usage)
        response = await self._transport.send("POST", "/chat/completions", body, marks)
        del body  # a stream may last
        try:
            if response.status != 200:
                raise await refusal_of(response, self._name, self._clock, self._secret)
            hearing = Hearing(self._name, choices=choices_asked(request), secret=self._secret)
            kind = response.headers.get("content-type", "").lower()
            if "json" in kind:
                if events := hearing.hear_whole(await read_whole(response, MOST_WHOLE_BYTES)):
                    write(events)
            elif "event-stream" in kind:
                await self._listen(response, hearing, write)
            else:
                said = f"{kind[:80] or 'without a content type'} instead of a stream: {await _text(response)}"
                raise UpstreamMalformed(
                    f"{self._name} answered {without_secrets(said, self._secret)[:300]}", upstream=self._name
                )
            if hearing.failure is None and (events := hearing.finish()):
                write(events)
            if hearing.failure is not None:
                raise hearing.failure
            response.release()
            return hearing.ended()
        finally:
            await response.close()

    async def _listen(self, response: Response, hearing: Hearing, write: Write) -> None:
        feed = hearing.feed

        def hear(pieces: Sequence[bytes]) -> bool:
            if events := feed(pieces):
                write(events)
            return hearing.finished or hearing.done or hearing.failure is not None

        try:
            await response.listen(hear)
        except UpstreamError:
            # What was said until then stands; and an end or an error that the upstream told says more than its leaving.
            if events := hearing.finish():
                write(events)
            if hearing.failure is not None and not isinstance(hearing.failure, UpstreamRefused):
                raise
            return
        if hearing.done or hearing.failure is not None or not hearing.finished:
            return
        # Usage and `[DONE]` are still to come, but the answer is whole: nothing that happens now can spoil it.

        def hear_the_rest(pieces: Sequence[bytes]) -> bool:
            if events := feed(pieces):
                write(events)
            return hearing.done

        with contextlib.suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(SECONDS_AFTER_FINISH):
                await response.listen(hear_the_rest)

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        """What belongs to other families: everything of its own goes along, known or not."""
        return foreign_names(request) if request.foreign else ()

    async def models(self) -> Sequence[str]:
        """The names of the upstream's models."""
        self._require_key()
        response = await self._transport.send("GET", "/models", b"", Marks(self._clock.monotonic_ns()))
        try:
            if response.status != 200:
                raise await refusal_of(response, self._name, self._clock, self._secret)
            try:
                listed = _decode_models(await read_whole(response, MOST_WHOLE_BYTES))
            except (ValueError, RecursionError) as error:
                raise UpstreamMalformed(
                    f"{self._name} sent no list of models ({error})", upstream=self._name
                ) from error
        finally:
            await response.close()
        return [model.id for model in (listed if isinstance(listed, list) else listed.data)]

    async def close(self) -> None:
        """Closes the connections kept alive."""
        await self._transport.close()

    def _require_key(self) -> None:
        if self._missing_key is not None:
            raise UpstreamKeyMissing.naming(self._missing_key, upstream=self._name)


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model]


# Together's list is bare.
_decode_models = msgspec.json.Decoder(_ModelList | list[_Model]).decode


def asking_body(request: GenerationRequest, *, max_tokens_field: MaxTokensField, asks_usage: bool) -> bytes:
    """The JSON body that asks for `request`, streamed or whole as its reader wants it.

    An upstream is not asked for a stream behind a reader's back: some refuse to stream to some accounts or with some
    options, and a comparison of the two modes would compare nothing. Fields that headrace does not know go along
    untouched.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_asked_message(message) for message in request.messages],
        **request.fields,
    }
    if request.stream:
        body["stream"] = True
        if asks_usage:
            body["stream_options"] = {"include_usage": True}
    if request.max_tokens is not None:
        body[max_tokens_field] = request.max_tokens
    return json_text.encode(body)


def choices_asked(request: GenerationRequest) -> int:
    """How many answers were asked for at once (`n`)."""
    raw = request.fields.get("n")
    if raw is None:
        return 1
    value = msgspec.json.decode(raw)
    return value if isinstance(value, int) and value > 0 else 1


def _asked_message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": message.content, **message.fields}


async def _text(response: Response) -> str:
    return (await read_whole(response, MOST_ERROR_BYTES)).decode("utf-8", "replace").strip()


def open_openai(settings: UpstreamSettings, key: str | None, clock: Clock) -> OpenAIProvider:
    """The provider of one upstream of the settings.

    Raises:
        SettingsError: its address or its key cannot be used.
    """
    settings = completed(settings)
    service = service_of(settings)
    assert settings.base_url is not None  # `completed` sees to it
    transport = open_transport(settings, settings.base_url, key, clock, accept="text/event-stream")
    return OpenAIProvider(
        settings.name,
        transport,
        clock,
        max_tokens_field=settings.max_tokens_field or service.max_tokens_field,
        asks_usage=service.asks_usage,
        secret=key,
        missing_key=settings.api_key_env if key is None else None,
    )
