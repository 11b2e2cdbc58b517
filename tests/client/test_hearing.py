"""Typed events read back: what the server's encoder writes, the client hears."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.client.hearing import Hearing
from headrace.events import (
    Ended,
    Event,
    Failure,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.protocols import PROTOCOLS
from headrace.requests import ReaderOptions
from headrace.timing import Timing
from headrace.usage import Usage

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MILLISECONDS = st.integers(0, 10**6).map(lambda milliseconds: milliseconds * 1_000_000)

STARTED = st.builds(
    Started,
    stream_id=TEXT,
    model=TEXT,
    created_ns=st.integers(0, 4 * 10**12).map(lambda milliseconds: milliseconds * 1_000_000),
    language=st.none() | TEXT,
    conversation_id=st.none() | TEXT,
)
SOURCE = st.builds(
    Source, number=st.integers(1, 99), id=TEXT, title=TEXT, passage=TEXT, score=st.floats(0, 99, allow_nan=False)
)
BETWEEN = st.one_of(
    st.builds(TextDelta, TEXT),
    st.builds(ReasoningDelta, TEXT),
    st.builds(Status, st.sampled_from(["searching", "failed_over"]), TEXT, st.none() | TEXT, st.none() | TEXT),
    st.builds(Sources, st.lists(SOURCE, min_size=1, max_size=3).map(tuple)),
    st.builds(ToolCallDelta, index=st.integers(0, 3), id=TEXT, name=TEXT, arguments=TEXT),
    st.builds(ToolCallDelta, index=st.integers(0, 3), arguments=TEXT),
)
USAGE = st.builds(
    Usage,
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    prompt_source=st.sampled_from(["reported", "counted", "estimated"]),
    completion_source=st.sampled_from(["reported", "counted", "estimated"]),
    by=TEXT,
    cached_tokens=st.none() | st.integers(0, 9),
    reasoning_tokens=st.none() | st.integers(0, 9),
)
TIMING = st.builds(
    Timing,
    total_ns=MILLISECONDS,
    queue_ns=st.none() | MILLISECONDS,
    connect_ns=st.none() | MILLISECONDS,
    first_byte_ns=st.none() | MILLISECONDS,
    time_to_first_token_ns=st.none() | MILLISECONDS,
    first_token_kind=st.sampled_from([None, "text", "reasoning", "tool_call"]),
    attempts=st.integers(1, 4),
)
ENDED = st.one_of(
    st.builds(Ended, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), st.none(), TIMING),
    st.builds(
        Ended,
        st.sampled_from(["cancelled", "incomplete", "interrupted", "error"]),
        st.builds(Failure, code=TEXT, message=TEXT, http_status=st.just(500)),
        TIMING,
    ),
)


@given(STARTED, st.lists(BETWEEN, max_size=8), st.none() | USAGE, ENDED)
def test_what_the_server_writes_is_heard_as_it_was(
    started: Started, between: list[Event], usage: Usage | None, ended: Ended
) -> None:
    events: list[Event] = [started, *between, *([] if usage is None else [UsageKnown(usage)]), ended]
    hearing = Hearing()
    heard: list[Event] = []
    encoder = PROTOCOLS["typed_events"].encoder(ReaderOptions())
    for record in (record for offset, event in enumerate(events) for record in encoder.encode(offset, [event])):
        assert not hearing.ended
        heard += hearing.feed(record.decode())
    assert heard == events
    assert hearing.ended


def test_an_unknown_type_is_passed_over() -> None:
    assert Hearing().feed('{"type":"something_new","content":"…","more":[1]}') == []


def test_the_end_without_an_ending_is_no_end() -> None:
    hearing = Hearing()
    assert hearing.feed("[DONE]") == []
    assert not hearing.ended


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        Hearing().feed("<html>")
