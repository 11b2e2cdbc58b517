"""Every store held to what `StreamStore` and `Stream` promise, and the suite to finding what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from headrace.clock import Clock
from headrace.errors import UnknownStream
from headrace.events import Event
from headrace.interfaces import Batch, StreamStore
from headrace.requests import GenerationRequest
from headrace.streams.database import Durability
from headrace.streams.journaled import JournaledStore
from headrace.streams.memory import MemoryStore, MemoryStream
from headrace.testing.check_store import OpenStore, check_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def journaled(tmp_path: Path) -> AsyncIterator[Callable[[Durability], OpenStore]]:
    """Opens stores on files, each on one of its own, and closes them all."""
    opened: list[JournaledStore] = []

    def opener(durability: Durability) -> OpenStore:
        def open_store(clock: Clock, retention_seconds: float) -> JournaledStore:
            path = tmp_path / f"{len(opened)}.db"
            # Hardly anything stays in the journal or in memory, so that all the ways of a store are gone.
            store = JournaledStore(
                clock, path, retention_seconds, durability=durability, remembered_bytes=0, journal_bytes=2000
            )
            opened.append(store)
            return store

        return open_store

    yield opener
    for store in opened:
        await store.close()


async def test_the_memory_store_keeps_its_promises() -> None:
    await check_store(MemoryStore)


@pytest.mark.parametrize("durability", get_args(Durability))
async def test_the_journaled_store_keeps_its_promises(
    durability: Durability, journaled: Callable[[Durability], OpenStore]
) -> None:
    await check_store(journaled(durability))


# --- the suite finds what is wrong: a store that breaks one promise each


class Broken(MemoryStore):
    """A store whose streams are of a class of their own."""

    stream: type[MemoryStream] = MemoryStream

    def create(self, stream_id: str, owner: str, request: GenerationRequest) -> MemoryStream:
        stream = super().create(stream_id, owner, request)
        stream.__class__ = self.stream
        return stream


class ListsEverybodys(Broken):
    def list(self, owner: str, **wanted: Any) -> Sequence[MemoryStream]:
        return [stream for whose in self._owners for stream in MemoryStore.list(self, whose, **wanted)]


class ListsOldestFirst(Broken):
    def list(self, owner: str, **wanted: Any) -> Sequence[MemoryStream]:
        return super().list(owner, **wanted)[::-1]


class BeginsEveryPageAnew(Broken):
    def list(self, owner: str, **wanted: Any) -> Sequence[MemoryStream]:
        page = super().list(owner, **wanted)
        return super().list(owner, **{**wanted, "before": None}) if page else page


class FiltersAPageInsteadOfTheList(Broken):
    def list(self, owner: str, **wanted: Any) -> Sequence[MemoryStream]:
        state = wanted.pop("state", None)
        page = super().list(owner, **wanted)
        return [stream for stream in page if state is None or (stream.ended is None) == (state == "running")]


class FindsEverybodysKeys(Broken):
    def find(self, owner: str, idempotency_key: str) -> MemoryStream | None:
        return next((found for (_, key), found in self._keys.items() if key == idempotency_key), None)


class FindsTheFirstOfAKey(Broken):
    def find(self, owner: str, idempotency_key: str) -> MemoryStream | None:
        carrying = (
            stream
            for stream in self._owners.get(owner, {}).values()
            if stream.request.idempotency is not None and stream.request.idempotency.key == idempotency_key
        )
        return next(carrying, None)


class TellsForeignFromUnknown(Broken):
    def open(self, stream_id: str, owner: str) -> MemoryStream:
        if any(each == stream_id for _, each in self._streams) and (owner, stream_id) not in self._streams:
            raise UnknownStream("this stream is somebody else's")
        return super().open(stream_id, owner)


class NeverForgets(Broken):
    def sweep(self) -> None:
        pass


class ForgetsWhatGoesOn(Broken):
    def sweep(self) -> None:
        self._streams.clear()


class DeletesNothing(Broken):
    def delete(self, stream_id: str, owner: str) -> None:
        self.open(stream_id, owner)


def with_streams(stream: type[MemoryStream]) -> type[Broken]:
    return type(stream.__name__, (Broken,), {"stream": stream})


class WakesForEachEvent(MemoryStream):
    __slots__ = ()

    def append(self, batch: Batch) -> None:
        for event in batch:
            super().append([event])


class WakesTooEarly(MemoryStream):
    __slots__ = ()

    def append(self, batch: Batch) -> None:
        for wake in self._wakes.copy():
            wake()
        super().append(batch)


class SkipsTheFirst(MemoryStream):
    __slots__ = ()

    def read(self, offset: int, limit: int = 256) -> Sequence[Event]:
        return super().read(offset + 1, limit)


class IgnoresTheLimit(MemoryStream):
    __slots__ = ()

    def read(self, offset: int, limit: int = 256) -> Sequence[Event]:
        return super().read(offset, 10_000)


class GoesOnAfterTheEnd(MemoryStream):
    __slots__ = ()

    def append(self, batch: Batch) -> None:
        try:
            super().append(batch)
        except ValueError:
            self._events.extend(batch)


class CountsNobody(MemoryStream):
    __slots__ = ()

    @property
    def readers(self) -> int:
        return 0


class LosesAReader(MemoryStream):
    __slots__ = ()

    def detach(self, wake: Callable[[], None]) -> None:
        self._wakes.clear()


class HasNoTimes(MemoryStream):
    __slots__ = ()

    def times(self, offset: int, limit: int = 256) -> Sequence[int]:
        return ()


BROKEN: list[Callable[[Clock, float], StreamStore]] = [
    ListsEverybodys,
    ListsOldestFirst,
    BeginsEveryPageAnew,
    FiltersAPageInsteadOfTheList,
    FindsEverybodysKeys,
    FindsTheFirstOfAKey,
    TellsForeignFromUnknown,
    NeverForgets,
    ForgetsWhatGoesOn,
    DeletesNothing,
    *map(
        with_streams,
        (
            WakesForEachEvent,
            WakesTooEarly,
            SkipsTheFirst,
            IgnoresTheLimit,
            GoesOnAfterTheEnd,
            CountsNobody,
            LosesAReader,
            HasNoTimes,
        ),
    ),
]


async def test_the_suite_has_nothing_against_a_store_that_is_only_called_broken() -> None:
    await check_store(Broken)


@pytest.mark.parametrize("broken", BROKEN)
async def test_the_suite_finds_a_broken_promise(broken: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, TimeoutError)):
        await check_store(broken)
