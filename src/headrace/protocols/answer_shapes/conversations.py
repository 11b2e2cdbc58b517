"""What is told of conversations, found and exported ones too."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.protocols.answer_shapes.shared import Passage
from headrace.protocols.answer_shapes.streams import StreamRecord


class FoundText(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of a passage that was found."""

    text: str
    match: bool
    """Whether it is what was looked for."""


class FoundWords(msgspec.Struct, forbid_unknown_fields=True):
    """Where the words that were looked for were found."""

    stream_id: str | None
    """`null`: in the title."""
    snippet: list[FoundText]
    """The words round it, in pieces that together are the text."""


class ConversationRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What is known of a conversation."""

    id: str
    object: Literal["conversation"]
    title: str
    """As it was given, or the beginning of the first question; empty where that had no words."""
    created_at: str
    updated_at: str
    """When its latest question was asked."""
    streams: int
    """How many it has."""
    running: bool
    """Whether one of them is being made."""
    found: FoundWords | None = None
    """With `q`: where."""


class ConversationPage(msgspec.Struct, forbid_unknown_fields=True):
    """A page of a list of conversations."""

    object: Literal["list"]
    data: list[ConversationRecord]
    has_more: bool
    """Whether there are more: they are behind `before=<last_id>`."""
    first_id: str | None
    last_id: str | None


class ConversationStreams(ConversationRecord, kw_only=True, forbid_unknown_fields=True):
    """A conversation with a page of its streams, newest first."""

    data: list[StreamRecord]
    has_more: bool
    """Whether there are older ones: they are behind `before=<last_id>`."""
    first_id: str | None
    last_id: str | None


class ExportedStream(StreamRecord, kw_only=True, forbid_unknown_fields=True):
    """A stream with what was said in it."""

    answer: str
    sources: list[Passage]
    rationale: str | None = None
    """The reasoning; `null`: there was none. Left out where the reader may not see it."""


class ExportedConversation(ConversationRecord, kw_only=True, forbid_unknown_fields=True):
    """A conversation with everything said in it."""

    data: list[ExportedStream]
    """The oldest first."""


class ConversationDeleted(msgspec.Struct, forbid_unknown_fields=True):
    """That a conversation is no longer there."""

    id: str
    object: Literal["conversation"]
    deleted: Literal[True]
    streams: int
    """How many streams went with it."""
