"""The index: adding, replacing, searching, threads, files."""

from __future__ import annotations

import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import StoreError
from headrace.knowledge.documents import cut, storable
from headrace.knowledge.index import KnowledgeIndex

CORPUS = Path(__file__).parent / "corpus"


def read_corpus() -> KnowledgeIndex:
    index = KnowledgeIndex.open()
    for path in sorted(CORPUS.iterdir()):
        index.add_document(path.name, path.read_text(encoding="utf-8"))
    return index


@pytest.fixture
def empty() -> Iterator[KnowledgeIndex]:
    index = KnowledgeIndex.open()
    yield index
    index.close()


@pytest.fixture(scope="module")
def corpus() -> Iterator[KnowledgeIndex]:
    index = read_corpus()
    yield index
    index.close()


def best(index: KnowledgeIndex, question: str) -> str:
    return index.search(question).passages[0].title


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How do I install Larkpost?", "larkpost.md › Larkpost › Install"),
        ("exit code 5", "larkpost.md › Larkpost › Exit codes"),
        ("What is Larkpost?", "larkpost.md › Larkpost"),
        ("1927 tram", "museum.md › Tram Museum › Rides"),
        ("保修期", "coffee.zh.md › 咖啡机使用说明 › 保修"),
        ("书", "library.zh.txt"),
        ("بطاريه الدراجه", "bicycles.ar.md › تأجير الدراجات › البطارية"),
        ("glutenfreies", "baeckerei.de.md › Bäckerei Mühlbach › Allergien"),
        ("offnungszeiten", "baeckerei.de.md › Bäckerei Mühlbach › Öffnungszeiten"),
    ],
)
def test_the_passage_that_answers_comes_first(corpus: KnowledgeIndex, question: str, title: str) -> None:
    assert best(corpus, question) == title


def test_a_search_says_what_it_looked_for_and_in_which_language(corpus: KnowledgeIndex) -> None:
    findings = corpus.search("Wie hoch ist die Anzahlung?")
    assert findings.looked_for == ("hoch", "Anzahlung")
    assert findings.language == "de"


def test_passages_come_best_first_and_no_more_than_asked_for(corpus: KnowledgeIndex) -> None:
    passages = corpus.search("backup disk copies files", limit=3).passages
    assert len(passages) == 3
    assert [passage.score for passage in passages] == sorted((passage.score for passage in passages), reverse=True)


def test_coverage_falls_with_every_word_that_is_nowhere(corpus: KnowledgeIndex) -> None:
    questions = ["museum tickets", "museum tickets Lisbon", "museum tickets Lisbon opera"]
    coverages = [corpus.search(question).passages[0].coverage for question in questions]
    assert coverages[0] == pytest.approx(1)
    assert coverages[0] > coverages[1] > coverages[2]


def test_a_row_of_a_table_answers_and_not_words_scattered_over_rows(empty: KnowledgeIndex) -> None:
    empty.add_document("a.md", "| who | price |\n|---|---|\n| adults | nine |\n| children | free |")
    (together,) = empty.search("children free").passages[0].units
    (scattered,) = empty.search("adults free").passages[0].units
    assert together.relevance == pytest.approx(1)
    assert scattered.relevance < 0.6


def test_a_text_that_stands_in_two_documents_is_found_once(empty: KnowledgeIndex) -> None:
    empty.add_document("a.md", "The gate opens at noon.")
    empty.add_document("b.md", "The gate opens at noon.")
    assert len(empty.search("gate noon").passages) == 1


def test_adding_the_same_document_again_changes_nothing(empty: KnowledgeIndex) -> None:
    assert empty.add_document("a.md", "# One\n\ntext") is True
    assert empty.add_document("a.md", "# One\n\ntext") is False
    assert len(empty.search("text").passages) == 1


def test_a_changed_document_replaces_the_old_one(empty: KnowledgeIndex) -> None:
    empty.add_document("a.md", "apples")
    assert empty.add_document("a.md", "pears") is True
    assert empty.search("apples").passages == ()
    assert [passage.text for passage in empty.search("pears").passages] == ["pears"]
    assert empty.names() == ["a.md"]


def test_a_removed_document_is_not_found(empty: KnowledgeIndex) -> None:
    empty.add_document("a.md", "apples")
    empty.add_document("b.md", "apples and pears")
    assert empty.remove_document("b.md") is True
    assert empty.remove_document("b.md") is False
    assert empty.search("pears").passages == ()
    assert empty.names() == ["a.md"]


def test_an_empty_index_finds_nothing(empty: KnowledgeIndex) -> None:
    findings = empty.search("Any penguins?")
    assert findings.passages == ()
    assert findings.looked_for == ("penguins",)


