"""Conversation: what was said before under the same id is put before the question (row D1).

A conversation is the list of streams that carry its id; nothing else is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from headrace.events import TextDelta
from headrace.interfaces import Stream, StreamStore
from headrace.requests import GenerationRequest, Message


class Conversation:
    """Carries a conversation on.

    Args:
        store: where the earlier streams are.
        turns: the most questions, with their answers, that are put before the new one.
    """

    def __init__(self, store: StreamStore, turns: int) -> None:
        self._store = store
        self._turns = turns

    async def prepare(self, request: GenerationRequest, owner: str) -> GenerationRequest:
        """The request with the earlier turns. A history that the reader sent itself is all there is."""
        if request.conversation_id is None or not self._turns or len(request.messages) != 1:
            return request
        # From the latest back, so that no more of a long conversation is read than is said again.
        turns = islice(filter(None, map(_turn, self._newest_first(owner, request.conversation_id))), self._turns)
        messages = [message for turn in reversed(list(turns)) for message in turn]
        return msgspec.structs.replace(request, messages=(*messages, *request.messages))

    def _newest_first(self, owner: str, conversation_id: str) -> Iterator[Stream]:
        before, limit = None, 2 * self._turns
        while page := self._store.list(owner, conversation_id=conversation_id, before=before, limit=limit):
            yield from page
            if len(page) < limit:
                return  # it was the last: most conversations are no longer
            before = page[-1].id


def _turn(stream: Stream) -> tuple[Message, Message] | None:
    """Question and answer of one stream; `None` while it has none, as the one being prepared."""
    if stream.ended is None or not stream.request.messages:
        return None
    answer = "".join(event.text for event in stream.said() if type(event) is TextDelta and event.choice == 0)
    return (stream.request.messages[-1], Message("assistant", answer)) if answer else None
