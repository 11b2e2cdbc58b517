"""OpenAI's chat completions as data: what upstreams send, and the pieces our own answers are made of.

Pure. Two readings of a chunk. `decode_plain` is the hot path: it accepts only chunks that are one piece of text and
nothing else, and leaves that judgement to the decoder, in C. `decode` accepts whatever upstreams send.
Source: the API reference of OpenAI and the observed habits in `reference/openai-chat.md`. Imports msgspec only.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec


class PlainDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A delta that is text alone. Every other field upstreams write must be null."""

    content: str
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None
    reasoning: None = None


class PlainChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A choice that goes on and carries nothing beside its delta."""

    delta: PlainDelta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None
    stop_reason: None = None
    matched_stop: None = None
    token_ids: None = None


class PlainChunk(msgspec.Struct, gc=False):
    """A chunk with one choice, and neither usage nor an error. Unknown keys beside the choices are of no interest."""

    choices: tuple[PlainChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


class Choice(msgspec.Struct):
    """One choice of a chunk or of a whole answer, as loosely as upstreams write it."""

    index: int | None = None
    delta: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    content_filter_results: Any = None


class TokenDetails(msgspec.Struct):
    """The part of a count that OpenAI tells apart."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class ChunkUsage(msgspec.Struct):
    """Usage as OpenAI writes it; every number may be missing."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's name for cached tokens."""


class Chunk(msgspec.Struct):
    """A chunk, or a whole answer: they differ in `delta` and `message` only. What is no text is taken as it comes."""

    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None
    """Groq's own: usage where none was asked for, and errors."""
    object: Any = None
    type: Any = None
    message: Any = None
    code: Any = None

    def said_error(self) -> Any:
        """The error this chunk is, in whatever shape; something false where it is none."""
        if self.error:
            return self.error
        if self.choices is None and "error" in (self.object, self.type):  # vLLM before 2025: the error is the chunk
            return {"message": self.message, "code": self.code}
        return self.x_groq.get("error") if isinstance(self.x_groq, dict) else None

    def said_usage(self) -> ChunkUsage | None:
        """The usage in this chunk, wherever it stands; `None` where there is none, or none that can be read."""
        usage = self.usage
        if not usage and isinstance(self.x_groq, dict):
            usage = self.x_groq.get("usage")
        if not usage:
            return None
        try:
            return msgspec.convert(usage, ChunkUsage, strict=False)
        except msgspec.ValidationError:
            return None  # the text beside it is worth more than its numbers


decode_plain = msgspec.json.Decoder(PlainChunk).decode
_decode_chunk = msgspec.json.Decoder(Chunk).decode


def decode(payload: bytes) -> Chunk:
    """One chunk or whole answer.

    Half surrogate pairs, which some upstreams cut apart, and broken UTF-8 are read as they stand: text may then
    hold lone surrogates or U+FFFD, and whoever makes deltas of it puts the halves together again.

    Raises:
        ValueError: not JSON, or not an object of this shape.
    """
    try:
        return _decode_chunk(payload)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from error
    except ValueError:  # broken UTF-8 is one of its own
        try:
            return msgspec.convert(json.loads(payload.decode("utf-8", "replace")), Chunk)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ValueError(str(error)) from error
