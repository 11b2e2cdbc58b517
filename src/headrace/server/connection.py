"""One connection of a reader: uvicorn's HTTP/1.1, with the limits it lacks and an outlet for each request.

What stock uvicorn leaves open: the size of headers, deadlines for headers and bodies, readers that stop taking
bytes, and malformed requests answered as JSON. What answers are written to is in `headrace.server.outlet`; requests are
routed and read as plain ASGI.

These two files alone know uvicorn's inside; its version is pinned to one minor series for that reason.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeAlias

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from headrace.errors import HeadersTooLarge, HeadraceError, MalformedHTTP, RequestTimeout
from headrace.protocols.objects import error_body
from headrace.server.outlet import OUTLET, Outlet
from headrace.server.socket_doors import Handshake, Sockets
from headrace.settings import ServerSettings

Phase: TypeAlias = Literal["new", "head", "body", "rest", "answer", "idle"]

# How much of a body is still taken, and how long, once its request has been answered: a reader that sends it to its end
# gets to read the answer instead of a reset.
MOST_REST_FACTOR = 16
REST_SECONDS = 5.0


class _Flow:
    """What uvicorn's `FlowControl` does, without the event for writers that wait: here nobody does, see `Outlet`."""

    __slots__ = ("_transport", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False


class Connection(HttpToolsProtocol):
    """One connection. `settings` and `sockets` come with the class that `connection_class` makes."""

    settings: ServerSettings
    sockets: Sockets

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Those not answered to the end, in the order of their requests: pipelined ones are answered in turn.
        self._outlets: list[Outlet] = []
        # What is waited for since when; `check_deadlines` says how long.
        self._phase: Phase = "new"
        self._since = self.loop.time()
        self._begun = 0
        self._head_bytes = 0
        self._rest_bytes = 0
        self._refusal: HeadraceError | None = None
        self._declining = False
        self._stalled_bytes = 0
        self._stalled_since: float | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A reader has connected."""
        super().connection_made(transport)
        self.flow = _Flow(transport)  # type: ignore[assignment]  # the same methods but `drain`, which is not used

    def data_received(self, data: bytes) -> None:
        """Bytes from the reader."""
        phase, begun = self._phase, self._begun
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            rest = data[wish.args[0] :]
            if self._hand_over(rest):
                return
            self._decline_upgrade(rest)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._phase != "head":
            return
        # Where other requests, or the rest of one, came in the same packet, it says nothing of this head's size.
        if phase not in ("body", "answer") and self._begun == begun + (phase != "head"):
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.header_limit_bytes:
                self._refuse(self._too_large())

    def eof_received(self) -> None:
        """The reader will say no more: taken for leaving, at once. What was written before still goes out."""
        self._tell_outlets()

    def connection_lost(self, exc: Exception | None) -> None:
        """The reader has left, or was closed."""
        super().connection_lost(exc)
        self._tell_outlets()
        # They lead to outlets, and those back here: without them, nothing of this waits for the garbage collector.
        self.cycle = self.scope = None  # type: ignore[assignment]  # as before the first request

    def _tell_outlets(self) -> None:
        outlets, self._outlets = self._outlets, []
        for outlet in outlets:
            outlet.leave()

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
        self._enter("head")
        self._begun += 1
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        size_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size_bytes > self.settings.header_limit_bytes:
            self._refusal = self._too_large()
            raise ValueError("too large")  # ends the parsing: `data_received` then asks for `send_400_response`
        self._declining = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._declining:
            return
        super().on_headers_complete()
        self._enter("body")
        outlet = Outlet(self, self.cycle)
        self._outlets.append(outlet)
        # The scope is read when the request's task takes its first step, after this.
        self.scope["extensions"] = {OUTLET: outlet}  # type: ignore[dict-item]  # uvicorn types the ones it knows

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if self._phase != "rest":
            super().on_body(body)
            return
        self._rest_bytes += len(body)
        if self._rest_bytes > self.settings.body_limit_bytes * MOST_REST_FACTOR:
            self.transport.close()

    def on_message_complete(self) -> None:
        """The body of a request is there."""
        if self._declining:
            return
        if self._phase == "rest":
            self.transport.close()  # as the head of the answer has said
            return
        # Some are answered before their body has arrived.
        self._enter("answer" if self._outlets else "idle")
        super().on_message_complete()

    def _hand_over(self, rest: bytes) -> bool:
        """Has the connection go on as a WebSocket, where that is what is wished for and one can be had there.

        `rest` came behind the head. The next thing that is received goes elsewhere.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        wished = any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers)
        if not wished or method != b"GET" or version != "1.1" or self._outlets:
            return False
        try:
            socket = self.sockets.open(Handshake(self.url, self.headers), self.transport, self.loop, self.server_state)
        except HeadraceError as error:
            self._refuse(error)
            return True
        if socket is None:
            return False
        self.connections.discard(self)
        self.flow.resume_reading()
        self.transport.set_protocol(socket)
        # As where a connection is lost.
        self.cycle = self.scope = self.parser = None  # type: ignore[assignment]  # they lead back here
        if rest:
            socket.data_received(rest)
        return True

    def _decline_upgrade(self, rest: bytes) -> None:
        """Serves a request as if it had not asked for another protocol (RFC 9110, 7.8); `rest` came behind its head.

        The parser takes what follows such a head for the other protocol, and the body is lost: the head is read anew
        without the wish. Java's own client asks for HTTP/2 in this way with every first request.
        """
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    # -- called by outlets

    def still_sends(self, outlet: Outlet) -> bool:
        """Whether the body of this outlet's request has not arrived whole: only the last request's may not have."""
        return self._phase == "body" and bool(self._outlets) and self._outlets[-1] is outlet

    def on_response_complete(self) -> None:
        """A response was sent to its end: the next pipelined request is served, or the connection is idle."""
        # In place of uvicorn's own, which sets a timer for each response; idle connections are swept here.
        self.server_state.total_requests += 1
        answered = self._outlets.pop(0) if self._outlets else None
        if self.transport.is_closing():
            return
        if self._phase == "answer":
            self._enter("idle")
        elif self._phase == "body" and answered is not None and not self._outlets:
            self._enter("rest")
            self._rest_bytes = 0
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    # -- limits

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP."""
        refusal, self._refusal = self._refusal, None
        self._refuse(refusal or MalformedHTTP("this is not an HTTP/1.1 request; check what is being sent to this port"))

    def check_deadlines(self, now: float) -> None:
        """Closes the connection if something it waits for is overdue. Called for every connection once a second."""
        settings = self.settings
        waited = now - self._since
        if self._stalled_since is not None or self.transport.is_closing():
            # One that is closing waits for its last bytes to be taken, and would for ever.
            waiting = self.transport.get_write_buffer_size()
            if self._stalled_since is None or waiting < self._stalled_bytes:
                self._stalled_since = now
            elif now - self._stalled_since > settings.write_stall_seconds:
                self.transport.abort()
            self._stalled_bytes = waiting
            return
        match self._phase:
            case "body" if waited > settings.body_seconds:
                self._refuse(RequestTimeout(f"the body did not arrive within {settings.body_seconds:g} s"))
            case "rest" if waited > REST_SECONDS:
                self.transport.close()
            case "head" | "new" if waited > settings.header_seconds:
                self._refuse(RequestTimeout(f"the headers did not arrive within {settings.header_seconds:g} s"))
            case "idle" if waited > settings.keep_alive_seconds:
                self.transport.close()
            case _:
                pass

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()

    def _too_large(self) -> HeadraceError:
        return HeadersTooLarge(f"the headers are larger than {self.settings.header_limit_bytes} bytes")

    def _refuse(self, error: HeadraceError) -> None:
        """Answers with an error and closes. In the middle of an answer there is no room for another: it only closes."""
        if not self.transport.is_closing() and not any(outlet.started for outlet in self._outlets):
            body = error_body(error)
            self.transport.write(
                b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (STATUS_LINE[error.http_status], len(body), body)
            )
        self.transport.close()


def connection_class(settings: ServerSettings, sockets: Sockets) -> type[Connection]:
    """The protocol class to give to uvicorn, which makes its own instances."""
    return type("ConfiguredConnection", (Connection,), {"settings": settings, "sockets": sockets})
