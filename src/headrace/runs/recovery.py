"""What a run does after a failure: a pure table, and the functions that read it.

    what failed                 before the first content          after it
    ─────────────────────────   ───────────────────────────────   ────────────────────────────
    no connection               next upstream, else again         next upstream, else again
    connection broke            again, else next upstream         again, else next upstream
    cut off without a reason    again, else next upstream         again, else next upstream
    busy or unwell (429, 5xx)   again, else next upstream         again, else next upstream
    refused (400, 413, 422)     end: it would refuse again        next upstream
    refused (401, 403, 404)     next upstream                     next upstream
    not its protocol            next upstream, else again         next upstream
    too slow                    next upstream                     (cannot be)
    connect timer               next upstream, else again         next upstream, else again
    first-token timer           next upstream                     next upstream
    between-tokens timer        (cannot be)                       again, else next upstream
    total timer                 end                               end
    our own fault               end                               end

The boundary is the first content event: until then nobody has seen anything, so that a repeated attempt is invisible
(row T5). After it, *again* and *next* mean to go on with what was said, and only where that is possible and wished for
(`headrace.runs.continuing`); a request that is refused there was refused for what was added to it. What is left in
every row is to end honestly, with the error that broke off what was said.

Asked again is an upstream at most three times in a row without a new word, and only while it has retry tokens left
(`headrace.runs.retry_tokens`). Which upstream is the next, its circuit has a say in (`headrace.runs.circuit`).
Time and chance come in as arguments; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from headrace.errors import (
    HeadraceError,
    UpstreamKeyMissing,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamReset,
    UpstreamTimeout,
    UpstreamTooSlow,
    UpstreamTruncated,
    UpstreamUnreachable,
)

ATTEMPTS_PER_UPSTREAM = 3
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 8.0
# An upstream that asks for more than this is left for the next one; a reader does not wait so long for a first token.
LONGEST_RETRY_AFTER_SECONDS = 10.0

# What an attempt says without a word of content is held up to here (L23, the bounds of Bifrost). What comes after shows
# that the upstream says something that has no word here: it is shown, and the attempt has crossed the boundary.
MOST_HELD_CHUNKS = 64
MOST_HELD_BYTES = 256 << 10

Step: TypeAlias = Literal["again", "next", "end"]


@dataclass(frozen=True, slots=True)
class Again:
    """The same upstream once more, after a delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class NextUpstream:
    """The next upstream of the model, at once."""


@dataclass(frozen=True, slots=True)
class End:
    """No further attempt: the stream ends with the failure."""


Decision: TypeAlias = Again | NextUpstream | End

BEFORE_CONTENT: dict[str, tuple[Step, ...]] = {
    "unreachable": ("next", "again"),
    "reset": ("again", "next"),
    "truncated": ("again", "next"),
    "busy": ("again", "next"),
    "refused": (),
    "denied": ("next",),
    "malformed": ("next", "again"),
    "too_slow": ("next",),
    "connect_timer": ("next", "again"),
    "first_token_timer": ("next",),
    "between_tokens_timer": (),
    "other": (),
}
"""What may be done before the first content, in the order it is preferred; what is left is to end."""

AFTER_CONTENT: dict[str, tuple[Step, ...]] = {
    **BEFORE_CONTENT,
    "refused": ("next",),
    "malformed": ("next",),
    "too_slow": (),
    "between_tokens_timer": ("again", "next"),
}
"""The same once something was said."""

UNWELL = frozenset(
    {
        "unreachable",
        "reset",
        "truncated",
        "busy",
        "malformed",
        "too_slow",
        "connect_timer",
        "first_token_timer",
        "between_tokens_timer",
    }
)
"""The rows that count against an upstream's circuit. The others are about the request, a key or a model's name."""


def kind_of(error: HeadraceError) -> str:
    """The row of the table that `error` belongs to."""
    match error:
        case UpstreamUnreachable():
            return "unreachable"
        case UpstreamReset():
            return "reset"
        case UpstreamTruncated():
            return "truncated"
        case UpstreamMalformed():
            return "malformed"
        case UpstreamTooSlow():
            return "too_slow"
        case UpstreamKeyMissing():
            return "denied"
        case UpstreamRefused():
            if error.failure().retryable:
                return "busy"
            return "denied" if error.status in (401, 403, 404) else "refused"
        case UpstreamTimeout(timer="connect" | "first_token" | "between_tokens" as timer):
            return f"{timer}_timer"
        case _:
            return "other"


def decide(
    error: HeadraceError,
    *,
    spoke: bool,
    may_retry: bool,
    attempts_here: int,
    upstreams_left: int,
    chance: float,
) -> Decision:
    """What to do after `error`.

    Args:
        error: why the attempt failed.
        spoke: whether a content event has been shown.
        may_retry: whether this upstream may be asked once more at all: it has a retry token left and, once something
            was said, can be given it.
        attempts_here: how many attempts this upstream has had since its last new word, this one included.
        upstreams_left: how many further upstreams may be asked; once something was said, those that can be given it.
        chance: from 0 to 1, for the jitter.
    """
    for step in (AFTER_CONTENT if spoke else BEFORE_CONTENT)[kind_of(error)]:
        if step == "next" and upstreams_left:
            return NextUpstream()
        if step == "again" and may_retry and attempts_here < ATTEMPTS_PER_UPSTREAM:
            asked = error.retry_after_seconds
            if asked is None:
                # Full jitter, anything up to a doubling step: those who failed together do not return together.
                return Again(chance * min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempts_here))
            if asked <= LONGEST_RETRY_AFTER_SECONDS:
                return Again(asked)
    return End()


def choose(admitted: Sequence[bool]) -> int:
    """Which of the upstreams that are left is asked, by whether the circuit of each admits it.

    The first that is not cooling off; where all of them are, the first.
    """
    return admitted.index(True) if True in admitted else 0
