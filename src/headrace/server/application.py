"""The ASGI application: the routes behind the guard, and whatever is raised on the way as an answer in JSON.

Starlette's router alone: its application class wraps each request in layers of which we need none.
"""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from headrace.errors import HeadraceError, InternalError, InvalidRequest, MethodNotAllowed, UnknownRoute
from headrace.protocols import PROTOCOLS
from headrace.server.answering import note_refusal, send_error
from headrace.server.cross_origin import CrossOrigin
from headrace.server.doors import Door
from headrace.server.guard import Guard
from headrace.server.house import House
from headrace.server.outlet import outlet_of
from headrace.server.responses import limit_headers, request_headers, request_id
from headrace.server.routes import ASSISTANT_PATH, routes
from headrace.server.socket_doors import door_at

logger = logging.getLogger("headrace.server")

OPENAI = PROTOCOLS["openai_chat"]
"""The shape of errors where no door was found."""


class Application:
    """Serves one house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._guard = Guard(house)
        self._cross_origin = CrossOrigin(house.settings.server.allowed_origins)
        served = routes(house)
        self._router = Router(served, redirect_slashes=False)
        # Most requests are for a path without parameters, which needs no search through the table.
        self._doors = {
            (method, route.path): route.app
            for route in served
            for method in route.methods or ()
            if "{" not in route.path
        }
        # Nor for the assistants, which are known.
        for route in served:
            if route.path == ASSISTANT_PATH:
                for name in house.settings.assistants:
                    path = ASSISTANT_PATH.format(assistant=name)
                    self._doors |= {(method, path): route.app for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; the answer goes through its outlet rather than `send`."""
        scope["app"] = self  # with it the router raises what it cannot find, instead of answering in plain text
        outlet = outlet_of(scope)
        allowed: list[tuple[bytes, bytes]] = []
        door = self._doors.get((scope["method"], scope["path"]), self._router.app)
        try:
            # For reading the request; a handler takes it away, since a stream may last.
            scope["headrace.headers"] = headers = request_headers(scope)
            outlet.request_id = request_id(headers)
            outlet.headers = self._cross_origin.headers(headers)
            if (told := self._cross_origin.preflight(scope["method"], headers)) is not None:
                outlet.respond(204, [*told, (b"x-request-id", outlet.request_id)], b"")
                return
            outlet.caller = caller = self._guard.admit(scope, headers)
            del headers
            if caller.key is not None and caller.key.quota is not None:
                outlet.headers = [*outlet.headers, *limit_headers(*caller.key.quota.take())]
            await door(scope, receive, send)
            return
        except HeadraceError as raised:
            error = raised
        except HTTPException as raised:
            error = _ours(scope, raised)
            allowed = [(b"allow", value.encode()) for name, value in (raised.headers or {}).items() if name == "Allow"]
        except Exception:
            logger.exception("%s %s: a fault of our own", scope["method"], scope["path"])
            error = InternalError("headrace made a mistake with this request; its log says which")
        if outlet.started:
            outlet.abort()
        else:
            note_refusal(self._house, scope, error)
            send_error(scope, door.protocol if isinstance(door, Door) else OPENAI, error, allowed)


def _ours(scope: Scope, error: HTTPException) -> HeadraceError:
    """What the router raised, in our own words."""
    method, path = scope["method"], scope["path"]
    hint = ""
    if method == "GET" and door_at(path, b"") is not None:
        hint = "; for a WebSocket send Upgrade: websocket, which a proxy on the way may leave out"
    match error.status_code:
        case 404:
            return UnknownRoute(f"nothing is served at {path[:200]!r}{hint}")
        case 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            return MethodNotAllowed(f"{method} is not served at {path[:200]!r}; use {allowed}{hint}")
        case _:
            return InvalidRequest(str(error.detail))
