"""What the tests of runs share: a provider that follows a script, a clock turned by hand, a stage to run them on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import pytest

from headrace.events import Ended, Event, Started, State, UsageKnown, next_state
from headrace.interfaces import Middleware, Stream, Write
from headrace.requests import GenerationRequest, Interruption, Message, Timeouts
from headrace.runs import Candidate, Run, Upstream
from headrace.settings import Prefill
from headrace.streams.memory import MemoryStore
from headrace.testing.clock import ManualClock
from headrace.timing import Marks

Mark: TypeAlias = Literal["connected", "sent", "first_byte"]
Hang: TypeAlias = Literal["hang", "hang for a connection"]
Step: TypeAlias = Mark | Hang | list[Event] | Exception | asyncio.Event | Callable[[], object] | Ended
"""A mark that is set, waiting for ever, a batch, an error, something waited for, something done, or the ending."""

Script: TypeAlias = Sequence[Step]


NO_TIMEOUTS = Timeouts()


class ScriptedProvider:
    """Performs a script for each attempt, in order.

    A script that sets no mark and does not hang for a connection has it, and has sent, at its start.
    """

    def __init__(self, clock: ManualClock, scripts: Sequence[Script]) -> None:
        self._clock = clock
        self._scripts = list(scripts)
        self.asked: list[GenerationRequest] = []
        """The request of every attempt."""
        self.outcomes: list[str] = []
        """How every attempt that is over ended: `ended`, `failed` or `cancelled`."""

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        self.asked.append(request)
        try:
            ended = await self._play(self._scripts[len(self.asked) - 1], marks, write)
        except asyncio.CancelledError:
            self.outcomes.append("cancelled")
            raise
        except Exception:
            self.outcomes.append("failed")
            raise
        self.outcomes.append("ended")
        return ended

    async def _play(self, script: Script, marks: Marks, write: Write) -> Ended:
        if not any(isinstance(step, str) and step != "hang" for step in script):
            marks.connected_ns = marks.sent_ns = marks.first_byte_ns = self._clock.monotonic_ns()
        for step in script:
            match step:
                case "hang" | "hang for a connection":
                    await asyncio.Event().wait()
                case str():
                    setattr(marks, f"{step}_ns", self._clock.monotonic_ns())
                case Ended():
                    return step
                case Exception():
                    raise step
                case asyncio.Event():
                    await step.wait()
                case list():
                    write(step)
                case _:
                    step()
        raise AssertionError("the script has no end")

    async def models(self) -> Sequence[str]:
        return ["m"]

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        pass


class Stage:
    """A store, a clock, and the upstreams that a test sets up; runs are started on it and their events looked at."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock, 3600)
        self.upstreams: dict[str, Upstream] = {}
        self.on_interruption: Interruption = "continue_same"
        self.continue_prompt = False
        self.hedge = False

    def provide(
        self,
        *scripts: Script,
        name: str = "groq",
        timeouts: Timeouts = NO_TIMEOUTS,
        most: int | None = None,
        prefill: Prefill = "none",
    ) -> ScriptedProvider:
        """Adds an upstream that performs these scripts, one for each attempt."""
        provider = ScriptedProvider(self.clock, scripts)
        self.upstreams[name] = Upstream.limited(name, provider, timeouts, most, prefill)
        return provider

    def candidates(self) -> list[Candidate]:
        """All upstreams in the order they were added; each calls the model `<its name>-model`."""
        return [
            Candidate(
                upstream,
                f"{name}-model",
                on_interruption=self.on_interruption,
                continue_prompt=self.continue_prompt,
                hedge=self.hedge,
            )
            for name, upstream in self.upstreams.items()
        ]

    def prepare(self, request: GenerationRequest | None = None, *, middleware: Sequence[Middleware] = ()) -> Run:
        """A run that has a task, which has not taken its first step."""
        number = len(self.store.list("ann"))
        request = request or GenerationRequest("fast", (Message("user", "Bread?"),), stream=True)
        stream = self.store.create(f"s{number}", "ann", request)
        run = Run(stream, self.candidates(), middleware, self.clock)
        run.task = asyncio.get_running_loop().create_task(run.perform())
        return run

    async def finish(self, run: Run) -> list[Event]:
        """Waits for the run, and gives its events, which must be those of a whole generation."""
        assert run.task is not None
        await asyncio.wait_for(run.task, 10)
        return whole_generation(run.stream)

    async def perform(self, request: GenerationRequest | None = None) -> list[Event]:
        """The events of a run that goes through without a hand from outside."""
        return await self.finish(self.prepare(request))


def whole_generation(stream: Stream) -> list[Event]:
    """The events of a stream that has ended, after looking whether they are in order and say what every stream says."""
    events = list(stream.read(0, stream.length))
    state: State = "new"
    for event in events:
        state = next_state(state, event)
    assert state == "ended"
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended is stream.ended
    assert ended.timing is not None
    assert (ended.failure is None) == (ended.ending in ("stop", "length", "tool_calls", "content_filter"))
    assert isinstance(events[0], Started)
    assert any(isinstance(event, UsageKnown) for event in events)
    return events


@pytest.fixture
def stage() -> Stage:
    return Stage()
