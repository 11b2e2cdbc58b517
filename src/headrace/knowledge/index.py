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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from typing import Final, NamedTuple, TypeAlias

from headrace.errors import StoreError
from headrace.knowledge.documents import Unit, cut, storable
from headrace.knowledge.ranking import Candidate, Findings, ranked, weighed
from headrace.knowledge.words import Term, index_words, question_language, question_terms

# Counted up whenever documents are cut or folded differently: an older index is made again from the texts it keeps.
_EDITION: Final = 2

_CANDIDATES = 24  # passages that BM25 ranks first; what they cover is then looked at unit by unit
_HEADING_WEIGHT = 2.0  # in BM25, against 1 for the text below
_RELATED = 8  # words at most that stand in for one that no passage holds
_LONGER_ENDING = 3  # letters by which such a word may be longer
_ID_BYTES = 16  # of a document's hash
_BUSY_MS = 5_000  # how long a write waits for another process that is writing to the same file

_TABLES = {
    "documents": """CREATE TABLE documents (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash BLOB NOT NULL, size_bytes INTEGER NOT NULL,
        added_ns INTEGER NOT NULL, text TEXT NOT NULL)""",  # last: whoever asks for the others reads past none of it
    "passages": """CREATE TABLE passages (
        id INTEGER PRIMARY KEY, document INTEGER NOT NULL, position INTEGER NOT NULL,
        title TEXT NOT NULL, title_words TEXT NOT NULL, text TEXT NOT NULL, start INTEGER NOT NULL,
        UNIQUE (document, position))""",
    "units": """CREATE TABLE units (
        passage INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
        words TEXT NOT NULL, PRIMARY KEY (passage, position)) WITHOUT ROWID""",
    # The tokenizer `ascii` splits at ASCII punctuation and space only: our words come out as they went in.
    "passage_words": "CREATE VIRTUAL TABLE passage_words USING fts5 (title, body, tokenize = 'ascii')",
}


Worded: TypeAlias = tuple[str, str, int, int, tuple[tuple[str, str, str], ...]]
"""Title and its words, start and end of a passage; kind, text and words of each of its units.

Bare tuples: a large document has tens of thousands, which the garbage collector would look through again and again.
"""


