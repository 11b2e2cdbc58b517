"""Headrace as a library: `headrace.generate`, one generation in this process, without a server.

Floor 7, the last: may import every floor, and is imported by none; `headrace` itself finds its names here when they
are first asked for. The settings are those of the command line: environment, files, what is found on this machine.

- `answers.py`   the shape in which every answer ends, streamed or not
- `asking.py`    `agenerate`, for programs with an event loop
- `blocking.py`  `generate`, for all others
"""

from headrace.library.answers import Answer, GenerationFailed, ToolCall
from headrace.library.asking import AsyncDeltas, agenerate
from headrace.library.blocking import Deltas, generate

__all__ = ["Answer", "AsyncDeltas", "Deltas", "GenerationFailed", "ToolCall", "agenerate", "generate"]
