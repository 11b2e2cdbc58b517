"""Answers that are sent in one piece, and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope, Send

from headrace.errors import HeadraceError
from headrace.events import Failure
from headrace.identifiers import new_request_id

JSON = b"application/json"

Headers = Iterable[tuple[bytes, bytes]]


def request_headers(scope: Scope) -> dict[str, str]:
    """The headers of a request, lower-case names to values; of a repeated one the first."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def request_id(scope: Scope) -> bytes:
    """The id of this request: the one it came with, if that is fit to be repeated, else a new one."""
    if (known := scope.get("headrace.request_id")) is not None:
        return bytes(known)
    identifier = new_request_id().encode()
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 0 < len(value) <= 128 and value.isascii() and value.decode().isprintable():
            identifier = value
    scope["headrace.request_id"] = identifier
    return identifier


async def send_json(scope: Scope, send: Send, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
    """Sends a JSON body with its status."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", JSON),
                (b"content-length", b"%d" % len(body)),
                (b"x-request-id", request_id(scope)),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def error_headers(error: HeadraceError | Failure) -> list[tuple[bytes, bytes]]:
    """What an error says in headers: when to come back, and whether a repeat can help (OpenAI's SDKs read both)."""
    headers: list[tuple[bytes, bytes]] = []
    failure = error.failure() if isinstance(error, HeadraceError) else error
    if failure.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(failure.retry_after_seconds))))
        headers.append((b"retry-after-ms", b"%d" % round(failure.retry_after_seconds * 1000)))
    if failure.http_status == 409 or (failure.http_status >= 500 and not failure.retryable):
        headers.append((b"x-should-retry", b"false"))
    return headers
