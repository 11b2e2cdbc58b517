"""Looks at a headrace server: one GET, read as JSON of a known shape."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from headrace.client.refusals import reason_of, refusal_of
from headrace.errors import UpstreamMalformed, UpstreamUnreachable

SECONDS = 10.0

T = TypeVar("T")


async def look(url: str, path: str, kind: type[T], *, key: str | None = None) -> T:
    """What `GET path` of the server at `url` answers, as a `kind`.

    Args:
        url: where the server is, without a path.
        path: what is asked for.
        kind: the shape that is expected; fields it does not know are passed over.
        key: sent as `Authorization: Bearer`.

    Raises:
        UpstreamUnreachable: nothing answers there.
        UpstreamMalformed: what answers is no headrace server.
        HeadraceError: the server refused, for the reason it gave.
    """
    url = url.rstrip("/")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    # A proxy of the environment has no business between two programs of one machine.
    through_proxies = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
    async with httpx2.AsyncClient(headers=headers, timeout=SECONDS, trust_env=through_proxies) as client:
        try:
            response = await client.get(f"{url}{path}")
        except httpx2.InvalidURL as error:
            raise UpstreamUnreachable(f"{url} is no address ({error})", upstream=url) from error
        except httpx2.HTTPError as error:
            raise UpstreamUnreachable(f"nothing answers at {url} ({reason_of(error)})", upstream=url) from error
        if response.status_code != 200:
            raise await refusal_of(response, url)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise UpstreamMalformed(f"{url} answers, but is no headrace server", upstream=url) from error
