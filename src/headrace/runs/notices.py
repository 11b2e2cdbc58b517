"""What readers are told when a run turns from one upstream to another, or to the same again, and after a restart.

Pure.
"""

from __future__ import annotations

from headrace.errors import UpstreamError
from headrace.events import Failure, Status
from headrace.runs.upstreams import Candidate

INTERRUPTED = Failure(
    "interrupted",
    "the server stopped while this answer was being made; what was said before stands",
    http_status=503,
    retryable=True,
)


def failed_over(error: UpstreamError, left: Candidate, gone_to: Candidate) -> Status:
    """That an upstream failed before it said anything, and the next one is asked."""
    origin, destination = left.full_name, gone_to.full_name
    return Status(
        "failed_over", f"{_reason(error, left)}; asking {destination}", origin=origin, destination=destination
    )


def asked_beside(waited_for: Candidate, also: Candidate, seconds: float) -> Status:
    """That an upstream has said nothing for as long as nearly all its answers take, and another attempt is made."""
    origin, destination = waited_for.full_name, also.full_name
    other = "a second time" if origin == destination else f"{destination} as well"
    words = f"{origin} has said nothing for {seconds:.1f} s; asking {other}"
    return Status("retrying", words, origin=origin, destination=destination)


def began_first(left: Candidate, gone_to: Candidate) -> Status:
    """That of two upstreams that were asked at once, the second one answers."""
    origin, destination = left.full_name, gone_to.full_name
    words = f"{destination} began to answer before {origin}"
    return Status("failed_over", words, origin=origin, destination=destination)


def left_alone(left: Candidate, gone_to: Candidate, now_ns: int) -> Status:
    """That an upstream is not asked at all, since it failed again and again (`headrace.runs.circuit`)."""
    origin, destination, circuit = left.full_name, gone_to.full_name, left.upstream.circuit
    words = (
        f"{origin} failed {circuit.failures} times in a row and is left alone for"
        f" {circuit.seconds_left(now_ns):.0f} s; asking {destination}"
    )
    return Status("failed_over", words, origin=origin, destination=destination)


def continued(error: UpstreamError, left: Candidate, gone_to: Candidate, offset: int) -> Status:
    """That an answer broke off and another attempt goes on with it, behind this event at `offset`."""
    origin, destination = left.full_name, gone_to.full_name
    words = f"{_reason(error, left)}; asking {destination} to go on"
    return Status("continued", words, origin=origin, destination=destination, offset=offset)


def continued_after_restart(gone_to: Candidate, offset: int) -> Status:
    """That the server stopped in the middle of an answer, and goes on with it, behind this event at `offset`."""
    words = f"the server was started again; asking {gone_to.full_name} to go on"
    return Status("continued", words, destination=gone_to.full_name, offset=offset)


def _reason(error: UpstreamError, left: Candidate) -> str:
    """Why an upstream was left, under the name that readers know it by."""
    name = left.upstream.name
    # Most messages begin with the upstream's name; it is not enough where two models of one upstream follow.
    if error.message.startswith((f"{name} ", f"{name}:")):
        return left.full_name + error.message.removeprefix(name)
    return f"{left.full_name}: {error.message}"
