"""Where a new stream belongs in its conversation: the stream before it, which its record names.

A reader names a stream that the new one follows, stands beside, or goes on with; or only the conversation, whose latest
stream it follows then. A stream of somebody else's is answered as one that is not there.
"""

from __future__ import annotations

import msgspec

from headrace.errors import InvalidRequest
from headrace.interfaces import StreamStore
from headrace.requests import BEGINS, GenerationRequest, Parent


def placed(store: StreamStore, request: GenerationRequest, owner: str) -> GenerationRequest:
    """The request with the conversation it is part of, and its parent there.

    Raises:
        UnknownStream: the stream it names is not there, or belongs to somebody else.
        InvalidRequest: that stream is part of another conversation, or of none.
    """
    named, conversation_id = request.parent, request.conversation_id
    if named == BEGINS:
        return request
    if named is None or named.id is None:
        latest = store.list(owner, conversation_id=conversation_id, limit=1)
        return msgspec.structs.replace(request, parent=Parent(latest[0].id) if latest else BEGINS)
    stream = store.open(named.id, owner)
    of_stream = stream.request.conversation_id
    if of_stream is None:
        raise InvalidRequest(
            f"stream {named.id!r} is part of no conversation, so none can be carried on from it", parameter="parent"
        )
    if conversation_id not in (None, of_stream):
        raise InvalidRequest(
            f"stream {named.id!r} is part of another conversation: name that one, or leave conversation_id out",
            parameter="parent",
        )
    parent = named
    if named.relation == "sibling":
        parent = stream.request.parent or _before(store, owner, of_stream, stream.id)
    return msgspec.structs.replace(request, conversation_id=of_stream, parent=parent)


def _before(store: StreamStore, owner: str, conversation_id: str, stream_id: str) -> Parent:
    """The place of a stream that was made before streams named their parents: behind the one before it."""
    earlier = store.list(owner, conversation_id=conversation_id, before=stream_id, limit=1)
    return Parent(earlier[0].id) if earlier else BEGINS
