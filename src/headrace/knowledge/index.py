"""A full-text index of documents in SQLite's FTS5: one file, or memory.

May import floors 0 to 2 and sqlite3. What a word is, is decided in `words.py` alone: the index is given words that
are already folded, through a tokenizer that leaves them as they are, so that Chinese pairs and Arabic words without
their article are words like any other, and so that nothing a question holds can be read as a query.
How documents are cut is in `documents.py`, how passages are ranked in `ranking.py`, which documents there are from
the start in `manual.py`.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from typing import Final

from headrace.errors import StoreError
from headrace.knowledge.documents import Passage, Unit, cut, storable
from headrace.knowledge.ranking import Candidate, Findings, ranked, weighed
from headrace.knowledge.words import Term, index_words, question_language, question_terms

# Counted up whenever documents are cut or folded differently: an older index is made again from the texts it keeps.
_EDITION: Final = 1

_CANDIDATES = 24  # passages that BM25 ranks first; what they cover is then looked at unit by unit
_HEADING_WEIGHT = 2.0  # in BM25, against 1 for the text below
_RELATED = 8  # words at most that stand in for one that no passage holds
_LONGER_ENDING = 3  # letters by which such a word may be longer
_BUSY_MS = 5_000  # how long a write waits for another process that is writing to the same file

_TABLES = {
    "documents": """CREATE TABLE documents (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash BLOB NOT NULL, text TEXT NOT NULL)""",
    "passages": """CREATE TABLE passages (
        id INTEGER PRIMARY KEY, document INTEGER NOT NULL, position INTEGER NOT NULL,
        title TEXT NOT NULL, title_words TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (document, position))""",
    "units": """CREATE TABLE units (
        passage INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
        words TEXT NOT NULL, PRIMARY KEY (passage, position)) WITHOUT ROWID""",
    # The tokenizer `ascii` splits at ASCII punctuation and space only: our words come out as they went in.
    "passage_words": "CREATE VIRTUAL TABLE passage_words USING fts5 (title, body, tokenize = 'ascii')",
}


class KnowledgeIndex:
    """Documents that can be searched, from several threads: a search waits for one document's write at most.

    Every method raises `StoreError` where SQLite cannot do it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | PathLike[str] = ":memory:") -> KnowledgeIndex:
        """The index in the file at `path`, made if it is not there; `:memory:` for one that goes with the process.

        Raises:
            StoreError: the file cannot be opened or is no index, or this Python's SQLite has no FTS5.
        """
        with _sqlite_errors(f"opening the document index {fspath(path)}"):
            # Transactions are ours: the module would begin them by itself, and not where we want them.
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                index = cls(connection)
                index._prepare()
            except BaseException:
                connection.close()
                raise
            return index

    def close(self) -> None:
        """Closes the file. Twice is the same as once."""
        with self._lock:
            self._connection.close()

    def names(self) -> list[str]:
        """The names of all documents, sorted."""
        with self._reading("listing the documents") as connection:
            return [str(name) for (name,) in connection.execute("SELECT name FROM documents ORDER BY name")]

    def add_document(self, name: str, text: str) -> bool:
        """Adds a document, or replaces the one of that name; `False` where it is there already, letter for letter.

        Its name tells what it is: `.md` and `.markdown` are read as Markdown, everything else as plain text.
        """
        name, text = storable(name), storable(text)
        text_hash = _hash(text)
        with self._reading("looking up a document") as connection:
            row = connection.execute("SELECT hash FROM documents WHERE name = ?", (name,)).fetchone()
        if row == (text_hash,):
            return False
        passages = _worded(name, text)  # the dear part, while others may search
        with self._writing(f"indexing {name}") as connection:
            _remove(connection, name)
            _insert(connection, name, text, passages)
        return True

    def remove_document(self, name: str) -> bool:
        """Takes a document away; `False` where there is none of that name."""
        with self._writing(f"removing {name}") as connection:
            return _remove(connection, storable(name))

    def search(self, question: str, limit: int = 5) -> Findings:
        """The passages that cover most of `question`, best first, at most `limit`.

        Looks closely at `_CANDIDATES` passages, whatever the question; nothing in the question is read as a query.
        """
        with self._reading("searching the documents") as connection:
            (passages,) = connection.execute("SELECT count(*) FROM passages").fetchone()
            terms, holding = _known(connection, question_terms(question))
            candidates = _candidates(connection, list(holding))
        found = ranked(candidates, weighed(terms, holding, passages)) if candidates else []
        return Findings(
            looked_for=tuple(dict.fromkeys(term.surface for term in terms)),
            language=question_language(question),
            passages=tuple(found[:limit]),
        )

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # in WAL a power cut takes back the last documents at most
        with self._writing("preparing the document index"):
            (edition,) = connection.execute("PRAGMA user_version").fetchone()
            if edition != _EDITION:
                texts = connection.execute("SELECT name, text FROM documents").fetchall() if edition else []
                for table, statement in _TABLES.items():
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
                    connection.execute(statement)
                for name, text in texts:
                    _insert(connection, name, text, _worded(name, text))
                connection.execute(f"PRAGMA user_version = {_EDITION}")
        # What words there are and how many passages hold each: a view that FTS5 makes of its own index.
        connection.execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab (main, passage_words, row)")

    @contextmanager
    def _reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._lock, _sqlite_errors(doing):
            yield self._connection

    @contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._lock, _sqlite_errors(doing):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _sqlite_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        hint = "this Python's SQLite was built without FTS5" if "fts5" in str(error) else str(error)
        raise StoreError(f"{doing}: {hint}") from error


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _worded(name: str, text: str) -> list[tuple[str, str, Passage, list[str]]]:
    """Each passage of a document with its title, the title's words, and the words of each of its units."""
    worded = []
    for passage in cut(name, text):
        title = " › ".join([name, *passage.heading])
        worded.append((title, _joined(title), passage, [_unit_words(unit) for unit in passage.units]))
    return worded


