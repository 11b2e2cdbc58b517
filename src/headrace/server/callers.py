"""Who a request comes from."""

from __future__ import annotations

from typing import NamedTuple

from headrace.keys.keyring import Key

LOCAL_OWNER = "local"
"""Whose streams they are where no keys are asked for."""


class Caller(NamedTuple):
    """Whoever sent a request, as `headrace.server.guard` found out."""

    owner: str
    """Whose streams may be read, and whose a new one will be."""
    key: Key | None = None
    """The key it came with, where keys are asked for."""


LOCAL = Caller(LOCAL_OWNER)
"""Everyone, where no keys are asked for."""
STRANGER = Caller("")
"""Somebody without a key, at a door that is open to all. No key can have an owner without a name."""
