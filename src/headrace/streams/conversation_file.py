"""The SQLite file of conversations: its tables, and every statement that is run on them.

Words are found by FTS5. A letter of a script that is written without spaces, and a sign such as an emoji, is a word of
its own there, so that any piece of such a text is found; of other words their beginnings are.

Imports sqlite3 and nothing else of the world. Blocks: one thread uses it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from headrace.errors import SettingsError, UnknownConversation

logger = logging.getLogger("headrace.streams")

STEPS = (
    """
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    title TEXT NOT NULL,
    latest_ns INTEGER NOT NULL,
    UNIQUE (owner, id)
);
CREATE INDEX conversations_by_latest ON conversations (owner, latest_ns, number);
CREATE TABLE streams (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    searched INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, id)
);
CREATE INDEX streams_by_conversation ON streams (conversation, number);
CREATE VIRTUAL TABLE words USING fts5 (
    said, tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* Co So'", prefix = '2 3'
);
""",
)
"""What makes a file of version 0 one of version 1, that one of version 2, and so on."""

SNIPPET_WORDS = 24
LONGEST_SEARCH_CHARACTERS = 200

# Not part of any word, and not seen where it is shown all the same.
_SEAM = "\u200b"
# Scripts written without spaces between words, and symbols above the basic plane such as emoji.
_DENSE = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3040-\u9fff\uf900-\ufaff\U0001f000-\U0003ffff])"
)
_OPEN, _CLOSE = "\u0001", "\u0002"


class Found(NamedTuple):
    """What is known of a conversation."""

    id: str
    title: str
    created_ns: int
    """When its first stream began, nanoseconds since 1970 UTC."""
    updated_ns: int
    """When its latest did."""
    streams: int
    stream_id: str | None = None
    """Where the words that were looked for were found; `None`: in the title."""
    snippet: Sequence[str] = ()
    """The words round it; every second of these texts is one that was looked for."""


class Words(NamedTuple):
    """What is looked for, as FTS5 reads it; empty where it holds no word at all."""

    match: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Whatever a person typed: no part of it is taken for anything but words."""
        pieces = [piece for piece in text[:LONGEST_SEARCH_CHARACTERS].split() if any(map(_is_of_a_word, piece))]
        return cls(" ".join('"' + _seamed(piece).replace('"', " ").replace("\0", " ") + '" *' for piece in pieces))


def _is_of_a_word(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] in "LN" or kind in ("So", "Co")


def _seamed(text: str) -> str:
    """The text with a seam round each letter that is a word of its own; halves of characters replaced."""
    if text.isascii():
        return text
    return _DENSE.sub(rf"{_SEAM}\1{_SEAM}", text.encode("utf-8", "replace").decode())


