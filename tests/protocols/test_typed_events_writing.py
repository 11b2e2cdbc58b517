"""Typed events as we write them: the very bytes for each event, streamed and whole (D1, D2)."""

import json
from typing import Any

import msgspec
import pytest

from headrace.events import (
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
from headrace.protocols.typed_events import TypedEvents, split
from headrace.requests import ReaderOptions
from headrace.timing import Timing
from headrace.usage import Usage, reported

PLAIN = ReaderOptions()
STARTED = Started("f00d", "fast", 1_795_168_800_012_000_000, language="de", conversation_id="c1")
SOURCE = Source(1, "doc#1", "Bread", "Bake it.", 0.5)
SOURCE_JSON = b'{"n":1,"id":"doc#1","title":"Bread","passage":"Bake it.","score":0.5}'
USAGE = UsageKnown(reported(3, 2, by="groq", cached_tokens=1))
TIMING = Timing(812_000_000, 1_000_000, 2_500_000, 80_000_000, 90_000_000, "text", 2)
METADATA = (
    b'{"type":"metadata","token_count":2,"duration_ms":812.0,"ttft_ms":90.0,'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"cached_tokens":1,"reasoning_tokens":null,'
    b'"source":"reported","prompt_source":"reported","completion_source":"reported","by":"groq"},'
    b'"timing":{"queue_ms":1.0,"connect_ms":2.5,"first_byte_ms":80.0,"first_token_ms":90.0,"total_ms":812.0,'
    b'"first_token_kind":"text","attempts":2}}'
)
FAILURE = Failure("upstream_truncated", "groq stopped", 502)


def encoded(*events: Event, options: ReaderOptions = PLAIN) -> list[bytes]:
    """The frames for these events, one event at a time."""
    encoder = TypedEvents().encoder(options)
    return [record for offset, event in enumerate(events) for record in encoder.encode(offset, (event,))]


def whole(*events: Event, options: ReaderOptions = PLAIN) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(TypedEvents().whole((STARTED, *events), options))
    return body


def test_d2_an_answer_byte_for_byte() -> None:
    encoder = TypedEvents().encoder(PLAIN)
    events: list[Event] = [STARTED, TextDelta("Hel"), TextDelta("lo"), USAGE, Ended("stop", timing=TIMING)]
    assert TypedEvents.framing.frame(encoder.encode(0, events)) == (
        b'data: {"type":"start","timestamp":"2026-11-20T10:00:00.012Z","language":"de","stream_id":"f00d",'
        b'"conversation_id":"c1","model":"fast"}\n\n'
        b'data: {"type":"token","content":"Hel"}\n\n'
        b'data: {"type":"token","content":"lo"}\n\n'
        b'data: {"type":"done","content":"Hello","sources":[],"finish_reason":"stop"}\n\n'
        b"data: " + METADATA + b"\n\n"
        b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize(
    ("event", "frames"),
    [
        (Status("searching", "looking"), [b'{"type":"status","phase":"searching","message":"looking"}']),
        (
            Status("failed_over", "asking b", origin="a", destination="b"),
            [b'{"type":"status","phase":"failed_over","message":"asking b","from":"a","to":"b"}'],
        ),
        (Sources((SOURCE,)), [b'{"type":"sources","sources":[' + SOURCE_JSON + b"]}"]),
        (ReasoningDelta("hm\u2029"), [b'{"type":"rationale","content":"hm\\u2029"}']),
        (TextDelta("今\u2028\n"), ['{"type":"token","content":"今\\u2028\\n"}'.encode()]),
        (
            ToolCallDelta(1, "call_1", "bake", "{"),
            [b'{"type":"tool_call","index":1,"id":"call_1","name":"bake","arguments":"{"}'],
        ),
        (ToolCallDelta(1, arguments="}"), [b'{"type":"tool_call","index":1,"arguments":"}"}']),
        (USAGE, []),
        (Passthrough("openai_chat", {"logprobs": msgspec.Raw(b"{}")}), []),
    ],
    ids=["status", "failover", "sources", "rationale", "token", "a call", "more of a call", "usage", "passthrough"],
)
def test_d2_each_event_has_its_frame(event: Event, frames: list[bytes]) -> None:
    assert encoded(event) == frames


@pytest.mark.parametrize(
    "event",
    [TextDelta("b", choice=1), ReasoningDelta("b", choice=1), ToolCallDelta(0, "call_0", "bake", "{}", choice=1)],
    ids=lambda event: type(event).__name__,
)
def test_of_several_choices_the_first_alone_is_told(event: Event) -> None:
    assert encoded(event) == []
    assert encoded(TextDelta("a"), event, Ended("stop"))[1] == (
        b'{"type":"done","content":"a","sources":[],"finish_reason":"stop"}'
    )


def test_d5_the_last_frame_repeats_the_whole_answer_with_all_its_sources() -> None:
    *_, done, _, _ = encoded(
        Sources((SOURCE,)), TextDelta("Yes"), Sources((SOURCE,)), TextDelta(" [1]"), Ended("length")
    )
    sources = b"[" + SOURCE_JSON + b"," + SOURCE_JSON + b"]"
    assert done == b'{"type":"done","content":"Yes [1]","sources":' + sources + b',"finish_reason":"length"}'


@pytest.mark.parametrize("ending", ["cancelled", "incomplete", "interrupted", "error"])
@pytest.mark.parametrize(("said", "partial"), [([], b"false"), ([TextDelta("Yes")], b"true")])
def test_d6_a_failure_becomes_an_error_frame_and_then_done(said: list[Event], partial: bytes, ending: Ending) -> None:
    frames = encoded(*said, USAGE, Ended(ending, FAILURE, TIMING))[len(said) :]
    assert frames == [
        METADATA,
        b'{"type":"error","content":"groq stopped","code":"upstream_truncated","ending":"'
        + ending.encode()
        + b'","partial":'
        + partial
        + b"}",
        b"[DONE]",
    ]


def test_d3_rationale_can_be_switched_off() -> None:
    silent = ReaderOptions(rationale=False)
    assert encoded(ReasoningDelta("hm"), options=silent) == []
    assert whole(ReasoningDelta("hm"), Ended("stop"))["rationale"] == "hm"
    assert "rationale" not in whole(ReasoningDelta("hm"), Ended("stop"), options=silent)


def test_d7_metadata_can_be_switched_off() -> None:
    silent = ReaderOptions(metadata=False)
    for last in (Ended("stop"), Ended("error", FAILURE)):
        with_it, without = encoded(last), encoded(last, options=silent)
        assert [frame for frame in with_it if b'"metadata"' not in frame] == without
        assert len(with_it) == len(without) + 1
    assert "metadata" not in whole(Ended("stop"), options=silent)


def test_l21_metadata_says_how_usage_is_known() -> None:
    estimate = UsageKnown(Usage(3, 2, "reported", "estimated", "headrace"))
    metadata = json.loads(encoded(estimate, Ended("stop"))[-2])
    assert (metadata["token_count"], metadata["usage"]["source"], metadata["usage"]["by"]) == (
        2,
        "estimated",
        "headrace",
    )


def test_metadata_leaves_out_what_is_not_known() -> None:
    assert json.loads(encoded(Ended("stop"))[-2]) == {
        "type": "metadata",
        "token_count": None,
        "duration_ms": None,
        "ttft_ms": None,
        "usage": None,
        "timing": {},
    }


@pytest.mark.parametrize(
    ("text", "size", "pieces"),
    [
        ("", None, [""]),
        ("abcdef", None, ["abcdef"]),
        ("abcdef", 6, ["abcdef"]),
        ("abcdef", 4, ["abcd", "ef"]),
        ("abcdef", 2, ["ab", "cd", "ef"]),
        ("今天😀", 1, ["今", "天", "😀"]),
    ],
)
def test_d7_long_deltas_are_split_and_no_character_is_cut(text: str, size: int | None, pieces: list[str]) -> None:
    assert split(text, size) == pieces


def test_d7_a_chunk_size_splits_tokens_holds_nothing_back_and_changes_no_answer() -> None:
    small = ReaderOptions(chunk_size=2)
    events: list[Event] = [
        TextDelta("abc"),
        TextDelta("d"),
        ReasoningDelta("long enough"),
        TextDelta("ef"),
        Ended("stop"),
    ]
    frames = [json.loads(frame) for frame in encoded(*events, options=small)[:-1]]
    assert [frame["content"] for frame in frames if frame["type"] == "token"] == ["ab", "c", "d", "ef"]
    assert [frame["content"] for frame in frames if frame["type"] == "rationale"] == ["long enough"]
    assert [frame["content"] for frame in frames if frame["type"] == "done"] == ["abcdef"]


def test_d1_a_whole_answer_is_one_object() -> None:
    body = whole(Sources((SOURCE,)), ReasoningDelta("hm"), TextDelta("Yes"), USAGE, Ended("stop", timing=TIMING))
    metadata = json.loads(METADATA)
    del metadata["type"]
    assert body == {
        "content": "Yes",
        "sources": [json.loads(SOURCE_JSON)],
        "rationale": "hm",
        "finish_reason": "stop",
        "conversation_id": "c1",
        "stream_id": "f00d",
        "language": "de",
        "model": "fast",
        "usage": metadata["usage"],
        "metadata": metadata,
    }


def test_whole_and_streamed_say_the_same() -> None:
    events: list[Event] = [
        Status("searching", "…"),
        Sources((SOURCE,)),
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("Ye"),
        TextDelta("s"),
        USAGE,
        Ended("length", timing=TIMING),
    ]
    frames = [json.loads(frame) for frame in encoded(STARTED, *events)[:-1]]
    by_type = {frame["type"]: frame for frame in frames}
    body = whole(*events)
    done, metadata = by_type["done"], by_type["metadata"]
    assert (body["content"], body["sources"], body["finish_reason"]) == (
        done["content"],
        done["sources"],
        done["finish_reason"],
    )
    assert body["rationale"] == "".join(frame["content"] for frame in frames if frame["type"] == "rationale")
    assert {"type": "metadata", **body["metadata"]} == metadata
    assert body["usage"] == metadata["usage"]
    start = by_type["start"]
    for name in ("stream_id", "conversation_id", "language", "model"):
        assert body[name] == start[name]


def test_its_stream_opens_at_once_and_its_heartbeats_have_their_blank_line() -> None:
    assert not TypedEvents.holds_status
    assert TypedEvents.framing.heartbeat == TypedEvents.framing.heartbeat_with_ids == b": hb\n\n"
