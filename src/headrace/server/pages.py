"""Pages for browsers, and the files they are made of, out of the package's folder `pages`.

A page is sent under a strict policy: nothing from any other host, no script in the page itself but an import map that
is let in by its hash, no eval, and no text that becomes markup (Trusted Types). The files it names stand at an address
that holds the hash of all of them, so that a browser keeps them for ever and never mixes two versions; in a page that
address is written for `{{files}}`.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.types import Receive, Scope

from headrace.errors import UnknownRoute
from headrace.server.doors import Handler
from headrace.server.generating import headers_of
from headrace.server.house import House
from headrace.server.outlet import outlet_of

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOREVER = (b"cache-control", b"public, max-age=31536000, immutable")
ASKED_AGAIN = (b"cache-control", b"no-cache")
# Below this, a compressed body and its header are no smaller.
WORTH_COMPRESSING_BYTES = 1024


class PageFile(NamedTuple):
    """One file, as it is and compressed."""

    content_type: bytes
    body: bytes
    compressed: bytes | None


class Files(NamedTuple):
    """All files of the pages."""

    digest: str
    """Of all of them together."""
    by_name: Mapping[str, PageFile]


@functools.cache
def page_files() -> Files:
    """The files of the package, read once. Pages have the address of the others filled in."""
    found = dict(sorted(_found(files("headrace").joinpath("pages"))))
    digest = hashlib.sha256(b"".join(b"%b\0%d\0%b" % (n.encode(), len(b), b) for n, b in found.items())).hexdigest()[
        :16
    ]
    address = f"/pages/{digest}".encode()
    return Files(digest, {name: _file(name, body.replace(b"{{files}}", address)) for name, body in found.items()})


def page(name: str, *, trusted_types: str = "'none'") -> Handler:
    """A handler for one page.

    Args:
        name: of its file.
        trusted_types: the names of the policies it may make, for libraries that clean markup before it is shown.
    """
    policy = (
        f"default-src 'none'; script-src 'self'{_import_map_hash(name)};"
        " style-src 'self'; img-src 'self' data:; font-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
        f" require-trusted-types-for 'script'; trusted-types {trusted_types}"
    )
    headers = [
        ASKED_AGAIN,
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
    ]

    async def handle(house: House, scope: Scope, receive: Receive) -> None:
        _send(scope, page_files().by_name[name], headers)

    return handle


async def page_file(house: House, scope: Scope, receive: Receive) -> None:
    """`GET /pages/{digest}/{file}`."""
    known = page_files()
    asked = scope["path_params"]
    file = known.by_name.get(asked["file"]) if asked["digest"] == known.digest else None
    if file is None or asked["file"].endswith(".html"):
        raise UnknownRoute(f"nothing is served at {scope['path'][:200]!r}; load the page anew")
    _send(scope, file, [FOREVER])


def _send(scope: Scope, file: PageFile, headers: list[tuple[bytes, bytes]]) -> None:
    outlet = outlet_of(scope)
    told = [
        (b"content-type", file.content_type),
        (b"x-request-id", outlet.request_id),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
        *headers,
    ]
    body = file.body
    if file.compressed is not None:
        told.append((b"vary", b"accept-encoding"))
        if "gzip" in headers_of(scope).get("accept-encoding", ""):
            told.append((b"content-encoding", b"gzip"))
            body = file.compressed
    outlet.respond(200, told, body)


def _found(folder: Traversable, inside: str = "") -> Iterator[tuple[str, bytes]]:
    """The files of a folder and of those in it, named as their addresses are."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _found(entry, f"{inside}{entry.name}/")
        elif _suffix(entry.name) in CONTENT_TYPES:
            yield inside + entry.name, entry.read_bytes()


def _import_map_hash(name: str) -> str:
    """What lets a page's import map in, the one script that may stand in a page: browsers read no other."""
    held = re.search(rb'<script type="importmap">(.*?)</script>', page_files().by_name[name].body, re.DOTALL)
    if held is None:
        return ""
    return f" 'sha256-{base64.b64encode(hashlib.sha256(held[1]).digest()).decode()}'"


def _file(name: str, body: bytes) -> PageFile:
    compressed = gzip.compress(body, 9, mtime=0) if len(body) >= WORTH_COMPRESSING_BYTES else None
    return PageFile(CONTENT_TYPES[_suffix(name)].encode(), body, compressed)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
