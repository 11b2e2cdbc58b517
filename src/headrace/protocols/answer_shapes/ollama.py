"""What Ollama's routes answer."""

from __future__ import annotations

import msgspec

from headrace.protocols.answer_shapes.shared import Extras, Object


class OllamaLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line of an answer, or all of it: `response` of `/api/generate`, `message` of `/api/chat`."""

    model: str
    created_at: str
    done: bool
    """`true`: the last one."""
    message: Object | None = None
    response: str | None = None
    thinking: str | None = None
    tool_calls: list[Object] | None = None
    done_reason: str | None = None
    total_duration: int | None = None
    """In nanoseconds, as all durations here."""
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    headrace: Extras | None = None
    error: str | None = None
    """On the last line of an answer that was cancelled."""


class OllamaTag(msgspec.Struct, forbid_unknown_fields=True):
    """A model."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Object


class OllamaTags(msgspec.Struct, forbid_unknown_fields=True):
    """The models that are configured."""

    models: list[OllamaTag]


class OllamaVersion(msgspec.Struct, forbid_unknown_fields=True):
    """The version of Ollama's API that is spoken here."""

    version: str
    headrace: str
