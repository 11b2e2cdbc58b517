"""What is told of the server itself: logins and health."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class LoggedIn(msgspec.Struct, forbid_unknown_fields=True):
    """A login; what stands for the key is in `Set-Cookie`."""

    owner: str
    """Whose streams may be read now."""
    key: str
    """How the key begins, as lists name it."""
    expires_in_seconds: int


class LoggedOut(msgspec.Struct, forbid_unknown_fields=True):
    """The end of a login."""

    ended: bool


class UpstreamHealth(msgspec.Struct, forbid_unknown_fields=True):
    """How an upstream was when it was last asked."""

    name: str
    state: Literal["unused", "well", "unwell"]
    detail: str | None
    circuit: Literal["closed", "open", "half_open"]
    """`open`: it failed again and again, and is left alone where there is another; `half_open`: one tries it out."""
    failures_in_a_row: int
    left_alone_seconds: float
    """How much longer."""
    retries_left: int
    """How many more times it would be asked again after failures, of 100."""


class Health(msgspec.Struct, forbid_unknown_fields=True):
    """How headrace and its upstreams are."""

    status: Literal["ok", "draining"]
    service: Literal["headrace"]
    version: str | UnsetType = UNSET
    """This and what follows is told to whoever shows a key, or to all where none is asked for."""
    streams: int | UnsetType = UNSET
    """How many are in progress."""
    readers: int | UnsetType = UNSET
    """How many are served now."""
    cancelled_after_grace: int | UnsetType = UNSET
    """How many answers were cancelled since the start because no reader came back in time."""
    upstreams: list[UpstreamHealth] | UnsetType = UNSET


class Ready(msgspec.Struct, forbid_unknown_fields=True):
    """Whether new requests are taken."""

    ready: bool
