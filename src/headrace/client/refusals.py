"""What a server's refusal, or its silence, was: its status and body back as the error it was there."""

from __future__ import annotations

import os

import httpx2
import msgspec

from headrace.errors import HeadraceError, InvalidRequest, Unauthorized, UpstreamKeyMissing, UpstreamRefused

MOST_ERROR_BYTES = 64 * 1024


class _Error(msgspec.Struct):
    message: str = ""
    code: str | None = None
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


async def refusal_of(response: httpx2.Response, url: str) -> HeadraceError:
    """The server's refusal as the error it was there, as far as its status and body tell."""
    data = b""
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > MOST_ERROR_BYTES:
            break
    status = response.status_code
    try:
        said = msgspec.json.decode(data, type=_ErrorBody).error
    except msgspec.DecodeError:
        return UpstreamRefused(
            f"{url} answered {status}, and is perhaps no headrace server", upstream=url, status=status
        )
    message = said.message or f"{url} answered {status}"
    if said.code == UpstreamKeyMissing.code:
        return UpstreamKeyMissing(message, upstream=url)
    match status:
        case 401:
            return Unauthorized(message)
        case _ if status < 500 and status != 429:
            return InvalidRequest(message, parameter=said.param)
        case _:
            return UpstreamRefused(message, upstream=url, status=status, upstream_code=said.code)


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
