"""JSON as text: the one place where it is written, and how deep it nests, asked before it is read.

Pure: imports the standard library and msgspec; opens nothing, waits for nothing.

JSON may hold some characters raw at which readers cut lines all the same: U+0085, U+2028 and U+2029 (Python's
`str.splitlines` and what is built on it). They are written as escapes, so that a record is one line for every reader.
The others of that kind (U+000B, U+000C, U+001C to U+001E) are control characters, which JSON always escapes.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

_OPEN_OBJECT: Final = ord("{")
_OPEN_ARRAY: Final = ord("[")

_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode  # looked up once: it runs for every token

# For `depth_exceeds`: openings as 1, closings as 0, everything but them and quotes away.
_OPEN_AND_CLOSED: Final = bytes.maketrans(b"[{]}", b"1100")
_NO_STRUCTURE: Final = bytes(set(range(256)) - set(b'"[]{}'))


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


def decode(data: bytes) -> Any:
    """The value of this JSON. Half a surrogate pair, as the parts of a cut character are, is read as it stands.

    Raises:
        ValueError: it is not JSON.

    """
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return json.loads(data)


def half_character(data: bytes) -> str | None:
    """The escape of a surrogate without its other half, where that is all that keeps `data` from being read."""
    try:
        # As pairs, so that what a later field of the same name hides is found too.
        value = json.loads(data.decode(), object_pairs_hook=list, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(error.object[error.start]):04x}"
    except ValueError:
        pass  # no JSON at all
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def string(text: str) -> bytes:
    """The text as a JSON string with its quotes, for encoders that fill it into a template.

    Half a surrogate pair is written as an escape of its own; two halves that stand together read back as one character.
    """
    if text.isascii():
        return _encode(text)
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
    raise TypeError(f"no JSON for {type(value).__name__}")


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


def depth_exceeds(data: bytes, limit: int) -> bool:
    """Whether arrays and objects nest deeper than `limit` in this JSON, brackets inside strings not counted.

    Exact for valid JSON. Of what is not, the part before the first error is judged rightly, and a decoder stops there.
    It works on the whole text at once: 4 MiB of chat took 7 ms, of nothing but brackets 33 ms, less than to parse.
    """
    if data.count(_OPEN_OBJECT) + data.count(_OPEN_ARRAY) <= limit:
        return False  # nearly every request: too few of them to nest so deep, wherever they stand
    if b"\\" in data:
        # From left to right: once the escaped backslashes are gone, a quote behind a backslash is an escaped one.
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = data.translate(_OPEN_AND_CLOSED, _NO_STRUCTURE)
    # Two quotes side by side change nothing for what stands around them, and most strings are only that by now.
    brackets = brackets.replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[::2])
    if len(brackets) <= limit:
        return False
    # Eight brackets become one byte, whose rise and highest point the tables know.
    brackets += b"0" * (-len(brackets) % 8)
    depth = 0
    for eight in int(brackets, 2).to_bytes(len(brackets) // 8, "big"):
        if depth + _PEAKS[eight] > limit:
            return True
        depth += _RISES[eight]
    return False


def _rises_and_peaks() -> tuple[list[int], list[int]]:
    rises, peaks = [0], [0]
    for _ in range(8):
        # One more bracket in front of all patterns so far: first with it closed (0), then open (1).
        peaks = [max(0, peak - 1) for peak in peaks] + [peak + 1 for peak in peaks]
        rises = [rise - 1 for rise in rises] + [rise + 1 for rise in rises]
    return rises, peaks


_RISES, _PEAKS = _rises_and_peaks()
