"""`POST /login` and `POST /logout`: a key is exchanged for a cookie, so that pages and their `EventSource` are let in.

The cookie is out of reach of scripts (HttpOnly), is sent by pages of this site alone (SameSite=Strict), and where the
page came over https, over nothing else (Secure).
"""

from __future__ import annotations

import msgspec
from starlette.types import Receive, Scope

from headrace.errors import InvalidRequest, MalformedBody, Unauthorized
from headrace.keys.sessions import SESSION_SECONDS
from headrace.protocols.request_shapes import LoginRequest
from headrace.server.bodies import read_body, require_json
from headrace.server.credentials import COOKIE, credential_of
from headrace.server.generating import headers_of
from headrace.server.house import House
from headrace.server.responses import send_json
from headrace.wire import json_text


async def login(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /login`: a cookie for the key in the body, `{"key": "…"}`, or in a header."""
    headers = headers_of(scope)
    if house.keyring is None or house.sessions is None:
        raise InvalidRequest("this server asks for no key, so there is nothing to log in to")
    text = credential_of(headers).key
    if not text:
        require_json(headers.get("content-type"))
        body = await read_body(scope, receive, house.settings.server.body_limit_bytes)
        try:
            text = msgspec.json.decode(body, type=LoginRequest).key.strip()
        except (ValueError, RecursionError):  # broken UTF-8 is a ValueError of its own
            # Without the reason, which may repeat a piece of the key.
            raise MalformedBody('the body is not {"key": "…"}') from None
    house.refresh_keys()
    key = house.keyring.find(text)
    if key is None:
        raise Unauthorized("the key is not one of this server's")
    cookie = _cookie(house.sessions.open(key), SESSION_SECONDS, headers)
    told = {"owner": key.owner, "key": key.id, "expires_in_seconds": SESSION_SECONDS}
    send_json(scope, json_text.encode(told), headers=[cookie, (b"cache-control", b"no-store")])


async def logout(house: House, scope: Scope, receive: Receive) -> None:
    """`POST /logout`: ends the login whose cookie is sent. Twice is the same as once."""
    headers = headers_of(scope)
    session = credential_of(headers).session
    if house.sessions is not None:
        house.sessions.close(session)
    send_json(scope, json_text.encode({"ended": True}), headers=[_cookie("", 0, headers)])


def _cookie(value: str, seconds: int, headers: dict[str, str]) -> tuple[bytes, bytes]:
    attributes = f"{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    # TLS ends at a proxy in front. One who claims it wrongly only keeps the cookie from themselves.
    https = headers.get("x-forwarded-proto") == "https" or headers.get("origin", "").startswith("https://")
    return b"set-cookie", (attributes + ("; Secure" if https else "")).encode("ascii")
