"""Typed events, frame by frame, and the whole answer of an assistant."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from headrace.protocols.answer_shapes.shared import FinishReason, Passage, Phases, TokenUsage


class StartFrame(msgspec.Struct, tag_field="type", tag="start", forbid_unknown_fields=True):
    """The first frame."""

    timestamp: str
    stream_id: str
    model: str
    language: str | None = None
    conversation_id: str | None = None


class StatusFrame(msgspec.Struct, tag_field="type", tag="status", forbid_unknown_fields=True):
    """A phase that a person may want to know of."""

    phase: str
    message: str | None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    offset: int | UnsetType = UNSET
    """Of this event, where another model or another attempt goes on behind it."""


class SourcesFrame(msgspec.Struct, tag_field="type", tag="sources", forbid_unknown_fields=True):
    """The passages that were found."""

    sources: list[Passage]


class RationaleFrame(msgspec.Struct, tag_field="type", tag="rationale", forbid_unknown_fields=True):
    """A piece of reasoning."""

    content: str


class TokenFrame(msgspec.Struct, tag_field="type", tag="token", forbid_unknown_fields=True):
    """A piece of the answer."""

    content: str


class ToolCallFrame(msgspec.Struct, tag_field="type", tag="tool_call", forbid_unknown_fields=True):
    """A piece of a tool call; its first one has the id and the name."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


class DoneFrame(msgspec.Struct, tag_field="type", tag="done", forbid_unknown_fields=True):
    """The good end: the whole answer once more."""

    content: str
    sources: list[Passage]
    finish_reason: FinishReason


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    """What it took."""

    token_count: int | None
    duration_ms: float | None
    ttft_ms: float | None
    usage: TokenUsage | None
    timing: Phases


class MetadataFrame(Metadata, tag_field="type", tag="metadata", forbid_unknown_fields=True):
    """What it took."""


class ErrorFrame(msgspec.Struct, tag_field="type", tag="error", forbid_unknown_fields=True):
    """Any other end: what was said before stands, and is not the whole answer."""

    content: str
    code: str
    ending: Literal["cancelled", "incomplete", "interrupted", "error"]
    partial: bool
    """Whether anything was said."""


TypedFrame: TypeAlias = (
    StartFrame
    | StatusFrame
    | SourcesFrame
    | RationaleFrame
    | TokenFrame
    | ToolCallFrame
    | DoneFrame
    | MetadataFrame
    | ErrorFrame
)


class AssistantAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer of an assistant."""

    content: str
    sources: list[Passage]
    finish_reason: FinishReason
    stream_id: str
    model: str
    usage: TokenUsage | None
    language: str | None = None
    conversation_id: str | None = None
    rationale: str | None = None
    metadata: Metadata | None = None
