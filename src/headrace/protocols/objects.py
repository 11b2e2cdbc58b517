"""The small JSON objects that several protocols share: errors, sources, usage, timing.

Pure. Names are those of `reference/headrace-protocols.md` and of OpenAI's errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.errors import HeadraceError
from headrace.events import Ended, Failure, Source
from headrace.timing import Timing
from headrace.usage import Usage
from headrace.wire import json_text

DONE = b"[DONE]"
"""The record that ends OpenAI's streams and our own."""


def error_body(error: HeadraceError | Ended) -> bytes:
    """The body of an HTTP error in OpenAI's shape, which our own routes use too."""
    if isinstance(error, Ended):
        assert error.failure is not None
        return json_text.encode({"error": error_object(error.failure)})
    return json_text.encode({"error": error_object(error.failure(), error.parameter)})


def error_object(failure: Failure, parameter: str | None = None) -> dict[str, Any]:
    """An error as OpenAI writes it. What the upstream itself said stands beside our own code (L18)."""
    error: dict[str, Any] = {
        "message": failure.message,
        "type": error_type(failure.http_status),
        "code": failure.code,
        "param": parameter,
    }
    if failure.upstream is not None:
        error["upstream"] = {
            key: value
            for key, value in (
                ("name", failure.upstream),
                ("status", failure.upstream_status),
                ("code", failure.upstream_code),
            )
            if value is not None
        }
    return error


def error_type(http_status: int) -> str:
    """OpenAI's word for the kind of error an HTTP status means."""
    match http_status:
        case 401:
            return "authentication_error"
        case 403:
            return "permission_error"
        case 429:
            return "rate_limit_error"
        case 499:
            return "cancelled"
        case status if status < 500:
            return "invalid_request_error"
        case _:
            return "server_error"


def source_objects(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Sources as our own protocols write them."""
    return [
        {"n": source.number, "id": source.id, "title": source.title, "passage": source.passage, "score": source.score}
        for source in sources
    ]


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as our own protocols write it, with how it is known, and whether there may be more of it."""
    written: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "source": usage.source,
        "prompt_source": usage.prompt_source,
        "completion_source": usage.completion_source,
        "by": usage.by,
    }
    return written | {"may_have_gone_on": True} if usage.may_have_gone_on else written


def extras_object(sources: Sequence[Source], usage: Usage | None) -> dict[str, Any]:
    """What the language of another API has no word for, written there under the key `headrace`; empty for nothing."""
    extras: dict[str, Any] = {}
    if sources:
        extras["sources"] = source_objects(sources)
    if usage is not None and usage.source != "reported":
        extras["usage"] = {"source": usage.source, "by": usage.by}
    if usage is not None and usage.may_have_gone_on:
        extras.setdefault("usage", {})["may_have_gone_on"] = True
    return extras


def extras_field(sources: Sequence[Source], usage: Usage | None) -> bytes:
    """The same as the last field of a chunk, with the comma before it; empty for nothing."""
    extras = extras_object(sources, usage)
    return b',"headrace":%b' % json_text.encode(extras) if extras else b""


def timing_object(timing: Timing) -> dict[str, Any]:
    """The phases in milliseconds, in the order they happen."""
    phases = {
        "queue_ms": timing.queue_ns,
        "connect_ms": timing.connect_ns,
        "first_byte_ms": timing.first_byte_ns,
        "first_token_ms": timing.time_to_first_token_ns,
        "total_ms": timing.total_ns,
    }
    known: dict[str, Any] = {name: milliseconds(value) for name, value in phases.items() if value is not None}
    return known | {"first_token_kind": timing.first_token_kind, "attempts": timing.attempts}


def milliseconds(nanoseconds: int) -> float:
    """Nanoseconds as milliseconds, to the microsecond."""
    return round(nanoseconds / 1e6, 3)
