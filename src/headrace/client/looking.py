"""Looks at a headrace server: one GET, read as JSON of a known shape."""

from __future__ import annotations

from typing import TypeVar

import httpx2

from headrace.client.questions import address, authorization, is_this_machine
from headrace.client.refusals import broken, read, refusal_of
from headrace.client.timers import LOOK_SECONDS

T = TypeVar("T")


async def look(url: str, path: str, kind: type[T], *, key: str | None = None) -> T:
    """What `GET path` of the server at `url` answers, as a `kind`.

    Args:
        url: where the server is, without a path.
        path: what is asked for.
        kind: the shape that is expected; fields it does not know are passed over.
        key: sent as `Authorization: Bearer`.

    Raises:
        InvalidRequest: `url` is no address of a server.
        UpstreamUnreachable, UpstreamReset: nothing answers there.
        UpstreamMalformed: what answers is no headrace server.
        HeadraceError: the server refused, for the reason it gave.
    """
    url = address(url)
    async with httpx2.AsyncClient(
        headers=authorization(key), timeout=LOOK_SECONDS, trust_env=not is_this_machine(url)
    ) as client:
        try:
            response = await client.get(f"{url}{path}")
        except httpx2.HTTPError as error:
            raise broken(error, url) from error
    if response.status_code != 200:
        raise refusal_of(response.status_code, response.headers, response.content, url)
    return read(response.content, kind, url)
