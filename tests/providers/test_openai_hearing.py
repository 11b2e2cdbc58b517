"""What an OpenAI-compatible upstream says, and how its answers end. Every case is heard at every cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamTruncated
from headrace.events import Ended, Ending, Event, Passthrough, ReasoningDelta, TextDelta, ToolCallDelta, UsageKnown
from headrace.providers.openai_hearing import Hearing
from headrace.testing.upstream import DONE, delta_chunk, finish_chunk, frame, role_chunk, text_chunk, usage_chunk
from headrace.usage import reported
from headrace.wire import json_text

Hear = Callable[..., tuple[list[Event], Ended | UpstreamError]]

END = finish_chunk() + DONE

LARCH_USAGE = UsageKnown(reported(3, 2, by="larch"))


def said(events: Iterable[Event], kind: type[TextDelta | ReasoningDelta] = TextDelta, choice: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, kind) and event.choice == choice)


def content(escaped: bytes, *, key: bytes = b"content", choice: int = 0) -> bytes:
    """A chunk whose text is written exactly so."""
    return b'data: {"choices":[{"index":%d,"delta":{"%b":"%b"}}]}\n\n' % (choice, key, escaped)


def passthrough(**fields: Any) -> Passthrough:
    return Passthrough("openai_chat", fields=_raw(fields))


def delta_passthrough(**fields: Any) -> Passthrough:
    return Passthrough("openai_chat", delta_fields=_raw(fields))


def _raw(fields: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return {key: msgspec.Raw(json_text.encode(value)) for key, value in fields.items()}


def choice_chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    """A chunk with these choices, and these keys beside them."""
    return frame({"choices": list(choices), **more})


# --- what is said, chunk by chunk: name, bytes, events

CASES: list[tuple[str, bytes, list[Event]]] = [
    ("text", role_chunk() + text_chunk("Hel") + text_chunk("lo") + END, [TextDelta("Hel"), TextDelta("lo")]),
    ("empty deltas are dropped", text_chunk("") + text_chunk("a") + text_chunk("") + END, [TextDelta("a")]),
    ("null and missing content", delta_chunk({"content": None}) + delta_chunk({}) + END, []),
    ("text beside the finish reason", delta_chunk({"content": "a"}, finish_reason="stop") + DONE, [TextDelta("a")]),
    ("no [DONE]", text_chunk("a") + finish_chunk(), [TextDelta("a")]),
    ("a choice without an index", choice_chunk({"delta": {"content": "a"}}) + END, [TextDelta("a")]),
    ("an index of null", choice_chunk({"index": None, "delta": {"content": "a"}}) + END, [TextDelta("a")]),
    ("chunks without choices", frame({}) + frame({"choices": []}) + frame({"choices": None}) + END, []),
    (
        "a finish reason of nothing is none",
        choice_chunk({"delta": {"content": "a"}, "finish_reason": ""}) + text_chunk("b") + END,
        [TextDelta("a"), TextDelta("b")],
    ),
    (
        "comments, ids, retry and types are no text",
        b": OPENROUTER PROCESSING\n\nretry: 3\nid: 7\nevent: message\n" + text_chunk("a") + b": hb\n\n" + END,
        [TextDelta("a")],
    ),
    ("empty data", b"data:\n\ndata: \n\ndata:   \n\n" + text_chunk("a") + END, [TextDelta("a")]),
    ("no space after data", (text_chunk("a") + END).replace(b"data: ", b"data:"), [TextDelta("a")]),
    ("CRLF", (text_chunk("a") + END).replace(b"\n", b"\r\n"), [TextDelta("a")]),
    ("CR", (text_chunk("a") + END).replace(b"\n", b"\r"), [TextDelta("a")]),
    ("a byte order mark", b"\xef\xbb\xbf" + text_chunk("a") + END, [TextDelta("a")]),
    ("a space behind [DONE]", text_chunk("a") + finish_chunk() + b"data: [DONE] \n\n", [TextDelta("a")]),
    (
        "JSON over several lines",
        b'data: {"choices":\ndata: [{"delta": {"content":\ndata: "a"}}]}\n\n' + END,
        [TextDelta("a")],
    ),
    ("no blank line at the end", text_chunk("a") + finish_chunk()[:-2], [TextDelta("a")]),
    ("half a line end at the end", text_chunk("a") + finish_chunk()[:-1], [TextDelta("a")]),
    ("nothing after [DONE] is heard", text_chunk("a") + END + text_chunk("b") + b"data: ?\n\n", [TextDelta("a")]),
    ("nonsense after the finish reason", text_chunk("a") + finish_chunk() + b"data: ?\n\n", [TextDelta("a")]),
    (
        "an error after the finish reason",
        text_chunk("a") + finish_chunk() + frame({"error": {"message": "no usage"}}) + usage_chunk(1, 1),
        [TextDelta("a")],
    ),
    # usage
    ("usage in a chunk of its own", finish_chunk() + usage_chunk(3, 2) + DONE, [LARCH_USAGE]),
    (
        "usage beside the finish reason",
        choice_chunk({"delta": {}, "finish_reason": "stop"}, usage={"prompt_tokens": 3, "completion_tokens": 2}),
        [LARCH_USAGE],
    ),
    (
        "usage beside text",
        choice_chunk({"delta": {"content": "a"}}, usage={"prompt_tokens": 3, "completion_tokens": 2}) + END,
        [TextDelta("a"), LARCH_USAGE],
    ),
    (
        "usage in every chunk",
        b"".join(
            choice_chunk({"delta": {"content": text}}, usage={"prompt_tokens": 3, "completion_tokens": count})
            for count, text in enumerate("ab", 1)
        )
        + END,
        [TextDelta("a"), UsageKnown(reported(3, 1, by="larch")), TextDelta("b"), LARCH_USAGE],
    ),
    ("usage before any text", usage_chunk(3, 2) + text_chunk("a") + END, [LARCH_USAGE, TextDelta("a")]),
    (
        "usage where Groq puts it",
        choice_chunk(
            {"delta": {}, "finish_reason": "stop"},
            x_groq={"id": "req_1", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "queue_time": 0.01}},
        )
        + DONE,
        [LARCH_USAGE],
    ),
    (
        "usage in both places is told once",
        choice_chunk(
            {"delta": {}, "finish_reason": "stop"},
            usage={"prompt_tokens": 3, "completion_tokens": 2},
            x_groq={"usage": {"prompt_tokens": 9, "completion_tokens": 9}},
        )
        + DONE,
        [LARCH_USAGE],
    ),
    ("Groq's id alone", choice_chunk({"delta": {"content": "a"}}, x_groq={"id": "req_1"}) + END, [TextDelta("a")]),
    (
        "cached and reasoning tokens",
        finish_chunk()
        + frame(
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 7,
                    "total_tokens": 17,
                    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 5},
                },
            }
        ),
        [UsageKnown(reported(10, 7, by="larch", cached_tokens=4, reasoning_tokens=5))],
    ),
    (
        "cached tokens as DeepSeek calls them",
        finish_chunk()
        + frame(
            {
                "choices": [],
                "usage": {"prompt_tokens": 10, "completion_tokens": 7, "prompt_cache_hit_tokens": 4},
            }
        ),
        [UsageKnown(reported(10, 7, by="larch", cached_tokens=4))],
    ),
    (
        "numbers written as text or with a point",
        finish_chunk() + frame({"choices": [], "usage": {"prompt_tokens": "3", "completion_tokens": 2.0}}),
        [LARCH_USAGE],
    ),
    ("usage of null", choice_chunk({"delta": {"content": "a"}}, usage=None) + END, [TextDelta("a")]),
    ("empty usage", choice_chunk({"delta": {"content": "a"}}, usage={}) + END, [TextDelta("a")]),
    (
        "usage nobody can read costs no text",
        choice_chunk({"delta": {"content": "a"}}, usage="lots", x_groq=7) + END,
        [TextDelta("a")],
    ),
    # reasoning (L38)
    (
        "reasoning_content",
        delta_chunk({"reasoning_content": "Hm", "content": None}) + text_chunk("a") + END,
        [ReasoningDelta("Hm"), TextDelta("a")],
    ),
    ("reasoning", delta_chunk({"reasoning": "Hm"}) + END, [ReasoningDelta("Hm")]),
    (
        "both names hold the same and are heard once",
        delta_chunk({"reasoning_content": "Hm", "reasoning": "Hm"}) + END,
        [ReasoningDelta("Hm")],
    ),
    (
        "an empty name leaves the other",
        delta_chunk({"reasoning_content": "", "reasoning": "Hm"}) + END,
        [ReasoningDelta("Hm")],
    ),
    ("reasoning as an object", delta_chunk({"reasoning": {"text": "Hm"}}) + END, [ReasoningDelta("Hm")]),
    ("reasoning with content", delta_chunk({"reasoning": {"content": "Hm"}}) + END, [ReasoningDelta("Hm")]),
    (
        "reasoning as a list",
        delta_chunk({"reasoning": [{"type": "x", "text": "H"}, "m", {"summary": [{"text": "!"}]}, 7, None]}) + END,
        [ReasoningDelta("Hm!")],
    ),
    (
        "reasoning and text in one chunk",
        delta_chunk({"reasoning": "Hm", "content": "a"}) + END,
        [ReasoningDelta("Hm"), TextDelta("a")],
    ),
    (
        "content in parts, as Mistral's reasoning models send it",
        delta_chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]})
        + delta_chunk({"content": [{"type": "text", "text": "a"}, "b", {"type": "image"}, 7]})
        + END,
        [ReasoningDelta("Hm"), TextDelta("a"), TextDelta("b")],
    ),
    # what has no word here is kept for protocols of the same family
    (
        "logprobs",
        choice_chunk({"delta": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": -0.5}]}}) + END,
        [TextDelta("a"), passthrough(logprobs={"content": [{"token": "a", "logprob": -0.5}]})],
    ),
    (
        "content filters, as Azure tells them",
        choice_chunk({"delta": {"content": "a"}, "content_filter_results": {"hate": {"filtered": False}}}) + END,
        [TextDelta("a"), passthrough(content_filter_results={"hate": {"filtered": False}})],
    ),
    (
        "the filters of a prompt come without a choice",
        frame({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}) + text_chunk("a") + END,
        [TextDelta("a")],
    ),
    ("refusals", delta_chunk({"refusal": "No."}) + END, [delta_passthrough(refusal="No.")]),
    ("a refusal of null", delta_chunk({"refusal": None, "content": "a"}) + END, [TextDelta("a")]),
    (
        "audio and whatever comes next year",
        delta_chunk({"audio": {"id": "x", "data": "AAAA"}, "smell": [1, 2.5, None, "\u2028"]}) + END,
        [delta_passthrough(audio={"id": "x", "data": "AAAA"}, smell=[1, 2.5, None, "\u2028"])],
    ),
    # characters
    (
        "scripts",
        text_chunk("天气 😀") + text_chunk("طقس\u2028\x85") + END,
        [TextDelta("天气 😀"), TextDelta("طقس\u2028\x85")],
    ),
    ("a pair in escapes", content(rb"\ud83d\ude00") + END, [TextDelta("😀")]),
    ("a pair over two chunks", content(rb"a\ud83d") + content(rb"\ude00b") + END, [TextDelta("a"), TextDelta("😀b")]),
    (
        "a half waits for its other half over empty chunks",
        content(rb"\ud83d") + role_chunk() + content(rb"\ude00") + END,
        [TextDelta("😀")],
    ),
    (
        "a half whose other half never comes is no character, and stays in its place",
        content(rb"\ud83d") + content(b"abc") + content(rb"\ude00") + END,
        [TextDelta("\ufffdabc"), TextDelta("\ufffd")],
    ),
    ("a half at the end", content(rb"a\ud83d") + END, [TextDelta("a"), TextDelta("\ufffd")]),
    (
        "a half of reasoning and a half of text are two halves",
        content(rb"\ud83d", key=b"reasoning") + content(rb"\ude00") + END,
        [TextDelta("\ufffd"), ReasoningDelta("\ufffd")],
    ),
    ("broken UTF-8", content(b"a\xffb") + content(b"c") + END, [TextDelta("a\ufffdb"), TextDelta("c")]),
    (
        "broken UTF-8 in the middle of a run of text",
        content(b"a") * 5 + content(b"\xe5\xa4") + content(b"a") * 2 + END,
        [*[TextDelta("a")] * 5, TextDelta("\ufffd"), *[TextDelta("a")] * 2],
    ),
    (
        "broken UTF-8 beside the text",
        text_chunk("a").replace(b"scripted", b"scr\xffpted") + END,
        [TextDelta("a")],
    ),
]


@pytest.mark.parametrize(("data", "events"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_an_upstream_says_becomes_events(hear: Hear, data: bytes, events: list[Event]) -> None:
    heard, end = hear(data)
    assert heard == events
    assert end == Ended("stop")


def test_halves_of_different_choices_are_different_characters(hear: Hear) -> None:
    data = content(rb"\ud83d") + content(rb"\ud83d", choice=1) + content(rb"\ude01", choice=1) + content(rb"\ude00")
    data += finish_chunk() + finish_chunk(choice=1)
    assert hear(data, choices=2)[0] == [TextDelta("😁", 1), TextDelta("😀")]


# --- several choices


def test_choices_interleave_and_each_has_its_ending(hear: Hear) -> None:
    data = text_chunk("a") + text_chunk("b", choice=1) + text_chunk("c") + finish_chunk("length", choice=1)
    data += text_chunk("d") + finish_chunk("stop") + DONE
    events, end = hear(data, choices=2)
    assert said(events) == "acd"
    assert said(events, choice=1) == "b"
    assert end == Ended("stop", choices=((0, "stop"), (1, "length")))


def test_several_choices_in_one_chunk(hear: Hear) -> None:
    data = choice_chunk({"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}})
    data += choice_chunk({"index": 0, "delta": {}, "finish_reason": "stop"}, {"index": 1, "finish_reason": "stop"})
    events, end = hear(data, choices=2)
    assert events == [TextDelta("a"), TextDelta("b", 1)]
    assert isinstance(end, Ended)


def test_an_answer_is_finished_when_every_choice_asked_for_is() -> None:
    hearing = Hearing("larch", choices=2)
    hearing.feed([text_chunk("a") + text_chunk("b", choice=1) + finish_chunk()])
    assert not hearing.finished
    hearing.feed([finish_chunk(choice=1)])
    assert hearing.finished


def test_an_upstream_that_knows_no_second_choice_gives_one(hear: Hear) -> None:
    assert hear(text_chunk("a") + END, choices=2) == ([TextDelta("a")], Ended("stop"))


def test_a_choice_without_an_ending_is_cut_off(hear: Hear) -> None:
    data = text_chunk("a") + text_chunk("b", choice=1) + finish_chunk() + DONE
    assert isinstance(hear(data, choices=2)[1], UpstreamTruncated)


# --- endings


@pytest.mark.parametrize(
    ("reason", "ends"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "tool_calls"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("eos", "stop"),
        ("something of next year", "stop"),
    ],
)
def test_l17_an_ending_is_what_the_upstream_said(hear: Hear, reason: str, ends: Ending) -> None:
    assert hear(text_chunk("a") + finish_chunk(reason) + DONE) == ([TextDelta("a")], Ended(ends))


@pytest.mark.parametrize("reason", ["error", "abort", "cancelled", "insufficient_system_resource"])
def test_l17_a_finish_reason_that_says_the_upstream_gave_up_is_no_ending(hear: Hear, reason: str) -> None:
    events, end = hear(text_chunk("a") + finish_chunk(reason) + DONE)
    assert events == [TextDelta("a")]
    assert isinstance(end, UpstreamRefused)
    assert end.failure().upstream_code == reason


CUT_OFF = {
    "nothing at all": b"",
    "the end of the bytes": text_chunk("a") + text_chunk("b"),
    "a bare [DONE]": text_chunk("a") + DONE,
    "[DONE] alone": DONE,
    "half a chunk": text_chunk("a") + finish_chunk()[:-20],
    "only usage": text_chunk("a") + usage_chunk(1, 1) + DONE,
    "a finish reason of null": text_chunk("a") + choice_chunk({"delta": {}, "finish_reason": None}) + DONE,
    "a finish reason of nothing": text_chunk("a") + choice_chunk({"delta": {}, "finish_reason": ""}) + DONE,
    "a comment": text_chunk("a") + b": still here\n\n",
}


@pytest.mark.parametrize("data", CUT_OFF.values(), ids=CUT_OFF)
def test_l15_an_answer_without_a_finish_reason_is_cut_off(hear: Hear, data: bytes) -> None:
    _, end = hear(data)
    assert isinstance(end, UpstreamTruncated)
    assert end.failure().code == "upstream_truncated"


def test_l15_what_was_said_before_the_cut_is_kept_even_without_its_blank_line(hear: Hear) -> None:
    events, end = hear(text_chunk("a") + text_chunk("b")[:-2])
    assert said(events) == "ab"
    assert isinstance(end, UpstreamTruncated)


@pytest.mark.parametrize("data", [finish_chunk(), finish_chunk() + b"data: [DO", finish_chunk()[:-2]])
def test_l15_a_finish_reason_without_done_is_an_ending(hear: Hear, data: bytes) -> None:
    assert hear(text_chunk("a") + data) == ([TextDelta("a")], Ended("stop"))


# --- an answer in one piece


def whole(**message: Any) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return json.dumps({"object": "chat.completion", "choices": choices, "usage": usage}).encode()


def hear_whole(payload: bytes) -> tuple[list[Event], Ended | UpstreamError]:
    hearing = Hearing("larch")
    events = [*hearing.hear_whole(payload)]
    if hearing.failure is None:
        events += hearing.finish()
    return events, hearing.failure or hearing.ended()


@pytest.mark.parametrize(
    ("message", "events"),
    [
        ({"content": "a 天"}, [TextDelta("a 天")]),
        ({"content": None, "refusal": None}, []),
        ({"content": "a", "reasoning_content": "Hm"}, [ReasoningDelta("Hm"), TextDelta("a")]),
        (
            {
                "content": None,
                "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            [ToolCallDelta(0, "x", "f", "{}")],
        ),
        (
            {"content": "a", "annotations": [{"type": "url_citation"}]},
            [TextDelta("a"), delta_passthrough(annotations=[{"type": "url_citation"}])],
        ),
    ],
)
def test_an_answer_in_one_piece_gives_the_same_kinds_of_events(message: dict[str, Any], events: list[Event]) -> None:
    heard, end = hear_whole(whole(**message))
    assert heard == [*events, LARCH_USAGE]
    assert end == Ended("stop")


@pytest.mark.parametrize(
    ("payload", "error", "words"),
    [
        (b'{"error":{"message":"no such model","code":404}}', UpstreamRefused, "answered 404: no such model"),
        (b'{"status":"ok"}', UpstreamMalformed, '{"status":"ok"}'),
        (b'{"detail":"Not Found"}', UpstreamMalformed, "Not Found"),
        (b"", UpstreamMalformed, "larch"),
        (b"{}{}", UpstreamMalformed, "larch"),
        (whole(content="a").replace(b'"stop"', b"null"), UpstreamTruncated, "finish reason"),
    ],
)
def test_a_whole_body_that_is_no_answer_says_what_it_is(payload: bytes, error: type[UpstreamError], words: str) -> None:
    _, end = hear_whole(payload)
    assert type(end) is error
    assert words in end.message
