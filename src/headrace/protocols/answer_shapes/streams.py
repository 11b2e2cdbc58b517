"""What is told of streams, and of what was done to one."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.protocols.answer_shapes.errors import ErrorObject
from headrace.protocols.answer_shapes.shared import Phases, TokenUsage


class StreamRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What is known of a stream."""

    id: str
    object: Literal["stream"]
    model: str
    state: Literal["running", "ended"]
    created_at: str | None
    conversation_id: str | None
    parent: str | None
    """The stream of the conversation that it comes after; `null`: it begins the conversation, or is in none."""
    relation: Literal["follow", "continue"] | None
    """Whether its question follows the parent's answer, or it goes on with that answer."""
    language: str | None
    question: str | None
    """The text of the last message, where it is the user's."""
    events: int
    """How many there are."""
    readers: int
    """How many are attached now."""
    ending: str | None
    """Why it ended, once it has."""
    error: ErrorObject | None = None
    timing: Phases | None = None
    usage: TokenUsage | None = None


class StreamPage(msgspec.Struct, forbid_unknown_fields=True):
    """A page of a list of streams, newest first."""

    object: Literal["list"]
    data: list[StreamRecord]
    has_more: bool
    """Whether there are older ones: they are behind `before=<last_id>`."""
    first_id: str | None
    last_id: str | None


class Cancelled(msgspec.Struct, forbid_unknown_fields=True):
    """What became of the wish to stop a stream."""

    id: str
    state: Literal["running", "ended"]
    cancelled: bool
    """`false`: it had ended by itself before."""


class Changed(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a stream from now on when its last reader leaves."""

    id: str
    state: Literal["running", "ended"]
    on_disconnect: Literal["cancel", "continue"] | float


class Deleted(msgspec.Struct, forbid_unknown_fields=True):
    """That a stream is no longer there."""

    id: str
    object: Literal["stream"]
    deleted: Literal[True]
