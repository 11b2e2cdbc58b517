"""What an attempt repeats of what was shown is left out at the seam, and nothing else is (L26)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.runs.seam import LEAST_REPEATED_CHARACTERS, Seam

SAID = "The mill was built in 1890. Its wheel is driven by"
# Few letters, so that repetitions come about by chance, and white space, which is treated apart.
TEXTS = st.text("ab \n", max_size=60)


def joined(said: str, *pieces: str, least_whole: int = 8) -> str:
    """What a reader has in the end."""
    seam = Seam(said, least_whole=least_whole)
    return said + "".join(map(seam.feed, pieces)) + seam.finish()


@pytest.mark.parametrize(
    ("said", "comes", "reads"),
    [
        (SAID, " water.", SAID + " water."),
        (SAID, "Its wheel is driven by water.", SAID + " water."),
        (SAID, SAID + " water.", SAID + " water."),
        # What was shown is short: only the whole of it counts as repeated.
        ("The mill", "The mill stands.", "The mill stands."),
        ("ha", "ha, he said", "haha, he said"),
        # White space that was not given to the next attempt comes again, or does not.
        ("One, ", " two", "One, two"),
        ("One, ", "two", "One, two"),
        ("One\n\n", "\n\n\nTwo", "One\n\n\nTwo"),
        # A repetition that is never finished is none of the ending.
        (SAID, "Its wheel is driven", SAID + "Its wheel is driven"),
        ("", "All of it", "All of it"),
    ],
)
def test_l26_what_is_repeated_at_the_seam_is_shown_once(said: str, comes: str, reads: str) -> None:
    assert joined(said, comes) == reads
    assert joined(said, *comes) == reads


def test_l26_a_service_that_repeats_what_it_was_given_is_understood_however_short_that_was() -> None:
    assert joined("Hi", "Hi", " there", least_whole=1) == "Hi there"
    assert joined("Hi", "Hi there") == "HiHi there"


@given(TEXTS, st.lists(TEXTS, max_size=5), st.integers(0, 60))
@example("a" * 19 + " ", [" ", "a" * 19 + " "], 0)
def test_l26_no_twenty_characters_are_repeated_at_the_seam(said: str, pieces: list[str], repeated: int) -> None:
    pieces = [said[len(said) - min(repeated, len(said)) :], *pieces]
    new = joined(said, *pieces)[len(said) :]
    for length in range(LEAST_REPEATED_CHARACTERS, min(len(said), len(new)) + 1):
        assert not said.endswith(new[:length])
    assert "".join(pieces).endswith(new), "nothing but the beginning is left out"


@given(st.text("abc", min_size=1, max_size=80), st.text("xyz ", min_size=1, max_size=80))
def test_what_is_new_is_shown_whole(said: str, comes: str) -> None:
    assert joined(said, comes) == said + comes


@given(TEXTS, TEXTS, st.data())
def test_how_the_deltas_are_cut_changes_nothing(said: str, comes: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(comes)), max_size=6)))
    pieces = [comes[first:last] for first, last in zip([0, *cuts], [*cuts, len(comes)], strict=True)]
    assert joined(said, *pieces) == joined(said, comes)


def test_new_words_are_held_for_a_few_characters_at_the_most() -> None:
    seam = Seam(SAID)
    # " wa" also stands in what was said; the "t" tells the two apart, and nothing is held from there on.
    assert [seam.feed(character) for character in " water on"] == ["", "", "", " wat", "e", "r", " ", "o", "n"]
    assert seam.passed
