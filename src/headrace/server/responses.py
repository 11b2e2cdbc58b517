"""Answers that are sent in one piece, and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

from headrace.errors import HeadraceError
from headrace.events import Failure
from headrace.identifiers import new_request_id
from headrace.server.outlet import Headers, outlet_of


def request_headers(scope: Scope) -> dict[str, str]:
    """The headers of a request, lower-case names to values; of a repeated one the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def request_id(headers: Mapping[str, str]) -> bytes:
    """The id of a request: the one it came with, if that is fit to be repeated, else a new one."""
    given = headers.get("x-request-id", "")
    fit = 0 < len(given) <= 128 and given.isascii() and given.isprintable()
    return (given if fit else new_request_id()).encode("ascii")


def send_json(scope: Scope, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
    """Answers with a JSON body."""
    outlet = outlet_of(scope)
    identity = (b"x-request-id", outlet.request_id)
    outlet.respond(status, [(b"content-type", b"application/json"), identity, *headers], body)


def limit_headers(limit: int, remaining: int, reset_unix_seconds: int) -> list[tuple[bytes, bytes]]:
    """What is left of a limit: `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the last in Unix seconds."""
    return [
        (b"x-ratelimit-limit", b"%d" % limit),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % reset_unix_seconds),
    ]


def error_headers(error: HeadraceError | Failure) -> list[tuple[bytes, bytes]]:
    """What an error says in headers: when to come back, and whether a repeat can help (OpenAI's SDKs read both)."""
    headers: list[tuple[bytes, bytes]] = []
    failure = error.failure() if isinstance(error, HeadraceError) else error
    if failure.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(failure.retry_after_seconds))))
        headers.append((b"retry-after-ms", b"%d" % round(failure.retry_after_seconds * 1000)))
    if failure.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if failure.http_status == 409 or (failure.http_status >= 500 and not failure.retryable):
        headers.append((b"x-should-retry", b"false"))
    return headers
