"""What a generation used, where its upstream did not say: every stream tells, and tells how it is known (row T4, L20).

Pure: events in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.errors import UpstreamRefused
from headrace.events import CONTENT, Event, ReasoningDelta, TextDelta, ToolCallDelta, UsageKnown
from headrace.requests import GenerationRequest
from headrace.runs.calibration import NOT_CALIBRATED, Calibration
from headrace.usage import Usage, estimated

NOTHING_SPENT = Usage(0, 0, "counted", "counted", "headrace")
"""The usage of a generation whose request was never sent, or refused wherever it was."""


def spends_nothing(error: BaseException) -> bool:
    """Whether an attempt that failed with `error` cost nothing, though its request was sent.

    So it is where the fault was said to be ours, as with 400, 401 and 429, but for 408, which may come in the middle of
    the work. Of its own faults, 500 and above, an upstream does not say how far it came.
    """
    return isinstance(error, UpstreamRefused) and error.status in range(400, 500) and error.status != 408


def usage_told(events: Sequence[Event], *, whole: bool) -> Usage | None:
    """The usage that `events` tell of an answer, which is `whole` or was cut; `None`: they tell none.

    What was reported before the last content says nothing of a whole answer, but it is all that a cut one has.
    """
    for event in reversed(events):
        if type(event) is UsageKnown:
            return event.usage
        if whole and isinstance(event, CONTENT):
            return None
    return None


def perhaps_not_all(usage: Usage | None, events: Sequence[Event]) -> Usage:
    """The usage of a generation whose upstream may have gone on after it was left (L5).

    Args:
        usage: what is told of it; `None`: `events` hold it.
        events: of the generation so far.
    """
    if usage is None:
        usage = next(event.usage for event in reversed(events) if type(event) is UsageKnown)
    return msgspec.structs.replace(usage, may_have_gone_on=True)


def estimated_usage(
    request: GenerationRequest, events: Sequence[Event], calibration: Calibration = NOT_CALIBRATED
) -> Usage:
    """The usage of `request`, as it was put to the upstream, and of what `events` say, by their texts alone."""
    return calibration.applied(estimated(*texts_of(request, events)))


def texts_of(request: GenerationRequest, events: Sequence[Event]) -> tuple[list[str], list[str]]:
    """What `request` says, message by message, and what `events` say, piece by piece: all that tokens are made of."""
    said: list[str] = []
    for event in events:
        match event:
            case TextDelta() | ReasoningDelta():
                said.append(event.text)
            case ToolCallDelta():
                said.append((event.name or "") + event.arguments)
            case _:
                pass  # nothing that a model said
    return [message.text() for message in request.messages], said
