"""When things happened in a generation: the marks taken on the way, and the figures made of them.

All bare numbers are nanoseconds on the monotonic clock. Time to first token (TTFT) runs from sending
the request upstream to the first delta that is not empty; a role frame does not count, reasoning does.
Vocabulary: imports nothing of headrace.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

TokenKind: TypeAlias = Literal["text", "reasoning", "tool_call"]


class Marks:
    """The moments of one attempt, written down by whoever sees them, in this order. `None`: not yet."""

    __slots__ = ("asked_ns", "connected_ns", "first_byte_ns", "first_token_kind", "first_token_ns", "sent_ns")

    def __init__(self, asked_ns: int) -> None:
        self.asked_ns = asked_ns
        """The run turned to this upstream."""
        self.connected_ns: int | None = None
        """A connection was there, kept alive or new."""
        self.sent_ns: int | None = None
        """The request was written to it."""
        self.first_byte_ns: int | None = None
        """The first byte of the response arrived."""
        self.first_token_ns: int | None = None
        """The first delta that is not empty arrived."""
        self.first_token_kind: TokenKind | None = None


class Timing(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How long a generation took. Nanoseconds; `None` where it did not get so far."""

    total_ns: int
    """From the acceptance of the request to the last event."""
    queue_ns: int | None = None
    """From acceptance until an upstream was asked: preparing, waiting, earlier attempts."""
    connect_ns: int | None = None
    """From asking until a connection was there."""
    first_byte_ns: int | None = None
    """From sending the request to the first byte of the response."""
    time_to_first_token_ns: int | None = None
    """From sending the request to the first delta that is not empty."""
    first_token_kind: TokenKind | None = None
    attempts: int = 1


def measured(accepted_ns: int, ended_ns: int, marks: Marks | None, attempts: int) -> Timing:
    """The figures of a generation that was accepted and ended at these times; `marks` are its last attempt's."""
    if marks is None:
        return Timing(total_ns=ended_ns - accepted_ns, attempts=attempts)
    sent = marks.sent_ns if marks.sent_ns is not None else marks.asked_ns
    return Timing(
        total_ns=ended_ns - accepted_ns,
        queue_ns=marks.asked_ns - accepted_ns,
        connect_ns=None if marks.connected_ns is None else marks.connected_ns - marks.asked_ns,
        first_byte_ns=None if marks.first_byte_ns is None else marks.first_byte_ns - sent,
        time_to_first_token_ns=None if marks.first_token_ns is None else marks.first_token_ns - sent,
        first_token_kind=marks.first_token_kind,
        attempts=attempts,
    )
