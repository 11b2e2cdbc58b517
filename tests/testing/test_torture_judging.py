"""The verdicts of the torture: every way an answer can be wrong has its name, and nothing that is right has one."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.testing.torture.cases import Case, case, number_in, plan
from headrace.testing.torture.faults import FAULTS
from headrace.testing.torture.judging import NEVER, VERDICTS, Transcript, Verdict, judge
from headrace.testing.torture.scripts import Step, well
from headrace.testing.upstream import DONE, delta_chunk, finish_chunk, frame, role_chunk, text_chunk

PIECES = ("[7.00:one]", "[7.01:日本]", "[7.02:🏝️]", "[7.03:\u2028]", "[7.04:five]")
CASE = Case(7, 1, "well", True, MappingProxyType({"text": PIECES}), 2)
ERROR = frame({"error": {"message": "it broke", "type": "server_error", "code": "upstream_reset", "param": None}})


def streamed(*events: bytes, over: Literal["complete", "broken", "timed out"] = "complete") -> Transcript:
    return Transcript(200, "text/event-stream; charset=utf-8", b"".join(events), over)


def said(*places: int) -> list[bytes]:
    return [role_chunk(), *(text_chunk(PIECES[place]) for place in places)]


ALL = said(0, 1, 2, 3, 4)
STREAMS: dict[str, tuple[Transcript, Verdict]] = {
    "all of it": (streamed(*ALL, finish_chunk(), DONE), "ok"),
    "all of it without [DONE]": (streamed(*ALL, finish_chunk()), "ok"),
    "with comments": (streamed(b": hb\n\n", *ALL, b": hb\n\n", finish_chunk(), DONE), "ok"),
    "broken off after [DONE]": (streamed(*ALL, finish_chunk(), DONE, over="broken"), "ok"),
    "broken off before [DONE]": (streamed(*ALL, finish_chunk(), over="broken"), "explicit error"),
    "an error event": (streamed(*said(0, 1), ERROR, DONE), "explicit error"),
    "an error event after all": (streamed(*ALL, ERROR), "explicit error"),
    "an error of another shape": (streamed(*said(0), b'event: error\ndata: {"message":"no"}\n\n'), "explicit error"),
    "an error that is a text": (streamed(*said(0), frame({"error": "no"})), "explicit error"),
    "a connection that breaks": (streamed(*said(0, 1), over="broken"), "explicit error"),
    "no answer": (Transcript(0, "", b"", "broken"), "explicit error"),
    "a status": (Transcript(502, "text/html", b"<html>", "complete"), "explicit error"),
    "a half with stop": (streamed(*said(0, 1), finish_chunk(), DONE), "silent truncation"),
    "a half with length": (streamed(*said(0, 1), finish_chunk("length"), DONE), "silent truncation"),
    "a half with [DONE]": (streamed(*said(0, 1), DONE), "silent truncation"),
    "a half and nothing": (streamed(*said(0, 1)), "silent truncation"),
    "half a piece with stop": (streamed(*said(0), text_chunk(PIECES[1][:4]), finish_chunk()), "silent truncation"),
    "nothing at all": (streamed(), "silent truncation"),
    "stop, and then an error": (streamed(*said(0, 1), finish_chunk(), ERROR, DONE), "silent truncation"),
    "all without a finish reason": (streamed(*ALL, DONE), "silent truncation"),
    "a gap": (streamed(*said(0, 2, 3, 4), finish_chunk(), DONE), "lost"),
    "a gap, and an error": (streamed(*said(0, 2), ERROR), "lost"),
    "no beginning": (streamed(*said(1, 2, 3, 4), finish_chunk(), DONE), "lost"),
    "a piece twice": (streamed(*said(0, 1, 1, 2, 3, 4), finish_chunk(), DONE), "doubled"),
    "begun again": (streamed(*said(0, 1, 0, 1, 2, 3, 4), finish_chunk(), DONE), "doubled"),
    "begun again, then an error": (streamed(*said(0, 1, 0), ERROR), "doubled"),
    "begun again within a piece": (
        streamed(*said(0, 1, 2, 3, 4), text_chunk(PIECES[0][:3]), finish_chunk()),
        "doubled",
    ),
    "another order": (streamed(*said(0, 2, 1, 3, 4), finish_chunk(), DONE), "reordered"),
    "a character replaced": (streamed(role_chunk(), text_chunk("[7.00:\ufffd]"), finish_chunk(), DONE), "corrupt"),
    "another answer's piece": (streamed(*said(0), text_chunk("[8.01:two]"), ERROR), "corrupt"),
    "text at the end": (streamed(*ALL, text_chunk(" (cut off)"), finish_chunk(), DONE), "corrupt"),
    "an event that is no JSON": (streamed(*said(0), b"data: {\n\n", DONE), "corrupt"),
    "an event that is no chunk": (streamed(*said(0), frame([1]), DONE), "corrupt"),
    "another finish reason": (streamed(*ALL, finish_chunk("tool_calls"), DONE), "corrupt"),
    "a tool call nobody made": (
        streamed(*ALL, delta_chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}), finish_chunk()),
        "corrupt",
    ),
    "silence": (streamed(*said(0, 1), over="timed out"), "hang"),
    "silence before the status": (Transcript(0, "", b"", "timed out"), "hang"),
    "silence after a piece twice": (streamed(*said(0, 0), over="timed out"), "doubled"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_gets_the_verdict_it_deserves(name: str) -> None:
    transcript, verdict = STREAMS[name]
    assert judge(CASE, transcript).verdict == verdict


def test_every_verdict_has_a_case_here() -> None:
    assert {verdict for _, verdict in STREAMS.values()} == set(VERDICTS)


def whole(text: str, reason: str | None = "stop", **more: object) -> Transcript:
    answer = {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": reason}], **more}
    return Transcript(200, "application/json", msgspec.json.encode(answer), "complete")


TEXT = "".join(PIECES)
WHOLE_ANSWERS: dict[str, tuple[Transcript, Verdict]] = {
    "all of it": (whole(TEXT), "ok"),
    "a half with stop": (whole(TEXT[:20]), "silent truncation"),
    "a half without a reason": (whole(TEXT[:20], None), "silent truncation"),
    "nothing with stop": (whole(""), "silent truncation"),
    "twice": (whole(TEXT + TEXT), "doubled"),
    "an error under 200": (
        Transcript(200, "application/json", b'{"error":{"code":"x"}}', "complete"),
        "explicit error",
    ),
    "half of the JSON": (Transcript(200, "application/json", b'{"choices":[', "complete"), "corrupt"),
    "half of the body": (Transcript(200, "application/json", b'{"choices":[', "broken"), "explicit error"),
    "an empty body": (Transcript(200, "application/json", b"", "complete"), "silent truncation"),
    "a page": (Transcript(200, "text/html", b"<html></html>", "complete"), "corrupt"),
}


@pytest.mark.parametrize("name", WHOLE_ANSWERS)
def test_a_whole_answer_gets_the_verdict_it_deserves(name: str) -> None:
    transcript, verdict = WHOLE_ANSWERS[name]
    assert judge(CASE, transcript).verdict == verdict


def test_usage_is_right_only_where_it_is_what_the_upstream_reported() -> None:
    prompt, completed = CASE.usage
    right = {"prompt_tokens": prompt, "completion_tokens": completed}
    assert judge(CASE, whole(TEXT, usage=right)).usage is True
    assert judge(CASE, whole(TEXT, usage={**right, "completion_tokens": completed + 1})).usage is False
    assert judge(CASE, whole(TEXT)).usage is False


CALLS = case(3, 1, "calls", stream=True, content="calls")


def calls(*pieces: tuple[int, str]) -> list[bytes]:
    return [delta_chunk({"tool_calls": [{"index": call, "function": {"arguments": text}}]}) for call, text in pieces]


def test_tool_calls_are_judged_call_by_call() -> None:
    first, second = ["".join(pieces) for pieces in CALLS.said.values()]
    end = (finish_chunk("tool_calls"), DONE)
    assert judge(CALLS, streamed(*calls((0, first), (1, second)), *end)).verdict == "ok"
    assert judge(CALLS, streamed(*calls((0, first[:20]), (1, second)), *end)).verdict == "silent truncation"
    assert judge(CALLS, streamed(*calls((0, first + second)), *end)).verdict == "corrupt"
    assert judge(CALLS, streamed(*calls((0, second), (1, first)), *end)).verdict == "corrupt"
    assert judge(CALLS, streamed(*calls((1, first), (3, second)), *end)).verdict == "ok", "numbers are the gateway's"
    assert judge(CALLS, streamed(*calls((0, first), (1, second), (2, first)), *end)).verdict == "corrupt"
    assert judge(CALLS, streamed(*calls((0, first), (1, second)), finish_chunk(), DONE)).verdict == "corrupt"


@given(st.lists(st.integers(0, 4), max_size=8))
def test_no_order_of_pieces_is_ok_but_the_right_one(places: list[int]) -> None:
    verdict = judge(CASE, streamed(*said(*places), finish_chunk(), DONE)).verdict
    assert (verdict == "ok") == (places == [0, 1, 2, 3, 4])
    if verdict != "ok":
        assert verdict in NEVER


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)))
def test_text_cut_out_of_the_middle_never_goes_unseen(begin: int, end: int) -> None:
    kept = TEXT[:begin] + TEXT[end:] if begin < end else TEXT
    verdict = judge(CASE, streamed(text_chunk(kept), finish_chunk(), DONE)).verdict
    assert (verdict == "ok") == (kept == TEXT)


# -- cases


ROWS = {name: (fault.modes, fault.content) for name, fault in FAULTS.items()}


def test_the_same_seed_makes_the_same_cases_and_another_makes_others() -> None:
    assert plan(ROWS, seed=5, count=300) == plan(ROWS, seed=5, count=300)
    assert plan(ROWS, seed=5, count=300)[:10] == plan(ROWS, seed=5, count=10), "a longer run begins with a shorter one"
    assert plan(ROWS, seed=5, count=300) != plan(ROWS, seed=6, count=300)


def test_every_fault_comes_before_any_comes_again() -> None:
    names = [one.fault for one in plan(ROWS, seed=2, count=len(ROWS))]
    assert sorted(names) == sorted(ROWS)
    assert len(ROWS) >= 30
    assert {one.fault for one in plan(ROWS, seed=2, count=9, only=["cr", "crlf"])} == {"cr", "crlf"}


def test_no_piece_begins_with_another_and_no_case_says_all_before_its_fault() -> None:
    for one in plan(ROWS, seed=3, count=500):
        for pieces in one.said.values():
            assert not [(a, b) for a in pieces for b in pieces if a is not b and a.startswith(b)]
            assert 1 <= one.cut_after < len(pieces)


def test_the_upstream_knows_a_case_by_its_question() -> None:
    one = plan(ROWS, seed=3, count=40)[33]
    assert number_in(msgspec.json.encode({"messages": [{"content": one.question}]})) == 33
    assert number_in(b'{"messages":[{"content":"Hello"}]}') is None


# -- scripts


def body_of(script: Sequence[bytes | Step]) -> bytes:
    return b"".join(step for step in script if isinstance(step, bytes))


@pytest.mark.parametrize("name", FAULTS)
def test_a_script_is_the_same_every_time_and_is_never_mute(name: str) -> None:
    fault = FAULTS[name]
    for stream in fault.modes:
        one = case(11, 1, name, stream=stream, content=fault.content)
        script = list(fault.script(one))
        assert script == list(fault.script(one))
        assert script
        assert all(step for step in script), "no write is empty"


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.whole == "may"])
def test_what_breaks_in_the_middle_has_not_said_it_all(name: str) -> None:
    fault = FAULTS[name]
    for stream in fault.modes:
        one = case(12, 1, name, stream=stream, content=fault.content)
        tail = next(iter(one.said.values()))[-1].encode()
        if name not in ("finish_then_reset", "whole_for_a_stream", "half_event"):
            assert tail not in body_of(fault.script(one)) or "calls" in name


def test_a_continued_answer_says_what_was_not_said_yet() -> None:
    one = case(13, 1, "well", stream=True, content="text")
    before = "".join(one.said["text"])[:25]
    script = body_of(well(one, stream=True, after=before))
    assert one.said["text"][0].encode() not in script
    assert b'"finish_reason":"stop"' in script
