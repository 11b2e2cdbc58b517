"""The conformance suite of providers: what `Provider` promises, as one function.

A provider is shown in situations. Each is made by a function that gives a provider and a request, as an asynchronous
context manager: on its way out it may look whether its own side of the promise was kept, such as sockets being closed.
May import floors 0 to 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from headrace.errors import UpstreamError
from headrace.events import (
    CONTENT,
    FINISHED,
    Ended,
    Event,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    next_state,
)
from headrace.interfaces import Batch, Provider
from headrace.requests import GenerationRequest
from headrace.testing.generations import STARTED
from headrace.testing.waiting import turns, until
from headrace.timing import Marks

Situation = Callable[[], AbstractAsyncContextManager[tuple[Provider, GenerationRequest]]]


async def check_provider(
    *, answers: Situation, goes_on: Situation, fails: Situation | None = None, silent: Situation | None = None
) -> None:
    """Holds a provider to its role.

    Args:
        answers: its upstream answers well.
        goes_on: its upstream says something and then more, or nothing, without an end in sight.
        fails: its upstream fails in whatever way; `None`: it has no upstream that could.
        silent: its upstream takes a request and says nothing; `None` as for `fails`.

    Raises:
        AssertionError: it breaks a promise; the message says which.
    """
    for stream in (True, False):
        async with answers() as (provider, request):
            asked = msgspec.structs.replace(request, stream=stream)
            await _check_an_answer(provider, asked)
            await _check_an_answer(provider, asked)  # and once more, on whatever was kept from the first time
            await _check_models(provider)
            await provider.close()
    async with goes_on() as (provider, request):
        await _check_cancelling(provider, msgspec.structs.replace(request, stream=True), after_content=True)
        await provider.close()
    if silent is not None:
        for stream in (True, False):
            async with silent() as (provider, request):
                asked = msgspec.structs.replace(request, stream=stream)
                await _check_cancelling(provider, asked, after_content=False)
                await provider.close()
    if fails is not None:
        async with fails() as (provider, request):
            await _check_failing(provider, request)
            await provider.close()


class _Written:
    """What a provider wrote, as it was when it was written."""

    def __init__(self) -> None:
        self.batches: list[tuple[Batch, list[Event]]] = []

    def write(self, batch: Batch) -> None:
        self.batches.append((batch, list(batch)))

    @property
    def events(self) -> list[Event]:
        return [event for _, events in self.batches for event in events]

    def check(self) -> None:
        state = next_state("new", STARTED)
        calls: set[tuple[int, int]] = set()
        for batch, events in self.batches:
            assert events, "no batch is empty"
            assert list(batch) == events, "a batch is never changed after it was handed on"
            for event in events:
                assert not isinstance(event, Started | Ended), "the run says the first event and the last"
                state = next_state(state, event)
                _check_event(event, calls)


def _check_event(event: Event, calls: set[tuple[int, int]]) -> None:
    if isinstance(event, TextDelta | ReasoningDelta):
        assert event.text, "no delta is empty"
        assert event.text.encode("utf-8", "replace").decode() == event.text, "no delta holds half a character"
    elif isinstance(event, ToolCallDelta):
        call = (event.choice, event.index)
        if call in calls:
            assert event.id is None, "only the first piece of a call has its id"
            assert event.name is None, "only the first piece of a call has its name"
        else:
            assert event.id, "the first piece of a call has its id"
            assert event.index == len([each for each in calls if each[0] == event.choice]), "calls are counted from 0"
        calls.add(call)


async def _check_an_answer(provider: Provider, request: GenerationRequest) -> None:
    written, marks = _Written(), Marks(0)
    ended = await provider.generate(request, marks, written.write)
    written.check()
    assert any(isinstance(event, CONTENT) for event in written.events), "an answer that is well says something"
    assert ended.ending in FINISHED, "the ending is the upstream's own"
    assert ended.failure is None, "an answer that is well has no failure"
    assert ended.timing is None, "the timing is the run's"
    connected, sent, first_byte = marks.connected_ns, marks.sent_ns, marks.first_byte_ns
    assert connected is not None, "the provider says when it was connected"
    assert sent is not None, "the provider says when it sent the request"
    assert first_byte is not None, "the provider says when the first byte came"
    assert connected <= sent <= first_byte, "the marks are in the order in which things happen"


async def _check_models(provider: Provider) -> None:
    models = await provider.models()
    assert isinstance(models, Sequence), "models are a sequence"
    assert all(type(model) is str and model != "" for model in models), "models are names"


async def _check_cancelling(provider: Provider, request: GenerationRequest, *, after_content: bool) -> None:
    written = _Written()
    count = 0

    async def attempt() -> None:
        nonlocal count
        try:
            await provider.generate(request, Marks(0), written.write)
        finally:
            count = len(written.batches)

    task = asyncio.ensure_future(attempt())
    if after_content:
        await until(lambda: task.done() or any(isinstance(event, CONTENT) for event in written.events))
    else:
        await turns(20)
    assert not task.done(), "the answer goes on"
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), "being cancelled is not swallowed"
    await turns(20)
    assert len(written.batches) == count, "nothing is written after that"
    written.check()


async def _check_failing(provider: Provider, request: GenerationRequest) -> None:
    for stream in (True, False):
        written = _Written()
        failure: UpstreamError | None = None
        try:
            asked = msgspec.structs.replace(request, stream=stream)
            await provider.generate(asked, Marks(0), written.write)
        except UpstreamError as error:
            failure = error
        assert failure is not None, "an attempt that failed is an UpstreamError, and no ending is made up"
        assert failure.message, "an error says what went wrong"
        assert failure.failure().upstream == failure.upstream, "an error names its upstream"
        written.check()
