"""The one place where identifiers and chance are made: 128 random bits in ASCII, and numbers for jitter.

Vocabulary: imports nothing of headrace.
"""

from __future__ import annotations

import random
import re
import secrets

_CHOSEN = re.compile(r"[A-Za-z0-9_.~-]{22,128}\Z")


def new_stream_id() -> str:
    """A stream identifier nobody can guess: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def new_request_id() -> str:
    """An identifier for one HTTP request, for logs and the `X-Request-Id` header. Unique, but no secret."""
    return f"req_{random.getrandbits(96):024x}"


def is_stream_id(text: str) -> bool:
    """Whether `text` may be a stream identifier chosen by a reader: 22 to 128 characters of `A-Z a-z 0-9 _ . ~ -`.

    128 random bits take 22 characters of base64url and 32 hexadecimal digits.
    """
    return _CHOSEN.match(text) is not None


def chance() -> float:
    """A random number from 0 to just below 1, for jitter."""
    return random.random()
