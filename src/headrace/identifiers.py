"""The one place where identifiers, keys and chance are made: random bits in ASCII, and numbers for jitter.

Vocabulary: imports nothing of headrace.
"""

from __future__ import annotations

import random
import re
import secrets
import string

_IDENTIFIER_BYTES = 16
_DRAWN_BYTES = 256 * _IDENTIFIER_BYTES

_KEY_CHARACTERS = string.ascii_letters + string.digits
# As many of these as hold 256 bits.
_KEY_LENGTH = 43

_CHOSEN = re.compile(r"[A-Za-z0-9_.~-]{22,128}\Z")


class StreamIdentifiers:
    """Makes stream identifiers nobody can guess: 32 hexadecimal digits each, of 128 bits from the system's generator.

    Bits are drawn in advance for a few hundred: one call of the system for each would be a twentieth of what a short
    answer costs.
    """

    __slots__ = ("_bits", "_used")

    def __init__(self) -> None:
        self._bits = b""
        self._used = 0

    def new(self) -> str:
        """The next one."""
        start = self._used
        if start == len(self._bits):
            self._bits, start = secrets.token_bytes(_DRAWN_BYTES), 0
        self._used = start + _IDENTIFIER_BYTES
        return self._bits[start : self._used].hex()


def new_request_id() -> str:
    """An identifier for one HTTP request, for logs and the `X-Request-Id` header. Unique, but no secret."""
    return f"req_{random.getrandbits(96):024x}"


def new_key() -> str:
    """A key nobody can guess: `hr_` and 43 letters and digits, 256 bits. A double click selects it whole."""
    return "hr_" + "".join(secrets.choice(_KEY_CHARACTERS) for _ in range(_KEY_LENGTH))


def new_session() -> str:
    """A secret for a cookie: 256 bits, in 43 characters of base64url."""
    return secrets.token_urlsafe(32)


def is_stream_id(text: str) -> bool:
    """Whether `text` may be a stream identifier chosen by a reader: 22 to 128 characters of `A-Z a-z 0-9 _ . ~ -`.

    128 random bits take 22 characters of base64url and 32 hexadecimal digits.
    """
    return _CHOSEN.match(text) is not None


def chance() -> float:
    """A random number from 0 to just below 1, for jitter."""
    return random.random()
