"""Identifiers: those we make are those we take, and nothing that could be misread in a header or a URL is taken."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.identifiers import StreamIdentifiers, chance, is_stream_id, new_request_id


def test_a_stream_id_of_ours_is_128_bits_and_may_be_chosen_again_by_a_reader() -> None:
    # More than are drawn at once, so that the seam between two draws is crossed.
    stream_identifiers = StreamIdentifiers()
    identifiers = [stream_identifiers.new() for _ in range(1000)]
    assert len(set(identifiers)) == 1000
    for identifier in identifiers:
        assert re.fullmatch(r"[0-9a-f]{32}", identifier)
        assert is_stream_id(identifier)


def test_two_makers_never_make_the_same_id() -> None:
    assert StreamIdentifiers().new() != StreamIdentifiers().new()


def test_request_ids_differ_and_say_what_they_are() -> None:
    identifiers = [new_request_id() for _ in range(1000)]
    assert len(set(identifiers)) == 1000
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", identifier) for identifier in identifiers)


@pytest.mark.parametrize(
    "text",
    ["A" * 22, "a-b_c.d~e0123456789ABCDE", "0" * 128, "0123456789abcdef0123456789abcdef"],
)
def test_a_reader_may_choose_an_id_of_128_bits(text: str) -> None:
    assert is_stream_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 21,
        "A" * 129,
        "A" * 22 + "\n",
        "A" * 21 + "/",
        "A" * 21 + " ",
        "A" * 21 + "é",
        "A" * 21 + "\u0661",  # a digit, but not an ASCII one
        "../" * 10,
        "A" * 22 + "\r\nX-Evil: 1",
    ],
)
def test_what_is_too_short_to_be_secret_or_not_plain_ascii_is_no_stream_id(text: str) -> None:
    assert not is_stream_id(text)


@given(st.text())
def test_whatever_is_taken_can_stand_in_a_header_and_in_a_url(text: str) -> None:
    assert not is_stream_id(text) or re.fullmatch(r"[\w.~-]{22,128}", text, re.ASCII)


def test_chance_lies_from_0_to_just_below_1() -> None:
    numbers = [chance() for _ in range(1000)]
    assert all(0 <= number < 1 for number in numbers)
    assert len(set(numbers)) > 900
