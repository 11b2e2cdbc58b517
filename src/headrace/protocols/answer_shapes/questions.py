"""What headrace's small routes answer to a question: text, an answer in one piece, and token frames."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.protocols.answer_shapes.shared import FinishReason, Passage, Phases, TokenUsage


class PromptAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer of `/chat`."""

    content: str
    stream_id: str
    conversation_id: str | None
    model: str
    finish_reason: FinishReason
    sources: list[Passage]
    usage: TokenUsage | None


class QueryAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer of `/api/query`."""

    answer: str
    sources: list[Passage]
    usage: TokenUsage | None
    model: str
    stream_id: str
    timing: Phases


class CodedFailure(msgspec.Struct, forbid_unknown_fields=True):
    """Why a stream did not end well."""

    code: str
    message: str


class GeneratedToken(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of the answer, its end, or why it did not end well."""

    done: bool
    token: str | None = None
    error: CodedFailure | None = None


class ChatToken(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of the answer, its end, or why it did not end well."""

    type: Literal["token", "done", "error"]
    content: str | None = None
    code: str | None = None
