"""The documents that owners have added: a shelf for each, and beside it the manual, which is everybody's.

May import floors 0 to 2 and its neighbours. Each shelf is an index of its own, so that no word of somebody else's
documents weighs in a search, and nobody waits for another's. What is dear is done on threads: one that indexes, a few
that search. A reader without documents is answered from the manual alone, on the event loop, in a millisecond or two.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from headrace.clock import Clock
from headrace.errors import Overloaded, StoreError, TooManyDocuments, UnknownDocument, UnusableDocument
from headrace.knowledge.files import checked_name, text_of
from headrace.knowledge.index import Document, KnowledgeIndex, search, worded
from headrace.knowledge.ranking import Findings

Result = TypeVar("Result")
Added: TypeAlias = Literal["indexed", "replaced", "unchanged"]
"""What became of a file: it is new, it took the place of one of the same name, or its text was there before."""

_SEARCHING_THREADS = 4
_MOST_OPEN = 64  # shelves whose files are open at once; each takes three descriptors
_TURN_SECONDS = 0.0005
_MOST_WAITING = 64  # documents that wait to be indexed, each in memory


@dataclass(slots=True)
class _Shelf:
    index: KnowledgeIndex
    users: int = 0


class Shelves:
    """Every owner's documents.

    Args:
        manual: what everybody is answered from.
        folder: where the shelves are kept, each in a file; `None`: in memory, until the process ends.
        clock: when a document was added.
        most: the most documents of one owner.
    """

    def __init__(self, manual: KnowledgeIndex, folder: Path | None, clock: Clock, *, most: int) -> None:
        self._manual = manual
        self._folder = folder
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        # The one used last is the last.
        self._open: dict[str, _Shelf] = {}
        # Whether an owner has a shelf, once that was looked for.
        self._known: dict[str, bool] = {}
        self._waiting = 0
        self._writer = ThreadPoolExecutor(1, "headrace-indexing")
        self._searchers = ThreadPoolExecutor(_SEARCHING_THREADS, "headrace-searching")

    async def add(self, owner: str, name: str, body: bytes) -> tuple[Document, Added]:
        """Indexes a file for its owner. Gives the document, and what became of it: the same text is kept once.

        Where it waits to be indexed, cancelling takes it back; once it is being indexed, it is.

        Raises:
            InvalidRequest: the name is none.
            UnusableDocument: the file is no text that could be quoted.
            TooManyDocuments: the owner has as many as it may have.
            Overloaded: too many are waiting.
            StoreError: it could not be kept.
        """
        name = checked_name(name)
        if self._waiting >= _MOST_WAITING:
            raise Overloaded("too many documents wait to be indexed; send it again in a moment", retry_after_seconds=2)
        self._waiting += 1
        try:
            return await _on(self._writer, partial(self._add, owner, name, body))
        finally:
            self._waiting -= 1

    async def page(self, owner: str, *, before: str | None = None, limit: int) -> list[Document]:
        """A page of the owner's documents, the latest first.

        Raises:
            UnknownDocument: the one named by `before` is not there (any more).
        """
        found: list[Document] | None = None if before is not None else []
        if self._has(owner):
            found = await _on(self._searchers, partial(self._list, owner, before, limit))
        if found is None:
            raise _unknown(before or "")
        return found

    async def show(self, owner: str, document_id: str) -> Document:
        """The owner's document of that id.

        Raises:
            UnknownDocument: there is none, or it is somebody else's: the two cannot be told apart.
        """
        found = None
        if self._has(owner):
            found = await _on(self._searchers, partial(self._show, owner, document_id))
        if found is None:
            raise _unknown(document_id)
        return found

    async def delete(self, owner: str, document_id: str) -> None:
        """Takes a document away.

        Raises:
            UnknownDocument: as `show`.
        """
        if not self._has(owner) or not await _on(self._writer, partial(self._delete, owner, document_id)):
            raise _unknown(document_id)

    async def search(self, question: str, limit: int, owner: str) -> Findings:
        """The passages of the manual and of the owner's documents that cover most of `question`, best first."""
        if not self._has(owner):
            return search((self._manual,), question, limit)
        return await _on(self._searchers, partial(self._search, owner, question, limit))

    async def close(self) -> None:
        """Finishes the document that is being indexed, and closes the files."""
        for executor in (self._writer, self._searchers):
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)
        for shelf in self._open.values():
            shelf.index.close()
        self._open.clear()

    def _has(self, owner: str) -> bool:
        known = self._known.get(owner)
        if known is None:
            known = self._known[owner] = self._folder is not None and self._file(self._folder, owner).is_file()
        return known

    # -- on threads

    def _add(self, owner: str, name: str, body: bytes) -> tuple[Document, Added]:
        with _short_turns(), self._shelf(owner) as index:
            text = text_of(name, body)
            if (there := index.document_of(text)) is not None:
                return there, "unchanged"
            there_was_one = name in index.names()
            if not there_was_one and index.count() >= self._most:
                raise TooManyDocuments(
                    f"you have {self._most} documents, and no more are taken (documents.max_per_owner); delete some"
                )
            passages = worded(name, text)
            if not passages:
                raise UnusableDocument(f"{name} holds nothing that could be quoted: there is no sentence in it")
            index.put(name, text, passages, self._clock.unix_ns())
            self._known[owner] = True
            added = index.document_of(text)
            assert added is not None
            return added, "replaced" if there_was_one else "indexed"

    def _list(self, owner: str, before: str | None, limit: int) -> list[Document] | None:
        with self._shelf(owner) as index:
            return index.documents(before=before, limit=limit)

    def _show(self, owner: str, document_id: str) -> Document | None:
        with self._shelf(owner) as index:
            return index.document(document_id)

    def _delete(self, owner: str, document_id: str) -> bool:
        with self._shelf(owner) as index:
            found = index.document(document_id)
            return found is not None and index.remove_document(found.name)

    def _search(self, owner: str, question: str, limit: int) -> Findings:
        with self._shelf(owner) as index:
            return search((index, self._manual), question, limit)

    @contextmanager
    def _shelf(self, owner: str) -> Iterator[KnowledgeIndex]:
        """The owner's index, opened where it is not."""
        with self._lock:
            shelf = self._open.pop(owner, None) or _Shelf(self._opened(owner))
            shelf.users += 1
            self._open[owner] = shelf
            if self._folder is not None and len(self._open) > _MOST_OPEN:
                self._close_oldest()
        try:
            yield shelf.index
        finally:
            with self._lock:
                shelf.users -= 1

    def _close_oldest(self) -> None:
        oldest = next((each for each, shelf in self._open.items() if not shelf.users), None)
        if oldest is not None:
            self._open.pop(oldest).index.close()

    def _opened(self, owner: str) -> KnowledgeIndex:
        if self._folder is None:
            return KnowledgeIndex.open()
        try:
            # Whoever else uses this machine has no business in there.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the documents cannot be kept in {self._folder}: {error.strerror}") from error
        return KnowledgeIndex.open(self._file(self._folder, owner))

    def _file(self, folder: Path, owner: str) -> Path:
        # An owner may be called anything; a file may not.
        return folder / f"{sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.db"


@contextmanager
def _short_turns() -> Iterator[None]:
    """Has Python's threads take turns of half a millisecond instead of five: or streams would stutter meanwhile.

    For the one thread that indexes; at any other time nothing computes beside the event loop.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


async def _on(executor: ThreadPoolExecutor, job: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(executor, job)


def _unknown(document_id: str) -> UnknownDocument:
    return UnknownDocument(f"no document {document_id[:100]!r}: it may have been deleted, or mistyped")
