"""OpenAI's chat API as we write it: the very bytes for each event, streamed and whole (I1)."""

import json
from collections.abc import Sequence
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
from headrace.protocols.openai_chat import OpenAIChat
from headrace.protocols.reading import MOST_CHOICES
from headrace.requests import ReaderOptions
from headrace.timing import Timing
from headrace.usage import Usage, reported

PLAIN = ReaderOptions()
STARTED = Started("f00d", "fast", 1_795_168_800_999_999_999)
HEAD = b'{"id":"chatcmpl-f00d","object":"chat.completion.chunk","created":1795168800,"model":"fast","choices":['
ROLE = HEAD + b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
USAGE = UsageKnown(reported(3, 2, by="groq"))
SOURCE = Source(1, "doc#1", "Bread", "Bake it.", 0.5)
SOURCE_JSON = b'{"n":1,"id":"doc#1","title":"Bread","passage":"Bake it.","score":0.5}'
FAILURE = Failure("cancelled", "the answer was cancelled", 499)


def encoded(*events: Event, options: ReaderOptions = PLAIN) -> list[bytes]:
    """The records for these events after `STARTED`, one event at a time."""
    encoder = OpenAIChat().encoder(options)
    return [record for offset, event in enumerate((STARTED, *events)) for record in encoder.encode(offset, (event,))]


def whole(*events: Event, options: ReaderOptions = PLAIN) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(OpenAIChat().whole((STARTED, *events), options))
    return body


def test_i1_a_plain_answer_byte_for_byte() -> None:
    encoder = OpenAIChat().encoder(PLAIN)
    events: list[Event] = [STARTED, TextDelta("Hel"), TextDelta("lo"), USAGE, Ended("stop", timing=Timing(1))]
    assert OpenAIChat.framing.frame(encoder.encode(0, events)) == (
        b"data: " + ROLE + b"\n\n"
        b"data: " + HEAD + b'{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'
        b"data: " + HEAD + b'{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}\n\n'
        b"data: " + HEAD + b'{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize(
    "event",
    [Status("loading", "loading the model"), Sources((SOURCE,)), USAGE, Passthrough("another", {}, {})],
    ids=lambda event: type(event).__name__,
)
def test_what_this_protocol_has_no_word_for_opens_nothing(event: Event) -> None:
    assert encoded(event) == []


@pytest.mark.parametrize(
    ("event", "delta"),
    [
        (TextDelta("a\u2028\u0085今😀\n"), '{"content":"a\\u2028\\u0085今😀\\n"}'.encode()),
        (ReasoningDelta("hm"), b'{"reasoning_content":"hm","reasoning":"hm"}'),
        (
            ToolCallDelta(1, "call_1", "bake"),
            b'{"tool_calls":[{"index":1,"id":"call_1","type":"function","function":{"name":"bake","arguments":""}}]}',
        ),
        (ToolCallDelta(1, arguments='{"'), b'{"tool_calls":[{"index":1,"function":{"arguments":"{\\""}}]}'),
        (Passthrough("openai_chat", {}, {"audio": msgspec.Raw(b'{"id":"a"}')}), b'{"audio":{"id":"a"}}'),
    ],
    ids=["text", "reasoning", "a call", "more of a call", "passthrough"],
)
def test_each_piece_is_one_chunk_behind_the_role(event: Event, delta: bytes) -> None:
    assert encoded(event) == [ROLE, HEAD + b'{"index":0,"delta":' + delta + b',"finish_reason":null}]}']


def test_what_was_passed_through_stands_where_the_upstream_had_it() -> None:
    event = Passthrough("openai_chat", {"logprobs": msgspec.Raw(b'{"content":[]}')}, choice=0)
    assert encoded(event)[1] == HEAD + b'{"index":0,"delta":{},"logprobs":{"content":[]},"finish_reason":null}]}'


def test_d3_reasoning_can_be_switched_off() -> None:
    silent = ReaderOptions(rationale=False)
    assert encoded(ReasoningDelta("hm"), options=silent) == []
    assert encoded(ReasoningDelta("hm"), TextDelta("Yes"), options=silent) == encoded(TextDelta("Yes"))
    message = whole(ReasoningDelta("hm"), TextDelta("Yes"), Ended("stop"), options=silent)["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Yes", "refusal": None}


