"""How many readers are served now, and no more of them than the server, a stream or a key may have.

A reader is counted once, when its request has been read; what it costs per event knows nothing of this.
"""

from __future__ import annotations

from headrace.errors import Overloaded
from headrace.keys.keyring import Key

RETRY_SECONDS = 1.0
"""When to come back where there is no room: nobody knows when somebody will leave."""


class Readers:
    """The readers of one server.

    Args:
        most: how many there may be.
        most_per_stream: how many of them may read the same stream.
    """

    def __init__(self, *, most: int, most_per_stream: int) -> None:
        self._most = most
        self._most_per_stream = most_per_stream
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def check(self) -> None:
        """Returns where there is room for one more.

        Raises:
            Overloaded: there is none.
        """
        if self._count >= self._most:
            raise Overloaded(
                f"{self._most} readers are served, as many as this server takes (max_readers); try again shortly",
                retry_after_seconds=RETRY_SECONDS,
            )

    def attach(self, key: Key | None, of_its_stream: int) -> None:
        """Counts one more, until `detach`.

        Args:
            key: what it came with, if keys are asked for.
            of_its_stream: how many others read its stream now.

        Raises:
            Overloaded: there is no room for it.
            Unauthorized, RateLimited: as `Key.attach`.
        """
        self.check()
        if of_its_stream >= self._most_per_stream:
            raise Overloaded(
                f"{self._most_per_stream} readers follow this stream, as many as may (max_readers_per_stream);"
                " try again shortly",
                retry_after_seconds=RETRY_SECONDS,
            )
        if key is not None:
            key.attach()
        self._count += 1

    def detach(self, key: Key | None) -> None:
        """Counts one less."""
        self._count -= 1
        if key is not None:
            key.detach()
