"""Conversation: what was said before on the same branch of it is put before the question (row D1).

A conversation is the list of streams that carry its id, and each names its parent: a question's history is the chain of
its parents, not the other branches. Nothing else is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from headrace.errors import UnknownStream
from headrace.events import Status, TextDelta
from headrace.interfaces import Stream, StreamStore
from headrace.requests import GenerationRequest, Message, Parent
from headrace.usage import estimate_tokens


class Conversation:
    """Carries a conversation on.

    Args:
        store: where the earlier streams are.
        turns: the most questions, with their answers, that are put before the new one.
        room_tokens: about how many tokens they may come to; `None`: any number.
    """

    def __init__(self, store: StreamStore, turns: int, room_tokens: int | None = None) -> None:
        self._store = store
        self._turns = turns
        self._room_tokens = room_tokens

    async def prepare(
        self, request: GenerationRequest, owner: str, tell: Callable[[Status], None]
    ) -> GenerationRequest:
        """The request with the earlier turns. A history that the reader sent itself is all there is."""
        if request.conversation_id is None or not self._turns or len(request.messages) != 1:
            return request
        # From the latest back, so that no more of a long conversation is read than is said again.
        shown: list[tuple[Message, Message]] = []
        room = self._room_tokens
        for turn in _turns(self._before(owner, request.conversation_id, request.parent)):
            if len(shown) == self._turns:
                tell(_trimmed(len(shown), "as many as the settings allow (history_turns)"))
                break
            if room is not None:
                room -= sum(estimate_tokens(message.text()) for message in turn)
                if room < 0:
                    tell(_trimmed(len(shown), "more would not fit what it takes at once (context_tokens)"))
                    break
            shown.append(turn)
        messages = [message for turn in reversed(shown) for message in turn]
        return msgspec.structs.replace(request, messages=(*messages, *request.messages))

    def _before(self, owner: str, conversation_id: str, parent: Parent | None) -> Iterator[Stream]:
        """The streams before one with this parent on its branch, from the latest back."""
        seen: set[str] = set()
        before: str | None = None
        while parent is not None:
            # An id is free again once its stream was deleted: only then could a chain lead back to itself.
            if parent.id is None or parent.id in seen:
                return
            seen.add(parent.id)
            try:
                stream = self._store.open(parent.id, owner)
            except UnknownStream:
                return  # older than the retention, or deleted: what is left of the branch ends here
            yield stream
            before, parent = stream.id, stream.request.parent
        # Streams of a time when none named a parent: one followed the other.
        limit = 2 * self._turns
        while page := self._store.list(owner, conversation_id=conversation_id, before=before, limit=limit):
            yield from page
            if len(page) < limit:
                return  # it was the last: most conversations are no longer
            before = page[-1].id


def _trimmed(shown: int, why: str) -> Status:
    """That a conversation is longer than what the model is shown of it."""
    before = {0: "nothing", 1: "the last question and its answer"}.get(
        shown, f"the last {shown} questions with their answers"
    )
    return Status("trimmed", f"of this conversation the model is shown {before}: {why}")


def _turns(newest_first: Iterator[Stream]) -> Iterator[tuple[Message, Message]]:
    """The questions with their answers; what went on with an answer is part of it."""
    continued = ""
    for stream in newest_first:
        if stream.ended is None or not stream.request.messages:
            continue  # as the one being prepared
        answer = _answer(stream) + continued
        parent = stream.request.parent
        if parent is not None and parent.relation == "continue":
            continued = answer
            continue
        continued = ""
        if answer:
            yield stream.request.messages[-1], Message("assistant", answer)


def _answer(stream: Stream) -> str:
    return "".join(event.text for event in stream.said() if type(event) is TextDelta and event.choice == 0)
