"""Messages as frames of a WebSocket: text, one frame for each record. The frames are the `websockets` library's.

Imported with the first handshake, as `headrace.server.socket_connection` is. Source: RFC 6455, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence

from websockets.frames import Frame, Opcode


class MessageFraming:
    """A message for each record."""

    content_type = ""
    heartbeat = heartbeat_with_ids = opening = b""
    tells_endings = True
    may_be_cut = False
    between = b""

    @staticmethod
    def frame(records: Sequence[bytes]) -> bytes:
        """The records for one write."""
        return b"".join([Frame(Opcode.TEXT, record).serialize(mask=False) for record in records])

    def frame_with_id(self, records: Sequence[bytes], offset: int) -> bytes:
        """The records made from one event: they say themselves where they stand."""
        return self.frame(records)


MESSAGES = MessageFraming()
