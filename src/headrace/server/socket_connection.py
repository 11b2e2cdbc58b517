"""One WebSocket: bytes of a transport into messages, messages into bytes, its pings, and how it is closed.

The framing is that of the `websockets` library, which this file and `headrace.server.socket_frames` alone know; both
are imported with the first handshake, so that a server that nobody asks for a WebSocket does not pay for it. What
messages mean is in `headrace.server.socket_session`. Source: RFC 6455.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from headrace.errors import MalformedHTTP
from headrace.server.socket_frames import MESSAGES
from headrace.settings import ServerSettings

MESSAGE_LIMIT_BYTES = 1 << 20
PONG_SECONDS = 20.0
"""How long an answer to a ping may take."""
CLOSING_SECONDS = 5.0
"""How long the other side may take to say goodbye as well."""
LAST_SECONDS = 1.0
"""The same when the server goes away."""
QUEUE_BYTES = 1 << 18
"""With so much unread, nothing more is heard from this client: whatever it says might be answered."""
MOST_REASON_BYTES = 123


class Listener(Protocol):
    """Whoever hears what a client says."""

    def hear(self, message: bytes) -> None:
        """A whole message, in valid UTF-8."""
        ...

    def ready(self) -> None:
        """A slow client has caught up."""
        ...

    def leave(self) -> None:
        """The client has left, or was closed. Called at least once."""
        ...

    def look(self) -> None:
        """Looks after itself. Called about once a second."""
        ...

    def ping_seconds(self) -> float:
        """How often the connection is pinged now; 0: never."""
        ...


class _Nobody:
    def hear(self, message: bytes) -> None: ...

    def ready(self) -> None: ...

    def leave(self) -> None: ...

    def look(self) -> None: ...

    def ping_seconds(self) -> float:
        return 0.0


_NOBODY = _Nobody()


def shaken_hands(path: str, headers: Sequence[tuple[bytes, bytes]], more: Sequence[tuple[str, str]]) -> bytes:
    """The answer to a handshake. Extensions are declined: messages are tiny, and compressing them costs memory.

    Args:
        path: with its query.
        headers: of the handshake.
        more: headers for the answer.

    Raises:
        MalformedHTTP: it is none; the message says what of it.
    """
    protocol = ServerProtocol()
    given = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
    response = protocol.accept(Request(path, given))
    if response.status_code != 101:
        raise MalformedHTTP(f"this is no WebSocket handshake: {protocol.handshake_exc}")
    for name, value in more:
        response.headers[name] = value
    return response.serialize()


class SocketConnection(asyncio.Protocol):
    """A connection after its handshake. Set `listener` before anything is received.

    Args:
        transport: what is left of the HTTP connection.
        loop: its event loop.
        state: where uvicorn keeps the connections, to close them in the end.
        settings: for how long a client may take.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        state: ServerState,
        settings: ServerSettings,
    ) -> None:
        self.listener: Listener = _NOBODY
        self.loop = loop
        self.tasks = state.tasks
        """Those that uvicorn waits for in the end."""
        self.paused = False
        """Whether the client is slow: what is written then only fills memory."""
        self._transport = transport
        self._connections = state.connections
        self._settings = settings
        self._frames = ServerProtocol(state=State.OPEN, max_size=MESSAGE_LIMIT_BYTES)
        # The pieces of a message that comes in several frames.
        self._begun: bytearray | None = None
        self._heard = 0
        # What came of a frame that is not whole.
        self._unframed_bytes = 0
        self._deaf = False
        now = loop.time()
        self._pinged_at = now
        self._unanswered_since: float | None = None
        self._unfinished_since: float | None = None
        self._closing_since: float | None = None
        self._stalled_since = now
        self._stalled_bytes = 0
        state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes, and calls `shutdown`

    # -- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._unanswered_since = None
        frames, heard = self._frames, self._heard
        frames.receive_data(data)
        self._unframed_bytes += len(data)
        for frame in frames.events_received():
            assert isinstance(frame, Frame), "the handshake is over"
            self._unframed_bytes -= _size_bytes(frame)
            if self._closing_since is None:
                self._hear(frame)
        self._flush()
        if self._closing_since is not None:
            return
        if frames.state is not State.OPEN:
            # It said goodbye, or what nobody understands; the answer is on its way.
            self._begin_to_close()
        elif self._unframed_bytes or self._begun is not None:
            if self._unfinished_since is None or self._heard > heard:
                self._unfinished_since = self.loop.time()
        else:
            self._unfinished_since = None

    def eof_received(self) -> None:
        """The client will say no more: taken for leaving, at once. What was written before still goes out."""
        self._begin_to_close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or was closed."""
        self._begin_to_close()
        self._connections.discard(self)
        # They lead back here: without them, nothing of this waits for the garbage collector.
        self.listener = _NOBODY
        self._frames.parser.close()

    def pause_writing(self) -> None:
        """The client is slower than its streams."""
        self.paused = True
        self._stalled_since = self.loop.time()
        self._stalled_bytes = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.paused = False
        self._unanswered_since = None
        if self._deaf:
            self._deaf = False
            self._transport.resume_reading()
        self.listener.ready()

    # -- called by the listener

    def send(self, message: bytes) -> None:
        """Sends one message, in UTF-8."""
        self.write(MESSAGES.frame((message,)))

    def write(self, data: bytes) -> None:
        """Writes whole frames. Does nothing once the socket is being closed."""
        transport = self._transport
        if self._closing_since is not None or transport.is_closing():
            return
        transport.write(data)
        if self.paused:
            self._check_queue()

    def close(self, code: int, reason: str) -> None:
        """Says goodbye, and waits a little for the other side to do so. Nothing is heard from now on."""
        if self._closing_since is not None:
            return
        if self._frames.state is State.OPEN:
            self._frames.send_close(code, reason.encode()[:MOST_REASON_BYTES].decode("utf-8", "ignore"))
        self._flush()  # also where a goodbye of the library's waits to be written
        self._begin_to_close()

    # -- called by the server

    def check_deadlines(self, now: float) -> None:
        """Pings, and closes what has waited too long. Called for every connection once a second."""
        if self._closing_since is not None:
            if now - self._closing_since > CLOSING_SECONDS:
                self._transport.abort()
            return
        if self.paused:
            self._check_stall(now)
            return
        if self._unfinished_since is not None and now - self._unfinished_since > self._settings.body_seconds:
            self.close(1008, f"a message did not arrive within {self._settings.body_seconds:g} s")
            return
        if self._unanswered_since is not None and now - self._unanswered_since > PONG_SECONDS:
            self.close(1011, f"a ping was not answered within {PONG_SECONDS:g} s")
            return
        self.listener.look()
        seconds = self.listener.ping_seconds()
        if seconds and now - self._pinged_at >= seconds and self._closing_since is None:
            self._pinged_at = now
            self._unanswered_since = self._unanswered_since or now
            self._frames.send_ping(b"")
            self._flush()

    def shutdown(self) -> None:
        """The server goes away. Called by uvicorn once the runs have ended."""
        self.close(1001, "the server is shutting down; come back in a moment")
        self.loop.call_later(LAST_SECONDS, self._transport.abort)

    def _check_stall(self, now: float) -> None:
        waiting = self._transport.get_write_buffer_size()
        if waiting < self._stalled_bytes:
            self._stalled_since = now
        elif now - self._stalled_since > self._settings.write_stall_seconds:
            self._transport.abort()
        self._stalled_bytes = waiting

    # -- frames

    def _hear(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT if frame.fin:
                self._hear_message(bytes(frame.data))
            case Opcode.TEXT:
                self._begun = bytearray(frame.data)
            case Opcode.CONT:
                assert self._begun is not None, "the library lets no other come"
                self._begun += frame.data
                if frame.fin:
                    message, self._begun = bytes(self._begun), None
                    self._hear_message(message)
            case Opcode.BINARY:
                self.close(1003, "messages are text, one object of JSON each; this one is binary")
            case _:
                pass  # the library has answered pings and goodbyes, and that a pong came is known

    def _hear_message(self, message: bytes) -> None:
        self._heard += 1
        if not message.isascii():
            try:
                message.decode("utf-8")
            except UnicodeDecodeError as error:
                self.close(1007, f"a message is not UTF-8 (byte {error.start})")
                return
        self.listener.hear(message)

    def _check_queue(self) -> None:
        if not self._deaf and self._transport.get_write_buffer_size() > QUEUE_BYTES:
            self._deaf = True
            self._transport.pause_reading()

    def _flush(self) -> None:
        transport = self._transport
        for piece in self._frames.data_to_send():
            if piece:
                # Nothing behind our own goodbye, where the library still answers pings (RFC 6455, 5.5.1).
                self.write(piece)
            elif self._frames.parser_exc is None:
                transport.close()  # both sides have said goodbye
            elif transport.can_write_eof() and not transport.is_closing():
                # It may still be sending: closed now, it might be reset before it reads why.
                transport.write_eof()

    def _begin_to_close(self) -> None:
        if self._closing_since is None:
            self._closing_since = self.loop.time()
            if self._deaf:
                self._deaf = False
                self._transport.resume_reading()
            self.listener.leave()


def _size_bytes(frame: Frame) -> int:
    """How many bytes a client's frame took: with its head, its length in as few bytes as it needs, and its mask."""
    size = len(frame.data)
    return 6 + size + (0 if size < 126 else 2 if size < 1 << 16 else 8)
