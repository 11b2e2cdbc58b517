"""JSON as we write it: reads back equal, on one line for every reader; and the exact depth of what others send."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.wire.json_text import depth_exceeds, encode, string

# Where `str.splitlines`, and every reader built on it, cuts.
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
awkward = st.sampled_from(LINE_ENDS + '\0"\\/[]{}今😀é\x7f\ufeff')
texts = st.text(awkward | st.characters(exclude_categories=["Cs"]))
texts_with_halves = st.text(awkward | st.sampled_from("\ud83d\ude00\udfff") | st.characters())
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=12,
)


class Point(msgspec.Struct, omit_defaults=True):
    name: str
    more: object = None


def joined(text: str) -> str:
    """The text with the halves of a surrogate pair that stand together made one, as every JSON reader does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def is_one_line(written: bytes) -> bool:
    return len(f"x{written.decode()}x".splitlines()) == 1


@given(text=texts)
@example(text=LINE_ENDS)
def test_a_string_reads_back_equal_and_is_one_line_for_every_reader(text: str) -> None:
    written = string(text)
    assert json.loads(written) == text
    assert msgspec.json.decode(written) == text
    assert is_one_line(written)
    assert not set(written.decode()) & set(LINE_ENDS)


@given(text=texts_with_halves)
@example(text="a\ud83d\u2028")
@example(text="\ud83d\ude00")
def test_half_a_surrogate_pair_is_written_as_an_escape(text: str) -> None:
    assert json.loads(string(text)) == joined(text)
    assert json.loads(encode({text: [text]})) == {joined(text): [joined(text)]}
    assert is_one_line(string(text))
    assert is_one_line(encode([text]))


@given(value=values)
def test_a_value_reads_back_equal_and_is_one_line_for_every_reader(value: Any) -> None:
    written = encode(value)
    assert json.loads(written) == value
    assert is_one_line(written)


@given(text=texts)
def test_a_string_is_written_the_same_alone_and_inside_a_value(text: str) -> None:
    assert encode(text) == string(text)


@pytest.mark.parametrize("half", ["", "\ud83d"])
def test_a_struct_is_written_alike_with_and_without_half_a_pair(half: str) -> None:
    value = Point(half, [Point("é"), (1.5, None, float("nan")), msgspec.Raw(b'{"a": "\xe2\x80\xa8"}')])
    assert json.loads(encode(value)) == {
        "name": half,
        "more": [{"name": "é"}, [1.5, None, None], {"a": "\u2028"}],
    }
    assert is_one_line(encode(value))


def test_raw_json_of_several_lines_becomes_one_line() -> None:
    written = encode({"usage": msgspec.Raw(b'{\r\n  "a": "x\\ny",\n\t"b": [1,\r2]\n}')})
    assert is_one_line(written)
    assert json.loads(written) == {"usage": {"a": "x\ny", "b": [1, 2]}}


@pytest.mark.parametrize("beside", ["", "\ud83d"])
def test_what_json_has_no_word_for_is_refused(beside: str) -> None:
    with pytest.raises(TypeError):
        encode([beside, object()])


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


nested = st.recursive(
    texts | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=60,
)


@given(value=nested, is_ascii=st.booleans(), indent=st.none() | st.just(1))
@example(value=['\\"[[', "\\", {"]": [['"', "\\\\"]]}], is_ascii=True, indent=None)
def test_depth_is_exact(value: Any, is_ascii: bool, indent: int | None) -> None:
    written = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    assert [limit for limit in range(12) if depth_exceeds(written, limit)] == list(range(min(12, depth(value))))


@given(brackets=st.text("[]", max_size=200), limit=st.integers(0, 20))
def test_depth_is_the_highest_point_wherever_it_lies(brackets: str, limit: int) -> None:
    height, highest = 0, 0
    for bracket in brackets:
        height += 1 if bracket == "[" else -1
        highest = max(highest, height)
    assert depth_exceeds(brackets.encode(), limit) == (highest > limit)


@pytest.mark.parametrize("deep", [64, 65, 100_000])
def test_sixty_four_levels_pass_and_one_more_does_not(deep: int) -> None:
    pairs = b'{"a":' * deep + b"1" + b"}" * deep
    assert depth_exceeds(pairs, 64) == (deep > 64)
    assert depth_exceeds(b"[" + b"[],[[]]," * 1000 + b"[" * (deep - 1) + b"]" * deep, 64) == (deep > 64)


def test_what_breaks_off_inside_is_judged_by_what_is_there() -> None:
    assert depth_exceeds(b'{"a":[[["', 3)
    assert not depth_exceeds(b'{"a":"[[[[', 3)