def _unit_words(unit: Unit) -> str:
    """The words of a unit; a table's row by row, each with the words of its head, since an answer stands in one row."""
    if unit.kind != "table":
        return _joined(unit.text)
    head, _, *rows = map(_joined, unit.text.split("\n"))
    return "\n".join(f"{head} {row}" for row in rows) if rows else head


def _joined(text: str) -> str:
    return " ".join(index_words(text))


def _insert(
    connection: sqlite3.Connection, name: str, text: str, passages: Sequence[tuple[str, str, Passage, list[str]]]
) -> None:
    document = connection.execute(
        "INSERT INTO documents (name, hash, text) VALUES (?, ?, ?)", (name, _hash(text), text)
    ).lastrowid
    for position, (title, title_words, passage, unit_words) in enumerate(passages):
        row = connection.execute(
            "INSERT INTO passages (document, position, title, title_words, text) VALUES (?, ?, ?, ?, ?)",
            (document, position, title, title_words, passage.text),
        ).lastrowid
        connection.execute(
            "INSERT INTO passage_words (rowid, title, body) VALUES (?, ?, ?)", (row, title_words, " ".join(unit_words))
        )
        connection.executemany(
            "INSERT INTO units (passage, position, kind, text, words) VALUES (?, ?, ?, ?, ?)",
            [
                (row, place, unit.kind, unit.text, words)
                for place, (unit, words) in enumerate(zip(passage.units, unit_words, strict=True))
            ],
        )


def _remove(connection: sqlite3.Connection, name: str) -> bool:
    row = connection.execute("SELECT id FROM documents WHERE name = ?", (name,)).fetchone()
    if row is None:
        return False
    passages = "(SELECT id FROM passages WHERE document = ?)"
    connection.execute(f"DELETE FROM passage_words WHERE rowid IN {passages}", row)
    connection.execute(f"DELETE FROM units WHERE passage IN {passages}", row)
    connection.execute("DELETE FROM passages WHERE document = ?", row)
    connection.execute("DELETE FROM documents WHERE id = ?", row)
    return True


def _known(connection: sqlite3.Connection, terms: Sequence[Term]) -> tuple[list[Term], dict[str, int]]:
    """The terms, and how many passages hold each of their forms; forms that none holds are left out.

    A term that nothing holds is given the words that begin as it does: another ending of the same word, in languages
    whose endings we do not know ("glutenfreies" finds "glutenfrei").
    """
    forms = [form for term in terms for form in term.forms]
    places = ", ".join("?" * len(forms))
    holding: dict[str, int] = dict(
        connection.execute(f"SELECT term, doc FROM temp.vocabulary WHERE term IN ({places})", forms).fetchall()
    )
    known: list[Term] = []
    for term in terms:
        begins = term.beginning
        if begins is not None and holding.keys().isdisjoint(term.forms):
            related = connection.execute(
                "SELECT term, doc FROM temp.vocabulary WHERE term >= ? AND term < ? AND length(term) <= ? LIMIT ?",
                (begins, begins + "\U0010ffff", len(term.forms[0]) + _LONGER_ENDING, _RELATED),
            ).fetchall()
            holding.update(related)
            term = replace(term, forms=(*term.forms, *(word for word, _ in related)))
        known.append(term)
    return known, holding


def _candidates(connection: sqlite3.Connection, forms: Sequence[str]) -> list[Candidate]:
    if not forms:
        return []
    # A word is quoted and holds no quotation mark (`words.py`), so it is a string to FTS5 and nothing else.
    query = " OR ".join(f'"{form}"' for form in forms)
    rows = connection.execute(
        """SELECT passages.id, documents.name || '#' || (passages.position + 1), passages.title, passages.text,
                  passages.title_words, passages.position, bm25(passage_words, ?) AS rank
           FROM passage_words JOIN passages ON passages.id = passage_words.rowid
                JOIN documents ON documents.id = passages.document
           WHERE passage_words MATCH ? ORDER BY rank LIMIT ?""",
        (_HEADING_WEIGHT, query, _CANDIDATES),
    ).fetchall()
    best = min((rank for *_, rank in rows), default=0.0)
    return [
        Candidate(
            id=identifier,
            title=title,
            text=text,
            title_words=title_words,
            position=position,
            units=connection.execute(
                "SELECT kind, text, words FROM units WHERE passage = ? ORDER BY position", (row,)
            ).fetchall(),
            # FTS5's rank is negative, the better the lower, and all but 0 where every passage holds every word.
            bm25=rank / best if best < 0 else 0.0,
        )
        for row, identifier, title, text, title_words, position, rank in rows
    ]
