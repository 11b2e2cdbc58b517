"""Where the answer goes: bare text, styled markdown at a terminal, one JSON object, or the stream's events.

stdout (or the file of `-o`) carries the answer and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from headrace.events import Ended, Event, Started, TextDelta
from headrace.requests import ReaderOptions
from headrace.wire import json_text

# What a model writes may hold escape sequences; at a terminal they could do more than be read.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output(Protocol):
    """One form of the answer."""

    def feed(self, records: Sequence[bytes], events: Sequence[Event]) -> None:
        """Takes what came in one piece."""
        ...

    def finish(self) -> None:
        """Everything came that will come."""
        ...

    def close(self) -> None:
        """Nothing more is wanted: what was shown or written stays, what was held back is dropped."""
        ...


class Sink:
    """Bytes to stdout or to a file, which is opened when there is something to write: a failure empties no file."""

    def __init__(self, stdout: BinaryIO, path: Path | None) -> None:
        self._file: BinaryIO | None = None if path is not None else stdout
        self._path = path

    def write(self, data: bytes) -> None:
        """Writes and flushes."""
        if self._file is None:
            assert self._path is not None
            self._file = self._path.open("wb")
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        """Closes the file, if it was one."""
        if self._path is not None and self._file is not None:
            self._file.close()


class TextOutput:
    """The text, every piece as it comes or all of it at the end; and a line end where it has none itself.

    Without that a prompt, or the next answer added to a file, would stand on the answer's last line.
    """

    def __init__(self, sink: Sink, *, stream: bool, terminal: bool) -> None:
        self._sink = sink
        self._stream = stream
        self._terminal = terminal
        self._held: list[str] = []
        self._last = "\n"

    def feed(self, records: Sequence[bytes], events: Sequence[Event]) -> None:
        """Writes the text of `events`."""
        if text := text_of(events):
            if self._stream:
                self._write(text)
            else:
                self._held.append(text)

    def finish(self) -> None:
        """Writes what was held back, and ends the line."""
        self._write("".join(self._held), ends_line=True)

    def close(self) -> None:
        """Ends the line; what was held back is dropped."""
        self._write("", ends_line=True)

    def _write(self, text: str, *, ends_line: bool = False) -> None:
        text = without_controls(text) if self._terminal else text
        if ends_line and (text[-1:] or self._last) != "\n":
            text += "\n"
        if text:
            self._last = text[-1]
            self._sink.write(text.encode("utf-8", "replace"))


class EventOutput:
    """The stream's events, one JSON object a line, as typed events have them."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def feed(self, records: Sequence[bytes], events: Sequence[Event]) -> None:
        """Writes the records."""
        if records:
            self._sink.write(b"".join(record + b"\n" for record in records))

    def finish(self) -> None:
        """Does nothing: every record was a line of its own."""

    def close(self) -> None:
        """Does nothing."""


class ObjectOutput:
    """One JSON object, when all is known; `error` in it where the answer did not end well."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._events: list[Event] = []

    def feed(self, records: Sequence[bytes], events: Sequence[Event]) -> None:
        """Keeps the events."""
        self._events += events

    def finish(self) -> None:
        """Writes the object."""
        from headrace.protocols import PROTOCOLS

        if not (self._events and isinstance(self._events[0], Started) and isinstance(self._events[-1], Ended)):
            return
        whole = msgspec.json.decode(PROTOCOLS["typed_events"].whole(self._events, ReaderOptions()))
        if (failure := self._events[-1].failure) is not None:
            whole["error"] = {"code": failure.code, "message": failure.message}
        self._sink.write(json_text.encode(whole) + b"\n")

    def close(self) -> None:
        """Does nothing: half an object is none."""


def text_of(events: Sequence[Event]) -> str:
    """The text that `events` say."""
    return "".join(event.text for event in events if type(event) is TextDelta and event.choice == 0)


def without_controls(text: str) -> str:
    """`text` without what a terminal would take for a command; line breaks and tabs stay."""
    return _CONTROLS.sub("", text)
