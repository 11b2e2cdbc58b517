"""Hearing an Ollama: the lines of its answer become events.

Pure: bytes in, events out, at any cutting of the bytes. `headrace.providers.ollama` owns the connection.
An answer ends with a line that says `done` and with nothing else; bytes that end without one are `UpstreamTruncated`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamTruncated
from headrace.events import Ended, Ending, Event, ReasoningDelta, TextDelta, ToolCallDelta, UsageKnown
from headrace.providers.openai_refusals import refused
from headrace.usage import reported
from headrace.wire import json_text
from headrace.wire.bounds import EventTooLarge
from headrace.wire.ndjson import NDJSONParser
from headrace.wire.ollama import Line, ToolCall, decode


class OllamaHearing:
    """One answer. Feed it what arrives; `finish` at the end of the bytes.

    Args:
        upstream: its name, for errors and usage.
        secret: its key, removed from whatever it says.
    """

    def __init__(self, upstream: str, *, secret: str | None = None) -> None:
        self._upstream = upstream
        self._secret = secret
        self._parser = NDJSONParser()
        self._calls = 0
        self._ending: Ending = "stop"
        self.finished = False
        """The line that says `done` was heard: nothing more is expected."""
        self.failure: UpstreamError | None = None
        """What went wrong in the last bytes fed, after the events that they gave."""

    def feed(self, pieces: Sequence[bytes]) -> list[Event]:
        """The events in `pieces`, which may be cut anywhere. Look at `failure` after it."""
        events: list[Event] = []
        try:
            for piece in pieces:
                for record in self._parser.feed(piece):
                    self._hear(record, events)
        except EventTooLarge as error:
            self._fail(UpstreamMalformed(f"{self._upstream}: {error}", upstream=self._upstream))
        return events

    def hear_whole(self, payload: bytes) -> list[Event]:
        """The events of an answer that came in one piece. Look at `failure` after it."""
        events: list[Event] = []
        self._hear(payload, events)
        return events

    def finish(self) -> list[Event]:
        """The last events, at the end of the bytes. Look at `failure` after it."""
        events: list[Event] = []
        for record in self._parser.finish():
            # A line without its end is whole if it is JSON; else it was cut, which is no worse than what follows here.
            try:
                decode(record)
            except ValueError:
                continue
            self._hear(record, events)
        if not self.finished:
            self._fail(
                UpstreamTruncated(
                    f"{self._upstream} stopped without saying that it was done: its answer may be half of what it"
                    " meant to say",
                    upstream=self._upstream,
                )
            )
        return events

    def ended(self) -> Ended:
        """The ending that the upstream gave."""
        return Ended(self._ending)

    def _hear(self, record: bytes, events: list[Event]) -> None:
        if self.finished or self.failure is not None:
            return
        try:
            line = decode(record)
        except ValueError as error:
            self._fail(
                UpstreamMalformed(
                    f"{self._upstream} sent what is no line of an answer ({error})", upstream=self._upstream
                )
            )
            return
        if line.error is not None:
            self._fail(refused(self._upstream, None, line.error, secret=self._secret))
            return
        if (message := line.message) is not None:
            if message.thinking:
                events.append(ReasoningDelta(_whole_characters(message.thinking)))
            if message.content:
                events.append(TextDelta(_whole_characters(message.content)))
            for call in message.tool_calls or ():
                events.append(self._tool_call(call))
        if line.done:
            self._finish(line, events)

    def _tool_call(self, call: ToolCall) -> ToolCallDelta:
        index = self._calls
        self._calls += 1
        arguments = call.function.arguments
        text = arguments if isinstance(arguments, str) else json_text.encode(arguments or {}).decode()
        # Ids came with Ollama 0.12; before that, nobody needed any.
        return ToolCallDelta(index, call.id or f"call_0_{index}", call.function.name, text)

    def _finish(self, line: Line, events: list[Event]) -> None:
        self.finished = True
        if line.done_reason == "length":
            self._ending = "length"
        elif self._calls:
            self._ending = "tool_calls"  # Ollama itself says `stop`
        if line.prompt_eval_count is not None or line.eval_count is not None:
            usage = reported(line.prompt_eval_count or 0, line.eval_count or 0, by=self._upstream)
            events.append(UsageKnown(usage))

    def _fail(self, failure: UpstreamError) -> None:
        if self.failure is None:
            self.failure = failure


def _whole_characters(text: str) -> str:
    """`text` with halves of surrogate pairs, which are no characters, replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