class Document(NamedTuple):
    """What is known of a document that was added."""

    id: str
    """The beginning of the SHA-256 of its text: the same text has the same id, whatever it is called."""
    name: str
    size_bytes: int
    """Of its text in UTF-8."""
    passages: int
    added_ns: int
    """When, in nanoseconds since 1970 UTC."""


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

    def documents(self, *, before: str | None = None, limit: int = 100) -> list[Document] | None:
        """A page of the documents, the latest first.

        Args:
            before: the id of a document, as the last of the page before: only those added before it; `None` is given
                where that one is not there (any more).
            limit: the most of one page.
        """
        with self._reading("listing the documents") as connection:
            chosen, values = "", [limit]
            if before is not None:
                row = _row_of(connection, before)
                if row is None:
                    return None
                chosen, values = "WHERE id < ?", [row, limit]
            rows = connection.execute(f"{_DOCUMENTS} {chosen} ORDER BY id DESC LIMIT ?", values)
            return [_document(*found) for found in rows]

    def document(self, document_id: str) -> Document | None:
        """The document of that id; `None` where there is none."""
        with self._reading("looking up a document") as connection:
            row = _row_of(connection, document_id)
            return (
                None if row is None else _document(*connection.execute(f"{_DOCUMENTS} WHERE id = ?", (row,)).fetchone())
            )

    def document_of(self, text: str) -> Document | None:
        """The document that holds this text, letter for letter; `None` where there is none."""
        return self.document(_id_of(_hash(storable(text))))

    def count(self) -> int:
        """How many documents there are."""
        with self._reading("counting the documents") as connection:
            (count,) = connection.execute("SELECT count(*) FROM documents").fetchone()
            return int(count)

    def add_document(self, name: str, text: str, added_ns: int = 0) -> bool:
        """Adds a document, or replaces the one of that name; `False` where it is there already, letter for letter.

        Its name tells what it is: `.md` and `.markdown` are read as Markdown, everything else as plain text.
        """
        name, text = storable(name), storable(text)
        text_hash = _hash(text)
        with self._reading("looking up a document") as connection:
            row = connection.execute("SELECT hash FROM documents WHERE name = ?", (name,)).fetchone()
        if row == (text_hash,):
            return False
        self.put(name, text, worded(name, text), added_ns)
        return True

    def put(self, name: str, text: str, passages: Sequence[Worded], added_ns: int) -> None:
        """The same with its passages, which `worded` found while others could search."""
        name, text = storable(name), storable(text)
        with self._writing(f"indexing {name}") as connection:
            _remove(connection, name)
            _insert(connection, name, text, passages, added_ns)

    def remove_document(self, name: str) -> bool:
        """Takes a document away; `False` where there is none of that name."""
        with self._writing(f"removing {name}") as connection:
            return _remove(connection, storable(name))

    def search(self, question: str, limit: int = 5) -> Findings:
        """The passages that cover most of `question`, best first, at most `limit`.

        Looks closely at `_CANDIDATES` passages, whatever the question; nothing in the question is read as a query.
        """
        return search((self,), question, limit)

    def passage_count(self) -> int:
        """How many passages there are."""
        with self._reading("searching the documents") as connection:
            (count,) = connection.execute("SELECT count(*) FROM passages").fetchone()
            return int(count)

    def holding(self, words: Sequence[str]) -> dict[str, int]:
        """How many passages hold each of these words; those that none holds are left out."""
        with self._reading("searching the documents") as connection:
            places = ", ".join("?" * len(words))
            query = f"SELECT term, doc FROM temp.vocabulary WHERE term IN ({places})"
            return dict(connection.execute(query, words).fetchall())

    def holding_related(self, begins: str, longest: int) -> dict[str, int]:
        """The same for a few words that begin so, and are no longer than that."""
        with self._reading("searching the documents") as connection:
            query = "SELECT term, doc FROM temp.vocabulary WHERE term >= ? AND term < ? AND length(term) <= ? LIMIT ?"
            return dict(connection.execute(query, (begins, begins + "\U0010ffff", longest, _RELATED)).fetchall())

    def candidates(self, words: Sequence[str]) -> list[Candidate]:
        """The passages that BM25 ranks first for these words."""
        with self._reading("searching the documents") as connection:
            return _candidates(connection, words)

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # in WAL a power cut takes back the last documents at most
        with self._writing("preparing the document index"):
            (edition,) = connection.execute("PRAGMA user_version").fetchone()
            if edition != _EDITION:
                added = "added_ns" if edition > 1 else "0"
                kept = f"SELECT name, text, {added} FROM documents ORDER BY id"
                texts = connection.execute(kept).fetchall() if edition else []
                for table, statement in _TABLES.items():
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
                    connection.execute(statement)
                for name, text, added_ns in texts:
                    _insert(connection, name, text, worded(name, text), added_ns)
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


def search(indexes: Sequence[KnowledgeIndex], question: str, limit: int) -> Findings:
    """The passages of all these indexes that cover most of `question`, as if they were in one.

    A word weighs as much as it does in all of them together. Each is held for a moment at a time, so that a search in
    a large one makes nobody wait who searches another.
    """
    terms, holding = _known(indexes, question_terms(question))
    candidates: list[Candidate] = []
    if holding:
        candidates = [found for index in indexes for found in index.candidates(list(holding))]
    passages = sum(index.passage_count() for index in indexes)
    found = ranked(candidates, weighed(terms, holding, passages)) if candidates else []
    return Findings(
        looked_for=tuple(dict.fromkeys(term.surface for term in terms)),
        language=question_language(question),
        passages=tuple(found[:limit]),
    )


_DOCUMENTS = """SELECT hash, name, size_bytes, added_ns, (SELECT count(*) FROM passages WHERE document = documents.id)
    FROM documents"""


def _document(text_hash: bytes, name: str, size_bytes: int, added_ns: int, passages: int) -> Document:
    return Document(_id_of(text_hash), name, size_bytes, passages, added_ns)


