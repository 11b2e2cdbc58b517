"""What providers that speak HTTP have in common: a transport of the settings, a body read whole, a refusal.

May import floors 0 to 2 and its own room.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping, Sequence
from datetime import UTC

from headrace.clock import Clock
from headrace.errors import UpstreamError, UpstreamRefused
from headrace.providers.http import HTTPTransport
from headrace.providers.openai_refusals import json_or_text, refused
from headrace.providers.transport import Response, Transport
from headrace.settings import UpstreamSettings

# The most that is read of an answer that is not streamed, and of an error.
MOST_WHOLE_BYTES = 32 << 20
MOST_ERROR_BYTES = 64 << 10

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


def open_transport(
    settings: UpstreamSettings, base_url: str, key: str | None, clock: Clock, *, accept: str
) -> Transport:
    """A way to send requests to the upstream of these settings, its key with each of them; opens no connection yet.

    Raises:
        SettingsError: its address or its key cannot be used.
    """
    headers = {"User-Agent": "headrace", "Content-Type": "application/json", "Accept": accept}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if settings.transport == "httpx2":
        from headrace.providers.http_through_httpx2 import Httpx2Transport  # 0.15 s to import, and seldom wanted

        return Httpx2Transport(settings.name, base_url, headers, clock)
    return HTTPTransport(settings.name, base_url, headers, clock)


async def read_whole(response: Response, most_bytes: int) -> bytes:
    """The body of a response, or as much of it as `most_bytes`."""
    read: list[bytes] = []
    size = 0

    def hear(pieces: Sequence[bytes]) -> bool:
        nonlocal size
        read.extend(pieces)
        size += sum(map(len, pieces))
        return size >= most_bytes

    await response.listen(hear)
    return b"".join(read)


async def refusal_of(response: Response, upstream: str, clock: Clock, secret: str | None) -> UpstreamRefused:
    """What a response means whose status is not 200."""
    try:
        body = await read_whole(response, MOST_ERROR_BYTES)
    except UpstreamError:
        body = b""  # the status alone says enough
    return refused(
        upstream,
        response.status,
        json_or_text(body),
        retry_after_seconds=retry_after_seconds(response.headers, clock.unix_ns()),
        secret=secret,
    )


def retry_after_seconds(headers: Mapping[str, str], unix_ns: int) -> float | None:
    """When an upstream says to come back: `retry-after-ms`, or `retry-after` in seconds or as a date.

    Source: RFC 9110, 10.2.3, and OpenAI's SDKs, which read fractions too. `None` where there is neither.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if _NUMBER.fullmatch(value):
            return float(value) * unit
        try:
            date = email.utils.parsedate_to_datetime(value)
            return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - unix_ns / 1e9)
        except (ValueError, OverflowError):
            continue  # neither: as if it were not there
    return None
