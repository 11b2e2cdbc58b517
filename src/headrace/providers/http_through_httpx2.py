"""The same transport over httpx2: slower for each token, and able to go through a proxy.

The way out of our own client (`transport = "httpx2"` in an upstream's settings): it honours `HTTPS_PROXY` and its
like. Imported only where it is asked for, since httpx2 takes 0.15 s to import.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2

from headrace.clock import Clock
from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamReset, UpstreamTruncated, UpstreamUnreachable
from headrace.providers.http import IDLE_SECONDS, MOST_IDLE
from headrace.providers.transport import Hear, Response, what_to_check
from headrace.timing import Marks


class Httpx2Transport:
    """Sends requests through an `httpx2.AsyncClient`.

    Args: as `headrace.providers.http.HTTPTransport`.
    """

    def __init__(self, upstream: str, base_url: str, headers: Mapping[str, str], clock: Clock) -> None:
        self._upstream = upstream
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        # The four timers are the run's; httpx2 has none of its own here. Nor does it count connections: where there is
        # a limit it is `max_concurrent`, and whoever waits for a place is told so.
        self._client = httpx2.AsyncClient(
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=None,
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=MOST_IDLE, keepalive_expiry=IDLE_SECONDS
            ),
            follow_redirects=False,
            # What an upstream sets for one reader's request is not sent along with another's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def send(self, method: str, path: str, body: bytes, marks: Marks) -> Response:
        """Sends a request and waits for the head of its response."""
        stream: Any = None

        async def trace(event: str, told: Mapping[str, Any]) -> None:
            nonlocal stream
            # Through a proxy there are two of each; the later ones are the upstream's.
            if event == "connection.connect_tcp.complete":
                stream = told["return_value"]
            elif event == "http11.send_request_headers.started":
                marks.connected_ns = self._clock.monotonic_ns()
            elif event == "http11.send_request_body.complete":
                marks.sent_ns = self._clock.monotonic_ns()

        request = self._client.build_request(method, self._base_url + path, content=body, extensions={"trace": trace})
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.RemoteProtocolError as error:
            if "disconnected" in str(error):
                raise UpstreamReset(f"the connection to {self._upstream} broke", upstream=self._upstream) from error
            raise _translated(error, self._upstream) from error
        except httpx2.HTTPError as error:
            raise _translated(error, self._upstream) from error
        except asyncio.CancelledError:
            if stream is not None:
                await stream.aclose()  # httpx2 2.16 leaves it open where TLS was being negotiated
            raise
        marks.first_byte_ns = self._clock.monotonic_ns()
        return _Httpx2Response(response, self._upstream)

    async def close(self) -> None:
        """Closes the client."""
        await self._client.aclose()


class _Httpx2Response:
    def __init__(self, response: httpx2.Response, upstream: str) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._upstream = upstream
        self._pieces: AsyncIterator[bytes] = response.aiter_bytes()

    async def listen(self, hear: Hear) -> None:
        try:
            async for piece in self._pieces:
                if hear((piece,)):
                    return
        except httpx2.HTTPError as error:
            raise _translated(error, self._upstream) from error

    def release(self) -> None:
        pass  # httpx2 keeps a connection whose body was read to its end, and no other

    async def close(self) -> None:
        await self._response.aclose()


def _translated(error: httpx2.HTTPError, upstream: str) -> UpstreamError:
    match error:
        case httpx2.ConnectError() | httpx2.ProxyError() | httpx2.UnsupportedProtocol():
            words = f"no connection to {upstream} ({error}). {what_to_check(error.request.url.host)}"
            return UpstreamUnreachable(words, upstream=upstream)
        case httpx2.RemoteProtocolError() if "complete message body" in str(error):
            return UpstreamTruncated(f"{upstream} closed the connection before its response ended", upstream=upstream)
        case httpx2.RemoteProtocolError() | httpx2.DecodingError():
            return UpstreamMalformed(f"what {upstream} sent is not HTTP ({error})", upstream=upstream)
        case _:
            return UpstreamReset(f"the connection to {upstream} broke ({error})", upstream=upstream)
