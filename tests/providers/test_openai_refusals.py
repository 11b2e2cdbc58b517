"""Errors that an upstream sends under 200, in every shape, and the keys that are in none of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamRefused
from headrace.events import Ended, Event, TextDelta
from headrace.providers.openai_hearing import Hearing
from headrace.testing.upstream import DONE, finish_chunk, frame, text_chunk
from headrace.wire.bounds import EVENT_LIMIT_BYTES

Hear = Callable[..., tuple[list[Event], Ended | UpstreamError]]

END = finish_chunk() + DONE

SECRET = "gsk_0123456789abcdefghij"


def choice_chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    """A chunk with these choices, and these keys beside them."""
    return frame({"choices": list(choices), **more})


# --- errors under 200 (L16, L18)

RATE = {"message": "slow down", "type": "tokens", "code": "rate_limit_exceeded"}

ERRORS: list[tuple[str, bytes, int | None, str | None, str]] = [
    ("an object", frame({"error": RATE}), None, "rate_limit_exceeded", "slow down"),
    ("with its type alone", frame({"error": {"message": "no", "type": "overloaded"}}), None, "overloaded", "no"),
    ("with a status for a code", frame({"error": {"message": "no", "code": 429}}), 429, "429", "no"),
    ("with a status as text", frame({"error": {"message": "no", "code": "503"}}), 503, "503", "no"),
    ("with a code that is no status", frame({"error": {"message": "no", "code": 1301}}), None, "1301", "no"),
    ("with a status_code", frame({"error": {"message": "no", "status_code": 500}}), 500, None, "no"),
    ("text", frame({"error": "out of memory"}), None, None, "out of memory"),
    ("an object in an object", frame({"error": {"error": RATE}}), None, "rate_limit_exceeded", "slow down"),
    ("a list", frame({"error": [RATE]}), None, "rate_limit_exceeded", "slow down"),
    ("an object of other words", frame({"error": {"reason": "no"}}), None, None, '{"reason":"no"}'),
    ("details in a list", frame({"error": {"detail": [{"msg": "no"}]}}), None, None, '[{"msg":"no"}]'),
    ("event: error", b"event: error\n" + frame({"error": RATE}), None, "rate_limit_exceeded", "slow down"),
    ("event: error, flat", b"event: error\n" + frame(RATE), None, "rate_limit_exceeded", "slow down"),
    ("event: error, text", b"event: error\ndata: out of memory\n\n", None, None, "out of memory"),
    ("event: error, a list", b"event: error\ndata: [1]\n\n", None, None, "1"),
    ("Groq's own", frame({"choices": [], "x_groq": {"error": "over capacity"}}), None, None, "over capacity"),
    (
        "the chunk is the error, as vLLM had it",
        frame({"object": "error", "message": "too long", "type": "BadRequestError", "code": 400}),
        400,
        "400",
        "too long",
    ),
    (
        "as Anthropic says it",
        frame({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}),
        None,
        "overloaded_error",
        "no",
    ),
    (
        "beside choices",
        choice_chunk({"delta": {"content": "b"}}, error={"message": "no", "code": 502}),
        502,
        "502",
        "no",
    ),
    ("without its blank line", frame({"error": RATE})[:-2], None, "rate_limit_exceeded", "slow down"),
]


@pytest.mark.parametrize(
    ("data", "status", "code", "message"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS]
)
def test_l18_an_error_keeps_its_status_code_and_words(
    hear: Hear, data: bytes, status: int | None, code: str | None, message: str
) -> None:
    events, end = hear(text_chunk("a") + data)
    assert events == [TextDelta("a")]
    assert isinstance(end, UpstreamRefused)
    told = end.failure()
    assert (told.upstream, told.upstream_status, told.upstream_code) == ("larch", status, code)
    assert told.message.endswith(": " + message)


@pytest.mark.parametrize("error", [None, "", {}, [], False])
def test_an_error_that_says_nothing_is_none(hear: Hear, error: object) -> None:
    data = choice_chunk({"delta": {"content": "a"}}, error=error) + END
    assert hear(data) == ([TextDelta("a")], Ended("stop"))


@pytest.mark.parametrize(
    "payload",
    [
        b"?",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b"<html>",
        b'{"choices":7}',
        b'{"choices":[7]}',
        b'{"choices":[{"delta":[]}]}',
        b'{"choices":[{"index":"x"}]}',
        b'{"choices":[{"delta":{"content":"a"}}]} {"choices":[]}',
        b'{"choices":[{"delta":{"content":"a"}}]}\ndata: {"choices":[{"delta":{"content":"b"}}]}',
        b'{"x":' + b"[" * 100_000,
        b'{"choices":[{"delta":{"x":' + b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"choices":[{"delta":{"x":' + b"9" * 5000 + b"}}]}",
        b'{"choices":[{"delta":{"content":"\xff"}}}',
    ],
    ids=lambda payload: repr(payload[:50]),
)
def test_what_is_no_chunk_is_malformed_and_what_came_before_is_kept(hear: Hear, payload: bytes) -> None:
    events, end = hear(text_chunk("a") * 3 + b"data: " + payload + b"\n\n" + text_chunk("b"))
    assert events == [TextDelta("a")] * 3
    assert isinstance(end, UpstreamMalformed)
    assert len(end.message) < 500


def test_an_event_without_end_is_malformed() -> None:
    hearing = Hearing("larch")
    hearing.feed([b"data: "])
    for _ in range(EVENT_LIMIT_BYTES // (1 << 20)):
        hearing.feed([b"x" * (1 << 20)])
    assert isinstance(hearing.failure, UpstreamMalformed)


# --- secrets


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        "sk-proj-abcdefghijklmnop1234",
        "gsk_abcdEFGH1234ijkl",
        "sk-abc****************wxyz",
        "xai-0123456789abcdef",
        "hf_AbCdEfGh12345678",
        "AIzaSyA0123456789abcdefg",
        "Bearer abcdefgh12345678",
    ],
)
@pytest.mark.parametrize("before", [0, 450, 480, 495, 499, 500, 2000])
def test_l18_no_key_is_in_any_error_not_even_half_of_it(key: str, before: int) -> None:
    padding = "x" * before + " "
    shapes = [
        frame({"error": {"message": padding + key, "code": key}}),
        frame({"error": padding + key}),
        b"event: error\ndata: " + (padding + key).encode() + b"\n\n",
        frame({"error": {"other": [padding, {"key": key}]}}),
    ]
    hearings = [Hearing("larch", secret=SECRET) for _ in range(len(shapes) + 1)]
    for hearing, shape in zip(hearings, shapes, strict=False):
        hearing.feed([text_chunk("a") + shape])
    hearings[-1].hear_whole(json.dumps({"odd": padding[-190:] + key}).encode())
    for hearing in hearings:
        error = hearing.failure
        assert error is not None
        told = repr(error.failure()) + str(error)
        assert key[6:14] not in told
        assert key not in told


@pytest.mark.parametrize(
    "message",
    [
        "Incorrect API key provided. You can find your key at https://console.example/keys",
        "API key validation failed",
        "the key-management service is down",
        "api_version is missing; use max_completion_tokens",
    ],
)
def test_words_about_keys_are_no_keys(hear: Hear, message: str) -> None:
    _, end = hear(frame({"error": message}))
    assert isinstance(end, UpstreamRefused)
    assert end.message.endswith(message)
