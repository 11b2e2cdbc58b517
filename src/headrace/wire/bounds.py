"""How much an incremental parser may hold: the bound, and the error that says it was passed.

Pure: imports nothing. A peer that never ends its line or its event would otherwise fill the memory.
"""

from __future__ import annotations

from typing import Final

EVENT_LIMIT_BYTES: Final = 8 * 1024 * 1024
"""Large enough for an image sent in base64 within one event, small enough for many connections in one process."""


class EventTooLarge(ValueError):
    """One event (SSE: all lines up to the blank one; NDJSON: one line) is larger than its parser may hold.

    The parser that raised it has lost its place and is of no further use; events of the same read are lost with it.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"an event is larger than {limit_bytes} bytes: close this connection, or raise the limit")
        self.limit_bytes = limit_bytes
