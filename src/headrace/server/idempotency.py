"""Idempotency-Key: a request that is sent again joins the stream of the first, instead of being paid for twice.

The same owner, key, route and body is the same request, streamed or whole; the key is kept as long as the stream.
Between looking for a stream and creating one nothing is waited for, so that of requests that come at once one starts
the run.
"""

from __future__ import annotations

import hashlib
import re

from headrace.errors import IdempotencyKeyReused, InvalidRequest
from headrace.events import CONTENT, FINISHED
from headrace.interfaces import Stream, StreamStore
from headrace.requests import GenerationRequest, Idempotency

_KEY = re.compile(r"[!-~]{1,255}")


def idempotency_of(key: str, path: str, body: bytes) -> Idempotency:
    """What a request is known by when it is sent again.

    Raises:
        InvalidRequest: the key is not one.
    """
    if _KEY.fullmatch(key) is None:
        raise InvalidRequest(
            "Idempotency-Key must be 1 to 255 visible ASCII characters, as a UUID is", parameter="Idempotency-Key"
        )
    return Idempotency(key, hashlib.sha256(path.encode("utf-8", "surrogateescape") + b"\n" + body).hexdigest())


def stream_to_join(store: StreamStore, request: GenerationRequest, owner: str) -> Stream | None:
    """The stream that this request joins; `None` where it shall be performed.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    wanted = request.idempotency
    if wanted is None or (stream := store.find(owner, wanted.key)) is None:
        return None
    known = stream.request.idempotency
    if known is None or known.digest != wanted.digest:
        raise IdempotencyKeyReused(
            f"the Idempotency-Key {wanted.key!r} came before with another body or at another route;"
            " take a new key for a new request",
            parameter="Idempotency-Key",
        )
    return None if _came_to_nothing(stream) else stream


def _came_to_nothing(stream: Stream) -> bool:
    """Whether a stream failed before anything was said, in a way that trying again can help: its retry is a new run."""
    ended = stream.ended
    if ended is None or ended.ending in FINISHED or ended.failure is None or not ended.failure.retryable:
        return False
    return not any(isinstance(event, CONTENT) for event in stream.said())
