"""What a run does after a failure: a pure table, and the function that reads it.

    what failed                 before the first content          after it
    ─────────────────────────   ───────────────────────────────   ────────────
    no connection               next upstream, else again         end
    connection broke            again, else next upstream         end
    cut off without a reason    again, else next upstream         end
    busy or unwell (429, 5xx)   again, else next upstream         end
    refused (400, 413, 422)     end: it would refuse again        end
    refused (401, 403, 404)     next upstream                     end
    not its protocol            next upstream                     end
    connect timer               next upstream, else again         end
    first-token timer           next upstream                     end
    between-tokens timer        (cannot be)                       end
    total timer                 end                               end
    our own fault               end                               end

The boundary is the first content event: until then nobody has seen anything, so that a repeated attempt is invisible
(row T5). After it an answer can only be continued, which is not done yet, or ended honestly.
Time and chance come in as arguments; nothing here waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from headrace.errors import (
    HeadraceError,
    UpstreamKeyMissing,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamReset,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)

ATTEMPTS_PER_UPSTREAM = 3
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 8.0
# An upstream that asks for more than this is left for the next one; a reader does not wait so long for a first token.
LONGEST_RETRY_AFTER_SECONDS = 10.0

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
    "malformed": ("next",),
    "connect_timer": ("next", "again"),
    "first_token_timer": ("next",),
    "other": (),
}
"""What may be done, in the order it is preferred; what is left is to end. After the first content: nothing."""


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
        case UpstreamKeyMissing():
            return "denied"
        case UpstreamRefused():
            if error.failure().retryable:
                return "busy"
            return "denied" if error.status in (401, 403, 404) else "refused"
        case UpstreamTimeout(timer="connect"):
            return "connect_timer"
        case UpstreamTimeout(timer="first_token"):
            return "first_token_timer"
        case _:
            return "other"


def decide(
    error: HeadraceError,
    *,
    spoke: bool,
    attempts_here: int,
    upstreams_left: int,
    chance: float,
) -> Decision:
    """What to do after `error`.

    Args:
        error: why the attempt failed.
        spoke: whether a content event has been shown.
        attempts_here: how many attempts this upstream has had, this one included.
        upstreams_left: how many further upstreams the model has.
        chance: from 0 to 1, for the jitter.
    """
    if spoke:
        return End()
    for step in BEFORE_CONTENT[kind_of(error)]:
        if step == "next" and upstreams_left:
            return NextUpstream()
        if step == "again" and attempts_here < ATTEMPTS_PER_UPSTREAM:
            asked = error.retry_after_seconds
            if asked is None:
                # Full jitter, anything up to a doubling step: those who failed together do not return together.
                return Again(chance * min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempts_here))
            if asked <= LONGEST_RETRY_AFTER_SECONDS:
                return Again(asked)
    return End()
