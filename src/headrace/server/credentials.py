"""What a request shows to be let in: a key in one of the headers that clients know, or the cookie of a login.

A WebSocket of a browser sends no header of its choice: it may offer its key as a subprotocol.

Pure: headers in, text out. Nothing else reads a credential from a request.
"""

from __future__ import annotations

import contextlib
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

from headrace.errors import InvalidRequest

COOKIE = "headrace_session"
HEADERS = ("x-api-key", "api-key")
"""Besides `Authorization: Bearer`: where clients of Anthropic, and of OpenAI at Azure, put a key."""
OFFERED = "bearer."
"""What a subprotocol begins with that holds a key."""
IN_URLS = frozenset({"key", "api_key", "api-key", "apikey", "x-api-key", "token", "access_token"})
"""What a key is called where it is put into a URL."""


class Credential(NamedTuple):
    """What was shown; the first that is not empty counts."""

    key: str
    session: str


def credential_of(headers: Mapping[str, str]) -> Credential:
    """What a request shows, from its headers (lower-case names)."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else ""
    for name in HEADERS:
        key = key or headers.get(name, "").strip()
    return Credential(key, _cookie(headers.get("cookie", "")))


def keys_offered(subprotocols: Sequence[str]) -> list[str]:
    """What may be keys among the subprotocols that a WebSocket offers, as `bearer.<key>`.

    A subprotocol holds no character that a key of another server's making might hold: then it is base64url, unpadded.
    """
    found: list[str] = []
    for each in subprotocols:
        if each.startswith(OFFERED):
            shown = each.removeprefix(OFFERED)
            found.append(shown)
            with contextlib.suppress(ValueError):  # then it is no base64, and stands for itself
                found.append(urlsafe_b64decode(shown + "=" * (-len(shown) % 4)).decode())
    return found


def refuse_key_in_url(query: bytes) -> None:
    """Returns where the query of a URL holds no key: browsers, proxies and logs keep URLs.

    Raises:
        InvalidRequest: it does.
    """
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in IN_URLS:
            raise InvalidRequest(
                "a key is never taken from a URL, which browsers and logs keep; send the header"
                " Authorization: Bearer <key>, and make a new key if this one was real",
                parameter=name.lower(),
            )


def _cookie(header: str) -> str:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
