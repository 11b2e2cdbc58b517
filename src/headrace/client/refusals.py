"""What a server's refusal, or its silence, was: a status and body, or an exception of httpx2, as an error of our tree.

The one place where httpx2's exceptions are translated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

import httpx2
import msgspec

from headrace.errors import (
    HeadraceError,
    InvalidRequest,
    RequestError,
    Unauthorized,
    UpstreamKeyMissing,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamReset,
    UpstreamUnreachable,
)

MOST_ERROR_BYTES = 64 * 1024

T = TypeVar("T")


class _Error(msgspec.Struct):
    message: str = ""
    code: str | None = None
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


def refusal_of(status: int, headers: Mapping[str, str], data: bytes, url: str) -> HeadraceError:
    """The refusal of the server at `url` as the error it was there, as far as its status and body tell."""
    again = _retry_after_seconds(headers)
    try:
        said = msgspec.json.decode(data, type=_ErrorBody).error
    except (ValueError, RecursionError):  # broken UTF-8 is a ValueError of its own
        return UpstreamRefused(
            f"{url} answered {status}, and is perhaps no headrace server",
            upstream=url,
            status=status,
            retry_after_seconds=again,
        )
    message = said.message or f"{url} answered {status}"
    if said.code == UpstreamKeyMissing.code:
        return UpstreamKeyMissing(message, upstream=url)
    kind = next((kind for kind in RequestError.__subclasses__() if kind.code == said.code), None)
    if kind is not None:
        return kind(message, parameter=said.param, retry_after_seconds=again)
    if status == 401:
        return Unauthorized(message)
    if status < 500 and status != 429:
        return InvalidRequest(message, parameter=said.param)
    return UpstreamRefused(message, upstream=url, status=status, upstream_code=said.code, retry_after_seconds=again)


class _Cancelled(msgspec.Struct):
    cancelled: bool


def is_cancelled(data: bytes, url: str) -> bool:
    """What the server at `url` says to a cancel: whether the stream ends as cancelled.

    Raises:
        UpstreamMalformed: it says nothing of the kind.
    """
    return read(data, _Cancelled, url).cancelled


def read(data: bytes, kind: type[T], url: str) -> T:
    """What the server at `url` answered, as a `kind`.

    Raises:
        UpstreamMalformed: it is nothing of the kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise UpstreamMalformed(f"{url} answers, but is no headrace server", upstream=url) from error


def broken(error: httpx2.HTTPError, url: str) -> UpstreamUnreachable | UpstreamReset:
    """What went wrong with a connection to the server at `url`: there was none, or it broke."""
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.ProxyError() | httpx2.UnsupportedProtocol():
            return UpstreamUnreachable(f"nothing answers at {url} ({reason_of(error)})", upstream=url)
        case httpx2.ReadTimeout():
            return UpstreamReset(f"{url} has fallen silent: not even a heartbeat came", upstream=url)
        case _:
            return UpstreamReset(f"the connection to {url} broke ({reason_of(error)})", upstream=url)


def reason_of(error: Exception) -> str:
    """What went wrong underneath, in the system's words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio puts the address in place of the system's words, which a number above 0 still leads to.
            number = cause.errno or 0
            return (os.strerror(number) if number > 0 else cause.strerror).lower()
        cause = cause.__cause__ or cause.__context__
    return str(error).lower() or type(error).__name__


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    for name, seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")
        if text.isascii() and text.isdigit() and len(text) <= 9:
            return int(text) * seconds
    return None  # a date, which a proxy may send: coming back sooner does no harm
