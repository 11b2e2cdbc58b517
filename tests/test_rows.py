"""Which rows of the requirements, and which lessons, are claimed done, and that each has tests of its name.

A test's name begins with the row that it proves: `test_o2_frames_hold_a_token_and_whether_it_is_the_last`. A row is
claimed here by the change that finishes it, with the folders in which something real is asked: a server over a socket,
the command in a process of its own, or the library with an upstream on loopback.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

CLAIMED = {
    # The digital twin over Groq.
    "t1": ("server", "library"),
    "t2": ("server", "providers"),
    "t3": ("server",),
    "t4": ("server",),
    "t6": ("server",),
    "t7": ("cli",),
    "t8": ("server",),
    # The chat with retrieval.
    "d1": ("server",),
    "d2": ("server",),
    "d6": ("server",),
    "d9": ("server",),
    # The chat router.
    "r1": ("server",),
    # The inference server.
    "i1": ("server",),
    # The chain from browser to Ollama.
    "o1": ("server",),
    "o2": ("server",),
    "o3": ("server",),
    "o4": ("server",),
    "o6": ("server",),
    # Lessons that an issue names.
    "l32": ("server",),
    "l53": ("cli",),
}

_TEST = re.compile(r"^(?:async )?def test_((?:[a-z]{1,2}[0-9]+_)+)\w+\(", re.MULTILINE)


def rows_proven_in(folder: str) -> set[str]:
    """The rows and lessons that tests in a folder are named after."""
    named = (found for path in (TESTS / folder).glob("*.py") for found in _TEST.findall(path.read_text("utf-8")))
    return {row for names in named for row in names.rstrip("_").split("_")}


@pytest.mark.parametrize("row", CLAIMED)
def test_a_row_that_is_claimed_has_a_test_of_its_name(row: str) -> None:
    missing = [folder for folder in CLAIMED[row] if row not in rows_proven_in(folder)]
    assert not missing, f"no test named test_{row}_… in tests/{', tests/'.join(missing)}"


def test_names_of_several_rows_are_read() -> None:
    assert _TEST.findall("async def test_o2_o4_a_failure_is_told(place: Place) -> None:") == ["o2_o4_"]
    assert not _TEST.findall("def test_a_row_is_claimed() -> None:")
