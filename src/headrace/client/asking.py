"""Asks a headrace server one question and gives its answer as events: what `headrace ask --url` needs.

Owns the connection; how frames become events is in `hearing.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx2
import msgspec

from headrace.client.hearing import Hearing
from headrace.client.refusals import reason_of, refusal_of
from headrace.errors import UpstreamMalformed, UpstreamReset, UpstreamTruncated, UpstreamUnreachable
from headrace.events import Event
from headrace.wire import json_text
from headrace.wire.sse import EventTooLarge, SSEParser

CONNECT_SECONDS = 5.0
HEARTBEAT_SECONDS = 15
# Four heartbeats missed in a row: the server, or the way to it, is gone.
SILENCE_SECONDS = 4.0 * HEARTBEAT_SECONDS
CANCEL_SECONDS = 2.0


class ServerAnswer:
    """One answer of a server, while it comes."""

    def __init__(self, client: httpx2.AsyncClient, response: httpx2.Response, url: str) -> None:
        self.stream_id = response.headers.get("headrace-stream", "")
        self._client = client
        self._response = response
        self._url = url

    async def follow(self) -> AsyncGenerator[tuple[list[bytes], list[Event]], None]:
        """The frames of each read from the network, with the events they are.

        Raises:
            UpstreamReset, UpstreamTruncated: the connection ended before the answer did.
            UpstreamMalformed: the server sent what is no typed event.
        """
        parser, hearing = SSEParser(), Hearing()
        try:
            async for data in self._response.aiter_raw():
                records: list[bytes] = []
                events: list[Event] = []
                for event in parser.feed(data):
                    events += hearing.feed(event.data)
                    if event.data != "[DONE]":
                        records.append(event.data.encode())
                if records or events:
                    yield records, events
        except (msgspec.DecodeError, EventTooLarge) as error:
            raise UpstreamMalformed(f"{self._url} sent what is no typed event ({error})", upstream=self._url) from error
        except httpx2.HTTPError as error:
            raise UpstreamReset(
                f"the connection to {self._url} broke ({reason_of(error)})", upstream=self._url
            ) from error
        if not hearing.ended:
            raise UpstreamTruncated(f"{self._url} stopped in the middle of its answer", upstream=self._url)

    async def cancel(self) -> None:
        """Ends the answer for everybody, up to the upstream. An answer that has ended stays as it is."""
        try:
            await self._client.post(f"{self._url}/v1/streams/{self.stream_id}/cancel", timeout=CANCEL_SECONDS)
        except httpx2.HTTPError:
            pass  # closing the connection, which comes next, ends it too


@asynccontextmanager
async def ask_server(
    url: str, body: Mapping[str, object], *, key: str | None = None, total_seconds: float | None = None
) -> AsyncIterator[ServerAnswer]:
    """The answer to a request of `POST /chat/basic`. Leaving the block closes the connection.

    Args:
        url: where the server is, without a path.
        body: its fields but `stream`.
        key: sent as `Authorization: Bearer`.
        total_seconds: the most the whole answer may take; `None`: as the server has it.

    Raises:
        UpstreamUnreachable: nothing answers there.
        HeadraceError: the server refused, for the reason it gave.
    """
    url = url.rstrip("/")
    headers = {"Content-Type": "application/json", "Headrace-Heartbeat": str(HEARTBEAT_SECONDS)}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if total_seconds is not None:
        headers["Headrace-Timeouts"] = f"total={total_seconds:g}"
    timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    # A proxy of the environment has no business between two programs of one machine.
    through_proxies = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
    async with httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=through_proxies) as client:
        request = client.build_request("POST", f"{url}/chat/basic", content=json_text.encode({**body, "stream": True}))
        try:
            response = await client.send(request, stream=True)
        except httpx2.InvalidURL as error:
            raise UpstreamUnreachable(f"{url} is no address ({error})", upstream=url) from error
        except httpx2.HTTPError as error:
            reason = reason_of(error)
            raise UpstreamUnreachable(f"nothing answers at {url} ({reason})", upstream=url) from error
        try:
            if response.status_code != 200:
                raise await refusal_of(response, url)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise UpstreamMalformed(f"{url} answers, but is no headrace server", upstream=url)
            yield ServerAnswer(client, response, url)
        finally:
            await response.aclose()
