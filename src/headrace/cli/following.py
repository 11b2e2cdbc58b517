"""One answer from its first event to its exit code: printed as it comes, left when somebody wants out."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from headrace.cli.answers import Answer
from headrace.cli.exits import FAILED, INCOMPLETE, code_of_ending, say
from headrace.cli.notices import Notices
from headrace.cli.printing import Output
from headrace.errors import HeadraceError
from headrace.events import CONTENT, Ended, Event, ReasoningDelta, Source, Sources, Started, Status, UsageKnown
from headrace.usage import Usage


async def follow(answer: Answer, output: Output, notices: Notices) -> int:
    """Prints the answer, then its sources and statistics; gives the exit code.

    Cancelled, or left by whoever read stdout, it leaves the answer before it raises.

    Raises:
        HeadraceError: the answer broke off before it began.
        OSError: it cannot be written.
    """
    seen = _Seen()
    try:
        async with aclosing(answer.follow()) as pieces:
            async for records, events in pieces:
                for event in events:
                    seen.feed(event, notices)
                output.feed(records, events)
    except (asyncio.CancelledError, OSError):
        await answer.leave()
        output.close()
        raise
    except HeadraceError as error:
        if seen.model is None and not seen.content:
            raise
        # The way to the server broke: an ending is what everybody downstream understands.
        seen.ended = Ended("incomplete", error.failure())
        output.feed([], [seen.ended])
    output.finish()
    notices.sources(seen.sources)
    if seen.ended is None:
        say("its end is missing" if seen.content else "there is nothing to read")
        return INCOMPLETE if seen.content else FAILED
    if seen.model is not None:
        notices.statistics(seen.model, seen.usage, seen.ended.timing)
    if seen.ended.failure is not None:
        say(seen.ended.failure.message)
    return code_of_ending(seen.ended, said_something=seen.content)


class _Seen:
    """What has to be known at the end."""

    def __init__(self) -> None:
        self.model: str | None = None
        self.content = False
        self.sources: list[Source] = []
        self.usage: Usage | None = None
        self.ended: Ended | None = None

    def feed(self, event: Event, notices: Notices) -> None:
        if isinstance(event, CONTENT):
            if not self.content and isinstance(event, ReasoningDelta):
                notices.status(Status("waiting", "thinking"))
            self.content = True
        elif isinstance(event, Started):
            self.model = event.model
        elif isinstance(event, Status):
            notices.status(event)
        elif isinstance(event, Sources):
            self.sources += event.sources
        elif isinstance(event, UsageKnown):
            self.usage = event.usage
        elif isinstance(event, Ended):
            self.ended = event
