"""What OpenAI's routes answer: chat completions, the older completions, and models."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.protocols.answer_shapes.shared import Extras, FinishReason, Object


class CachedTokens(msgspec.Struct, forbid_unknown_fields=True):
    """Part of the prompt's tokens."""

    cached_tokens: int


class ReasoningTokens(msgspec.Struct, forbid_unknown_fields=True):
    """Part of the answer's tokens."""

    reasoning_tokens: int


class CompletionUsage(msgspec.Struct, forbid_unknown_fields=True):
    """Tokens in and out, as OpenAI writes them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens


class ChatAnswer(msgspec.Struct):
    """What the model said; what an upstream adds of its own stands beside it."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Object] | None = None


class ChatChoice(msgspec.Struct):
    """One of the answers that were asked for."""

    index: int
    message: ChatAnswer
    finish_reason: FinishReason
    logprobs: Object | None = None


class ChatCompletion(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage | None = None
    headrace: Extras | None = None


class ChatDelta(msgspec.Struct):
    """What one chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Object] | None = None


class ChatChunkChoice(msgspec.Struct):
    """What one chunk adds to one of the answers."""

    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None


class ChatCompletionChunk(msgspec.Struct, forbid_unknown_fields=True):
    """One event of a streamed answer; after the last one stands `[DONE]`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: CompletionUsage | None = None
    headrace: Extras | None = None


class TextChoice(msgspec.Struct):
    """One of the answers, or what one chunk adds to it."""

    index: int
    text: str
    logprobs: None
    finish_reason: FinishReason | None


class TextCompletion(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer, or one event of a streamed one; after the last one stands `[DONE]`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage | None = None
    headrace: Extras | None = None


class Model(msgspec.Struct, forbid_unknown_fields=True):
    """A model, in one object that OpenAI's and Anthropic's clients accept."""

    id: str
    object: Literal["model"]
    type: Literal["model"]
    display_name: str
    created: int
    created_at: str
    owned_by: str
    """The upstream that is asked first."""


class ModelList(msgspec.Struct, forbid_unknown_fields=True):
    """The models of the settings, the default first."""

    object: Literal["list"]
    data: list[Model]
    has_more: bool
    first_id: str | None
    last_id: str | None
