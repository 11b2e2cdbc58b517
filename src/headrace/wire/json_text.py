"""JSON as text: the one place where it is written, and how deep it nests before it is read.

Pure: imports the standard library and msgspec; opens nothing, waits for nothing.

JSON may hold some characters raw at which readers cut lines all the same: U+0085, U+2028 and U+2029 (Python's
`str.splitlines` and what is built on it). They are written as escapes, so that a record is one line for every reader.
The others of that kind (U+000B, U+000C, U+001C to U+001E) are control characters, which JSON always escapes.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

_encoder: Final = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """The value as JSON on one line: struct, dict, list, text, number, bool, None, `msgspec.Raw` and what they hold.

    Raises:
        TypeError: the value holds what JSON has no word for.

    """
    try:
        text = _encoder.encode(value)
    except UnicodeEncodeError:
        # Half a surrogate pair, which the encoder refuses: an upstream may have cut one in two.
        text = _piece_by_piece(msgspec.to_builtins(value, str_keys=True, enc_hook=_raw))
    if 0x0A in text or 0x0D in text:
        # From a `Raw` alone, and there only between tokens, since inside a string they are escaped.
        text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    return text if text.isascii() else _without_separators(text)


def string(text: str) -> bytes:
    """The text as a JSON string with its quotes, for encoders that fill it into a template.

    Half a surrogate pair is written as an escape of its own; two halves that stand together read back as one character.
    """
    if text.isascii():
        return _encoder.encode(text)
    try:
        written = _encoder.encode(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode("ascii")
    # Looked for in the text, whose own width lets most searches end before they begin.
    if "\u2028" in text or "\u2029" in text or "\x85" in text:
        return _without_separators(written)
    return written


def _without_separators(text: bytes) -> bytes:
    # UTF-8 synchronises itself, so these bytes are these characters wherever they stand, and that is inside a string.
    return (
        text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029").replace(b"\xc2\x85", b"\\u0085")
    )


def _raw(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    raise NotImplementedError


def _piece_by_piece(value: object) -> bytes:
    match value:
        case str():
            return string(value)
        case dict():
            return b"{" + b",".join(string(k) + b":" + _piece_by_piece(v) for k, v in value.items()) + b"}"
        case list() | tuple():
            return b"[" + b",".join(map(_piece_by_piece, value)) + b"]"
        case _:
            return _encoder.encode(value)
