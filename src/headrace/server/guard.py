"""Who may come in: hosts, origins and keys, checked before any route sees the request.

A page on the web can make a browser send requests to this machine (DNS rebinding, cross-site posts). Such a request
names a host that is not ours, or an origin that is foreign: it is refused. Pure ASGI; a few dictionary look-ups.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.errors import Forbidden, HeadraceError, Unauthorized
from headrace.protocols.objects import error_body
from headrace.server.house import LOCAL_OWNER
from headrace.server.responses import error_headers, request_headers, send_json
from headrace.settings import KeySettings, ServerSettings

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = frozenset({"/health", "/health/ready"})
"""What may be asked without a key: probes carry none, and learn nothing of anybody's streams."""


class Guard:
    """Wraps the application.

    Args:
        application: what is guarded.
        settings: hosts, origins, and whether keys are asked for.
        keys: the keys that are known.
    """

    def __init__(self, application: ASGIApp, settings: ServerSettings, keys: Sequence[KeySettings]) -> None:
        self._application = application
        self._keys = [(key.owner, key.hash) for key in keys] if settings.auth else None
        self._origins = frozenset(settings.allowed_origins)
        # Whoever listens on more than loopback asks for keys, which no foreign page has; there any name may lead here.
        hosts = LOOPBACK_HOSTS | {settings.host} | set(settings.allowed_hosts)
        open_to_all = "*" in settings.allowed_hosts or (
            not settings.allowed_hosts and settings.host not in LOOPBACK_HOSTS and not settings.host.startswith("127.")
        )
        self._hosts = None if open_to_all else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        try:
            scope["headrace.owner"] = self._admit(scope)
        except HeadraceError as error:
            challenge = [(b"www-authenticate", b"Bearer")] if isinstance(error, Unauthorized) else []
            await send_json(
                scope,
                send,
                error_body(error),
                status=error.http_status,
                headers=[*error_headers(error), *challenge],
            )
            return
        await self._application(scope, receive, send)

    def _admit(self, scope: Scope) -> str:
        headers = request_headers(scope)
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            raise Forbidden(
                f"the host {host[:100]!r} is not one this server answers to; add it to server.allowed_hosts if it should be"
            )
        origin = headers.get("origin")
        if origin is not None and scope["method"] != "GET" and not self._known_origin(origin, host):
            raise Forbidden(
                f"pages of {origin[:100]!r} may not call this server; add it to server.allowed_origins if they should"
            )
        if self._keys is None or scope["path"] in OPEN_PATHS:
            return LOCAL_OWNER
        return self._owner_of_key(headers)

    def _known_origin(self, origin: str, host: str) -> bool:
        return origin in self._origins or urlsplit(origin).netloc.lower() == host.lower()

    def _owner_of_key(self, headers: dict[str, str]) -> str:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            key = headers.get("x-api-key", "")
        if not key.strip():
            raise Unauthorized("no key was given; send the header Authorization: Bearer <key>")
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
        owner = None
        for whose, known in self._keys or ():
            # All are compared, so that the time taken says nothing of which one was near.
            if hmac.compare_digest(digest, known):
                owner = whose
        if owner is None:
            raise Unauthorized("the key is not one of this server's")
        return owner


def _host_name(host: str) -> str:
    """The name in a `Host` header, without port and brackets, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
