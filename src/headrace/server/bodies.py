"""Reading the body of a request, within limits."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope

from headrace.errors import BodyTooLarge, RequestTimeout, UnsupportedContentType

# How much of a body that is too large is taken and thrown away before it is refused, so that whoever sends it to its
# end gets to read the answer instead of a reset. What comes after the answer is the connection's to bound.
DISCARD_FACTOR = 16


async def read_body(
    scope: Scope, receive: Receive, limit_bytes: int, setting: str = "server.body_limit_bytes"
) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: it is larger than `limit_bytes`, which `setting` says.
        RequestTimeout: the reader left before it was whole.
    """
    for name, declared in scope["headers"]:
        if name == b"content-length" and declared.isdigit() and int(declared) > limit_bytes * DISCARD_FACTOR:
            raise _too_large(limit_bytes, setting)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestTimeout("the connection closed before the body was whole")
        piece = message.get("body", b"")
        size += len(piece)
        if size <= limit_bytes:
            pieces.append(piece)
        elif size > limit_bytes * DISCARD_FACTOR:
            raise _too_large(limit_bytes, setting)
        if not message.get("more_body", False):
            break
    if size > limit_bytes:
        raise _too_large(limit_bytes, setting)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def require_json(content_type: str | None) -> None:
    """Refuses a body that is not declared as JSON: a page of another site can send any other type unasked.

    Raises:
        UnsupportedContentType: it is declared as something else, or not at all.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedContentType(
            f"the body is declared as {media_type or 'nothing'}; send the header Content-Type: application/json"
        )


def require_text(content_type: str | None) -> None:
    """Refuses a body that is not declared as a text: a form, with which the file would not come as it is, or JSON.

    Raises:
        UnsupportedContentType: it is declared as something else, or not at all.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in ("text/markdown", "text/plain", "application/octet-stream"):
        raise UnsupportedContentType(
            f"the body is declared as {media_type or 'nothing'}; send the file itself, one a request, with the header"
            " Content-Type: text/markdown or text/plain"
        )


def require_no_page(headers: Mapping[str, str]) -> None:
    """Refuses what a page of another site may have sent, unless it is declared as JSON: many clients declare nothing.

    A page's `POST` carries an `Origin`, and in browsers since 2020 (2023 in Safari) a `Sec-Fetch-Site` as well.

    Raises:
        UnsupportedContentType: it comes from a page, and is not declared as JSON.
    """
    if "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        require_json(headers.get("content-type"))


def _too_large(limit_bytes: int, setting: str) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit_bytes} bytes ({setting})")
