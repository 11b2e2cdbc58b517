"""Who may come in: hosts, origins and keys, checked before any route sees the request.

A page on the web can make a browser send requests to this machine (DNS rebinding, cross-site posts). Such a request
names a host that is not ours, or an origin that is foreign: it is refused. Pure ASGI; a few dictionary look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.types import Scope

from headrace.errors import Forbidden, MalformedHTTP, Unauthorized
from headrace.keys.keyring import Key, Keyring
from headrace.server.callers import LOCAL, STRANGER, Caller
from headrace.server.credentials import Credential, credential_of, keys_offered, refuse_key_in_url
from headrace.server.house import House
from headrace.settings.exposure import is_loopback

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
PREFLIGHT_PREFIX = "/v1/stream/"
"""Where a page's browser may ask before it sends (CORS). It is told the same whoever asks, and carries no key."""
OPEN_PATHS = frozenset({"/health", "/health/ready", "/login", "/logout", "/openapi.json", "/docs"})
"""What may be asked without a key: probes and browsers carry none, and learn nothing of anybody's streams there."""
OPEN_PAGES = frozenset({"/chat"})
"""Pages at addresses that take other methods too, which do ask for a key."""
OPEN_FOLDER = "/pages/"
"""What pages are made of."""

UNKNOWN_KEY = "the key is not one of this server's"


class Guard:
    """Admits requests to `house`, or not."""

    def __init__(self, house: House) -> None:
        settings = house.settings.server
        self._house = house
        self._origins = frozenset(settings.allowed_origins)
        # Whoever listens on more than loopback asks for keys, which no foreign page has; there any name may lead here.
        open_to_all = "*" in settings.allowed_hosts or (not settings.allowed_hosts and not is_loopback(settings.host))
        hosts = LOOPBACK_HOSTS | {settings.host} | {host.lower() for host in settings.allowed_hosts}
        self._hosts = None if open_to_all else frozenset(hosts)

    def admit(self, scope: Scope, headers: Mapping[str, str]) -> Caller:
        """Whose request this is.

        Raises:
            MalformedHTTP: it names no host, or several.
            Forbidden: the host or the origin is not allowed.
            InvalidRequest: a key is asked for, and there is one in the URL.
            Unauthorized: a key is asked for, and it is missing or unknown.
        """
        self.check_host(scope["headers"], headers)
        method, path = scope["method"], scope["path"]
        if method != "GET" and not _is_preflight(method, path):
            self.check_origin(headers)
        if self._house.keyring is None:
            return LOCAL
        if scope["query_string"]:
            refuse_key_in_url(scope["query_string"])
        shown = credential_of(headers)
        key = self._find(self._house.keyring, shown)
        if key is not None:
            return Caller(key.owner, key)
        if is_open(method, path):
            return STRANGER
        if shown.key:
            raise Unauthorized(UNKNOWN_KEY)
        if shown.session:
            raise Unauthorized("the login is over; log in again: POST /login")
        raise Unauthorized("no key was given; send the header Authorization: Bearer <key>")

    def admit_socket(self, headers: Mapping[str, str], offered: Sequence[str]) -> Caller | None:
        """Whose WebSocket this is; `None`: its first message has to say so.

        Args:
            headers: of the handshake.
            offered: its subprotocols; a browser puts a key there, since it can send no headers.

        Raises:
            Unauthorized: a key is shown that is not known.
        """
        keyring = self._house.keyring
        if keyring is None:
            return LOCAL
        shown = credential_of(headers)
        tokens = keys_offered(offered)
        for credential in (shown, *(Credential(token, "") for token in tokens)):
            if (key := self._find(keyring, credential)) is not None:
                return Caller(key.owner, key)
        if shown.key or tokens:
            raise Unauthorized(UNKNOWN_KEY)
        return None

    def admit_token(self, token: str) -> Caller:
        """Whose key this is, which came in a message.

        Raises:
            Unauthorized: it is not known.
        """
        keyring = self._house.keyring
        if keyring is None:
            return LOCAL
        key = self._find(keyring, Credential(token, ""))
        if key is None:
            raise Unauthorized(UNKNOWN_KEY)
        return Caller(key.owner, key)

    def check_host(self, raw: Iterable[tuple[bytes, bytes]], headers: Mapping[str, str]) -> None:
        """Returns where a request names one host, and that is one of ours.

        Args:
            raw: the headers as they came, each as often as it did.
            headers: the same.

        Raises:
            MalformedHTTP: it names none, or several.
            Forbidden: it is another.
        """
        hosts = [value for name, value in raw if name == b"host"]
        if len(hosts) != 1:
            raise MalformedHTTP("send one Host header, such as Host: localhost (RFC 9112, 3.2)")
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            raise Forbidden(
                f"the host {host[:100]!r} is not one this server answers to; if it should be, add it to"
                " server.allowed_hosts"
            )

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Returns where a request comes from no page, or from one of ours.

        Raises:
            Forbidden: it comes from a page of another origin, which is not allowed.
        """
        origin = headers.get("origin")
        if origin is not None and not self._known_origin(origin, headers.get("host", "")):
            raise Forbidden(
                f"pages of {origin[:100]!r} may not call this server; add it to server.allowed_origins if they should"
            )

    def _known_origin(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        try:
            # `null` has no host at all, and is nobody's own.
            return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:  # not an address
            return False

    def _find(self, keyring: Keyring, shown: Credential) -> Key | None:
        if shown.key:
            found = keyring.find(shown.key)
            if found is None:
                # One that was made a moment ago lets in at once; looking costs what a few headers do.
                self._house.refresh_keys()
                found = keyring.find(shown.key)
            return found
        sessions = self._house.sessions
        return sessions.find(shown.session) if shown.session and sessions is not None else None


def is_open(method: str, path: str) -> bool:
    """Whether this may be asked without a key."""
    return (
        path in OPEN_PATHS
        or path.startswith(OPEN_FOLDER)
        or (method in ("GET", "HEAD") and path in OPEN_PAGES)
        or _is_preflight(method, path)
    )


def _is_preflight(method: str, path: str) -> bool:
    return method == "OPTIONS" and path.startswith(PREFLIGHT_PREFIX)


def _host_name(host: str) -> str:
    """The name in a `Host` header, without port and brackets, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
