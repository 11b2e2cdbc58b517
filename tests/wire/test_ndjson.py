"""NDJSON: what is written is read back, at any cutting; what others write is read as they meant it."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.wire import json_text
from headrace.wire.bounds import EventTooLarge
from headrace.wire.ndjson import NDJSONParser, lines

Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]

texts = st.text(st.sampled_from("\r\n\0\x0b\x0c\x1c\x85\u2028\u2029今😀") | st.characters(exclude_categories=["Cs"]))
records = st.lists(texts.map(json_text.encode), max_size=6)
places = st.lists(st.integers(0, 200), max_size=8)


def read(reads: Iterable[bytes]) -> list[bytes]:
    parser = NDJSONParser()
    return [record for data in reads for record in parser.feed(data)] + parser.finish()


@given(records=records, places=places)
def test_what_is_written_is_read_back_at_any_cutting(cut: Cut, records: list[bytes], places: list[int]) -> None:
    assert read(cut(lines(records), places)) == records


@given(records=records)
def test_readers_that_split_text_at_every_unicode_line_end_get_whole_records(records: list[bytes]) -> None:
    assert lines(records).decode().splitlines() == [record.decode() for record in records]


@given(
    stream=st.lists(st.sampled_from([b"1", b"\n", b"\r", b" ", b"\t", b"\x0b", b"\xe2\x80\xa8"])).map(b"".join),
    places=places,
)
@example(stream=b"1\r\n2\n\n \r\n3", places=[2])
def test_lines_end_at_lf_alone_blank_ones_are_skipped_and_the_last_needs_no_end(
    cut: Cut, stream: bytes, places: list[int]
) -> None:
    stripped = [line.strip(b" \t\r") for line in stream.split(b"\n")]
    assert read(cut(stream, places)) == [line for line in stripped if line]


def test_a_record_is_given_out_with_the_read_that_ends_it() -> None:
    parser = NDJSONParser()
    assert parser.feed(b'{"a"') == []
    assert parser.pending
    assert parser.feed(b":1}\n2") == [b'{"a":1}']
    assert parser.finish() == [b"2"]
    assert parser.finish() == []


@given(stream=st.lists(st.sampled_from([b"1", b"22", b"\n"])).map(b"".join), places=places)
@example(stream=b"1\n22\n", places=[3])
def test_the_limit_does_not_depend_on_the_cutting(cut: Cut, stream: bytes, places: list[int]) -> None:
    def is_refused(limit: int, reads: list[bytes]) -> bool:
        parser = NDJSONParser(limit_bytes=limit)
        try:
            for data in reads:
                parser.feed(data)
        except EventTooLarge:
            return True
        return False

    longest = max(map(len, stream.split(b"\n")))
    for reads in ([stream], cut(stream, places)):
        assert not is_refused(longest, reads)
        assert longest == 0 or is_refused(longest - 1, reads)


def test_no_records_are_no_bytes() -> None:
    assert lines([]) == b""


def test_an_endless_line_is_refused_at_the_limit() -> None:
    parser = NDJSONParser()
    for _ in range(128):
        parser.feed(b"1" * 65536)
    with pytest.raises(EventTooLarge, match="8388608"):
        parser.feed(b"1")
