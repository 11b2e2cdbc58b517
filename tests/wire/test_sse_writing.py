"""What we write as server-sent events, read back by our parser, by an SDK people use, and by careless line readers."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.wire import json_text
from headrace.wire.sse import DataParser, ServerSentEvent, SSEParser, comment, comment_line, data_frames, event

Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]

awkward = st.sampled_from("\r\n\0\t :\x0b\x0c\x1c\x85\u2028\u2029\ufeff今😀é")
texts = st.text(awkward | st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
places = st.lists(st.integers(0, 300), max_size=8)
records = st.lists(st.dictionaries(texts, texts).map(json_text.encode), max_size=6)

PIECES = ["He", "llo", "今天", " 😀", "a\u2028b\u0085c\r\nd", "\n\n"]


def as_one_line_end(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(
    text=texts,
    kind=st.none() | names,
    id=st.none() | st.text(st.characters(max_codepoint=127, exclude_characters="\r\n\0")),
    retry=st.none() | st.integers(0, 10**9),
    places=places,
)
def test_what_is_written_is_read_back_at_any_cutting(
    cut: Cut, text: str, kind: str | None, id: str | None, retry: int | None, places: list[int]
) -> None:
    parser = SSEParser()
    written = event(text, event=kind, id=id, retry=retry)
    events = [event for data in cut(written, places) for event in parser.feed(data)]
    assert events == [ServerSentEvent(kind or "message", as_one_line_end(text), id or "")]
    assert parser.retry == retry


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_text_cannot_smuggle_in_fields_or_events(line_end: str) -> None:
    written = event(f"a{line_end}event: error{line_end}{line_end}data: b")
    assert written == b"data: a\ndata: event: error\ndata: \ndata: data: b\n\n"


@pytest.mark.parametrize("character", ["\n", "\r", "\r\n", "\0"])
def test_line_ends_and_nul_are_refused_in_ids_types_and_comments(character: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        event("", id=f"1{character}data: x")
    with pytest.raises(ValueError, match="one line"):
        event("", event=f"token{character}data: x")
    with pytest.raises(ValueError, match="one line"):
        comment(f"hb{character}data: x")


def test_an_id_that_would_break_reconnecting_is_refused() -> None:
    with pytest.raises(ValueError, match="ASCII"):
        event("a", id="é")


def test_a_negative_retry_is_refused() -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        event("a", retry=-1)


def test_half_a_surrogate_pair_is_written_as_a_replacement_and_two_halves_as_their_character() -> None:
    assert event("a\ud83d") == "data: a\ufffd\n\n".encode()
    assert event("\ud83d\ude00") == "data: 😀\n\n".encode()


@given(records=records, places=places)
def test_frames_are_read_back_as_their_records_at_any_cutting(
    cut: Cut, records: list[bytes], places: list[int]
) -> None:
    written = cut(data_frames(records), places)
    parser, data_parser = SSEParser(), DataParser()
    assert [event.data.encode() for data in written for event in parser.feed(data)] == records
    assert [payload for data in written for payload in data_parser.feed(data)] == records


@given(records=records, offsets=st.lists(st.none() | st.integers(0, 10**12), min_size=6, max_size=6))
def test_frames_carry_the_identifiers_they_are_given(records: list[bytes], offsets: list[int | None]) -> None:
    offsets = offsets[: len(records)]
    last, expected = "", []
    for record, offset in zip(records, offsets, strict=True):
        last = last if offset is None else str(offset)
        expected.append(ServerSentEvent("message", record.decode(), last))
    assert SSEParser().feed(data_frames(records, identifiers=offsets)) == expected


def test_identifiers_that_do_not_match_the_records_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        data_frames([b"{}", b"{}"], identifiers=[1])


def test_no_records_are_no_bytes() -> None:
    assert data_frames([]) == b""
    assert data_frames([], identifiers=[]) == b""


@given(records=records)
def test_readers_that_split_text_at_every_unicode_line_end_get_whole_records(records: list[bytes]) -> None:
    lines = data_frames(records).decode().splitlines()
    assert lines == [line for record in records for line in ("data: " + record.decode(), "")]


@given(records=records)
def test_a_heartbeat_between_frames_changes_nothing_that_is_read(records: list[bytes]) -> None:
    frames = [data_frames([record]) for record in records]
    for heartbeat in (comment("hb"), comment_line("hb")):
        written = b"".join(frame + heartbeat for frame in frames)
        assert SSEParser().feed(written) == SSEParser().feed(b"".join(frames))
        assert DataParser().feed(written) == records


def chunk(piece: str) -> bytes:
    delta = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
    return json_text.encode(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
    )


def read_by_the_sdk(written: bytes, read_size_bytes: int) -> list[str | None]:
    """The pieces that the official SDK hands to a program when it is answered with these bytes."""

    def body() -> Iterator[bytes]:
        for start in range(0, len(written), read_size_bytes):
            yield written[start : start + read_size_bytes]

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=body())

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http_client:
        client = openai.OpenAI(base_url="http://upstream/v1", api_key="none", http_client=http_client, max_retries=0)
        with client.chat.completions.create(model="m", messages=[], stream=True) as stream:
            return [chunk.choices[0].delta.content for chunk in stream]


def interleaved(frames: Iterable[bytes], heartbeat: bytes) -> bytes:
    return heartbeat + b"".join(frame + heartbeat for frame in frames)


@pytest.mark.parametrize("read_size_bytes", [1, 7, 65536])
def test_the_sdk_reads_our_frames_with_heartbeats_between_them(read_size_bytes: int) -> None:
    frames = [data_frames([chunk(piece)]) for piece in PIECES]
    written = interleaved([*frames, data_frames([b"[DONE]"])], comment("hb"))
    assert read_by_the_sdk(written, read_size_bytes) == PIECES


@pytest.mark.parametrize("read_size_bytes", [1, 7, 65536])
def test_the_sdk_reads_our_frames_with_ids_and_heartbeats_between_them(read_size_bytes: int) -> None:
    frames = [data_frames([chunk(piece)], identifiers=[offset]) for offset, piece in enumerate(PIECES)]
    written = interleaved([*frames, data_frames([b"[DONE]"])], comment_line("hb"))
    assert read_by_the_sdk(written, read_size_bytes) == PIECES


def test_a_heartbeat_with_a_blank_line_still_breaks_the_sdk_once_an_id_was_sent() -> None:
    # Why there are two forms of a comment. When this fails, the SDK is mended and one form is enough.
    written = data_frames([chunk("a")], identifiers=[0]) + comment("hb") + data_frames([chunk("b"), b"[DONE]"])
    with pytest.raises(ValueError, match="Expecting value"):
        read_by_the_sdk(written, 65536)


def test_the_sdk_reads_a_retry_that_rides_on_a_frame() -> None:
    written = event(chunk("a").decode(), retry=3000) + data_frames([chunk("b"), b"[DONE]"])
    assert read_by_the_sdk(written, 65536) == ["a", "b"]
