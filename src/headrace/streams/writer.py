"""One thread that does what blocks, job by job, and tells the event loop of each when it is done.

Imports the standard library.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


class Writer:
    """Performs jobs in the order they were put. To be made on the event loop that is told."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None:
        """Has `job` performed on the thread; then `done` is called on the loop, with its result or what it raised."""

        def perform() -> None:
            result: Result | Exception
            try:
                result = job()
            except Exception as error:
                result = error
            self._loop.call_soon_threadsafe(done, result)

        self._jobs.put(perform)

    async def close(self) -> None:
        """Performs what is left, and ends the thread."""
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _work(self) -> None:
        while (perform := self._jobs.get()) is not None:
            perform()
            del perform  # nor is what it holds kept while the next is waited for
