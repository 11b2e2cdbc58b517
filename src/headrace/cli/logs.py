"""What is said while the server runs: log records as lines on stderr, for people or for programs."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from headrace.clock import utc_timestamp
from headrace.settings import LoggingSettings
from headrace.wire import json_text


def set_up(settings: LoggingSettings, *, at_terminal: bool) -> None:
    """Sends headrace's and uvicorn's records to stderr in the form of the settings."""
    as_json = settings.format == "json" or (settings.format == "auto" and not at_terminal)
    handler = Lines()
    handler.setFormatter(JSONLines() if as_json else TextLines())
    # What no line of ours shows need not be found out for each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    level = settings.level.upper()
    root = logging.getLogger()
    root.handlers = [handler]
    # Other people's libraries speak up only when something is wrong, whatever our own level.
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    logging.getLogger("headrace").setLevel(level)


class Lines(logging.StreamHandler[TextIO]):
    """Writes records to stderr, each at once, but for those that say that more follow: these go out with the last."""

    def __init__(self) -> None:
        # stderr itself writes every line by itself.
        super().__init__(open(sys.stderr.fileno(), "w", buffering=1 << 16, encoding="utf-8", closefd=False))  # noqa: SIM115

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        try:
            self.stream.write(self.format(record) + self.terminator)
            if not getattr(record, "more_follow", False):
                self.flush()
        except Exception:
            self.handleError(record)


class JSONLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the record's facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json_text.encode(line).decode("utf-8")


class TextLines(logging.Formatter):
    """`time level message fact=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record, and its traceback below it where it has one."""
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        # One record is one line: what a reader or an upstream put into a message may not make more of it.
        message = (record.getMessage() + facts).replace("\r", "\\r").replace("\n", "\\n")
        line = f"{_time(record)} {record.levelname.lower():7} {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


@functools.lru_cache(maxsize=16)
def _second(second: int) -> str:
    return utc_timestamp(second * 1_000_000_000)[:-4]


def _time(record: logging.LogRecord) -> str:
    second, rest = divmod(int(record.created * 1000), 1000)
    return f"{_second(second)}{rest:03d}Z"


def _facts(record: logging.LogRecord) -> Mapping[str, Any]:
    facts = getattr(record, "facts", None)
    return facts if isinstance(facts, Mapping) else {}