def test_each_choice_begins_with_its_role_and_ends_with_its_reason() -> None:
    records = encoded(
        TextDelta("b", choice=1), TextDelta("a"), Ended("stop", choices=((0, "stop"), (1, "length"), (2, "stop")))
    )
    told = [
        (choice["index"], choice["delta"], choice["finish_reason"])
        for record in records[:-1]
        for choice in json.loads(record)["choices"]
    ]
    role = {"role": "assistant", "content": ""}
    assert told == [
        (0, role, None),
        (1, role, None),
        (1, {"content": "b"}, None),
        (0, {"content": "a"}, None),
        (0, {}, "stop"),
        (1, {}, "length"),
        (2, role, None),
        (2, {}, "stop"),
    ]


def test_an_upstream_that_counts_its_choices_absurdly_does_not_make_us_write_for_ever() -> None:
    records = encoded(TextDelta("a", choice=10**9))
    assert len(records) == MOST_CHOICES + 2


@pytest.mark.parametrize("ending", ["stop", "length", "tool_calls", "content_filter"])
def test_an_answer_without_a_word_has_a_role_and_a_reason(ending: Ending) -> None:
    reason = ending.encode()
    assert encoded(Ended(ending)) == [
        ROLE,
        HEAD + b'{"index":0,"delta":{},"finish_reason":"' + reason + b'"}]}',
        b"[DONE]",
    ]


@pytest.mark.parametrize("ending", ["cancelled", "incomplete", "interrupted", "error"])
@pytest.mark.parametrize("said", [[], [TextDelta("Yes")]], ids=["before content", "after content"])
def test_d6_what_did_not_end_by_itself_ends_with_an_error_object_and_no_finish_reason(
    said: list[Event], ending: Ending
) -> None:
    assert encoded(*said, Ended(ending, FAILURE))[2 * len(said) :] == [
        b'{"error":{"message":"the answer was cancelled","type":"cancelled","code":"cancelled","param":null}}',
        b"[DONE]",
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (499, "cancelled"),
        (500, "server_error"),
        (529, "server_error"),
    ],
)
def test_the_type_of_an_error_follows_from_its_status(status: int, kind: str) -> None:
    error = json.loads(encoded(Ended("error", Failure("a_code", "words", status)))[0])["error"]
    assert error == {"message": "words", "type": kind, "code": "a_code", "param": None}


def test_l18_the_upstreams_own_words_stand_beside_ours_in_the_error() -> None:
    failure = Failure("upstream_rate_limited", "slow down", 429, True, 2.0, "groq", 429, "rate_limit_exceeded")
    error = json.loads(encoded(Ended("error", failure))[0])["error"]
    assert error["upstream"] == {"name": "groq", "status": 429, "code": "rate_limit_exceeded"}


def test_l22_usage_comes_if_it_was_asked_for_and_the_chunks_before_say_that_it_will() -> None:
    asked = ReaderOptions(include_usage=True)
    records = encoded(TextDelta("a"), USAGE, UsageKnown(reported(3, 4, by="groq", cached_tokens=1)), Ended("stop"))
    with_usage = encoded(
        TextDelta("a"), USAGE, UsageKnown(reported(3, 4, by="groq", cached_tokens=1)), Ended("stop"), options=asked
    )
    assert not any(b"usage" in record for record in records)
    assert with_usage[:-2] == [record[:-1] + b',"usage":null}' for record in records[:-1]]
    # The last that was known, once.
    assert with_usage[-2] == (
        HEAD + b'],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,'
        b'"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":0}}}'
    )
    assert with_usage[-1] == b"[DONE]"


def test_l20_a_cut_answer_tells_its_usage_before_its_error() -> None:
    estimate = UsageKnown(Usage(3, 2, "estimated", "estimated", "headrace"))
    records = encoded(TextDelta("a"), estimate, Ended("cancelled", FAILURE), options=ReaderOptions(include_usage=True))
    usage, error = json.loads(records[-3]), json.loads(records[-2])
    assert usage["choices"] == []
    assert (usage["usage"]["total_tokens"], usage["headrace"]) == (5, {"usage": ESTIMATED})
    assert error["error"]["code"] == "cancelled"


ESTIMATED = {"source": "estimated", "by": "headrace"}


