"""Newline-delimited JSON as bytes: a parser and a writer.

Pure: imports the standard library and its own room; opens nothing, waits for nothing.
Lines end at LF alone. A CR before it is white space that JSON allows; U+2028 and its like belong to the text.
Source: https://github.com/ndjson/ndjson-spec, which lets a parser skip blank lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.wire.bounds import EVENT_LIMIT_BYTES, EventTooLarge

_JSON_SPACE: Final = b" \t\r"


class NDJSONParser:
    """Reads records, each the bytes of one JSON value, from bytes cut anywhere; it does not look inside them."""

    def __init__(self, *, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._unfinished: list[bytes] = []
        self._unfinished_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The records that these bytes complete, in order, without line ends and the white space round them.

        Raises:
            EventTooLarge: a line, ended or not, is larger than the limit.

        """
        lines = data.split(b"\n")
        tail = lines.pop()
        if lines:
            if self._unfinished:
                lines[0] = b"".join((*self._unfinished, lines[0]))
                self._unfinished.clear()
                self._unfinished_bytes = 0
            # What is shorter than the limit as a whole holds no line that is longer.
            if len(data) + len(lines[0]) > self._limit and max(map(len, lines)) > self._limit:
                raise EventTooLarge(self._limit)
        if tail:
            self._unfinished.append(tail)
            self._unfinished_bytes += len(tail)
            if self._unfinished_bytes > self._limit:
                raise EventTooLarge(self._limit)
        return [record for line in lines if (record := line.strip(_JSON_SPACE))]

    def finish(self) -> list[bytes]:
        """The last record, if its line had no LF. Whether it is whole, only who decodes it can say."""
        record = b"".join(self._unfinished).strip(_JSON_SPACE)
        self._unfinished.clear()
        self._unfinished_bytes = 0
        return [record] if record else []

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished line are held."""
        return bool(self._unfinished)


def lines(records: Sequence[bytes]) -> bytes:
    """One line for each record, to be sent in one write. No records, no bytes.

    The records must hold no LF, as what `json_text` writes.
    """
    return b"\n".join(records) + b"\n" if records else b""
