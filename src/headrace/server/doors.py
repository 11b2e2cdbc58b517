"""A door: one route as a small ASGI application, with what readers are told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.types import Receive, Scope, Send

from headrace.errors import HeadraceError
from headrace.interfaces import ReaderProtocol
from headrace.server.answering import note_refusal, send_error
from headrace.server.describing import Description
from headrace.server.house import House

Handler: TypeAlias = Callable[[House, Scope, Receive], Awaitable[None]]


class Door:
    """One route as an ASGI application: `handler`, with every error answered in `protocol`'s shape."""

    def __init__(self, house: House, handler: Handler, description: Description, protocol: ReaderProtocol) -> None:
        self._house = house
        self._handler = handler
        self.description = description
        self.protocol = protocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; the answer goes through its outlet rather than `send`."""
        try:
            await self._handler(self._house, scope, receive)
        except HeadraceError as error:
            note_refusal(self._house, scope, error)
            send_error(scope, self.protocol, error)
