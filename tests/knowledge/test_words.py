"""Index words and question terms: what two spellings have in common, and what a question is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.knowledge.words import MOST_TERMS, fold_english, index_words, question_language, question_terms

WORDS = [
    ("The Stream", ["the", "stream"]),
    ("max_tokens --first-token 3.11", ["max", "token", "first", "token", "3", "11"]),
    ("café CAFÉ cafe\u0301 ｃａｆｅ", ["caf", "caf", "caf", "caf"]),
    ("Größe GRÖSSE", ["gros", "gros"]),
    ("øre Łódź œuvre ﬁle", ["ore", "lodz", "oeuvr", "fil"]),
    ("Ёлка ёлка", ["елка", "елка"]),
    ("北京市", ["北", "京", "市", "北京", "京市"]),
    ("Redis存储", ["redis", "存", "储", "存储"]),
    ("ガラス ｶﾞﾗｽ", ["ガ", "ラ", "ス", "ガラ", "ラス"] * 2),
    ("한국", ["한", "국", "한국"]),
    ("المكتبة مكتبه", ["مكتبه", "مكتبه"]),
    ("إلى الى", ["الي", "الي"]),
    ("مُـكـتَبٌ مكتب", ["مكتب", "مكتب"]),
    ("والدراجة بالدراجة للدراجة كالدراجة", ["دراجه"] * 4),
    ("٢٤ ۲۴ 24", ["24", "24", "24"]),
    ("हिन्दी भाषा।", ["हिन्दी", "भाषा"]),
    ('"" OR * NEAR( \0 \ud800', ["or", "near"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_spellings_of_a_word_share_their_index_word(text: str, words: list[str]) -> None:
    assert index_words(text) == words


@pytest.mark.parametrize(
    "family",
    [
        "stream streams streaming streamed",
        "cache caches caching cached",
        "install installs installing installed",
        "retry retries retrying retried",
        "name names naming named",
        "run runs running",
        "add adds adding added",
        "file files filing",
        "process processes processing processed",
        "restore restores restoring restored",
    ],
)
def test_english_inflections_fold_to_one_word(family: str) -> None:
    assert len({fold_english(word) for word in family.split()}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("string", "stre"), ("need", "ne"), ("speed", "sp"), ("bring", "br"), ("status", "statu")]
)
def test_an_ending_that_belongs_to_the_word_stays(one: str, other: str) -> None:
    assert fold_english(one) != fold_english(other)
    assert fold_english(one) == one


TERMS = [
    ("How do I start the server?", ["start", "server"]),
    ("What's the default PORT, please?", ["default", "PORT"]),
    ("what is the car price", ["car", "price"]),
    ("Wie starte ich den Server?", ["starte", "Server"]),
    ("Comment démarrer le serveur ?", ["démarrer", "serveur"]),
    ("¿Cómo inicio el servidor?", ["inicio", "servidor"]),
    ("如何安装服务器？", ["安装服务器"]),
    ("图书馆的停车场在哪里？", ["图书馆", "停车场"]),
    ("ما هو سعر الدراجة؟", ["سعر", "الدراجة"]),
    ("who are you", []),
    ("你是谁", []),
    ("and then?", []),
    ("?!…", []),
    ("port port PORTS", ["port"]),
]


@pytest.mark.parametrize(("question", "surfaces"), TERMS)
def test_a_question_is_about_its_informative_words(question: str, surfaces: list[str]) -> None:
    assert list(dict.fromkeys(term.surface for term in question_terms(question))) == surfaces


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("How do I start the server?", "en"),
        ("Wie starte ich den Server?", "de"),
        ("Comment est-ce que je démarre le serveur ?", "fr"),
        ("¿Qué cuesta la entrada?", "es"),
        ("什么是Redis存储", "zh"),
        ("كم سعر Redis اليوم؟", "ar"),
        ("redis", None),
        ("car insurance", None),
        ("", None),
    ],
)
def test_the_language_of_a_question_shows_in_its_small_words_or_its_script(question: str, language: str | None) -> None:
    assert question_language(question) == language


def test_a_character_between_two_words_is_found_by_either_pair_it_is_part_of() -> None:
    present = set(index_words("先安装，再启动服务器。"))
    assert all(not present.isdisjoint(term.forms) for term in question_terms("安装服务器"))


def test_a_pasted_book_is_asked_about_a_bounded_number_of_terms() -> None:
    assert len(question_terms(" ".join(f"word{number}" for number in range(5_000)))) == MOST_TERMS
    assert len(question_terms("".join(chr(0x4E00 + number) for number in range(5_000)))) == MOST_TERMS


@given(st.text(st.characters()))
def test_an_index_word_means_nothing_in_a_query(text: str) -> None:
    for word in index_words(text):
        ascii_part = "".join(character for character in word if character.isascii())
        assert word
        assert ascii_part == "" or (ascii_part.isalnum() and ascii_part == ascii_part.lower())


@given(st.text(st.characters()))
def test_every_term_of_a_question_is_found_in_the_question_itself(text: str) -> None:
    present = set(index_words(text))
    assert all(not present.isdisjoint(term.forms) for term in question_terms(text))
