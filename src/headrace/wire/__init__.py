"""Formats as pure functions of bytes: SSE, NDJSON, and the shapes of each API.

Floor 1. May import floor 0 (the vocabulary) and msgspec. Opens nothing, waits for nothing, asks no clock: bytes go in,
values come out, and the other way round. What the values mean is decided in `providers` and `protocols`.
"""
