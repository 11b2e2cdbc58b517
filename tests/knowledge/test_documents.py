"""Documents cut into passages and units."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.knowledge.documents import Unit, cut


def units(text: str, name: str = "a.md") -> list[tuple[str, str]]:
    return [(unit.kind, unit.text) for passage in cut(name, text) for unit in passage.units]


CASES = [
    (
        "a paragraph\nover two lines. And more.",
        [("sentence", "a paragraph over two lines."), ("sentence", "And more.")],
    ),
    ("一段文字\n分成两行。", [("sentence", "一段文字分成两行。")]),
    ("- one\n- two\n  goes on\n* three", [("item", "one"), ("item", "two goes on"), ("item", "three")]),
    ("1. one\n2) two\n\n   still two.", [("item", "one"), ("item", "two"), ("sentence", "still two.")]),
    ("> quoted. Twice.\n> > deeper", [("sentence", "quoted."), ("sentence", "Twice. deeper")]),
    ("> ```\n> code\n> ```", [("code", "```\ncode\n```")]),
    ("```sh\nmake run\n\n  x\n```", [("code", "```sh\nmake run\n\n  x\n```")]),
    ("~~~\n```\n~~~", [("code", "~~~\n```\n~~~")]),
    ("````\n```\n````", [("code", "````\n```\n````")]),
    ("```\nnever closed", [("code", "```\nnever closed\n```")]),
    (
        "- do:\n\n  ```sh\n  a\n    b\n  ```\n- next",
        [("item", "do:"), ("code", "```sh\na\n  b\n```"), ("item", "next")],
    ),
    ("- ```\n  a\n  ```\n\nafter", [("code", "```\na\n```"), ("sentence", "after")]),
    ("    indented\n\n    code\n\ntext", [("code", "    indented\n\n    code"), ("sentence", "text")]),
    ("| a | b |\n|---|:-:|\n| 1 | 2 |\n\nx", [("table", "| a | b |\n|---|:-:|\n| 1 | 2 |"), ("sentence", "x")]),
    ("a | b\n- | -\n", [("table", "a | b\n- | -")]),
    ("no | table here\nat all", [("sentence", "no | table here at all")]),
    ("before\n\n---\n\nafter", [("sentence", "before"), ("sentence", "after")]),
    ("<!-- hidden. -->\nshown", [("sentence", "shown")]),
    ("<!-- hidden\nover lines -->\nshown", [("sentence", "shown")]),
    ("[![badge](a.svg)](b) ![x](y)\n\ntext", [("sentence", "text")]),
    ("[link]: https://example.org\n\ntext", [("sentence", "text")]),
    ("#hashtag is no heading", [("sentence", "#hashtag is no heading")]),
    ("---\ntitle: x\n---\ntext", [("sentence", "text")]),
    ("line\r\nends.\rMixed.", [("sentence", "line ends."), ("sentence", "Mixed.")]),
    ("a\0b \ud800", [("sentence", "a\ufffdb \ufffd")]),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_markdown_is_cut_into_what_can_be_quoted(text: str, expected: list[tuple[str, str]]) -> None:
    assert units(text) == expected


def test_plain_text_has_paragraphs_and_nothing_else() -> None:
    assert units("# no heading\n- no item\n\n    no code", "a.txt") == [
        ("sentence", "# no heading - no item"),
        ("sentence", "no code"),
    ]


def test_a_passage_knows_the_headings_above_it() -> None:
    text = "top\n\n# One #\n\na\n\n## Two\n\nb\n\n### C# ###\n\nc\n\nThree\n-----\n\nd\n\nFour\n====\n\ne"
    assert [(passage.heading, passage.text) for passage in cut("a.md", text)] == [
        ((), "top"),
        (("One",), "a"),
        (("One", "Two"), "b"),
        (("One", "Two", "C#"), "c"),
        (("One", "Three"), "d"),
        (("Four",), "e"),
    ]


def test_a_long_section_becomes_several_passages_and_code_stays_with_what_leads_up_to_it() -> None:
    paragraphs = [f"Paragraph {number}. " + "word " * 100 for number in range(6)]
    passages = cut("a.md", "# Long\n\n" + "\n\n".join(paragraphs) + "\n\n```\n" + "x\n" * 400 + "```")
    assert len(passages) > 1
    assert all(passage.heading == ("Long",) for passage in passages)
    assert passages[-1].units[-1].kind == "code"
    assert passages[-1].units[0].kind == "sentence"


def test_a_long_table_is_cut_into_tables_with_the_same_head() -> None:
    rows = [f"| {number} | {'x' * 90} |" for number in range(20)]
    tables = units("| n | text |\n|---|---|\n" + "\n".join(rows))
    assert len(tables) > 2
    assert all(text.startswith("| n | text |\n|---|---|\n| ") for _, text in tables)
    assert [row for _, text in tables for row in text.split("\n")[2:]] == rows


line_of_code = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")).filter(lambda line: "```" not in line)


@given(st.lists(line_of_code), st.sampled_from(["", "sh", "python title=x"]))
def test_code_is_quoted_exactly(lines: list[str], language: str) -> None:
    fenced = "\n".join(["```" + language, *lines, "```"])
    assert units(f"# Title\n\nBefore.\n\n{fenced}\n\nAfter.") == [
        ("sentence", "Before."),
        ("code", fenced),
        ("sentence", "After."),
    ]


MEANINGFUL = [
    "\n",
    "\n\n",
    "# ",
    "## ",
    "- ",
    "1. ",
    "> ",
    "    ",
    "\t",
    "```",
    "~~~",
    "|",
    "|-|",
    "---",
    "===",
    "<!--",
]
MEANINGFUL += ["-->", "![", "](", "`", "a. B", "word ", "。", "文", "؟", "\r", "[x]: y", ":", "\0", "\ud800"]

# Pieces that mean something in Markdown, so that chance puts them next to each other, and anything at all between.
markdown = st.lists(
    st.one_of(
        st.sampled_from(MEANINGFUL),
        st.text(st.characters(), max_size=4),
    ),
    max_size=40,
).map("".join)


@given(markdown, st.sampled_from(["a.md", "a.txt"]))
def test_every_unit_is_part_of_its_passage(text: str, name: str) -> None:
    for passage in cut(name, text):
        assert passage.units
        for unit in passage.units:
            assert isinstance(unit, Unit)
            assert unit.text
            assert unit.text in passage.text
            unit.text.encode()


HARD = {
    "dots": "." * 100_000,
    "backticks of every length": "".join("`" * (number % 40 + 1) + " " for number in range(5_000)),
    "images that never close": "![" * 50_000,
    "tags that never close": "<a " * 33_000,
    "quotations in quotations": ">    " * 20_000,
    "a heading with a long tail": "# a" + " " * 100_000 + "b",
    "cells": "|-" * 50_000 + "\n" + "|-" * 50_000,
    "a table rule with a long tail": "|a\n|-" + " " * 100_000 + "x",
    "rules": "- " * 50_000,
    "comments in comments": "<!--" * 25_000,
    "abbreviations": "e.g. " * 20_000,
    "characters without an end": "文" * 100_000,
}


@pytest.mark.parametrize("name", HARD)
def test_no_document_costs_more_than_its_length(name: str) -> None:
    # The longest took 30 ms on two shared cores (2026-11); anything quadratic in 100 000 characters takes minutes.
    began = time.process_time()
    cut("a.md", HARD[name])
    assert time.process_time() - began < 2