def test_l21_an_estimate_carries_its_mark() -> None:
    estimate = UsageKnown(Usage(3, 2, "reported", "estimated", "headrace"))
    records = encoded(estimate, Ended("stop"), options=ReaderOptions(include_usage=True))
    assert json.loads(records[-2])["headrace"] == {"usage": ESTIMATED}
    assert whole(estimate, Ended("stop"))["headrace"] == {"usage": ESTIMATED}


def test_d5_sources_come_with_the_finish_reason_under_a_key_of_our_own() -> None:
    *_, finish, done = encoded(Sources((SOURCE,)), TextDelta("Yes"), Sources((SOURCE,)), Ended("stop"))
    extra = b',"headrace":{"sources":[' + SOURCE_JSON + b"," + SOURCE_JSON + b"]}}"
    assert finish == HEAD + b'{"index":0,"delta":{},"finish_reason":"stop"}]' + extra
    assert done == b"[DONE]"


def test_i1_a_whole_answer() -> None:
    assert whole(ReasoningDelta("hm"), TextDelta("Hel"), TextDelta("lo"), USAGE, Ended("stop")) == {
        "id": "chatcmpl-f00d",
        "object": "chat.completion",
        "created": 1_795_168_800,
        "model": "fast",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "reasoning": "hm",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def test_a_whole_answer_that_only_calls_tools_has_no_content() -> None:
    message = whole(
        ToolCallDelta(0, "call_0", "bake"),
        ToolCallDelta(1, "call_1", "cool", "{}"),
        ToolCallDelta(0, arguments='{"at":'),
        ToolCallDelta(0, arguments="6}"),
        Ended("tool_calls"),
    )["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "call_0", "type": "function", "function": {"name": "bake", "arguments": '{"at":6}'}},
        {"id": "call_1", "type": "function", "function": {"name": "cool", "arguments": "{}"}},
    ]


def test_a_whole_answer_of_several_choices_has_them_in_order() -> None:
    body = whole(TextDelta("b", choice=1), TextDelta("a"), Ended("stop", choices=((0, "stop"), (1, "length"))))
    assert [(choice["index"], choice["message"]["content"], choice["finish_reason"]) for choice in body["choices"]] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]


def passed(fields: Sequence[bytes], *, key: str = "logprobs") -> dict[str, Any]:
    """The first choice of a whole answer whose upstream sent this in so many chunks."""
    events = [Passthrough("openai_chat", {key: msgspec.Raw(value)}) for value in fields]
    choice: dict[str, Any] = whole(*events, Ended("stop"))["choices"][0]
    return choice


@pytest.mark.parametrize(
    ("pieces", "merged"),
    [
        ([b'{"content":[1],"refusal":null}', b'{"content":[2],"refusal":null}'], {"content": [1, 2], "refusal": None}),
        ([b'{"content":null}', b'{"content":[2]}'], {"content": [2]}),
        (
            [b'{"id":"a","data":"He"}', b'{"id":"a","data":"llo","expires_at":9}'],
            {"id": "a", "data": "Hello", "expires_at": 9},
        ),
        ([b"[1]", b"[2,3]"], [1, 2, 3]),
        ([b'"a"', b'"b"'], "ab"),
        ([b"1", b"2"], 2),
        ([b'{"token":"\\ud83d"}'], {"token": "\ud83d"}),
    ],
)
def test_what_was_passed_through_is_put_together_in_a_whole_answer(pieces: list[bytes], merged: object) -> None:
    assert passed(pieces)["logprobs"] == merged


def test_a_refusal_is_part_of_the_whole_message() -> None:
    events = [Passthrough("openai_chat", {}, {"refusal": msgspec.Raw(piece)}) for piece in (b'"I can"', b'"not"')]
    assert whole(*events, Ended("stop"))["choices"][0]["message"]["refusal"] == "I cannot"


def test_with_ids_a_heartbeat_has_no_blank_line() -> None:
    # The Python SDKs take a blank line behind an id for an event, and fail on its empty data (reference, section 6).
    assert OpenAIChat.framing.heartbeat == b": hb\n\n"
    assert OpenAIChat.framing.heartbeat_with_ids == b": hb\n"


def test_l33_the_status_waits_for_the_first_content() -> None:
    assert OpenAIChat.holds_status
