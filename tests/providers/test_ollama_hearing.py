"""What an Ollama says becomes events: the same at any cutting, and never a better ending than it gave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.test_transcripts import plain, without_nothing

from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamTruncated
from headrace.events import Ended, Event, ReasoningDelta, TextDelta, ToolCallDelta, UsageKnown
from headrace.providers.ollama_hearing import OllamaHearing
from headrace.testing.ollama import last_ollama_line, ollama_line
from headrace.wire.bounds import EVENT_LIMIT_BYTES

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.ndjson"))


def hear(reads: Sequence[Sequence[bytes]]) -> tuple[list[Event], Ended | UpstreamError]:
    """The events of these reads, and how it ended."""
    hearing = OllamaHearing("larch", secret="secret-of-larch")
    events: list[Event] = []
    for pieces in reads:
        events += hearing.feed(pieces)
    events += hearing.finish()
    return events, hearing.ended() if hearing.failure is None else hearing.failure


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\n\n"], ids=["LF", "CRLF", "blank lines"])
def test_o1_a_transcript_is_heard_as_it_is_written_beside_it(path: Path, size: int, line_end: bytes) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert expected["written_after"]
    data = path.read_bytes().replace(b"\n", line_end)
    hearing = OllamaHearing(path.stem)
    events: list[object] = []
    for start in range(0, len(data), size):
        events += hearing.feed([data[start : start + size]])
    events += hearing.finish()
    assert [plain(event) for event in events] == [without_nothing(event) for event in expected["events"]]
    if hearing.failure is None:
        assert plain(hearing.ended()) == expected["ended"]
    else:
        assert plain(hearing.failure.failure()).items() >= expected["failure"].items()


messages = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | st.text(max_size=5) | st.sampled_from(["\u2028\x85\r\n", '"}\n{"', "😀", "\ud83d"]),
        "thinking": st.none() | st.text(max_size=5),
        "tool_calls": st.none()
        | st.lists(st.just({"function": {"name": "f", "arguments": {"a": [1, "é"]}}}), max_size=2),
    },
)
answers = st.lists(messages.map(lambda message: ollama_line(message)), max_size=6)
ends = st.sampled_from(
    [
        b"",
        last_ollama_line(),
        last_ollama_line("length", (1, 2)),
        last_ollama_line().rstrip(),
        b'{"error":"no"}\n',
        b"no\n",
    ]
)


@settings(deadline=None)  # how long one example takes is up to what else the machine does
@given(lines=answers, end=ends, cuts=st.lists(st.integers(0, 2000), max_size=8), together=st.booleans())
def test_any_cutting_of_the_bytes_gives_the_same_events(
    lines: list[bytes], end: bytes, cuts: list[int], together: bool
) -> None:
    data = b"".join(lines) + end
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(places)]
    at_once = hear([[data]])
    in_pieces = hear([pieces] if together else [[piece] for piece in pieces])
    byte_by_byte = hear([[data[place : place + 1]] for place in range(len(data))])
    assert in_pieces[0] == at_once[0] == byte_by_byte[0]
    kinds = {type(each[1]) for each in (at_once, in_pieces, byte_by_byte)}
    assert len(kinds) == 1
    said_done = b'"done":true' in end
    assert (kinds == {Ended}) == said_done, "the end is the upstream's own or none"


def test_thinking_comes_before_the_text_of_the_same_line() -> None:
    events, _ = hear([[ollama_line({"content": "b", "thinking": "a"}) + last_ollama_line(usage=(3, 2))]])
    assert events[:2] == [ReasoningDelta("a"), TextDelta("b")]
    usage = events[2]
    assert isinstance(usage, UsageKnown)
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens, usage.usage.source) == (3, 2, "reported")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"a": 1}, '{"a":1}'), ({}, "{}"), (None, "{}"), ('{"a":1}', '{"a":1}'), ({"é": [1.5, None]}, '{"é":[1.5,null]}')],
)
def test_a_tool_call_is_one_delta_with_its_arguments_as_json(arguments: Any, text: str) -> None:
    line = ollama_line({"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": arguments}}]})
    events, ended = hear([[line + last_ollama_line()]])
    assert events == [ToolCallDelta(0, "x", "f", text)]
    assert ended == Ended("tool_calls"), "Ollama says stop"


@pytest.mark.parametrize(
    ("reason", "ending"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop")]
)
def test_the_ending_is_what_the_last_line_says(reason: str | None, ending: str) -> None:
    line = ollama_line({"content": "a"}, done=True, **({} if reason is None else {"done_reason": reason}))
    events, ended = hear([[line]])
    assert isinstance(ended, Ended)
    assert (events, ended.ending) == ([TextDelta("a")], ending)


def test_nothing_is_heard_behind_the_end() -> None:
    events, ended = hear(
        [[ollama_line({"content": "a"}) + last_ollama_line() + ollama_line({"content": "b"}) + b"x\n"]]
    )
    assert (events, ended) == ([TextDelta("a")], Ended("stop"))


@pytest.mark.parametrize(
    ("data", "failure", "said"),
    [
        (b"", UpstreamTruncated, "without saying that it was done"),
        (ollama_line({"content": "a"}), UpstreamTruncated, "half"),
        (b'{"error":"model \\"x\\" not found"}\n', UpstreamRefused, 'model "x" not found'),
        (b'{"error":{"message":"an object"}}\n', UpstreamRefused, "an object"),
        (b'{"error":"no key secret-of-larch"}\n', UpstreamRefused, r"no key \*\*\*"),
        (b"<html>\n", UpstreamMalformed, "no line of an answer"),
        (b'{"message":"text"}\n', UpstreamMalformed, "no line of an answer"),
        (b"[]\n", UpstreamMalformed, "no line of an answer"),
        (b"7\n", UpstreamMalformed, "no line of an answer"),
        (b"[" * 100_000 + b"\n", UpstreamMalformed, "no line of an answer"),
        (b"x" * (EVENT_LIMIT_BYTES + 1), UpstreamMalformed, "larch"),
    ],
    ids=["nothing", "no end", "error", "object", "key", "html", "shape", "list", "number", "deep", "endless"],
)
def test_l15_whatever_else_comes_is_a_failure(data: bytes, failure: type[UpstreamError], said: str) -> None:
    _, ended = hear([[data]])
    assert type(ended) is failure
    with pytest.raises(failure, match=said):
        raise ended


def test_broken_characters_are_replaced_and_the_answer_goes_on() -> None:
    line = b'{"message":{"content":"a\xff\\ud83d"}}\n'
    events, _ = hear([[line, last_ollama_line()]])
    assert events == [TextDelta("a\ufffd\ufffd")]