class ConversationFile:
    """One connection to the file. Every method may raise `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """The file at `path`, made if it is not there; `None`: in memory. One that is damaged is set aside.

        Raises:
            SettingsError: it is of a newer version.
        """
        if path is None:
            return cls(_connected(":memory:"))
        try:
            # Not for other users of the machine: it holds what people asked and were answered.
            path.touch(mode=0o600)
            return cls(_connected(str(path)))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = path.with_name(path.name + ".damaged")
            logger.error("%s is damaged (%s): it is %s now, and is made anew without its titles", path, error, aside)
            path.replace(aside)
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            path.touch(mode=0o600)
            return cls(_connected(str(path)))

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All that is written inside is written, or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    # --- changes

    def begin(self, owner: str, stream_id: str, conversation_id: str, created_ns: int, title: str) -> None:
        """A stream of a conversation, which begins with the first. One that is there already stays as it is."""
        execute = self._connection.execute
        if execute("SELECT 1 FROM streams WHERE owner = ? AND id = ?", (owner, stream_id)).fetchone() is not None:
            return
        known = execute(
            "SELECT number FROM conversations WHERE owner = ? AND id = ?", (owner, conversation_id)
        ).fetchone()
        if known is None:
            title = title.encode("utf-8", "replace").decode()
            made = execute(
                "INSERT INTO conversations (owner, id, title, latest_ns) VALUES (?, ?, ?, ?)",
                (owner, conversation_id, title, created_ns),
            )
            known = (made.lastrowid,)
            self._write_title(made.lastrowid or 0, title)
        execute(
            "INSERT INTO streams (conversation, owner, id, created_ns) VALUES (?, ?, ?, ?)",
            (known[0], owner, stream_id, created_ns),
        )
        execute("UPDATE conversations SET latest_ns = max(latest_ns, ?) WHERE number = ?", (created_ns, known[0]))

    def write_words(self, owner: str, stream_id: str, words: str) -> None:
        """What was asked and said in a stream; of one that is not there, or was written before, nothing is."""
        found = self._connection.execute(
            "SELECT number FROM streams WHERE owner = ? AND id = ? AND NOT searched", (owner, stream_id)
        ).fetchone()
        if found is not None:
            self._connection.execute("UPDATE streams SET searched = 1 WHERE number = ?", found)
            self._connection.execute("INSERT INTO words (rowid, said) VALUES (?, ?)", (2 * found[0], _seamed(words)))

    def forget(self, streams: Sequence[tuple[str, str]]) -> None:
        """Forgets streams, and every conversation that has none any more."""
        execute = self._connection.execute
        for key in streams:
            found = execute("SELECT number, conversation FROM streams WHERE owner = ? AND id = ?", key).fetchone()
            if found is None:
                continue
            number, conversation = found
            execute("DELETE FROM words WHERE rowid = ?", (2 * number,))
            execute("DELETE FROM streams WHERE number = ?", (number,))
            (latest_ns,) = execute(
                "SELECT max(created_ns) FROM streams WHERE conversation = ?", (conversation,)
            ).fetchone()
            if latest_ns is not None:
                execute("UPDATE conversations SET latest_ns = ? WHERE number = ?", (latest_ns, conversation))
            else:
                execute("DELETE FROM words WHERE rowid = ?", (2 * conversation + 1,))
                execute("DELETE FROM conversations WHERE number = ?", (conversation,))

    def rename(self, owner: str, conversation_id: str, title: str) -> Found:
        """Gives a conversation another title."""
        number = self._number(owner, conversation_id)
        with self.writing():
            self._connection.execute("UPDATE conversations SET title = ? WHERE number = ?", (title, number))
            self._connection.execute("DELETE FROM words WHERE rowid = ?", (2 * number + 1,))
            self._write_title(number, title)
        return self._found(number)

    def _write_title(self, number: int, title: str) -> None:
        self._connection.execute("INSERT INTO words (rowid, said) VALUES (?, ?)", (2 * number + 1, _seamed(title)))

    # --- questions

    def streams(self) -> dict[tuple[str, str], bool]:
        """All streams, by owner and id, with whether their words are there."""
        rows = self._connection.execute("SELECT owner, id, searched FROM streams")
        return {(owner, stream_id): bool(searched) for owner, stream_id, searched in rows}

    def list(self, owner: str, words: Words | None, before: str | None, limit: int) -> list[Found]:
        """A page of conversations, the one with the latest stream first."""
        last_ns = last = 1 << 62
        if before is not None:
            last_ns, last = self._connection.execute(
                "SELECT latest_ns, number FROM conversations WHERE number = ?", (self._number(owner, before),)
            ).fetchone()
        if words is None:
            rows = self._connection.execute(
                "SELECT number FROM conversations WHERE owner = ? AND (latest_ns, number) < (?, ?)"
                " ORDER BY latest_ns DESC, number DESC LIMIT ?",
                (owner, last_ns, last, limit),
            ).fetchall()
            return [self._found(number) for (number,) in rows]
        if not words.match:
            return []
        rows = self._connection.execute(
            "SELECT conversations.number, max(hits.place) FROM ("
            "  SELECT streams.conversation AS conversation, words.rowid AS place FROM words"
            "    JOIN streams ON streams.number = words.rowid / 2"
            "    WHERE words MATCH :match AND words.rowid % 2 = 0 AND streams.owner = :owner"
            "  UNION ALL SELECT words.rowid / 2, 1 FROM words WHERE words MATCH :match AND words.rowid % 2 = 1"
            ") AS hits JOIN conversations ON conversations.number = hits.conversation"
            " WHERE conversations.owner = :owner"
            " AND (conversations.latest_ns, conversations.number) < (:last_ns, :last)"
            " GROUP BY conversations.number"
            " ORDER BY conversations.latest_ns DESC, conversations.number DESC LIMIT :limit",
            {"match": words.match, "owner": owner, "last_ns": last_ns, "last": last, "limit": limit},
        ).fetchall()
        return [self._with_snippet(number, words, place) for number, place in rows]

    def find(self, owner: str, conversation_id: str) -> Found:
        """One conversation.

        Raises:
            UnknownConversation: the owner has none of that id.
        """
        return self._found(self._number(owner, conversation_id))

    def _number(self, owner: str, conversation_id: str) -> int:
        found = self._connection.execute(
            "SELECT number FROM conversations WHERE owner = ? AND id = ?", (owner, conversation_id)
        ).fetchone()
        if found is None:
            raise UnknownConversation(
                f"no conversation {conversation_id[:128]!r}: its streams may be older than the retention"
            )
        return int(found[0])

    def _found(self, number: int) -> Found:
        row = self._connection.execute(
            "SELECT conversations.id, title, min(created_ns), max(created_ns), count(*)"
            " FROM conversations JOIN streams ON streams.conversation = conversations.number"
            " WHERE conversations.number = ?",
            (number,),
        ).fetchone()
        return Found(*row)

    def _with_snippet(self, number: int, words: Words, place: int) -> Found:
        """`place`: the row of a stream, which is even; 1: it was found in the title alone."""
        row = 2 * number + 1 if place == 1 else place
        (marked,) = self._connection.execute(
            "SELECT snippet(words, 0, ?, ?, '…', ?) FROM words WHERE words MATCH ? AND rowid = ?",
            (_OPEN, _CLOSE, SNIPPET_WORDS, words.match, row),
        ).fetchone()
        found = self._found(number)
        stream_id = None
        if place != 1:
            (stream_id,) = self._connection.execute("SELECT id FROM streams WHERE number = ?", (row // 2,)).fetchone()
        return found._replace(stream_id=stream_id, snippet=_pieces(marked))


def _pieces(marked: str) -> list[str]:
    """The text between the marks and inside them, by turns, beginning with what stands before the first."""
    text = " ".join(marked.replace(_SEAM, "").split(" "))
    # Marks of one phrase that met at a seam are one.
    text = text.replace(_CLOSE + _OPEN, "")
    return [piece.replace(_OPEN, "") for piece in re.split(f"[{_OPEN}{_CLOSE}]", text)]


def _connected(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(STEPS):
            raise SettingsError(
                f"{path} was written by a newer headrace (version {version}, this one knows {len(STEPS)}). "
                "Install that one again, or move the file away: its titles are lost then"
            )
        for number, step in enumerate(STEPS[version:], version + 1):
            connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection
