"""What is known of conversations beside their streams: their titles, and an index of the words said in them.

Kept by a thread of its own in a file of its own (or in memory), so that no stream waits for it: the stores tell of a
stream that begins, ends or is forgotten, and that costs the event loop a line in a list. The lines are written a
hundred at a time, a few times a second, so that indexing takes a small share of a busy server; who asks is answered
with all of them written. All but the titles that people gave can be made again from the streams; what is missing after
a crash is, when the file is opened next.

Of a stream that is part of no conversation nothing is kept, and until there is one neither thread nor file is opened.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from headrace.errors import StoreError
from headrace.events import TextDelta
from headrace.interfaces import LIST_LIMIT, Stream
from headrace.requests import GenerationRequest
from headrace.streams import records
from headrace.streams.conversation_file import ConversationFile, Found, Words
from headrace.streams.database import Database
from headrace.streams.writer import Writer

logger = logging.getLogger("headrace.streams")

TITLE_CHARACTERS = 60
"""About how long a title is that is taken from the first question."""
# More of one answer is not searched: nobody looks for what stands behind a million characters.
MOST_CHARACTERS = 1_000_000
# How many changes are written at once, and how many streams of an older file are read at once: some milliseconds' work.
CHANGES_AT_ONCE = 100
CAUGHT_UP_AT_ONCE = 10
PAUSE_SECONDS = 0.2
"""Between two such writes, as long as no more than `MOST_WAITING` changes wait."""
MOST_WAITING = 20_000
# The event loop puts the words of this many events together in about half a millisecond.
MANY_EVENTS = 5_000

Result = TypeVar("Result")
Key: TypeAlias = tuple[str, str]
"""Owner and id of a stream."""


class Conversations:
    """Titles and words of conversations. Every method belongs to the event loop; close it.

    Args:
        path: the file; `None`: in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._writer: Writer | None = None
        self._file: ConversationFile | None = None
        self._changes: deque[Callable[[ConversationFile], None]] = deque()
        self._scheduled = False
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False

    def begin(self, owner: str, stream_id: str, request: GenerationRequest, created_ns: int) -> None:
        """A stream was created."""
        if (conversation_id := request.conversation_id) is not None:
            title = title_of(question_of(request))
            self._change(lambda file: file.begin(owner, stream_id, conversation_id, created_ns, title))

    def finish(self, stream: Stream) -> None:
        """A stream has ended: its words can be found from now on."""
        if stream.request.conversation_id is None:
            return
        if stream.length > MANY_EVENTS:
            # They are put together by the thread, and the stream stays in memory until then.
            self._change(lambda file: file.write_words(stream.owner, stream.id, words_of(stream)))
            return
        owner, stream_id, words = stream.owner, stream.id, words_of(stream)
        self._change(lambda file: file.write_words(owner, stream_id, words))

    def forget(self, streams: Sequence[Key]) -> None:
        """Streams were deleted, or are older than the retention. A conversation goes with the last of its streams."""
        if self._path is not None or self._writer is not None or self._changes:
            self._change(lambda file: file.forget(streams))

    def catch_up(self, store: Path, deleted: Collection[int], present: Collection[Key]) -> None:
        """Takes in what the file of streams holds and this one does not, and forgets what it does not hold any more.

        Args:
            store: the file of streams.
            deleted: the numbers of those in it that are deleted.
            present: those that are in memory.
        """
        path = self._path
        if path is not None:
            self._change(lambda file: self._compare(file, store, deleted, present))

    async def list(
        self, owner: str, *, words: str | None = None, before: str | None = None, limit: int = LIST_LIMIT
    ) -> Sequence[Found]:
        """A page of the owner's conversations, the one with the latest question first.

        Args:
            owner: whose they are.
            words: only those in which a question with its answer, or the title, holds all these words or beginnings
                of words; every stream that has ended is looked through. `None`: all.
            before: the id of a conversation, as the last of the page before: only those behind it.
            limit: the most of one page.

        Raises:
            UnknownConversation: there is none of the id `before`, or it belongs to somebody else.
            StoreError: the file cannot be read.
        """
        looked_for = None if words is None else Words.read(words)
        return await self._ask(lambda file: file.list(owner, looked_for, before, limit))

    async def find(self, owner: str, conversation_id: str) -> Found:
        """The owner's conversation of that id.

        Raises:
            UnknownConversation: there is none, or it belongs to somebody else: the two cannot be told apart.
            StoreError: the file cannot be read.
        """
        return await self._ask(lambda file: file.find(owner, conversation_id))

    async def rename(self, owner: str, conversation_id: str, title: str) -> Found:
        """Gives a conversation a title; errors as above."""
        return await self._ask(lambda file: file.rename(owner, conversation_id, title))

    async def close(self) -> None:
        """Writes what is left, and closes the file."""
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        if self._writer is None and (self._path is None or not self._changes):
            return  # nothing was opened, and nothing has to be
        writer = self._thread()
        writer.put(self._last, lambda _: None)
        await writer.close()

    # --- on the event loop

    def _change(self, change: Callable[[ConversationFile], None]) -> None:
        self._changes.append(change)
        if not self._scheduled and not self._closed:
            self._schedule()

    def _schedule(self) -> None:
        """Has the next changes written: soon, or at once where too many wait."""
        self._scheduled = True
        if len(self._changes) > MOST_WAITING:
            self._write()
        else:
            self._pause = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._write)

    def _write(self) -> None:
        self._thread().put(self._write_some, self._written)

    def _thread(self) -> Writer:
        if self._writer is None:
            self._writer = Writer("headrace conversations")
        return self._writer

    def _written(self, more: bool | Exception) -> None:
        if isinstance(more, Exception):
            # What is missing in the file is taken in when it is opened next.
            logger.error("the list of conversations could not be written (%s)", more)
        elif more and not self._closed and not self._scheduled:
            self._schedule()

    async def _ask(self, question: Callable[[ConversationFile], Result]) -> Result:
        answered: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def job() -> Result:
            self._write_told()  # it is in the answer
            return question(self._opened())

        def done(result: Result | Exception) -> None:
            if answered.done():
                return  # nobody waits any more
            if isinstance(result, sqlite3.Error | OSError):
                error = StoreError(f"the list of conversations cannot be read ({result})")
                error.__cause__ = result
                answered.set_exception(error)
            elif isinstance(result, Exception):
                answered.set_exception(result)
            else:
                answered.set_result(result)

        self._thread().put(job, done)
        return await answered

    # --- on the thread

    def _opened(self) -> ConversationFile:
        if self._file is None:
            self._file = ConversationFile.open(self._path)
        return self._file

    def _write_some(self) -> bool:
        """Writes some of what is waiting. Gives whether there is more."""
        self._scheduled = False  # first: what is told from now on is either written here or has a job of its own
        if not self._changes:
            return False
        file = self._opened()
        with file.writing():
            for _ in range(min(CHANGES_AT_ONCE, len(self._changes))):
                self._changes.popleft()(file)
        return bool(self._changes)

    def _write_told(self) -> None:
        """Writes all that was told before; what catching up has still to do may wait."""
        for _ in range(0, len(self._changes), CHANGES_AT_ONCE):
            self._write_some()

    def _last(self) -> None:
        try:
            self._write_told()
        except Exception as error:
            logger.error("the list of conversations could not be written (%s)", error)
        finally:
            if self._file is not None:
                self._file.close()

    # --- streams of a file that is older than this one, or was written while this one could not be

    def _compare(self, file: ConversationFile, store: Path, deleted: Collection[int], present: Collection[Key]) -> None:
        streams = Database.open_for_reading(store)
        try:
            kept = {(owner, stream_id): number for number, owner, stream_id in streams.in_conversations()}
            kept = {key: number for key, number in kept.items() if number not in deleted}
            known = file.streams()
            # In the order they began, so that the first gives its conversation the title; their words come later.
            for key, number in kept.items():
                row = None if key in known or key in present else streams.numbered(number)
                if row is not None and row.conversation_id is not None:
                    title = title_of(question_of(records.decode_request(row.request)))
                    file.begin(row.owner, row.id, row.conversation_id, row.created_ns, title)
        finally:
            streams.close()
        file.forget([key for key in known if key not in kept and key not in present])
        missing = [number for key, number in kept.items() if key not in present and not known.get(key)]
        if missing:
            self._changes.append(lambda file: self._take_in(file, store, missing))

    def _take_in(self, file: ConversationFile, store: Path, numbers: Sequence[int]) -> None:
        """Takes in the words of the first of these streams; the rest comes when others had their turn."""
        streams = Database.open_for_reading(store)
        try:
            for number in numbers[:CAUGHT_UP_AT_ONCE]:
                row = streams.numbered(number)
                if row is None:
                    continue  # deleted meanwhile
                said: list[object] = []
                while len(said) < row.length and (chunk := streams.chunk(number, len(said))) is not None:
                    said.extend(records.decode_chunk(chunk[1]).events)
                file.write_words(row.owner, row.id, _words(records.decode_request(row.request), said))
        finally:
            streams.close()
        if len(numbers) > CAUGHT_UP_AT_ONCE:
            rest = numbers[CAUGHT_UP_AT_ONCE:]
            self._changes.append(lambda file: self._take_in(file, store, rest))


def title_of(question: str) -> str:
    """A title made of a question: its beginning, cut where a word ends."""
    words = " ".join(question[: 4 * TITLE_CHARACTERS].split())
    if len(words) <= TITLE_CHARACTERS:
        return words
    cut = words.rfind(" ", TITLE_CHARACTERS // 2, TITLE_CHARACTERS + 1)
    return words[: cut if cut > 0 else TITLE_CHARACTERS].rstrip(" ,;:.-–—") + "…"


def question_of(request: GenerationRequest) -> str:
    """What was asked last; empty where that was not the user."""
    messages = request.messages
    try:
        return messages[-1].text() if messages and messages[-1].role == "user" else ""
    except msgspec.DecodeError:
        return ""  # parts of a kind that was read once and is not known any more


def words_of(stream: Stream) -> str:
    """Question and answer of a stream that has ended."""
    return _words(stream.request, stream.said())


def _words(request: GenerationRequest, said: Sequence[object]) -> str:
    answer = "".join([event.text for event in said if type(event) is TextDelta and event.choice == 0])
    return f"{question_of(request)}\n{answer}"[:MOST_CHARACTERS]
