"""What a provider that speaks HTTP needs of a connection: two roles, and no word of how they are played.

Played by `headrace.providers.http`, our own client, and by `headrace.providers.http_through_httpx2`.
May import floors 0 to 2; opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from headrace.settings.exposure import is_loopback
from headrace.timing import Marks

Hear: TypeAlias = Callable[[Sequence[bytes]], bool]
"""Takes the pieces of a body that one read from the network held; gives whether it has heard enough."""


class Response(Protocol):
    """A response whose head has arrived. Whoever got it closes it, on every path."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of `READ_HEADERS`, lower-case names; values of a repeated name are joined by a comma."""
        ...

    async def listen(self, hear: Hear) -> None:
        """Hands the body to `hear` as it arrives, until `hear` has heard enough or the body ends.

        May be called again for the rest. What arrived before a failure is handed over before it is raised.

        Raises:
            UpstreamReset: the connection broke.
            UpstreamTruncated: it closed before the framing of the body ended.
            UpstreamMalformed: what arrived is not HTTP, or not the content encoding it says.
        """
        ...

    def release(self) -> None:
        """Says that all which matters was read: the connection is kept if the framing ends within a second."""
        ...

    async def close(self) -> None:
        """Keeps the connection for the next request if the body was read to its end, else closes it at once."""
        ...


def what_to_check(host: str) -> str:
    """What to ask where an upstream at `host` gives no connection: only what is here can be started from here."""
    return "Is it running?" if is_loopback(host) else "Are its base_url and this machine's network right?"


class Transport(Protocol):
    """A way to send requests to one upstream."""

    async def send(self, method: str, path: str, body: bytes, marks: Marks) -> Response:
        """Sends a request and waits for the head of its response.

        Args:
            method: the HTTP method.
            path: appended to the path of the base URL.
            body: JSON, or nothing.
            marks: `connected_ns`, `sent_ns` and `first_byte_ns` are written here.

        Raises:
            UpstreamUnreachable: no connection.
            UpstreamReset: the connection broke before the head was there.
            UpstreamMalformed: what arrived is not HTTP.
        """
        ...

    async def close(self) -> None:
        """Closes the connections that are kept."""
        ...
