"""Ollama's native API as a source of tokens: lines of JSON, read as they arrive (row O1).

How to ask and how to hear are pure (`ollama_asking`, `ollama_hearing`); the connection is `headrace.providers.http`'s.
A model that is not in memory is loaded first, which may take a minute; Ollama says nothing meanwhile, not even the head
of its response, so that a silence of a second is told as a `Status` (row O6). Closing the connection ends the work.
May import floors 0 to 2 and its own room. Source: Ollama's API documentation (docs/api.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from headrace.clock import Clock
from headrace.errors import UpstreamError, UpstreamKeyMissing, UpstreamMalformed, UpstreamRefused
from headrace.events import Ended, Status
from headrace.interfaces import Write
from headrace.providers.catalogue import completed
from headrace.providers.exchanges import MOST_ERROR_BYTES, MOST_WHOLE_BYTES, open_transport, read_whole, refusal_of
from headrace.providers.ollama_asking import asking_body, names_left_out
from headrace.providers.ollama_hearing import OllamaHearing
from headrace.providers.openai_refusals import without_secrets
from headrace.providers.transport import Response, Transport
from headrace.requests import GenerationRequest
from headrace.settings import UpstreamSettings
from headrace.timing import Marks
from headrace.wire.ollama import decode_tags

logger = logging.getLogger("headrace.providers")

SECONDS_OF_SILENCE = 1.0
"""How long nothing is heard before its readers are told that the model may be loading."""


class OllamaProvider:
    """Speaks to one Ollama.

    Args:
        name: the upstream's name, for errors and usage.
        transport: how requests reach it.
        clock: for `Retry-After` dates.
        secret: its key, so that it is removed from whatever the upstream says.
        missing_key: the variable that should hold its key and does not; nothing is asked then.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        clock: Clock,
        *,
        secret: str | None = None,
        missing_key: str | None = None,
    ) -> None:
        self._name = name
        self._transport = transport
        self._clock = clock
        self._secret = secret
        self._missing_key = missing_key

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """Performs one attempt, a batch for each read from the network."""
        self._require_key()
        if left_out := names_left_out(request):
            logger.info("%s has no word for %s: asked without", self._name, ", ".join(left_out))
        body = asking_body(request, self._name)
        words = f"{self._name} has not answered yet; it may be loading {request.model}"
        loop = asyncio.get_running_loop()
        # One timer an attempt, and none a token.
        silence = loop.call_later(SECONDS_OF_SILENCE, write, (Status("loading", words),))
        try:
            if not request.stream:
                silence.cancel()  # nobody reads along
            response = await self._transport.send("POST", "/api/chat", body, marks)
            del body  # a stream may last
            try:
                return await self._hear(request, response, write, silence)
            finally:
                await response.close()
        finally:
            silence.cancel()

    async def _hear(
        self, request: GenerationRequest, response: Response, write: Write, silence: asyncio.TimerHandle
    ) -> Ended:
        if response.status != 200:
            raise await refusal_of(response, self._name, self._clock, self._secret)
        kind = response.headers.get("content-type", "").lower()
        if "json" not in kind:
            text = (await read_whole(response, MOST_ERROR_BYTES)).decode("utf-8", "replace").strip()
            said = without_secrets(f"{kind[:80] or 'without a content type'} instead of JSON: {text}", self._secret)
            raise UpstreamMalformed(f"{self._name} answered {said[:300]}", upstream=self._name)
        hearing = OllamaHearing(self._name, secret=self._secret)
        if request.stream:
            await self._listen(response, hearing, write, silence)
            events = hearing.finish()
        else:
            events = hearing.hear_whole(await read_whole(response, MOST_WHOLE_BYTES)) + hearing.finish()
        if events:
            write(events)
        if hearing.failure is not None:
            raise hearing.failure
        response.release()
        return hearing.ended()

    async def _listen(
        self, response: Response, hearing: OllamaHearing, write: Write, silence: asyncio.TimerHandle
    ) -> None:
        def hear(pieces: Sequence[bytes]) -> bool:
            silence.cancel()  # asked again and again, since it costs less than to ask whether it was
            if events := hearing.feed(pieces):
                write(events)
            return hearing.finished or hearing.failure is not None

        try:
            await response.listen(hear)
        except UpstreamError as broke:
            # What was said until then stands; and an error that the upstream told says more than its leaving.
            if events := hearing.finish():
                write(events)
            if hearing.finished:
                return
            if not isinstance(hearing.failure, UpstreamRefused):
                hearing.failure = broke
            raise hearing.failure from broke

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        """The fields that Ollama has no word for."""
        return names_left_out(request)

    async def models(self) -> Sequence[str]:
        """The names of the models that it has."""
        self._require_key()
        response = await self._transport.send("GET", "/api/tags", b"", Marks(self._clock.monotonic_ns()))
        try:
            if response.status != 200:
                raise await refusal_of(response, self._name, self._clock, self._secret)
            try:
                listed = decode_tags(await read_whole(response, MOST_WHOLE_BYTES))
            except (ValueError, RecursionError) as error:
                raise UpstreamMalformed(
                    f"{self._name} sent no list of models ({error})", upstream=self._name
                ) from error
        finally:
            await response.close()
        return [model.name for model in listed.models or ()]

    async def close(self) -> None:
        """Closes the connections kept alive."""
        await self._transport.close()

    def _require_key(self) -> None:
        if self._missing_key is not None:
            raise UpstreamKeyMissing.naming(self._missing_key, upstream=self._name)


def open_ollama(settings: UpstreamSettings, key: str | None, clock: Clock) -> OllamaProvider:
    """The provider of one Ollama of the settings.

    Raises:
        SettingsError: its address or its key cannot be used.
    """
    settings = completed(settings)
    assert settings.base_url is not None  # `completed` sees to it
    # Its other API is at /v1, and many have that address at hand.
    base_url = settings.base_url.removesuffix("/v1").removesuffix("/api")
    transport = open_transport(settings, base_url, key, clock, accept="application/x-ndjson")
    missing_key = settings.api_key_env if key is None else None
    return OllamaProvider(settings.name, transport, clock, secret=key, missing_key=missing_key)