HOSTILE = [
    '" OR 1=1',
    '"; DROP TABLE documents; --',
    "NEAR(",
    "NEAR(backup disk, 2)",
    "title:backup",
    "backup AND NOT disk",
    "*",
    "back*",
    "^backup",
    "{title body}: x",
    "(((",
    "'",
    "\\",
    "\0",
    "backup\0disk",
    "\ud800",
    "backup \udfff disk",
    "\u202ebackup",
    "a" * 100_000,
    "backup " * 14_000,
    "备" * 100_000,
    " ".join(chr(number) for number in range(0x20, 0x3000)),
]


@pytest.mark.parametrize("question", HOSTILE, ids=lambda question: ascii(question[:20]))
def test_nothing_in_a_question_is_read_as_a_query(corpus: KnowledgeIndex, question: str) -> None:
    before = corpus.names()
    corpus.search(question)
    assert corpus.names() == before
    assert best(corpus, "exit code 5") == "larkpost.md › Larkpost › Exit codes"


def test_operators_are_words_like_any_other(empty: KnowledgeIndex) -> None:
    empty.add_document("a.md", "backup")
    empty.add_document("b.md", "disk")
    found = {passage.id for passage in empty.search("backup NOT disk").passages}
    assert found == {"a.md#1", "b.md#1"}


@given(st.text(st.characters()), st.text(st.characters()), st.sampled_from(["a.md", "a.txt"]))
def test_any_text_can_be_indexed_and_anything_asked(text: str, question: str, name: str) -> None:
    index = KnowledgeIndex.open()
    try:
        index.add_document(name, text)
        index.search(question)
        for passage in index.search(text).passages:
            end = passage.start + len(passage.text)
            assert passage.text == storable(text)[passage.start : end], "letter for letter"
            (as_read,) = [each.text for each in cut(name, text) if (each.start, each.end) == (passage.start, end)]
            assert 0 <= passage.coverage <= 1
            assert all(unit.text in as_read for unit in passage.units)
    finally:
        index.close()


def test_what_was_indexed_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    index = KnowledgeIndex.open(path)
    index.add_document("a.md", "apples")
    index.close()
    again = KnowledgeIndex.open(path)
    assert best(again, "apples") == "a.md"
    assert again.add_document("a.md", "apples") is False
    again.close()
    again.close()


def test_two_processes_can_have_one_file_open(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    one, other = KnowledgeIndex.open(path), KnowledgeIndex.open(path)
    one.add_document("a.md", "apples")
    other.add_document("b.md", "pears")
    assert best(one, "pears") == "b.md"
    assert best(other, "apples") == "a.md"
    one.close()
    other.close()


def test_an_index_of_an_older_edition_is_made_again_from_its_texts(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    index = KnowledgeIndex.open(path)
    index.add_document("a.md", "apples")
    index.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM passage_words")
    connection.execute("PRAGMA user_version = 999")
    connection.commit()
    connection.close()
    again = KnowledgeIndex.open(path)
    assert best(again, "apples") == "a.md"
    again.close()


def test_a_file_that_is_no_index_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, this is not a database. " * 100)
    with pytest.raises(StoreError, match=r"opening the document index .*letter\.txt"):
        KnowledgeIndex.open(path)
    assert path.read_text().startswith("Dear reader")


def test_a_closed_index_says_so() -> None:
    index = KnowledgeIndex.open()
    index.close()
    with pytest.raises(StoreError, match="searching the documents"):
        index.search("anything at all")


def test_documents_may_be_added_while_others_search(empty: KnowledgeIndex) -> None:
    empty.add_document("first.md", "the anchor")
    texts = [f"# Section {number}\n\n" + "word " * 200 for number in range(30)]
    faults: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                assert best(empty, "anchor") == "first.md"
        except BaseException as fault:
            faults.append(fault)

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number, text in enumerate(texts):
        empty.add_document(f"{number}.md", text)
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert len(empty.names()) == 31


def test_a_search_is_short_enough_for_the_event_loop() -> None:
    """Ten times the corpus, about the size of our own documents: 1 to 2 ms on two shared cores (2026-11)."""
    index = KnowledgeIndex.open()
    for path in sorted(CORPUS.iterdir()):
        for copy in range(10):
            index.add_document(f"{copy}-{path.name}", path.read_text(encoding="utf-8") + f"\n\nCopy {copy}.\n")
    seconds: list[float] = []
    for question in (
        "How do I change the time of the backup?",
        "咖啡机怎么除垢？",
        "كم سعر تأجير الدراجة الكهربائية؟",
    ) * 5:
        began = time.perf_counter()
        index.search(question)
        seconds.append(time.perf_counter() - began)
    index.close()
    assert statistics.median(seconds) < 0.005
