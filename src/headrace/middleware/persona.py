"""Persona: the instructions an assistant answers under, and the language it answers in (rows D1, T10)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace.events import Status
from headrace.requests import GenerationRequest, Message


class Persona:
    """Puts an assistant's instructions before the conversation.

    Args:
        instructions: the system message; `None`: none.
    """

    def __init__(self, instructions: str | None) -> None:
        self._instructions = instructions

    async def prepare(
        self, request: GenerationRequest, owner: str, tell: Callable[[Status], None]
    ) -> GenerationRequest:
        """The request with its instructions and language."""
        said = [self._instructions] if self._instructions else []
        if request.language:
            said.append(f"Answer in the language with the code {request.language!r}.")
        if not said:
            return request
        return msgspec.structs.replace(request, messages=(Message("system", "\n\n".join(said)), *request.messages))
