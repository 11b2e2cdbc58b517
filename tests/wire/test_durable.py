"""The Durable Streams protocol in its pure parts: what is read of a request, and what is written of a stream."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvalidRequest, MalformedBody
from headrace.wire import durable
from headrace.wire.durable import Fork, Kind, Lifetime, Producer, Reading
from headrace.wire.sse import SSEParser


@given(st.integers(0, 10**16 - 1), st.integers(0, 10**16 - 1))
def test_offsets_sort_as_text_as_positions_do_and_read_back(one: int, other: int) -> None:
    assert (durable.offset_text(one) < durable.offset_text(other)) == (one < other)
    assert durable.read_offset(durable.offset_text(one)) == one


@pytest.mark.parametrize(
    "query",
    [
        "offset=", "offset=0,0", "offset=0%200", "offset=..", "offset=a/b", "offset=%00", "offset=1%0A",
        "offset=-1&offset=-1", "offset=-2", "offset=NOW", "offset=%D9%A1", "live=sse", "live=long-poll",
        "offset=-1&live=maybe", "offset=0000000000000000_000000000000000x", "&".join(["a=1"] * 200),
    ],
)  # fmt: skip
def test_a_query_that_names_no_place_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest):
        durable.read_query(query.encode())


def test_a_query_says_where_and_how() -> None:
    assert durable.read_query(b"") == Reading(0, None, None)
    assert durable.read_query(b"offset=now&unknown=1") == Reading(None, None, None)
    at = "0000000000000000_0000000000000021"
    assert durable.read_query(f"offset={at}&live=sse&cursor=7".encode()) == Reading(21, "sse", 7)
    assert durable.read_query(b"offset=-1&live=long-poll&cursor=x") == Reading(0, "long-poll", None)


@pytest.mark.parametrize("ttl", ["", "-1", "+1", "01", "1.0", "1e3", "abc", " 1", "٣", "9" * 30])
def test_a_ttl_that_is_no_plain_number_is_refused(ttl: str) -> None:
    with pytest.raises(InvalidRequest):
        durable.read_lifetime({"stream-ttl": ttl})


@pytest.mark.parametrize(
    "at", ["", "tomorrow", "2026-11-20", "2026-11-20T10:00:00", "2026-13-20T10:00:00Z", "2026-W47"]
)
def test_an_expiry_that_is_no_instant_is_refused(at: str) -> None:
    with pytest.raises(InvalidRequest):
        durable.read_lifetime({"stream-expires-at": at})


def test_an_instant_may_be_written_in_several_ways() -> None:
    one = durable.read_lifetime({"stream-expires-at": "2026-11-20T10:00:00Z"})
    other = durable.read_lifetime({"stream-expires-at": "2026-11-20t12:00:00.000+02:00"})
    assert one.equals(other)
    assert not one.equals(Lifetime())
    with pytest.raises(InvalidRequest):
        durable.read_lifetime({"stream-ttl": "1", "stream-expires-at": "2026-11-20T10:00:00Z"})


def test_a_producer_has_all_three_headers_or_none() -> None:
    whole = {"producer-id": "p", "producer-epoch": "0", "producer-seq": "9007199254740991"}
    assert durable.read_producer({}) is None
    assert durable.read_producer(whole) == Producer("p", 0, 2**53 - 1)
    for name in whole:
        with pytest.raises(InvalidRequest):
            durable.read_producer({key: value for key, value in whole.items() if key != name})
    for name in ("producer-epoch", "producer-seq"):
        for wrong in ("", "-1", "1abc", "1e3", "9007199254740992"):
            with pytest.raises(InvalidRequest):
                durable.read_producer(whole | {name: wrong})
    for wrong in ("", "x" * 257):
        with pytest.raises(InvalidRequest):
            durable.read_producer(whole | {"producer-id": wrong})


def test_a_fork_names_what_it_branches_off() -> None:
    source = {"stream-forked-from": "/v1/stream/a"}
    assert durable.read_fork({}) is None
    assert durable.read_fork(source) == Fork("/v1/stream/a", None, 0)
    at = {"stream-fork-offset": "-1", "stream-fork-sub-offset": "3"}
    assert durable.read_fork(source | at) == Fork("/v1/stream/a", 0, 3)
    for wrong in (at, source | {"stream-fork-sub-offset": "1"}, source | {"stream-fork-offset": "1"}):
        with pytest.raises(InvalidRequest):
            durable.read_fork(wrong)


@pytest.mark.parametrize("given", ["text", "a/b/c", "text/html\x7f", "text/plain; \x01", "x/y" * 200, "/", "ö/x"])
def test_what_is_no_content_type_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest):
        durable.read_content_type({"content-type": given})


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("text/plain;charset=utf-8", "text"),
        ("TEXT/markdown", "text"),
        ("application/x-ndjson", "binary"),
        ("", "binary"),
    ],
)
def test_how_a_stream_is_read_follows_from_its_type(content_type: str, kind: Kind) -> None:
    assert durable.kind_of(content_type) == kind


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b'{"a":1}', [b'{"a":1}']),
        (b' [1, "two" ,\n[3]] ', [b"1", b'"two"', b"[3]"]),
        (b"[[1,2]]", [b"[1,2]"]),
        (b"[]", []),
        (b"null", [b"null"]),
        ('"日本"'.encode(), ['"日本"'.encode()]),
    ],
)
def test_an_array_is_taken_apart_one_level_deep(body: bytes, messages: list[bytes]) -> None:
    assert durable.split_messages(body) == messages
    said = json.loads(body)
    assert json.loads(durable.joined("json", messages)) == (said if isinstance(said, list) else [said])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b"[1] 2",
        b"nan",
        b'["\xff"]',
        b'{"a":"\xff"}',
        b'["\\ud800"]',
        b"[" * 100 + b"]" * 100,
        b"'a'",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        durable.split_messages(body)


NOW = durable.CURSOR_EPOCH_NS + 1000 * durable.CURSOR_INTERVAL_NS


@given(st.integers(0, 10**6), st.floats(0, 0.999))
def test_a_cursor_is_always_more_than_the_readers_own(asked: int, chance: float) -> None:
    after = durable.cursor_after(NOW, asked, chance)
    assert after > asked or asked < after == 1000
    assert durable.cursor_after(NOW, None, chance) == 1000


def test_the_cursor_that_tells_of_the_end_is_known_again_and_no_other() -> None:
    assert durable.was_told_closed(NOW, durable.closed_cursor(NOW))
    assert durable.was_told_closed(NOW + 3600 * 10**9, durable.closed_cursor(NOW))
    for other in (None, 0, 1000, durable.cursor_after(NOW, 1000, 0.999)):
        assert not durable.was_told_closed(NOW, other)


@given(st.text() | st.sampled_from(["a\r\rb", "\n\nevent: control\ndata: {}\n\n", " x\r\n  y", "\x85\u2028", ""]))
def test_no_payload_ends_its_event_or_begins_another(text: str) -> None:
    framed = durable.data_event("text", text.encode("utf-8", "replace"))
    events = SSEParser().feed(framed + durable.control_event(5, cursor=1, up_to_date=True, closed=False))
    assert [each.type for each in events] == ["data", "control"]
    assert events[0].data == text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    assert json.loads(events[1].data) == {
        "streamNextOffset": durable.offset_text(5), "streamCursor": "1", "upToDate": True
    }  # fmt: skip


@given(st.binary())
def test_bytes_come_back_from_their_event(payload: bytes) -> None:
    (event,) = SSEParser().feed(durable.data_event("binary", payload)) or (None,)
    if payload:  # an event without data is none
        assert event is not None
        assert base64.b64decode(event.data) == payload


@given(st.text(), st.integers(0, 200))
def test_no_character_and_no_line_end_is_cut_in_two(text: str, cut: int) -> None:
    payload = text.encode("utf-8", "replace")
    piece = payload[:cut]
    fit = durable.whole_text(piece)
    assert len(piece) - fit <= 3
    piece[:fit].decode()
    assert not piece[:fit].endswith(b"\r")


def test_text_that_is_no_utf_8_is_shown_all_the_same() -> None:
    (event,) = SSEParser().feed(durable.data_event("text", b"caf\xe9"))
    assert event.data == "caf\N{REPLACEMENT CHARACTER}"


def test_a_closed_stream_needs_no_cursor() -> None:
    (event,) = SSEParser().feed(durable.control_event(3, cursor=9, up_to_date=True, closed=True))
    assert json.loads(event.data) == {"streamNextOffset": durable.offset_text(3), "streamClosed": True}


@pytest.mark.parametrize(
    ("given", "matches"), [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False)]
)
def test_an_etag_is_looked_for_among_all_that_are_given(given: str, matches: bool) -> None:
    assert durable.matches_etag({"if-none-match": given}, '"a"') is matches
    assert not durable.matches_etag({}, '"a"')
