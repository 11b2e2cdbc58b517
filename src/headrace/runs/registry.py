"""The runs in progress: starting, cancelling, what becomes of one whose readers left, and draining."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from headrace.clock import Clock
from headrace.errors import HeadraceError, Overloaded, StreamExists
from headrace.events import Failure
from headrace.identifiers import StreamIdentifiers
from headrace.interfaces import Middleware, Observer, Stream, StreamStore
from headrace.requests import Disconnect, GenerationRequest
from headrace.runs.continuing import candidate_after_restart
from headrace.runs.restart import end_interrupted
from headrace.runs.run import Run
from headrace.runs.upstreams import Candidate, Models

logger = logging.getLogger("headrace.runs")

SWEEP_SECONDS = 0.25
"""How often all runs are looked after: their timers, and those that wait for a reader to return."""

CANCELLED = Failure("cancelled", "the answer was cancelled; what was said before stands", 499)
LEFT = Failure("cancelled", "the answer was cancelled because its last reader left", 499, retryable=True)
NOT_KEPT = Failure("store_failed", "the answer could not be kept; what was shown before stands", 503, retryable=True)
KEY_REVOKED = Failure("cancelled", "the answer was cancelled because its key was revoked", 499)
SHUT_DOWN = Failure("shutting_down", "the server is shutting down; what was said before stands", 503, retryable=True)


class Runs:
    """All runs of this process.

    Args:
        store: where their streams are kept.
        models: where their tokens come from.
        observers: told of every stream that ended.
        most: how many may be in progress at once.
    """

    def __init__(
        self, store: StreamStore, models: Models, clock: Clock, *, observers: Sequence[Observer] = (), most: int
    ) -> None:
        self.store = store
        self.models = models
        self.draining = False
        self.cancelled_after_grace = 0
        """How many runs were cancelled because no reader came back in time."""
        self.identifiers = StreamIdentifiers()
        self._clock = clock
        self._observers = observers
        self._most = most
        self._live: dict[tuple[str, str], Run] = {}
        # Until when those without readers wait for one to return, on the monotonic clock.
        self._waiting_until_ns: dict[tuple[str, str], float] = {}
        # What readers decided about their runs after these had begun.
        self._policies: dict[tuple[str, str], Disconnect] = {}
        self._sweeper: asyncio.Task[None] | None = None
        store.tell_failures(self._not_kept)

    def __len__(self) -> int:
        """How many runs are in progress."""
        return len(self._live)

    def open(self) -> None:
        """Begins to look after the runs. To be called on the event loop that they shall have."""
        self._loop = asyncio.get_running_loop()
        self._sweeper = asyncio.create_task(self._sweep(), name="headrace runs")

    async def close(self) -> None:
        """Ends what is still in progress, at once."""
        await self.drain(0)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    def start(
        self,
        request: GenerationRequest,
        owner: str,
        *,
        stream_id: str | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> Stream:
        """Starts a generation and gives its stream, which is still empty.

        What becomes of it when its last reader leaves is `request.on_disconnect`, by default `cancel`.

        Raises:
            UnknownModel: no upstream has it.
            StreamExists: the owner has a stream of that id.
            Overloaded: too many are in progress, or the server is shutting down.
        """
        if self.draining:
            raise Overloaded("the server is shutting down and takes no new requests", retry_after_seconds=5)
        if len(self._live) >= self._most:
            raise Overloaded(
                f"{self._most} streams are in progress, as many as this server takes (max_streams); try again shortly",
                retry_after_seconds=1,
            )
        candidates = self.models.candidates(request.model)
        stream_id = stream_id or self.identifiers.new()
        if (owner, stream_id) in self._live:
            # The store would say so itself, unless the stream was deleted while its run went on.
            raise StreamExists(
                f"your stream {stream_id!r} is still being made; choose another id,"
                f" or read it at /v1/streams/{stream_id}"
            )
        stream = self.store.create(stream_id, owner, request)
        run = Run(stream, candidates, middleware, self._clock)
        key = (owner, stream.id)
        self._live[key] = run
        run.task = self._loop.create_task(self._perform(key, run))
        return stream

    def take_up(
        self, streams: Iterable[Stream], middleware: Callable[[GenerationRequest], Sequence[Middleware]]
    ) -> None:
        """Goes on with streams that a server before this one began, where that is possible; ends the others.

        Args:
            streams: those that were not ended.
            middleware: finds what prepared a request; a `KeyError`: its assistant is not there any more.
        """
        for stream in streams:
            candidates: Sequence[Candidate] = ()
            prepares: Sequence[Middleware] = ()
            # Its model, the key for it or its assistant is not there any more, or a part of its question is not known.
            with contextlib.suppress(HeadraceError, KeyError, msgspec.DecodeError):
                prepares = middleware(stream.request)
                candidates = self.models.candidates(stream.request.model)
            candidate = candidate_after_restart(stream, candidates)
            if candidate is None:
                end_interrupted([stream])
                continue
            run = Run(stream, candidates, prepares, self._clock, after_restart=candidate)
            key = (stream.owner, stream.id)
            self._live[key] = run
            run.task = self._loop.create_task(self._perform(key, run))

    def cancel(self, stream: Stream, failure: Failure = CANCELLED) -> None:
        """Stops the stream's run, up to the upstream. One that has ended already stays as it is."""
        if (run := self._live.get((stream.owner, stream.id))) is not None:
            run.cancel(failure)

    async def delete(self, stream: Stream) -> None:
        """Cancels the stream's run, waits until it has ended, and forgets the stream. Its readers read it to its end.

        Raises:
            UnknownStream: it is not there (any more).
            StoreError: it is, but that could not be written down: after a kill it may be there again.
        """
        run = self._live.get((stream.owner, stream.id))
        if run is not None and run.task is not None:
            run.cancel(CANCELLED)
            await asyncio.wait([run.task])
        self.store.delete(stream.id, stream.owner)
        await self.store.written()

    def reader_left(self, stream: Stream, *, returns_seconds: float | None = None) -> None:
        """A reader of the stream has left. If it was the last, the request's policy says what becomes of the run.

        Args:
            stream: what it read.
            returns_seconds: how long a run whose policy is to be cancelled waits all the same, since this reader only
                went to come back, as one does that polls.
        """
        key = (stream.owner, stream.id)
        run = self._live.get(key)
        if run is None or stream.readers:
            return
        policy = self._policies.get(key, stream.request.on_disconnect)
        if policy is None or policy == "cancel":
            if returns_seconds is not None:
                self._waiting_until_ns[key] = self._clock.monotonic_ns() + returns_seconds * 1e9
            elif key not in self._waiting_until_ns:
                run.cancel(LEFT)
        elif policy != "continue":
            self._waiting_until_ns[key] = self._clock.monotonic_ns() + policy * 1e9

    def set_policy(self, stream: Stream, on_disconnect: Disconnect) -> None:
        """Decides anew what becomes of the run when its last reader leaves; at once, where none is left.

        It holds as long as this process: after a restart it is the request's again.
        """
        key = (stream.owner, stream.id)
        if key in self._live:
            self._policies[key] = on_disconnect
            self._waiting_until_ns.pop(key, None)
            self.reader_left(stream)

    def look_after(self) -> None:
        """Stops what takes longer than its timers allow, and what no reader has returned to in time.

        Called four times a second. A reader that returned and left again is waited for anew.
        """
        now = self._clock.monotonic_ns()
        for run in list(self._live.values()):
            try:
                run.check_timers(now)
            except Exception:
                logger.exception("the timers of stream %s", run.stream.id)
        for key in [key for key, until in self._waiting_until_ns.items() if until <= now]:
            del self._waiting_until_ns[key]
            if not self._live[key].stream.readers:
                self.cancelled_after_grace += 1
                self._live[key].cancel(LEFT)

    async def drain(self, seconds: float) -> None:
        """Takes no new runs, lets those in progress finish for `seconds`, then ends them `incomplete`."""
        self.draining = True
        tasks = [run.task for run in self._live.values() if run.task is not None]
        if tasks and seconds > 0:
            await asyncio.wait(tasks, timeout=seconds)
        rest = list(self._live.values())
        for run in rest:
            run.cancel(SHUT_DOWN)
        if rest:
            await asyncio.wait([run.task for run in rest if run.task is not None], timeout=5)

    async def _perform(self, key: tuple[str, str], run: Run) -> None:
        try:
            await run.perform()
        finally:
            del self._live[key]
            self._waiting_until_ns.pop(key, None)
            self._policies.pop(key, None)
            if run.stream.ended is None:
                await _kept_to_its_end(run.stream)
            for observer in self._observers:
                try:
                    observer.ended(run.stream)
                except Exception:
                    # An observer measures; it may not harm what it measures, nor the next observer.
                    logger.exception("an observer failed on stream %s", run.stream.id)

    def _not_kept(self, stream: Stream) -> None:
        # The store ends it, and takes nothing more of it: what is left to do is to stop its upstream.
        if (run := self._live.get((stream.owner, stream.id))) is not None:
            run.cancel(NOT_KEPT)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.look_after()


async def _kept_to_its_end(stream: Stream) -> None:
    """Waits until the last event, which was appended, may be read."""
    kept = asyncio.Event()
    stream.attach(kept.set)
    try:
        while stream.ended is None:
            await kept.wait()
            kept.clear()
    finally:
        stream.detach(kept.set)
