"""Paragraphs cut into sentences, in several scripts, and never in the wrong place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.knowledge.sentences import sentences

CASES = [
    ("One. Two! Three? Four…", ["One.", "Two!", "Three?", "Four…"]),
    ("Use e.g. a file, i.e. text. Dr. No knows.", ["Use e.g. a file, i.e. text.", "Dr. No knows."]),
    ("It is 3.5 s. Then 4.", ["It is 3.5 s. Then 4."]),
    ("See `a. B` there. Done.", ["See `a. B` there.", "Done."]),
    ("See ``a ` b. C`` there. Done.", ["See ``a ` b. C`` there.", "Done."]),
    ('He said "stop." She (or he) left.)', ['He said "stop."', "She (or he) left.)"]),
    ("Open www.example.org now. Then close it.", ["Open www.example.org now.", "Then close it."]),
    ("…and so on. but small letters go on.", ["…and so on. but small letters go on."]),
    ("Das gilt z. B. hier. Dort nicht.", ["Das gilt z. B. hier.", "Dort nicht."]),
    ("先装水。再开机！好吗？好", ["先装水。", "再开机！", "好吗？", "好"]),
    ("他说：“好。”然后走了。", ["他说：“好。”", "然后走了。"]),
    ("متى نبدأ؟ نبدأ غدا. ثم نعود.", ["متى نبدأ؟", "نبدأ غدا.", "ثم نعود."]),
    ("no end at all", ["no end at all"]),
    ("   ", []),
    ("", []),
]


@pytest.mark.parametrize(("paragraph", "expected"), CASES)
def test_a_paragraph_is_cut_where_its_sentences_end(paragraph: str, expected: list[str]) -> None:
    assert sentences(paragraph) == expected


def test_prose_without_an_end_is_cut_at_a_space() -> None:
    pieces = sentences("word " * 1_000)
    assert max(map(len, pieces)) <= 800
    assert " ".join(pieces) == ("word " * 1_000).strip()


@given(
    st.lists(st.sampled_from([".", "。", "؟", "…", "`", "``", " ", "e.g.", "a", "B", "文", "ن", ")", '"', "\n", "."]))
)
def test_cutting_leaves_out_white_space_only(pieces: list[str]) -> None:
    paragraph = "".join(pieces)
    cut = sentences(paragraph)
    assert "".join("".join(cut).split()) == "".join(paragraph.split())
    assert all(sentence in paragraph for sentence in cut)
    assert all(cut)
