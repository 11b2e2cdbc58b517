"""The ASGI application: the guard, the routes, and what is not found, all answering in JSON."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from headrace.errors import HeadraceError, InternalError, InvalidRequest, MethodNotAllowed, UnknownRoute
from headrace.protocols.objects import error_body
from headrace.server.guard import Guard
from headrace.server.house import House
from headrace.server.routes import routes

logger = logging.getLogger("headrace.server")


def application(house: House) -> ASGIApp:
    """The application that serves `house`."""
    inner = Starlette(
        routes=routes(house),
        exception_handlers={HTTPException: _http_exception, Exception: _own_fault},
    )
    inner.router.redirect_slashes = False
    return Guard(inner, house.settings.server, house.settings.keys)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known: HeadraceError
    match error.status_code:
        case 404:
            known = UnknownRoute(f"nothing is served at {request.url.path[:200]!r}; the routes are in the documentation")
        case 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            known = MethodNotAllowed(f"{request.method} is not served here; use {allowed}")
        case _:
            known = InvalidRequest(str(error.detail))
    return Response(
        error_body(known), status_code=known.http_status, headers=error.headers, media_type="application/json"
    )


async def _own_fault(request: Request, error: Exception) -> Response:
    # Starlette's outermost layer raises the error again after this, and the server logs it with its traceback.
    body = error_body(InternalError("headrace made a mistake with this request; its log says which"))
    return Response(body, status_code=500, media_type="application/json")
