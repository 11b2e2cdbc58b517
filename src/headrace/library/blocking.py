"""`generate`: one generation in this process, for programs without an event loop.

The generation lives on an event loop of its own in a thread of its own, so that it goes on, and its timers stay true,
while the program does something else between two deltas; and so that it may be called where a loop is running already,
as in a notebook.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Literal, Self, overload

from headrace.library.answers import Answer
from headrace.library.asking import Asked, AsyncDeltas, Prompt

CLOSING_SECONDS = 10.0
"""How long it is waited for the thread to close what it has opened; it takes milliseconds."""


@overload
def generate(
    prompt: Prompt,
    *,
    model: str | None = ...,
    stream: Literal[False] = ...,
    system: str | None = ...,
    max_tokens: int | None = ...,
    timeout_seconds: float | None = ...,
    config: Sequence[str] = ...,
    **fields: object,
) -> Answer: ...
@overload
def generate(
    prompt: Prompt,
    *,
    model: str | None = ...,
    stream: Literal[True],
    system: str | None = ...,
    max_tokens: int | None = ...,
    timeout_seconds: float | None = ...,
    config: Sequence[str] = ...,
    **fields: object,
) -> Deltas: ...
@overload
def generate(
    prompt: Prompt,
    *,
    model: str | None = ...,
    stream: bool,
    system: str | None = ...,
    max_tokens: int | None = ...,
    timeout_seconds: float | None = ...,
    config: Sequence[str] = ...,
    **fields: object,
) -> Answer | Deltas: ...
def generate(
    prompt: Prompt,
    *,
    model: str | None = None,
    stream: bool = False,
    system: str | None = None,
    max_tokens: int | None = None,
    timeout_seconds: float | None = None,
    config: Sequence[str] = (),
    **fields: object,
) -> Answer | Deltas:
    """The answer to `prompt`; with `stream=True` its deltas, live, and at their end the same answer (row T1).

        answer = headrace.generate("What is an offset?")
        with headrace.generate("What is an offset?", stream=True) as deltas:
            for text in deltas: ...
        deltas.answer  # the same shape

    Args:
        prompt: a question, or messages as OpenAI's chat API has them.
        model: a model of the settings or `upstream/model`; `None`: the first, which without settings is `offline`.
        stream: whether it is asked for, and given, as it is made.
        system: instructions put before the prompt.
        max_tokens: the most tokens of the answer.
        timeout_seconds: the most it may take; `None`: as the settings have it.
        config: files of settings to use instead of ./headrace.toml; trusted.
        fields: anything else of OpenAI's chat API, such as `temperature`; goes to the upstream as it is.

    Raises:
        GenerationFailed: it did not end well; what was said before is in the error.
        HeadraceError: it could not be started. A streamed answer raises while it is iterated, never before.
    """
    asked = Asked(prompt, model, stream, system, max_tokens, timeout_seconds, config, fields)
    deltas = Deltas(asked)
    if stream:
        return deltas
    with deltas:
        for _ in deltas:
            pass
    assert deltas.answer is not None
    return deltas.answer


class Deltas:
    """The texts of an answer as they come, and then the answer.

    Closing it before the end, as leaving its `with` does, cancels the run up to its upstream; so does forgetting it.
    """

    def __init__(self, asked: Asked) -> None:
        self._work = _Work(asked)
        self._over = False
        # Forgotten in the middle, it must not go on for nobody. The thread knows the work alone, never this object.
        self._close = weakref.finalize(self, self._work.stop)

    @property
    def answer(self) -> Answer | None:
        """The whole answer, once the iteration has ended; what there was of it, if it was closed or failed."""
        return self._work.answer if self._over else None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._over:
            raise StopIteration
        try:
            came = self._work.came.get()
        except BaseException:  # Ctrl-C, most likely: nobody will ask again
            self.close()
            raise
        if isinstance(came, str):
            return came
        self.close()
        if came.error is not None:
            raise came.error
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it; returns when the upstream's connection is closed."""
        self._close()
        self._over = True


class _End:
    """The last thing that comes."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class _Work:
    """The generation, in its thread."""

    def __init__(self, asked: Asked) -> None:
        self.came: SimpleQueue[str | _End] = SimpleQueue()
        self.answer: Answer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = threading.Event()
        # A daemon: a program that ends does not wait for an answer nobody will read.
        self._thread = threading.Thread(target=self._run, args=[asked], name="headrace generate", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the work, and the thread; more than once is the same as once."""
        self._begun.wait(CLOSING_SECONDS)
        if self._loop is not None and self._task is not None:
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:
                pass  # the loop has closed: the work is over
        if threading.current_thread() is not self._thread:  # as when it is forgotten there
            self._thread.join(CLOSING_SECONDS)

    def _run(self, asked: Asked) -> None:
        error: Exception | None = None
        try:
            asyncio.run(self._perform(asked))
        except asyncio.CancelledError:
            pass  # stopped
        except Exception as raised:
            error = raised
        finally:
            self._begun.set()
            self.came.put(_End(error))

    async def _perform(self, asked: Asked) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        deltas = AsyncDeltas(asked)
        try:
            async with deltas:
                async for text in deltas:
                    self.came.put(text)
        finally:
            self.answer = deltas.answer
