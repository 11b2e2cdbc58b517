"""What browsers are told about pages of other origins: which may read answers here, and send requests of their own.

Closed unless `server.allowed_origins` names an origin; then only that one is told anything. No cookie is asked for:
a page of another origin sends a key of its own in a header. Source: the Fetch standard, section 3.2 (CORS protocol).
Whether a request of a foreign page is admitted at all is `headrace.server.guard`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.server.outlet import Headers

EXPOSED = (
    b"headrace-stream, headrace-warning, x-request-id, retry-after, retry-after-ms, x-should-retry,"
    b" x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, etag, location,"
    # Of Durable Streams, whose clients cannot go on without them.
    b" stream-next-offset, stream-cursor, stream-up-to-date, stream-closed, stream-ttl, stream-expires-at,"
    b" stream-sse-data-encoding, producer-epoch, producer-seq, producer-expected-seq, producer-received-seq"
)
"""The headers of an answer that a script may read, beside those that it always may."""
METHODS = b"GET, HEAD, POST, PUT, DELETE"
"""What a preflight is told; which of them a path knows, the request itself finds out."""
PREFLIGHT_SECONDS = b"600"
_VARY = (b"vary", b"origin")


class CrossOrigin:
    """The headers for pages of the origins that are allowed."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._known = {
            origin: (
                _VARY,
                (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
                (b"access-control-expose-headers", EXPOSED),
            )
            for origin in origins
        }

    def headers(self, headers: Mapping[str, str]) -> Headers:
        """What every answer to a request with these headers carries; nothing where no origin is allowed."""
        if not self._known:
            return ()
        return self._known.get(headers.get("origin", ""), (_VARY,))

    def preflight(self, method: str, headers: Mapping[str, str]) -> Headers | None:
        """The answer to a browser that asks what an allowed page may send; `None`: it asks no such thing."""
        if method != "OPTIONS" or headers.get("origin") not in self._known:
            return None
        if "access-control-request-method" not in headers:
            return None
        told = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
            # The SDKs of others send headers that nobody can list.
            (b"access-control-allow-headers", headers.get("access-control-request-headers", "").encode("latin-1")),
            (b"vary", b"access-control-request-headers"),
        ]
        if headers.get("access-control-request-private-network") == "true":
            # Chromium asks before a page of the web may reach a server on this machine.
            told.append((b"access-control-allow-private-network", b"true"))
        return told
