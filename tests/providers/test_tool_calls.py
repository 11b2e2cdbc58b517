"""Tool calls put together from whatever pieces upstreams send. Every case is heard at every cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headrace.errors import UpstreamError, UpstreamMalformed
from headrace.events import Ended, Event, Passthrough, ToolCallDelta
from headrace.testing.upstream import DONE, delta_chunk, finish_chunk
from headrace.wire import json_text

Hear = Callable[..., tuple[list[Event], Ended | UpstreamError]]

# --- tool calls (L37): what the upstream sends, and what comes of it


def call(**piece: Any) -> bytes:
    return calls(piece)


def calls(*pieces: dict[str, Any]) -> bytes:
    return delta_chunk({"tool_calls": list(pieces)})


def function(name: str | None = None, arguments: object = None) -> dict[str, Any]:
    return {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}


TOOL_END = finish_chunk("tool_calls") + DONE

TOOL_CASES: list[tuple[str, bytes, list[ToolCallDelta]]] = [
    (
        "as OpenAI sends them",
        call(index=0, id="a", type="function", function=function("f", ""))
        + call(index=0, function=function(arguments='{"x":'))
        + call(index=0, function=function(arguments="1}")),
        [ToolCallDelta(0, "a", "f"), ToolCallDelta(0, arguments='{"x":'), ToolCallDelta(0, arguments="1}")],
    ),
    (
        "parallel calls, by index",
        call(index=0, id="a", function=function("f", "{"))
        + call(index=1, id="b", function=function("g", "["))
        + call(index=0, function=function(arguments="}"))
        + call(index=1, function=function(arguments="]")),
        [
            ToolCallDelta(0, "a", "f", "{"),
            ToolCallDelta(1, "b", "g", "["),
            ToolCallDelta(0, arguments="}"),
            ToolCallDelta(1, arguments="]"),
        ],
    ),
    (
        "by id, where every index is 0",
        call(index=0, id="a", function=function("f", "{}")) + call(index=0, id="b", function=function("f", "{}")),
        [ToolCallDelta(0, "a", "f", "{}"), ToolCallDelta(1, "b", "f", "{}")],
    ),
    (
        "by id, where there is no index",
        calls({"id": "a", "function": function("f", "{")}, {"id": "b", "function": function("g", "[")})
        + calls({"id": "b", "function": function(arguments="]")}, {"id": "a", "function": function(arguments="}")}),
        [
            ToolCallDelta(0, "a", "f", "{"),
            ToolCallDelta(1, "b", "g", "["),
            ToolCallDelta(1, arguments="]"),
            ToolCallDelta(0, arguments="}"),
        ],
    ),
    (
        "ids on every piece",
        call(index=0, id="a", function=function("f", "{")) + call(index=0, id="a", function=function("f", "}")),
        [ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(0, arguments="}")],
    ),
    (
        "an id made up for every piece",
        call(index=0, id="a1", function=function("f", "{")) + call(index=0, id="a2", function=function(arguments="}")),
        [ToolCallDelta(0, "a1", "f", "{"), ToolCallDelta(0, arguments="}")],
    ),
    (
        "indexes that do not begin at 0 are counted from 0",
        call(index=3, id="a", function=function("f", "{}")) + call(index=7, id="b", function=function("g", "{}")),
        [ToolCallDelta(0, "a", "f", "{}"), ToolCallDelta(1, "b", "g", "{}")],
    ),
    (
        "neither id nor index: whole calls, a chunk each",
        call(function=function("f", "{}")) + call(function=function("f", "[]")),
        [ToolCallDelta(0, "call_0_0", "f", "{}"), ToolCallDelta(1, "call_0_1", "f", "[]")],
    ),
    (
        "neither id nor index: several in one chunk, by position",
        calls({"function": function("f", "{")}, {"function": function("g", "[")})
        + calls({"function": function(arguments="}")}, {"function": function(arguments="]")}),
        [
            ToolCallDelta(0, "call_0_0", "f", "{"),
            ToolCallDelta(1, "call_0_1", "g", "["),
            ToolCallDelta(0, arguments="}"),
            ToolCallDelta(1, arguments="]"),
        ],
    ),
    (
        "neither id nor index: pieces of the last call",
        call(function=function("f")) + call(function=function(arguments="{")) + call(function=function(arguments="}")),
        [ToolCallDelta(0, "call_0_0", "f"), ToolCallDelta(0, arguments="{"), ToolCallDelta(0, arguments="}")],
    ),
    (
        "an empty id is none",
        call(index=0, id="", function=function("f", "{")) + call(index=0, id="", function=function("", "}")),
        [ToolCallDelta(0, "call_0_0", "f", "{"), ToolCallDelta(0, arguments="}")],
    ),
    (
        "a name that comes late is waited for",
        call(index=0, id="a", type="function")
        + call(index=0, function=function(arguments="{"))
        + call(index=0, function=function("f"))
        + call(index=0, function=function(arguments="}")),
        [ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(0, arguments="}")],
    ),
    (
        "a name that never comes keeps nothing back",
        call(index=0, id="a", function=function(arguments="{}")),
        [ToolCallDelta(0, "a", None, "{}")],
    ),
    (
        "arguments as an object",
        call(index=0, id="a", function=function("f", {"x": [1, "é"]})),
        [ToolCallDelta(0, "a", "f", '{"x":[1,"é"]}')],
    ),
    (
        "no arguments at all are an empty object",
        call(index=0, id="a", function=function("f")),
        [ToolCallDelta(0, "a", "f"), ToolCallDelta(0, arguments="{}")],
    ),
    (
        "function_call, as before November 2023",
        delta_chunk({"function_call": function("f", "")}) + delta_chunk({"function_call": function(arguments="{}")}),
        [ToolCallDelta(0, "call_0_0", "f"), ToolCallDelta(0, arguments="{}")],
    ),
    ("pieces that say nothing", call(index=0) + calls() + delta_chunk({"tool_calls": None}), []),
    ("what is no call", delta_chunk({"tool_calls": [7, "x", None, []]}) + delta_chunk({"tool_calls": "x"}), []),
    (
        "what is no function",
        call(index=0, id="a", function="f") + call(index=0, function=function("f", "{}")),
        [ToolCallDelta(0, "a", "f", "{}")],
    ),
]


@pytest.mark.parametrize(("data", "deltas"), [case[1:] for case in TOOL_CASES], ids=[case[0] for case in TOOL_CASES])
def test_l37_tool_calls_are_told_apart_by_id_then_index_then_position(
    hear: Hear, data: bytes, deltas: list[ToolCallDelta]
) -> None:
    events, end = hear(data + TOOL_END)
    assert events == deltas
    assert end == Ended("tool_calls")


def test_l38_calls_of_custom_tools_are_passed_through(hear: Hear) -> None:
    first = {"index": 0, "id": "x", "type": "custom", "custom": {"name": "run", "input": ""}}
    rest = {"index": 0, "custom": {"input": "ls -l"}}
    other = {"index": 1, "id": "y", "type": "function", "function": function("f", "{}")}
    events, end = hear(calls(first) + calls(rest, other) + TOOL_END)
    assert events == [
        Passthrough("openai_chat", delta_fields={"tool_calls": msgspec.Raw(json_text.encode([first]))}),
        ToolCallDelta(0, "y", "f", "{}"),
        Passthrough("openai_chat", delta_fields={"tool_calls": msgspec.Raw(json_text.encode([rest]))}),
    ]
    assert end == Ended("tool_calls")


def test_l37_each_choice_has_calls_of_its_own(hear: Hear) -> None:
    piece = {"index": 0, "id": "a", "function": function("f", "{}")}
    data = b"".join(delta_chunk({"tool_calls": [piece]}, choice=choice) for choice in (0, 1))
    data += finish_chunk("tool_calls") + finish_chunk("tool_calls", choice=1)
    assert hear(data, choices=2)[0] == [ToolCallDelta(0, "a", "f", "{}"), ToolCallDelta(0, "a", "f", "{}", 1)]


@pytest.mark.parametrize("arguments", ['{"x":', "{]", '{"x": 1} {', "x", "[" * 100_000])
def test_l37_arguments_that_are_not_json_at_the_end_are_an_error(hear: Hear, arguments: str) -> None:
    data = call(index=0, id="a", function=function("look_up", arguments)) + TOOL_END
    events, end = hear(data)
    assert events == [ToolCallDelta(0, "a", "look_up", arguments)]
    assert isinstance(end, UpstreamMalformed)
    assert "'look_up'" in end.message


def test_l37_arguments_cut_by_a_limit_are_the_limits_doing(hear: Hear) -> None:
    data = call(index=0, id="a", function=function("f", '{"x":')) + finish_chunk("length")
    assert hear(data)[1] == Ended("length")
