"""Both clients behind one face, so that one test tries both: `Client` in a thread, waited for as `AsyncClient` is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol, Self, TypeVar

from headrace.client import AsyncClient, Client, Final, Piece, Stats, Stream
from headrace.events import Event

T = TypeVar("T")


class StreamFace(Protocol):
    """What a test does with a stream."""

    @property
    def id(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def final(self) -> Final: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def text(self) -> AsyncIterator[str]: ...
    @property
    def pieces(self) -> AsyncIterator[Piece]: ...
    def __aiter__(self) -> AsyncIterator[Event]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *rest: Any) -> None: ...
    async def cancel(self) -> None: ...
    def detach(self) -> None: ...


class ClientFace(Protocol):
    """What a test does with a client."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *rest: Any) -> None: ...
    def stream(self, prompt: Any, **choices: Any) -> StreamFace: ...
    def resume(self, stream_id: str, **choices: Any) -> StreamFace: ...
    async def cancel(self, stream_id: str) -> None: ...


class Face(Protocol):
    """Makes a client."""

    __name__: str

    def __call__(self, url: str, **choices: Any) -> ClientFace: ...


class _Nexts:
    """An iterator, each of whose steps is made in a thread."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        # StopIteration cannot cross from a thread into a coroutine.
        over = object()
        came = await asyncio.to_thread(next, self._iterator, over)
        if came is over:
            raise StopAsyncIteration
        return came


class _Stream:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.detach = stream.detach

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def text(self) -> AsyncIterator[str]:
        return _Nexts(self._stream.text)

    @property
    def pieces(self) -> AsyncIterator[Piece]:
        return _Nexts(self._stream.pieces)

    def __aiter__(self) -> AsyncIterator[Event]:
        return _Nexts(iter(self._stream))

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._stream.__enter__)
        return self

    async def __aexit__(self, *rest: Any) -> None:
        await asyncio.to_thread(self._stream.__exit__, *rest)

    async def cancel(self) -> None:
        await asyncio.to_thread(self._stream.cancel)


class _Client:
    def __init__(self, *arguments: Any, **choices: Any) -> None:
        self._client = Client(*arguments, **choices)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *rest: Any) -> None:
        await asyncio.to_thread(self._client.close)

    def stream(self, prompt: Any, **choices: Any) -> Any:
        return _Stream(self._client.stream(prompt, **choices))

    def resume(self, stream_id: str, **choices: Any) -> Any:
        return _Stream(self._client.resume(stream_id, **choices))

    async def cancel(self, stream_id: str) -> None:
        await asyncio.to_thread(self._client.cancel, stream_id)


FACES: dict[str, Any] = {"AsyncClient": AsyncClient, "Client": _Client}