def _id_of(text_hash: bytes) -> str:
    return text_hash[:_ID_BYTES].hex()


def _row_of(connection: sqlite3.Connection, document_id: str) -> int | None:
    """The row of the document of that id."""
    try:
        beginning = bytes.fromhex(document_id)
    except ValueError:
        return None
    if len(beginning) != _ID_BYTES or beginning.hex() != document_id:
        return None
    row = connection.execute("SELECT id FROM documents WHERE substr(hash, 1, ?) = ?", (_ID_BYTES, beginning)).fetchone()
    return None if row is None else int(row[0])


@contextmanager
def _sqlite_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        hint = "this Python's SQLite was built without FTS5" if "fts5" in str(error) else str(error)
        raise StoreError(f"{doing}: {hint}") from error


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def worded(name: str, text: str) -> list[Worded]:
    """Each passage of a document with its words: the dear part of adding it."""
    worded: list[Worded] = []
    for passage in cut(name, text):
        title = " › ".join([name, *passage.heading])
        units = tuple((unit.kind, unit.text, _unit_words(unit)) for unit in passage.units)
        worded.append((title, _joined(title), passage.start, passage.end, units))
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
    connection: sqlite3.Connection,
    name: str,
    text: str,
    passages: Sequence[Worded],
    added_ns: int,
) -> None:
    document = connection.execute(
        "INSERT INTO documents (name, hash, text, size_bytes, added_ns) VALUES (?, ?, ?, ?, ?)",
        (name, _hash(text), text, len(text.encode()), added_ns),
    ).lastrowid
    for position, (title, title_words, start, end, units) in enumerate(passages):
        row = connection.execute(
            "INSERT INTO passages (document, position, title, title_words, text, start) VALUES (?, ?, ?, ?, ?, ?)",
            # Letter for letter as it is in the document.
            (document, position, title, title_words, text[start:end], start),
        ).lastrowid
        body = " ".join(words for _, _, words in units)
        connection.execute("INSERT INTO passage_words (rowid, title, body) VALUES (?, ?, ?)", (row, title_words, body))
        connection.executemany(
            "INSERT INTO units (passage, position, kind, text, words) VALUES (?, ?, ?, ?, ?)",
            [(row, place, *unit) for place, unit in enumerate(units)],
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


def _known(indexes: Sequence[KnowledgeIndex], terms: Sequence[Term]) -> tuple[list[Term], dict[str, int]]:
    """The terms, and how many passages hold each of their forms; forms that none holds are left out.

    A term that nothing holds is given the words that begin as it does: another ending of the same word, in languages
    whose endings we do not know ("glutenfreies" finds "glutenfrei").
    """
    forms = [form for term in terms for form in term.forms]
    holding = _together(index.holding(forms) for index in indexes)
    known: list[Term] = []
    for term in terms:
        begins = term.beginning
        if begins is not None and holding.keys().isdisjoint(term.forms):
            longest = len(term.forms[0]) + _LONGER_ENDING
            related = _together(index.holding_related(begins, longest) for index in indexes)
            holding.update(related)
            term = replace(term, forms=(*term.forms, *related))
        known.append(term)
    return known, holding


def _together(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


def _candidates(connection: sqlite3.Connection, forms: Sequence[str]) -> list[Candidate]:
    if not forms:
        return []
    # A word is quoted and holds no quotation mark (`words.py`), so it is a string to FTS5 and nothing else.
    query = " OR ".join(f'"{form}"' for form in forms)
    rows = connection.execute(
        """SELECT passages.id, documents.name || '#' || (passages.position + 1), passages.title, passages.text,
                  passages.title_words, passages.position, passages.start, bm25(passage_words, ?) AS rank
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
            start=start,
            units=connection.execute(
                "SELECT kind, text, words FROM units WHERE passage = ? ORDER BY position", (row,)
            ).fetchall(),
            # FTS5's rank is negative, the better the lower, and all but 0 where every passage holds every word.
            bm25=rank / best if best < 0 else 0.0,
        )
        for row, identifier, title, text, title_words, position, start, rank in rows
    ]
