"""Adds documents to a headrace server: each file is a request of its own, answered when it is indexed."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from headrace.client.questions import address, authorization, is_this_machine
from headrace.client.refusals import broken, refusal_of
from headrace.client.timers import CONNECT_SECONDS, LOOK_SECONDS
from headrace.errors import UpstreamMalformed

T = TypeVar("T")

INDEXING_SECONDS = 300.0
"""How long a server may be silent while it indexes a file: others' may wait before it."""

_BUSY = (429, 503)
_MOST_WAITING_SECONDS = 30.0


class Added(msgspec.Struct, frozen=True):
    """A document as `POST /v1/documents` tells it."""

    id: str
    name: str
    size_bytes: int
    passages: int
    state: Literal["indexed", "replaced", "unchanged"]


class _Taken(msgspec.Struct):
    limit_bytes: int


class Documents:
    """The documents of one owner at a server.

    Args:
        url: where the server is, without a path.
        key: sent as `Authorization: Bearer`.
        attempts: how often a file is sent to a server that has too much to do.

    Raises:
        InvalidRequest: `url` is no address of a server.
    """

    def __init__(self, url: str, *, key: str | None = None, attempts: int = 5) -> None:
        self._url = address(url)
        self._attempts = attempts
        self._http = httpx2.AsyncClient(
            base_url=self._url,
            headers=authorization(key),
            timeout=httpx2.Timeout(INDEXING_SECONDS, connect=CONNECT_SECONDS),
            trust_env=not is_this_machine(self._url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def limit_bytes(self) -> int:
        """The largest document that the server takes.

        Raises:
            UpstreamUnreachable, UpstreamReset: nothing answers there.
            UpstreamMalformed: what answers is no headrace server, or one that takes no documents.
            HeadraceError: the server refused, for the reason it gave.
        """
        response = await self._asked("GET", "/v1/documents?limit=1", seconds=LOOK_SECONDS)
        return self._read(response, _Taken).limit_bytes

    async def add(self, name: str, data: bytes) -> Added:
        """Adds a file; gives what became of it once it is indexed. Cancelled before it is sent whole, it is not added.

        Raises:
            UpstreamUnreachable, UpstreamReset: nothing answers there, or no longer.
            HeadraceError: the server refused, for the reason it gave.
        """
        path = f"/v1/documents?name={quote(name, safe='')}"
        attempt = 1
        while (response := await self._asked("POST", path, data)).status_code in _BUSY and attempt < self._attempts:
            waited = response.headers.get("retry-after", "")
            await asyncio.sleep(min(int(waited) if waited.isdigit() else attempt, _MOST_WAITING_SECONDS))
            attempt += 1
        return self._read(response, Added)

    async def _asked(
        self, method: str, path: str, data: bytes | None = None, *, seconds: float = INDEXING_SECONDS
    ) -> httpx2.Response:
        headers = {} if data is None else {"Content-Type": "text/markdown"}
        timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
        try:
            return await self._http.request(method, path, content=data, headers=headers, timeout=timeout)
        except httpx2.HTTPError as error:
            raise broken(error, self._url) from error

    def _read(self, response: httpx2.Response, kind: type[T]) -> T:
        if response.status_code not in (200, 201):
            raise refusal_of(response.status_code, response.headers, response.content, self._url)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise UpstreamMalformed(f"{self._url} answers, but is no headrace server", upstream=self._url) from error
