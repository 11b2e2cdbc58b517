"""Checkpoints: what SQLite's log holds is copied into the file itself, beside the writing.

SQLite appends what is written to a log (the `-wal` file) and reads it from there until it is copied. Copying waits for
the disk twice, 10 to 50 ms in all, and by itself SQLite does it in the middle of a write: whatever was appended then
would be shown that much later. So it is done on a connection and a thread of its own, while the writing goes on.

Two things follow. The log begins anew only when all of it was copied, which it never is beside a busy writer: once it
has become long, the writer itself copies the little that is left, which takes a few milliseconds. And SQLite before
3.51.3 may damage a file whose log begins anew just while a checkpoint looks at it (sqlite.org/wal.html, section 11,
"the WAL-reset bug"): that takes a checkpoint that began when all of the log was copied already. So each begins after a
write that itself began after the last checkpoint had ended: then something is left to copy, and until it was the log
goes on.

Imports its neighbours. All decisions are made on the event loop, between two writes.
"""

from __future__ import annotations

import logging

from headrace.streams.database import Database
from headrace.streams.writer import Writer

logger = logging.getLogger("headrace.streams")

# How much is written before it is copied: on a busy server a second or two of it.
CHECKPOINT_BYTES = 16 << 20
# A log that is longer is begun anew as soon as may be. It is read whole at a start after a kill.
MOST_LOG_BYTES = 64 << 20


class Checkpoints:
    """Has the log copied now and then. To be made on the event loop, which tells it of each write.

    Args:
        database: the connection to copy on; closed by `close`.
        writing: the one that is written on.
    """

    def __init__(self, database: Database, writing: Database) -> None:
        self.log_is_long = False
        """Whether what is left of the log should be copied between two writes, on the connection that writes."""
        self._database = database
        self._writing = writing
        self._thread = Writer("headrace checkpoints")
        self._busy = False
        # What was written when the write under way began; `None` where that was beside a checkpoint.
        self._before: int | None = None
        # And when the last checkpoint ended. The first write begins one: a killed process may have left a long log.
        self._copied_bytes = -CHECKPOINT_BYTES

    def before_write(self) -> None:
        """A write is about to begin."""
        self._before = None if self._busy else self._writing.written_bytes

    def after_write(self) -> None:
        """It has ended: begins a checkpoint, where enough was written."""
        written = self._writing.written_bytes
        if self._before not in (None, written) and written - self._copied_bytes >= CHECKPOINT_BYTES:
            self._busy = True
            self._thread.put(self._database.checkpoint, self._ended)

    def copied(self, log_bytes: int | Exception) -> None:
        """What was left of a long log was copied by the writer, unless it could not be."""
        self.log_is_long = False
        self._note(log_bytes)

    async def close(self) -> None:
        """Ends the thread once the checkpoint under way has ended, and closes the connection."""
        await self._thread.close()
        self._database.close()

    def _ended(self, log_bytes: int | Exception) -> None:
        self._busy = False
        self._note(log_bytes)
        self.log_is_long = not isinstance(log_bytes, Exception) and log_bytes > MOST_LOG_BYTES

    def _note(self, log_bytes: int | Exception) -> None:
        # One that failed, on a full disk most likely, is tried again when as much was written once more.
        self._copied_bytes = self._writing.written_bytes
        if isinstance(log_bytes, Exception):
            logger.warning("the store's log could not be copied into its file (%s); it is tried again later", log_bytes)
