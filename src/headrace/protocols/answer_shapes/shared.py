"""What several answers share: passages, usage, phases, and what the language of another API has no word for."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from headrace.usage import Provenance

Object: TypeAlias = dict[str, Any]


FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class Passage(msgspec.Struct, forbid_unknown_fields=True):
    """A passage that the answer rests on."""

    n: int
    """The number that the answer refers to it by."""
    id: str
    title: str
    passage: str
    score: float | None


class TokenUsage(msgspec.Struct, forbid_unknown_fields=True):
    """Tokens in and out, and how they are known."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int | None
    reasoning_tokens: int | None
    source: Provenance
    """`reported` by the upstream, `counted` here, or `estimated` from the text."""
    prompt_source: Provenance
    completion_source: Provenance
    by: str
    """Who says so: an upstream's name, or `headrace`."""
    may_have_gone_on: bool = False
    """Whether the upstream was left in the middle and may have generated, and bill, more than this."""


class Phases(msgspec.Struct, forbid_unknown_fields=True):
    """How long it took, in milliseconds, in the order it happened; what was not reached is left out."""

    first_token_kind: str | None = None
    attempts: int = 1
    queue_ms: float | None = None
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None


class UsageMark(msgspec.Struct, forbid_unknown_fields=True):
    """That a usage was not reported by the upstream, or may not be all."""

    source: Provenance | None = None
    by: str | None = None
    may_have_gone_on: bool = False


class Extras(msgspec.Struct, forbid_unknown_fields=True):
    """What the language of another API has no word for."""

    sources: list[Passage] | None = None
    usage: UsageMark | None = None
