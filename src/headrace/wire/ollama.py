"""Ollama's native chat as data: the lines that an Ollama sends.

Pure. Source: Ollama's API documentation (docs/api.md) by way of `reference/ollama.md`. Its server leaves out numbers
that are 0, so every field may be missing. Imports msgspec only.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Function(msgspec.Struct):
    """What a tool call calls."""

    name: str = ""
    arguments: Any = None


class ToolCall(msgspec.Struct):
    """A tool call, whole."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct):
    """What one line adds to the answer."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[ToolCall] | None = None


class Line(msgspec.Struct):
    """One line of a stream, or a whole answer: they differ in nothing but `done`."""

    message: Message | None = None
    done: bool = False
    done_reason: str | None = None
    error: Any = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None


class TaggedModel(msgspec.Struct):
    """A model of `GET /api/tags`."""

    name: str


class Tags(msgspec.Struct):
    """The answer of `GET /api/tags`."""

    models: list[TaggedModel] | None = None


decode_tags = msgspec.json.Decoder(Tags).decode
_decode_line = msgspec.json.Decoder(Line).decode


def decode(payload: bytes) -> Line:
    """One line. Broken UTF-8 and halves of characters are read as they stand.

    Raises:
        ValueError: not JSON, or not an object of this shape.
    """
    try:
        return _decode_line(payload)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from error
    except ValueError:  # broken UTF-8 is one of its own
        try:
            return msgspec.convert(json.loads(payload.decode("utf-8", "replace")), Line)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ValueError(str(error)) from error
