"""Bytes of a connection as whole, numbered pieces, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.client.pieces import Piece, Pieces
from headrace.events import (
    Ended,
    Event,
    Failure,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.protocols import PROTOCOLS
from headrace.requests import ReaderOptions
from headrace.timing import Timing
from headrace.usage import reported

EVENTS: list[Event] = [
    Started("s", "m", 0),
    Sources((Source(1, "a", "A", "passage", 0.5),)),
    ReasoningDelta("Hm."),
    TextDelta("日本語 🏝️"),
    TextDelta("\u2028\n\n"),
    ToolCallDelta(0, "c", "f", "{}"),
    TextDelta("a long piece of text"),
    UsageKnown(reported(1, 2, by="lab")),
    Ended("stop", None, Timing(5_000_000)),
]
LAST = len(EVENTS) - 1


def framed(first: int = 0, *, chunk_size: int | None = None, events: list[Event] = EVENTS) -> bytes:
    """What a server sends to a reader that has read everything before `first`."""
    protocol = PROTOCOLS["typed_events"]
    encoder = protocol.encoder(ReaderOptions(event_ids=True, chunk_size=chunk_size))
    frames = [
        protocol.framing.frame_with_id(encoder.encode(offset, [event]), offset) for offset, event in enumerate(events)
    ]
    return b"".join(frames[first:])


def fed(pieces: Pieces, data: bytes, step: int = 1 << 20) -> list[Piece]:
    return [piece for start in range(0, len(data), step) for piece in pieces.feed(data[start : start + step])]


def test_each_piece_is_an_event_with_its_offset() -> None:
    pieces = Pieces(-1)
    read = fed(pieces, framed())
    # Usage has no frame of its own: it comes with the end.
    assert [(piece.offset, list(piece.events)) for piece in read] == [
        *((offset, [event]) for offset, event in enumerate(EVENTS[:7])),
        (LAST, EVENTS[7:]),
    ]
    assert pieces.ended


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_any_cutting_gives_the_same_pieces(step: int, chunk_size: int | None) -> None:
    data = framed(chunk_size=chunk_size)
    assert fed(Pieces(-1), data, step) == fed(Pieces(-1), data)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_l6_a_drop_after_any_byte_loses_nothing_and_repeats_nothing(chunk_size: int | None) -> None:
    data = framed(chunk_size=chunk_size)
    whole = fed(Pieces(-1), data)
    for cut in range(len(data) + 1):
        before = fed(Pieces(-1), data[:cut])
        after = before[-1].offset if before else -1
        rest = fed(Pieces(after), framed(after + 1, chunk_size=chunk_size))
        assert before + rest == whole


def test_heartbeats_are_no_events() -> None:
    data = framed().replace(b"\n\n", b"\n\n: hb\n\n")
    assert fed(Pieces(-1), data) == fed(Pieces(-1), framed())


@given(st.integers(0, LAST), st.integers(-1, LAST))
def test_what_was_read_before_is_dropped_if_it_comes_again(first: int, after: int) -> None:
    read = fed(Pieces(after), framed(min(first, after + 1)))
    assert read == [piece for piece in fed(Pieces(-1), framed()) if piece.offset > after]


def test_a_reader_that_cannot_be_served_on_is_told_outside_of_the_numbers() -> None:
    pieces = Pieces(-1)
    fault = Ended("error", Failure("internal_error", "a mistake", 500))
    protocol = PROTOCOLS["typed_events"]
    told = protocol.framing.frame(protocol.encoder(ReaderOptions()).encode(0, [fault]))
    read = fed(pieces, framed(events=EVENTS[:4]) + told)
    assert [piece.offset for piece in read] == [0, 1, 2, 3, 3]
    assert pieces.ended
    assert isinstance(read[-1].events[-1], Ended)


@pytest.mark.parametrize("data", [b"data: <html>\n\n", framed().replace(b"id: ", b"no: "), b"id: x\ndata: {}\n\n"])
def test_what_is_no_numbered_event_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Pieces(-1).feed(data)
