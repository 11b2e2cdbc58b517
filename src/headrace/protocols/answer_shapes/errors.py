"""Errors, as OpenAI's clients read them, and as Ollama's do."""

from __future__ import annotations

import msgspec


class ErrorUpstream(msgspec.Struct, forbid_unknown_fields=True):
    """Where an error came from, where that was an upstream."""

    name: str
    """As the settings call it."""
    status: int | None = None
    """The status it answered with."""
    code: str | None = None
    """Its own code."""


class ErrorObject(msgspec.Struct, forbid_unknown_fields=True):
    """What went wrong."""

    message: str
    """What went wrong, and what to do about it."""
    type: str
    """OpenAI's word for the kind of error."""
    code: str
    """One of the stable codes."""
    param: str | None
    """The field of the request that is meant, where there is one."""
    upstream: ErrorUpstream | None = None


class ErrorBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of every error, but for Ollama's routes."""

    error: ErrorObject


class OllamaError(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an error on Ollama's routes: a text, which Ollama's clients show."""

    error: str
    """What went wrong, and what to do about it."""
    code: str
    """One of the stable codes."""
