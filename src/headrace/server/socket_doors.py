"""Where a WebSocket can be opened, and who may open it: the handshake, before anything is heard.

A browser is told nothing of a handshake that is refused: neither its status nor its body. So a wrong key, host or
origin is let in as far as a close code, with a reason, and no further. What is no handshake at all is an error of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

import httptools
from uvicorn.server import ServerState

from headrace.errors import Forbidden, HeadraceError, InvalidRequest, RateLimited, Unauthorized
from headrace.server.callers import Caller
from headrace.server.credentials import refuse_key_in_url
from headrace.server.guard import Guard
from headrace.server.house import House
from headrace.server.responses import limit_headers, request_id

SUBPROTOCOL = "headrace"
"""What is answered to clients that offer it: browsers give up where they offer some and are answered none."""
_STREAMS, _EVENTS = "/v1/streams/", "/events"


class SocketDoor(NamedTuple):
    """What a WebSocket was opened at."""

    path: str
    protocol: str = "openai_chat"
    closes: bool = False
    """Whether it is closed when its answer has ended."""
    stream_id: str | None = None
    """The stream that is followed; `None`: requests are taken."""
    query: bytes = b""


DOORS = {
    door.path: door
    for door in (
        SocketDoor("/v1/chat/completions"),
        SocketDoor("/openai/v1/chat/completions"),
        SocketDoor("/v1/completions", "openai_completions"),
        SocketDoor("/openai/v1/completions", "openai_completions"),
        SocketDoor("/ws", closes=True),
    )
}
"""Beside these, the events of every stream can be followed at their own address."""


class Handshake(NamedTuple):
    """A request that asks for a WebSocket."""

    target: bytes
    """What is asked for, with its query."""
    headers: Sequence[tuple[bytes, bytes]]
    """Lower-case names, each as often as it came."""


class Sockets:
    """The WebSockets of one house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._guard = Guard(house)

    def open(
        self, handshake: Handshake, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, state: ServerState
    ) -> asyncio.Protocol | None:
        """Shakes hands, and gives what goes on with the connection; `None`: there is no WebSocket at that address.

        Raises:
            MalformedHTTP: it is no handshake.
        """
        try:
            target = httptools.parse_url(handshake.target)
        except httptools.HttpParserError:
            return None
        door = door_at(unquote(target.path.decode("latin-1")), target.query or b"")
        if door is None:
            return None
        # With the first handshake: the library takes 20 ms, which a server that is asked for none does not pay.
        from headrace.server.socket_connection import SocketConnection, shaken_hands
        from headrace.server.socket_session import Session

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in handshake.headers}
        offered = subprotocols(handshake.headers)
        identity = request_id(headers)
        more = [("X-Request-Id", identity.decode("ascii"))]
        if SUBPROTOCOL in offered:
            more.append(("Sec-WebSocket-Protocol", SUBPROTOCOL))
        caller, refusal, code = None, None, 0
        try:
            caller, limits = self._admit(door, handshake, headers, offered)
            more += [(name.decode(), value.decode()) for name, value in limits]
        except _Refused as refused:
            refusal, code = refused.error, refused.code
        transport.write(shaken_hands(handshake.target.decode("latin-1"), handshake.headers, more))
        connection = SocketConnection(transport, loop, state, self._house.settings.server)
        if refusal is not None:
            known = {"request": identity.decode("ascii"), "method": "GET", "path": door.path}
            self._house.log.refused(refusal, known)
            connection.close(code, refusal.message)
        else:
            Session(self._house, self._guard, door, connection, caller, identity.decode("ascii"))
        return connection

    def _admit(
        self, door: SocketDoor, handshake: Handshake, headers: dict[str, str], offered: Sequence[str]
    ) -> tuple[Caller | None, Sequence[tuple[bytes, bytes]]]:
        """Whose WebSocket this is, if that is known yet, and what is left of its limits."""
        try:
            self._guard.check_host(handshake.headers, headers)
        except Forbidden as error:
            raise _Refused(error, 4403) from None
        try:
            # Unlike other requests, one of a foreign page carries cookies here and is not asked about before (CORS).
            self._guard.check_origin(headers)
        except Forbidden as error:
            raise _Refused(error, 1008) from None
        try:
            refuse_key_in_url(door.query)
            caller = self._guard.admit_socket(headers, offered)
        except (InvalidRequest, Unauthorized) as error:
            raise _Refused(error, 4401) from None
        if caller is None or caller.key is None or caller.key.quota is None:
            return caller, ()
        try:
            return caller, limit_headers(*caller.key.quota.take())
        except RateLimited as error:
            raise _Refused(error, 4429) from None


class _Refused(Exception):
    """A handshake that is let in as far as its close code."""

    def __init__(self, error: HeadraceError, code: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.code = code


def subprotocols(headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """The subprotocols that a handshake offers, in one header or in several."""
    given = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-protocol"]
    return [each for value in given for each in map(str.strip, value.split(",")) if each]


def door_at(path: str, query: bytes) -> SocketDoor | None:
    """The WebSocket at this address; `None`: there is none."""
    if (door := DOORS.get(path)) is not None:
        return door._replace(query=query)
    if path.startswith(_STREAMS) and path.endswith(_EVENTS):
        stream_id = path[len(_STREAMS) : -len(_EVENTS)]
        if stream_id and "/" not in stream_id:
            return SocketDoor(f"{_STREAMS}{stream_id}{_EVENTS}"[:200], stream_id=stream_id, closes=True, query=query)
    return None


def close_code(http_status: int) -> int:
    """The code that a WebSocket is closed with where HTTP has this status."""
    match http_status:
        case 401 | 403 | 404 | 408 | 429:
            return 4000 + http_status
        case 503:
            return 1013
        case status if status >= 500:
            return 1011
        case _:
            return 1008
