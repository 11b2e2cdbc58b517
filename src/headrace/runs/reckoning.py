"""What attempts used: told by the upstream, counted by a tokenizer, or estimated; several attempts together.

What may be said of events alone is in `headrace.runs.accounting`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.events import CONTENT, Event, Status
from headrace.runs.accounting import estimated_usage, texts_of, usage_told
from headrace.runs.attempt import Attempt
from headrace.usage import Usage, summed


async def usage_of(attempt: Attempt, events: Sequence[Event]) -> Usage:
    """The usage of an attempt that said `events` and told none."""
    if attempt.candidate.tokenizer is not None:
        return await attempt.candidate.tokenizer.usage(*texts_of(attempt.request, events))
    calibration = attempt.candidate.upstream.calibrations.of(attempt.candidate.model)
    return estimated_usage(attempt.request, events, calibration)


async def usage_of_all(
    broken_off: Sequence[Attempt], last: Attempt | None, events: Sequence[Event], *, whole: bool
) -> Usage:
    """What the attempts that said something used, all together: each was sent the question, and is paid for.

    Args:
        broken_off: the attempts that said something and broke off.
        last: the latest attempt, which may be the last of those.
        events: all that was said.
        whole: whether the last attempt came to its end.
    """
    pieces = _pieces(events)
    said = [piece for piece in pieces if any(isinstance(event, CONTENT) for event in piece)]
    usages = []
    for attempt, piece in zip(broken_off, said, strict=False):
        usages.append(usage_told(piece, whole=False) or await usage_of(attempt, piece))
    if last is not None and last is not broken_off[-1]:
        if (told := usage_told(pieces[-1], whole=whole)) is not None:
            usages.append(told)
        elif whole or last.speaking:
            usages.append(await usage_of(last, pieces[-1]))
    return summed(usages)


def _pieces(events: Sequence[Event]) -> list[list[Event]]:
    """What lies between the seams. They are told by events, since offsets do not hold where a store lets events go."""
    pieces: list[list[Event]] = [[]]
    for event in events:
        if isinstance(event, Status) and event.phase == "continued":
            pieces.append([])
        else:
            pieces[-1].append(event)
    return pieces


def learn(attempt: Attempt, events: Sequence[Event], told: Usage) -> None:
    """Lets estimates of a model's tokens become better by what its upstream has told of an attempt."""
    # Nothing is learned of reasoning that was counted and not shown.
    if told.reasoning_tokens or told.source != "reported":
        return
    calibrations = attempt.candidate.upstream.calibrations
    if calibrations.is_due(attempt.candidate.model):
        calibrations.learn(attempt.candidate.model, told, estimated_usage(attempt.request, events))
