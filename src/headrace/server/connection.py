"""One connection of a reader: uvicorn's HTTP/1.1, with the limits it lacks and a way to write without a task.

What stock uvicorn leaves open: the size of headers, deadlines for headers and bodies, readers that stop taking
bytes, and malformed requests answered as JSON. And for each request an `Outlet` in the ASGI scope
(`scope["extensions"]["headrace.outlet"]`): what a streaming response is written to from a stream's own wake-up, so
that a token costs neither a task nor a turn of the event loop.

This file alone knows uvicorn's inside; its version is pinned to one minor series for that reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from headrace.errors import HeadersTooLarge, HeadraceError, InternalError, MalformedHTTP, RequestTimeout
from headrace.protocols.objects import error_body
from headrace.settings import ServerSettings

OUTLET = "headrace.outlet"
"""The name of the ASGI extension."""


# From here on a write of three pieces is cheaper than copying them into one.
WORTH_GATHERING_BYTES = 8192


class Outlet:
    """The writing side of one response: what its ASGI cycle writes to, and what callbacks write to.

    The head of a response is held until something follows it, so that a short answer, or a head with its first tokens,
    is one write. `paused` says that the reader is slow: what is written then only fills memory, so wait for `on_ready`.
    """

    __slots__ = ("_held", "_transport", "gone", "on_gone", "on_ready", "paused", "started")

    def __init__(self, transport: asyncio.Transport) -> None:
        # The ASGI cycle holds this object; it does not hold the cycle, so that neither waits for the collector.
        self._transport = transport
        self._held = b""
        self.started = False
        """Whether there was a head."""
        self.paused = False
        self.gone = False
        """Whether the reader has left."""
        self.on_ready: Callable[[], None] | None = None
        """Called when a slow reader has caught up."""
        self.on_gone: Callable[[], None] | None = None
        """Called once, when the reader has left."""

    def write_chunk(self, data: bytes) -> None:
        """Writes a piece of the body, for a response whose head promised chunks. Does nothing once the reader is gone."""
        if self.gone:
            return
        if self._held:
            self.write(b"%x\r\n%b\r\n" % (len(data), data))
        elif len(data) < WORTH_GATHERING_BYTES:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))

    def abort(self) -> None:
        """Closes the connection in the middle of the body, so that nobody takes it for whole."""
        if not self.gone:
            # Not the transport's `abort`: what was written before still goes out.
            self.close()

    # -- what the cycle uses of a transport

    def write(self, data: bytes) -> None:
        """Writes bytes as they are; the first ones, which are the head, wait for the next."""
        if not self.started:
            self.started = True
            self._held = data
        elif self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Writes the head if it still waits."""
        if self._held:
            self._transport.write(self._held)
            self._held = b""

    def is_closing(self) -> bool:
        """Whether the connection is closing."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Closes the connection once everything written has gone out."""
        self.flush()
        self._transport.close()


class Connection(HttpToolsProtocol):
    """One connection. `settings` and `loop_time` come with the class that `connection_class` makes."""

    settings: ServerSettings

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._outlets: list[Outlet] = []
        # What is being waited for since when: the head of a request, its body, or nothing that has a deadline.
        self._awaiting_head = True
        self._awaiting_body = False
        self._since = self.loop.time()
        self._asked = False
        self._head_bytes = 0
        self._stalled_bytes = 0
        self._stalled_since: float | None = None

    # -- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Bytes from the reader."""
        if self._awaiting_head and not self._head_bytes:
            self._since = self.loop.time()
        super().data_received(data)
        if self._awaiting_head and self.parser is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.header_limit_bytes:
                self._refuse(HeadersTooLarge(f"the headers are larger than {self.settings.header_limit_bytes} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The reader has left, or was closed."""
        super().connection_lost(exc)
        outlets, self._outlets = self._outlets, []
        for outlet in outlets:
            outlet.gone = True
            if outlet.on_gone is not None:
                outlet.on_gone()

    def pause_writing(self) -> None:
        """The reader is slower than its stream."""
        super().pause_writing()
        self._stalled_since = self.loop.time()
        self._stalled_bytes = self.transport.get_write_buffer_size()
        for outlet in self._outlets:
            outlet.paused = True

    def resume_writing(self) -> None:
        """The reader has caught up."""
        super().resume_writing()
        self._stalled_since = None
        for outlet in self._outlets:
            outlet.paused = False
            if outlet.on_ready is not None:
                outlet.on_ready()

    # -- called by the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._awaiting_head = True

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        self._awaiting_head = False
        self._head_bytes = 0
        before = self.cycle
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is before:  # an upgrade to WebSocket
            return
        self._asked = self._awaiting_body = True
        self._since = self.loop.time()
        outlet = Outlet(self.transport)
        cycle.transport = cast("asyncio.Transport", outlet)
        self._outlets.append(outlet)
        # The scope is read when the request's task takes its first step, after this.
        self.scope["extensions"] = {OUTLET: outlet}  # type: ignore[dict-item]  # uvicorn types the ones it knows

    def on_message_complete(self) -> None:
        """The body of a request is there."""
        self._awaiting_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A response was sent to its end: the oldest, since pipelined requests are answered in turn."""
        if self._outlets:
            self._outlets.pop(0).flush()  # one without a body is a head alone, which still waits
        super().on_response_complete()

    # -- limits

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP. In the middle of an answer there is no room for another: the connection closes."""
        self._refuse(MalformedHTTP("this is not an HTTP/1.1 request; check what is being sent to this port"))

    def check_deadlines(self, now: float) -> None:
        """Closes the connection if something it waits for is overdue. Called for every connection once a second."""
        settings = self.settings
        if self.transport.is_closing():
            return
        if self._stalled_since is not None:
            waiting = self.transport.get_write_buffer_size()
            if waiting < self._stalled_bytes:
                self._stalled_since = now
            elif now - self._stalled_since > settings.write_stall_seconds:
                self.transport.abort()
            self._stalled_bytes = waiting
        elif self._awaiting_body:
            if now - self._since > settings.body_seconds:
                self._refuse(RequestTimeout(f"the body did not arrive within {settings.body_seconds:g} s"))
        elif self._awaiting_head and (self._head_bytes or not self._asked):
            if now - self._since > settings.header_seconds:
                self._refuse(RequestTimeout(f"the headers did not arrive within {settings.header_seconds:g} s"))

    def _refuse(self, error: HeadraceError) -> None:
        cycle = self.cycle if self._asked else None
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = error_body(error)
            # A protocol error in a pipelined request: the answer before it is complete, or nothing was sent of it.
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (error.http_status, type(error).__name__.encode(), len(body), body)
            )
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.transport.close()


def outlet_of(scope: Scope) -> Outlet:
    """The writing side of the response to this request.

    Raises:
        InternalError: the application runs under another server than its own.
    """
    outlet = (scope.get("extensions") or {}).get(OUTLET)
    if not isinstance(outlet, Outlet):
        raise InternalError("headrace is served by its own connection class: start it with `headrace serve`")
    return outlet


def connection_class(settings: ServerSettings) -> type[Connection]:
    """The protocol class to give to uvicorn, which makes its own instances."""
    return type("ConfiguredConnection", (Connection,), {"settings": settings})
