"""What is done to a request before an upstream is asked: read off the request itself, so that a stream which is taken
up after a restart is asked for as it was the first time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from headrace.interfaces import Middleware, StreamStore
from headrace.middleware.conversation import Conversation
from headrace.middleware.persona import Persona
from headrace.requests import BEGINS, GenerationRequest
from headrace.runs import Candidate, Models
from headrace.settings import AssistantSettings
from headrace.usage import estimate_tokens

BASIC: Final = "basic"
# What is left free for an answer whose length is not limited: a quarter of what the model takes, and no more than this.
_MOST_FOR_AN_ANSWER: Final = 4096


class Preparation:
    """Finds the middleware of a request.

    Args:
        store: where the earlier streams of a conversation are.
        models: what each model takes.
        assistants: by their names.
    """

    def __init__(self, store: StreamStore, models: Models, assistants: Mapping[str, AssistantSettings]) -> None:
        self._store = store
        self._models = models
        self._assistants = assistants

    def middleware(self, request: GenerationRequest) -> Sequence[Middleware]:
        """What prepares it, in this order.

        Raises:
            UnknownModel: no upstream has its model.
            KeyError: its assistant is not there any more.
        """
        if request.assistant is None and request.conversation_id is None:
            return ()
        assistant = self._assistants[request.assistant or BASIC]
        found: list[Middleware] = []
        if request.conversation_id is not None and request.parent != BEGINS:
            instructions = None if request.assistant is None else assistant.instructions
            room = _room(request, self._models.candidates(request.model), instructions or "")
            found.append(Conversation(self._store, assistant.history_turns, room))
        if request.assistant is not None:
            found.append(Persona(assistant.instructions))
        return found


def _room(request: GenerationRequest, candidates: Sequence[Candidate], instructions: str) -> int | None:
    """About how many tokens earlier turns may have; `None`: it is not known how many the model takes."""
    limits = [each.context_tokens for each in candidates if each.context_tokens is not None]
    if not limits:
        return None
    context = min(limits)
    answer = min(context // 4, _MOST_FOR_AN_ANSWER) if request.max_tokens is None else request.max_tokens
    own = estimate_tokens(instructions) + sum(estimate_tokens(message.text()) for message in request.messages)
    # The estimate as it was off lately for this model, where its upstream told.
    ratio = max(each.upstream.calibrations.of(each.model).prompt for each in candidates)
    return max(0, round((context - answer) / ratio) - own)
