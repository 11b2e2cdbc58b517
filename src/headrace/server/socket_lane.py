"""One answer on its way over a WebSocket: where its delivery is written to, and how.

All lanes of a client write to one connection, whole frames at a time. Which there are, and what becomes of them, is in
`headrace.server.socket_session`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace.interfaces import Framing, ReaderProtocol, Stream
from headrace.protocols.socket_messages import MessageEncoder, message_encoder
from headrace.requests import ReaderOptions
from headrace.server.callers import Caller
from headrace.server.socket_connection import SocketConnection
from headrace.server.socket_frames import MESSAGES


class Lane:
    """One answer on its way over a WebSocket: where a delivery is written to."""

    __slots__ = (
        "_connection",
        "caller",
        "cancelled",
        "gone",
        "heartbeat_seconds",
        "loop",
        "next_message",
        "on_gone",
        "on_ready",
        "request_id",
        "stream",
    )

    def __init__(self, connection: SocketConnection, caller: Caller, request_id: str | None) -> None:
        self._connection = connection
        self.loop: asyncio.AbstractEventLoop = connection.loop
        self.caller = caller
        self.request_id = request_id
        self.stream: Stream | None = None
        self.cancelled = False
        """Whether it was cancelled before it had a stream."""
        self.next_message: bytes | None = None
        """What the client asked here before this answer was seen to its end: its turn comes then."""
        self.heartbeat_seconds: float | None = None
        self.gone = False
        self.on_ready: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None

    @property
    def over(self) -> bool:
        """Whether there is no more to come than what is on its way: the client may know that already."""
        return self.stream is not None and self.stream.ended is not None and not self.paused

    @property
    def paused(self) -> bool:
        """Whether the client is slow."""
        return self._connection.paused

    def write(self, data: bytes) -> None:
        """Writes whole frames."""
        self._connection.write(data)

    def flush(self) -> None:
        """Nothing waits."""

    def leave(self) -> None:
        """Says that the reader has left."""
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()


class LaneMessages:
    """How the answer of a lane is written."""

    framing: Framing = MESSAGES

    def __init__(self, protocol: ReaderProtocol, request_id: str | None, warned: str | None) -> None:
        self.name = protocol.name
        self._protocol = protocol
        self._request_id = request_id
        self._warned = warned

    def encoder(self, options: ReaderOptions) -> MessageEncoder:
        """A new encoder for one reader."""
        return message_encoder(self._protocol, options, request_id=self._request_id, warning=self._warned)
