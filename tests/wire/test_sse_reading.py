"""Both parsers of server-sent events: the standard's vectors at every cut, and properties beside them."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.wire.sse import DataParser, EventTooLarge, ServerSentEvent, SSEParser

Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "sse-vectors.json").read_text("utf-8"))

# What streams are made of, and what they are broken with.
FRAGMENTS = (
    b"data: ", b"data:", b"data", b"data: a\n\n", b"data: b\r\n\r\n", b"data: c\r\r", b"data: d\ndata: e\n\n",
    b"data: f\r\ndata: g\r\n\r\n",
    b'data: {"x":"\xe2\x80\xa8\xc2\x85"}\n\n', b": hb\n", b": hb\n\n", b"event: error\n", b"event: message\n",
    b"event\n", b"id: 7\n", b"id\n", b"id: \0\n", b"retry: 30\n", b"retry: x\n", b"\n", b"\n\n", b"\r", b"\r\n", b":",
    b" ", b"\xef\xbb\xbf", b"\xef\xbb", b"\xf0\x9f\x98\x80", b"\xf0\x9f", b"\xff", b"\0", b"\x0b\x0c\x1c", b"x",
)  # fmt: skip
streams = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=24).map(b"".join)
places = st.lists(st.integers(0, 300), max_size=8)


def read(reads: Iterable[bytes]) -> tuple[list[ServerSentEvent], str, int | None]:
    parser = SSEParser()
    events = [event for data in reads for event in parser.feed(data)]
    parser.finish()
    return events, parser.last_event_id, parser.retry


def read_data(reads: Iterable[bytes]) -> list[tuple[str, bytes]]:
    parser = DataParser()
    return [
        (parser.types.get(place, "message"), payload)
        for data in reads
        for place, payload in enumerate(parser.feed(data))
    ]


def every_cutting(data: bytes) -> list[list[bytes]]:
    splits = [[data[:place], data[place:]] for place in range(len(data) + 1)]
    return [[data], [data[place : place + 1] for place in range(len(data))], *splits]


def by_the_letter(data: bytes) -> tuple[list[ServerSentEvent], str, int | None]:
    """The standard as it is written, for a stream that is all there: what the incremental parsers are held against."""
    events, last_id, id_buffer, kind, retry = [], "", "", "", None
    values: list[str] = []
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    for line in re.split("\r\n|\n|\r", text)[:-1]:
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if not line:
            last_id = id_buffer
            if values:
                events.append(ServerSentEvent(kind or "message", "\n".join(values), last_id))
            values, kind = [], ""
        elif name == "data":
            values.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            id_buffer = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return events, last_id, retry


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_l35_the_vectors_pass_at_every_cut(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["input_hex"])
    events = [ServerSentEvent(event["type"], event["data"], event["lastEventId"]) for event in vector["events"]]
    for reads in every_cutting(data):
        assert read(reads) == (events, vector["last_event_id"], vector["retry"]), reads


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_l35_the_data_parser_reads_the_vectors_at_every_cut(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["input_hex"])
    for reads in every_cutting(data):
        decoded = [(kind, payload.decode("utf-8", "replace")) for kind, payload in read_data(reads)]
        assert decoded == [(event["type"], event["data"]) for event in vector["events"]], reads


@given(stream=streams)
def test_a_stream_is_read_as_the_standard_says(stream: bytes) -> None:
    assert read([stream]) == by_the_letter(stream)


@given(stream=streams, places=places)
@example(stream=b"data: a\r\ndata: b\r\n\r\n", places=[8])
def test_l36_any_cutting_gives_the_same_events(cut: Cut, stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == read([stream])


@given(stream=streams, places=places)
@example(stream=b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", places=[1, 2, 3])
@example(stream=b"\n\xef\xbb\xbfdata: a\n\n", places=[1])
@example(stream=b"data: a\n\n\n\ndata: b\n\n", places=[9, 10])
@example(stream=b"data: a\r\ndata: b\r\n\r\n", places=[8])
@example(stream=b"data: a\n\nevent: x\ndata: b\n\n", places=[])
def test_l36_the_data_parser_agrees_with_the_standard_at_any_cutting(
    cut: Cut, stream: bytes, places: list[int]
) -> None:
    expected = [(event.type, event.data) for event in by_the_letter(stream)[0]]
    for reads in ([stream], cut(stream, places)):
        assert [(kind, payload.decode("utf-8", "replace")) for kind, payload in read_data(reads)] == expected


@given(
    payloads=st.lists(st.binary(max_size=12).map(lambda data: data.translate(None, b"\r\n")), min_size=1),
    between=st.sampled_from([b"", b": hb\n", b": hb\n\n", b"\n", b"id: 1\n", b"event: message\n", b"data-x: 1\n"]),
    places=places,
)
def test_the_split_and_the_lines_give_the_same_payloads(
    cut: Cut, payloads: list[bytes], between: bytes, places: list[int]
) -> None:
    stream = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    mixed = b"".join(between + b"data: " + payload + b"\n\n" for payload in payloads)
    with_cr = stream.replace(b"\n", b"\r\n")
    for reads in ([stream], cut(stream, places), [mixed], cut(mixed, places), [with_cr], cut(with_cr, places)):
        assert read_data(reads) == [("message", payload) for payload in payloads]


def test_an_event_is_given_out_before_the_next_read_whatever_ends_its_lines() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        frame = b"data: a" + end + end
        parser, data_parser = SSEParser(), DataParser()
        for _ in range(3):
            assert [event.data for event in parser.feed(frame)] == ["a"]
            assert data_parser.feed(frame) == [b"a"]
            assert not data_parser.pending


def test_types_name_the_events_of_the_last_read_only() -> None:
    parser = DataParser()
    assert parser.feed(b"event: message\ndata: a\n\nevent: error\ndata: b\n\n") == [b"a", b"b"]
    assert parser.types == {1: "error"}
    assert parser.feed(b"data: c\n\n") == [b"c"]
    assert parser.types == {}


def test_pending_says_whether_a_stream_broke_off_inside_an_event() -> None:
    parser = DataParser()

    def is_pending_after(data: bytes) -> bool:
        parser.feed(data)
        return parser.pending

    reads = [b"", b"data: a\n\ndata: b\n", b"\n\n\n", b"\n", b"da", b"ta: c\r\r", b"\n", b": hb"]
    assert [is_pending_after(data) for data in reads] == [False, True, False, False, True, False, False, True]
    parser.finish()
    assert not parser.pending


def test_a_finished_parser_reads_the_next_connection_and_keeps_what_reconnecting_needs() -> None:
    parser = SSEParser()
    parser.feed(b"\xef\xbb\xbfretry: 5\nid: 1\ndata: a\n\nid: 2\nevent: lost\ndata: lost\r")
    parser.finish()
    assert (parser.last_event_id, parser.retry) == ("1", 5)
    assert parser.feed(b"\xef\xbb\xbfdata: b\n\n") == [ServerSentEvent("message", "b", "1")]

    data_parser = DataParser()
    assert data_parser.feed(b"data: a\n\nevent: lost\ndata: lost\r") == [b"a"]
    data_parser.finish()
    assert data_parser.feed(b"\xef\xbb\xbfdata: b\n\n") == [b"b"]


@pytest.mark.parametrize("digits", ["9" * 16, "9" * 5000])
def test_a_retry_that_no_clock_counts_is_ignored(digits: str) -> None:
    assert read([f"retry: 20\nretry: {digits}\n\n".encode()]) == ([], "", 20)


@given(stream=streams.map(lambda stream: stream.replace(b"\xef", b"")), places=places)
@example(stream=b"data: a\n\ndata: b\n\n", places=[9])
@example(stream=b"data: a\n\ndata: b\r\n\r\n: c", places=[9])
def test_the_limit_depends_neither_on_the_cutting_nor_on_the_parser(cut: Cut, stream: bytes, places: list[int]) -> None:
    def is_refused(parser: SSEParser | DataParser, reads: list[bytes]) -> bool:
        try:
            for data in reads:
                parser.feed(data)
        except EventTooLarge:
            return True
        return False

    # An event's size: its lines and their ends, one byte each, the blank line not counted.
    *ended, unfinished = re.split(b"\n\n+", re.sub(b"\r\n|\r", b"\n", stream).lstrip(b"\n"))
    largest = max([1, *(len(lines) + 1 for lines in ended), len(unfinished)])
    for reads in ([stream], cut(stream, places)):
        for parser in (SSEParser, DataParser):
            assert not is_refused(parser(limit_bytes=largest), reads)
            assert largest == 1 or is_refused(parser(limit_bytes=largest - 1), reads)


@pytest.mark.parametrize("parser", [SSEParser, DataParser])
def test_an_endless_line_is_refused_at_the_limit(parser: type[SSEParser | DataParser]) -> None:
    reading = parser()
    for _ in range(128):
        reading.feed(b"x" * 65536)
    with pytest.raises(EventTooLarge, match="8388608"):
        reading.feed(b"x")
