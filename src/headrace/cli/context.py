"""What comes in on stdin beside the question: `git diff | headrace ask "review"`.

Only from a pipe or a file, never from a terminal, unless `-` asks for it: a script's stdin may be anything.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys

from headrace.cli.exits import say
from headrace.errors import SettingsError

SILENT_SECONDS = 1.0
LIMIT_BYTES = 4 * 1024 * 1024
"""What a server takes in one body by default; the same in process, so that a question does not depend on where it is
answered."""


def read_context(*, forced: bool, quiet: bool) -> str:
    """The text on stdin; empty where there is none to be read.

    Where a pipe stays silent for a second, stderr says what is awaited.

    Raises:
        SettingsError: it is too long, or no text.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return ""  # stdin is closed
    if not (forced or stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        return ""
    if stat.S_ISFIFO(mode) and not quiet and not select.select([descriptor], [], [], SILENT_SECONDS)[0]:
        say("waiting for context on stdin; </dev/null goes without it")
    data = b""
    while len(data) <= LIMIT_BYTES and (piece := os.read(descriptor, 1 << 16)):
        data += piece
    if len(data) > LIMIT_BYTES:
        raise SettingsError(f"the context on stdin is longer than {LIMIT_BYTES // 1024 // 1024} MiB; give a part of it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the context on stdin is not UTF-8 text (byte {error.start})") from error


def with_context(prompt: str, context: str) -> str:
    """Question and context as one message: the question first, where a person would put it."""
    if not context.strip():
        return prompt
    return f"{prompt}\n\n{context}" if prompt.strip() else context
