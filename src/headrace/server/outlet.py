"""The writing side of one response, for whoever answers a request: past ASGI, from any callback, without a task.

For each request the connection puts an `Outlet` into the ASGI scope (`scope["extensions"]["headrace.outlet"]`). Its
answer is written to that, also from a stream's own wake-up, so that a token costs neither a task nor a turn of the
event loop.

Knows uvicorn's inside, as `headrace.server.connection` does, and no other file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from headrace.errors import InternalError
from headrace.server.callers import STRANGER

if TYPE_CHECKING:
    from headrace.server.connection import Connection

OUTLET = "headrace.outlet"
"""The name of the ASGI extension."""

# From here on a write of three pieces is cheaper than copying them into one.
WORTH_GATHERING_BYTES = 8192

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


class Outlet:
    """The writing side of one response: whole with `respond`, or with `begin`, `write` and `end`.

    Every method may be called from a callback, and does nothing once the reader is gone. `paused` says that the reader
    is slow: what is written then only fills memory, so wait for `on_ready`.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_cycle",
        "_held",
        "_transport",
        "caller",
        "gone",
        "headers",
        "loop",
        "on_gone",
        "on_ready",
        "paused",
        "request_id",
        "started",
    )

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        # Taken away at the end, so that the two do not wait for the garbage collector.
        self._cycle: RequestResponseCycle | None = cycle
        self._transport = connection.transport
        self._chunked = cycle.scope["http_version"] != "1.0"
        self._held = b""
        self.loop = connection.loop
        """The event loop of the connection: asking for the running one is a call of the system in Python 3.11."""
        self.headers: Headers = ()
        """What the head of the response carries besides what it is begun with."""
        self.caller = STRANGER
        """Whose request this is, once that is known."""
        self.request_id = b""
        """The id of the request, for headers and logs."""
        self.started = False
        """Whether the response has begun."""
        self.paused = False
        self.gone = False
        """Whether the reader has left."""
        self.on_ready: Callable[[], None] | None = None
        """Called when a slow reader has caught up."""
        self.on_gone: Callable[[], None] | None = None
        """Called once, when the reader has left."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends the whole response in one write."""
        cycle = self._cycle
        if cycle is None or self.gone:
            return
        if status not in (204, 304):  # they have no body, and say nothing of its length
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        head = self._head(cycle, status, headers)
        self._transport.write(head if cycle.scope["method"] == "HEAD" else head + body)
        self._finish(cycle)

    def begin(self, status: int, headers: Headers) -> None:
        """Begins a response of unknown length. Its head waits for the first piece of the body, or for `flush`."""
        cycle = self._cycle
        if cycle is None or self.gone:
            return
        if self._chunked:
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        self._held = self._head(cycle, status, headers)
        if cycle.scope["method"] == "HEAD":
            self.flush()
            self._finish(cycle)
            return
        cycle.message_event = _DEAF  # a stream may last: what it does not need is let go

    def write(self, data: bytes) -> None:
        """Writes a piece of the body; not empty."""
        if self.gone:
            return
        if self._held or not self._chunked:
            held, self._held = self._held, b""
            self._transport.write(b"%b%x\r\n%b\r\n" % (held, len(data), data) if self._chunked else held + data)
        elif len(data) < WORTH_GATHERING_BYTES:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))

    def flush(self) -> None:
        """Writes the head if it still waits."""
        if self._held and not self.gone:
            self._transport.write(self._held)
            self._held = b""

    def end(self) -> None:
        """Ends the response that `begin` began."""
        cycle = self._cycle
        if cycle is None or self.gone:
            return
        self._transport.write(self._held + b"0\r\n\r\n" if self._chunked else self._held)
        if not self._chunked:
            self._transport.close()
        self._finish(cycle)

    def abort(self) -> None:
        """Closes the connection in the middle of the body, so that nobody takes it for whole."""
        cycle = self._cycle
        if cycle is not None:
            # Not the transport's `abort`: what was written before still goes out.
            self.flush()
            self._transport.close()
            cycle.response_complete = True
            self._cycle = None

    def leave(self) -> None:
        """Says that the reader has left. Called by the connection."""
        cycle, self._cycle = self._cycle, None
        self.gone = True
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.on_gone is not None:
            self.on_gone()

    def _head(self, cycle: RequestResponseCycle, status: int, headers: Headers) -> bytes:
        cycle.response_started = self.started = True
        cycle.waiting_for_100_continue = False
        if self._connection.still_sends(self):
            cycle.keep_alive = False  # where its body ends, the next request would begin: that is not waited for
        lines = [STATUS_LINE[status]]
        for name, value in (*self._connection.server_state.default_headers, *self.headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n" if cycle.keep_alive and self._chunked else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _finish(self, cycle: RequestResponseCycle) -> None:
        self._cycle = None
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive and not self._connection.still_sends(self):
            self._transport.close()
        self._connection.on_response_complete()


class _Deaf:
    """Stands in for the event that a request's reader waits for, once nobody will read it again: it holds a deque."""

    __slots__ = ()

    def set(self) -> None:
        """Nobody waits."""


_DEAF = cast("asyncio.Event", _Deaf())


def outlet_of(scope: Scope) -> Outlet:
    """The writing side of the response to this request.

    Raises:
        InternalError: the application runs under another server than its own.
    """
    outlet = (scope.get("extensions") or {}).get(OUTLET)
    if not isinstance(outlet, Outlet):
        raise InternalError("headrace is served by its own connection class: start it with `headrace serve`")
    return outlet
