"""What every protocol promises: the bytes a reader gets depend on the events and its options, and on nothing else."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InvalidRequest, UpstreamReset
from headrace.events import (
    FINISHED,
    Ended,
    Ending,
    Event,
    Failure,
    Passthrough,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.interfaces import ReaderProtocol
from headrace.protocols import PROTOCOLS
from headrace.requests import ReaderOptions
from headrace.timing import Timing
from headrace.usage import Usage

every_protocol = pytest.mark.parametrize("protocol", list(PROTOCOLS.values()), ids=list(PROTOCOLS))
# For tests that run once for every protocol, so that all of them together take seconds.
a_few = settings(max_examples=40)
# Those whose records are lines of JSON, sent as server-sent events that end in `[DONE]`.
ENDED_BY_DONE = ["openai_chat", "typed_events"]
ended_by_done = pytest.mark.parametrize("protocol", [PROTOCOLS[name] for name in ENDED_BY_DONE], ids=ENDED_BY_DONE)

# Characters at which one reader or another cuts lines, or which JSON, UTF-8 or UTF-16 treat in their own way.
AWKWARD = '\n\r\t\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ufeff"\\/今é😀\U0010ffff'
texts = st.text(st.sampled_from(AWKWARD) | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
numbers = st.integers(0, 2)
counts = st.none() | st.integers(0, 10**6)
usages = st.builds(
    Usage,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from(["reported", "counted", "estimated"]),
    st.sampled_from(["reported", "counted", "estimated"]),
    texts,
    counts,
    counts,
)
timings = st.builds(Timing, *[st.integers(0, 10**12)] * 5, st.sampled_from(["text", "reasoning", None]), numbers)
values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | texts, lambda inner: st.lists(inner, max_size=2))
kept_json = st.dictionaries(st.sampled_from(["logprobs", "audio", "annotations"]), values.map(msgspec.json.encode)).map(
    lambda fields: {key: msgspec.Raw(value) for key, value in fields.items()}
)
sources = st.builds(Source, st.integers(1, 9), texts, texts, texts, st.floats(0, 1))
deltas = st.builds(TextDelta, texts, numbers) | st.builds(ReasoningDelta, texts, numbers)
anything = (
    deltas
    | deltas
    | st.builds(TextDelta, texts)
    | st.builds(ToolCallDelta, numbers, st.none() | texts, st.none() | texts, texts, numbers)
    | st.builds(Passthrough, st.sampled_from(["openai_chat", "another"]), kept_json, kept_json, numbers)
    | st.builds(UsageKnown, usages)
    | st.builds(Status, st.just("loading"), texts, st.none() | texts, st.none() | texts)
    | st.builds(Sources, st.lists(sources, max_size=2).map(tuple))
)
failures = st.builds(Failure, texts, texts, st.integers(400, 599), st.booleans(), st.none(), st.none() | texts)
own_endings: list[Ending] = ["stop", "length", "tool_calls", "content_filter"]
broken_endings: list[Ending] = ["cancelled", "incomplete", "interrupted", "error"]
choices = st.just(()) | st.lists(st.sampled_from(own_endings), min_size=2, max_size=3).map(
    lambda each: tuple(enumerate(each))
)
finished = st.builds(Ended, st.sampled_from(own_endings), st.none(), st.none() | timings, choices)
broken = st.builds(Ended, st.sampled_from(broken_endings), failures, st.none() | timings)
started = st.builds(Started, texts, texts, st.integers(0, 2 * 10**18), st.none() | texts, st.none() | texts)


def generations(last: st.SearchStrategy[Ended]) -> st.SearchStrategy[list[Event]]:
    """Whole generations that end so."""
    return st.builds(lambda first, middle, end: [first, *middle, end], started, st.lists(anything, max_size=12), last)


options_of_readers = st.builds(
    ReaderOptions,
    include_usage=st.booleans(),
    rationale=st.booleans(),
    metadata=st.booleans(),
    event_ids=st.booleans(),
    chunk_size=st.none() | st.integers(1, 5),
)


def written(
    protocol: ReaderProtocol, options: ReaderOptions, events: Sequence[Event], cuts: Sequence[int], *, start: int = 0
) -> bytes:
    """What a reader gets from the offset `start` on when the events come in batches cut at these places."""
    encoder = protocol.encoder(options)
    frames = b""
    places = sorted({0, start, len(events), *(cut % (len(events) + 1) for cut in cuts)})
    for begin, end in pairwise(places):
        frame = protocol.framing.frame(encoder.encode(begin, events[begin:end]))
        if begin >= start:
            frames += frame
    return frames


def written_with_ids(
    protocol: ReaderProtocol, options: ReaderOptions, events: Sequence[Event], *, start: int = 0
) -> bytes:
    """The same where every frame carries the offset of its event."""
    encoder = protocol.encoder(options)
    encoder.encode(0, events[:start])
    return b"".join(
        protocol.framing.frame_with_id(encoder.encode(offset, (event,)), offset)
        for offset, event in enumerate(events[start:], start)
    )


@every_protocol
@a_few
@given(
    events=generations(finished | broken),
    options=options_of_readers,
    cuts=st.lists(st.integers(0, 20), max_size=6),
)
def test_how_events_were_batched_changes_no_byte(
    protocol: ReaderProtocol, events: list[Event], options: ReaderOptions, cuts: list[int]
) -> None:
    one_by_one = written(protocol, options, events, range(len(events)))
    assert written(protocol, options, events, cuts) == one_by_one
    assert written(protocol, options, events, []) == one_by_one


@every_protocol
@a_few
@given(
    events=generations(finished | broken),
    options=options_of_readers,
    start=st.integers(0, 20),
    cuts=st.lists(st.integers(0, 20), max_size=6),
)
def test_l6_a_reader_that_returns_gets_the_bytes_it_missed(
    protocol: ReaderProtocol, events: list[Event], options: ReaderOptions, start: int, cuts: list[int]
) -> None:
    start %= len(events) + 1
    unbroken = written(protocol, options, events, [])
    before = written(protocol, options, events[:start], [])
    assert before + written(protocol, options, events, cuts, start=start) == unbroken
    with_ids = written_with_ids(protocol, options, events)
    assert with_ids.endswith(written_with_ids(protocol, options, events, start=start))


@ended_by_done
@given(events=generations(finished | broken), options=options_of_readers)
def test_ids_are_added_and_change_nothing_else(
    protocol: ReaderProtocol, events: list[Event], options: ReaderOptions
) -> None:
    with_ids = written_with_ids(protocol, options, events)
    assert without_ids(with_ids) == written(protocol, options, events, [])


@ended_by_done
@given(events=generations(finished | broken), options=options_of_readers)
def test_of_the_frames_made_from_one_event_the_last_alone_carries_its_offset(
    protocol: ReaderProtocol, events: list[Event], options: ReaderOptions
) -> None:
    encoder = protocol.encoder(options)
    for offset, event in enumerate(events):
        data = protocol.framing.frame_with_id(encoder.encode(offset, (event,)), offset)
        frames = data.decode().split("\n\n")[:-1]
        marks = [frame.startswith(f"id: {offset}\ndata: ") for frame in frames]
        assert marks == [False] * (len(frames) - 1) + [True] * bool(frames)


@ended_by_done
@given(events=generations(finished | broken), options=options_of_readers)
def test_every_record_is_one_line_for_whoever_cuts_lines(
    protocol: ReaderProtocol, events: list[Event], options: ReaderOptions
) -> None:
    text = written(protocol, options, events, []).decode("utf-8")
    assert text.splitlines() == text.split("\n")[:-1]
    assert all(line == "" or line.startswith("data: ") for line in text.splitlines())
    if events[-1].ending in FINISHED:  # type: ignore[union-attr]  # the last event is an `Ended`
        whole = protocol.whole(events, options).decode("utf-8")
        assert whole.splitlines() == [whole]


@ended_by_done
@given(events=generations(finished | broken), options=options_of_readers)
def test_l17_a_stream_ends_in_exactly_one_terminal_record(
    protocol: ReaderProtocol, events: list[Event], options: ReaderOptions
) -> None:
    sent = list(records(written(protocol, options, events, [])))
    assert sent[-1] == "[DONE]"
    assert sent.count("[DONE]") == 1
    objects = [json.loads(record) for record in sent[:-1]]
    errors = [place for place, each in enumerate(objects) if "error" in each or each.get("type") == "error"]
    last = events[-1]
    assert isinstance(last, Ended)
    # An error stands last, and where there is one nothing says that the answer is finished.
    assert errors == ([] if last.ending in FINISHED else [len(objects) - 1])
    ended_well = [each for each in objects if each.get("type") == "done" or finish_reasons(each)]
    assert bool(ended_well) == (last.ending in FINISHED)


@every_protocol
@a_few
@given(event=anything, options=options_of_readers)
def test_nothing_is_written_of_an_event_twice(protocol: ReaderProtocol, event: Event, options: ReaderOptions) -> None:
    encoder = protocol.encoder(options)
    encoder.encode(0, (Started("s", "fast", 0),))
    encoder.encode(1, (event,))
    assert encoder.encode(2, ()) == []


@ended_by_done
def test_an_error_before_anything_was_sent_has_openais_shape(protocol: ReaderProtocol) -> None:
    refused = InvalidRequest('"model" is missing', parameter="model")
    assert json.loads(protocol.error(refused)) == {
        "error": {
            "message": '"model" is missing',
            "type": "invalid_request_error",
            "code": "invalid_request",
            "param": "model",
        }
    }


@ended_by_done
def test_l18_a_failed_stream_tells_what_the_upstream_said_beside_our_own_code(protocol: ReaderProtocol) -> None:
    failure = msgspec.structs.replace(
        UpstreamReset("groq: the connection broke", upstream="groq").failure(),
        upstream_status=500,
        upstream_code="oops",
    )
    assert json.loads(protocol.error(Ended("error", failure))) == {
        "error": {
            "message": "groq: the connection broke",
            "type": "server_error",
            "code": "upstream_reset",
            "param": None,
            "upstream": {"name": "groq", "status": 500, "code": "oops"},
        }
    }


@every_protocol
def test_a_protocol_is_found_under_its_own_name(protocol: ReaderProtocol) -> None:
    assert PROTOCOLS[protocol.name] is protocol


@ended_by_done
def test_an_encoder_that_knows_nothing_can_still_tell_an_error(protocol: ReaderProtocol) -> None:
    # What is left when a fault of ours has broken off another encoder (L19).
    failure = Failure("internal_error", "headrace made a mistake", 500)
    sent = list(records(written(protocol, ReaderOptions(include_usage=True), [Ended("error", failure)], [])))
    assert sent[-1] == "[DONE]"
    assert "headrace made a mistake" in sent[-2]


def records(data: bytes) -> Iterator[str]:
    for frame in data.decode("utf-8").split("\n\n")[:-1]:
        yield frame.removeprefix("data: ")


def finish_reasons(chunk: dict[str, Any]) -> list[str]:
    return [choice["finish_reason"] for choice in chunk.get("choices", ()) if choice["finish_reason"] is not None]


def without_ids(data: bytes) -> bytes:
    return b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"id: "))
