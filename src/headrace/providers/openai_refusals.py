"""What an OpenAI-compatible upstream says when it refuses: any shape of error becomes an `UpstreamRefused`.

Pure. Keys that services repeat in their errors are taken out here. May import floors 0 to 2.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headrace.errors import UpstreamRefused
from headrace.wire import json_text

MOST_SAID = 500

# Keys as services write them: a known beginning, and a long run that holds a digit or the stars that hide the rest.
_KEY = re.compile(
    r"\b(?:(?:sk|gsk|pk|rk|xai|hf|key|api)[-_]|AIza|Bearer\s+)(?=[A-Za-z_\-.]*[0-9*])[A-Za-z0-9_\-*.]{8,}"
)


def refused(
    upstream: str,
    status: int | None,
    error: Any,
    *,
    retry_after_seconds: float | None = None,
    secret: str | None = None,
) -> UpstreamRefused:
    """What an upstream gave as an error, in any of the shapes they use.

    Args:
        upstream: its name.
        status: the HTTP status; `None` under 200: then a code that can be a status is taken for one.
        error: text, an object, an object in an object, or a list of them.
        retry_after_seconds: when it says to come back.
        secret: its key, removed from what it says.
    """
    error = _innermost(error)
    code: Any = None
    if isinstance(error, dict):
        code = error.get("code") or error.get("type")
        message = _words(error.get("message") or error.get("detail") or error)
        if status is None:
            status = _as_status(error.get("code")) or _as_status(error.get("status_code"))
    else:
        message = _words(error)
    said = without_secrets(message.strip(), secret)[:MOST_SAID]
    first = f"{upstream} answered {status}" if status is not None else f"{upstream} sent an error"
    return UpstreamRefused(
        f"{first}: {said}" if said else first,
        upstream=upstream,
        status=status,
        upstream_code=None if code is None else without_secrets(_words(code), secret)[:100],
        retry_after_seconds=retry_after_seconds,
    )


def without_secrets(text: str, secret: str | None) -> str:
    """`text` without the key it may hold: services like to repeat the key they refuse.

    To be asked before a text is cut: half a key is known by nothing.
    """
    if secret:
        text = text.replace(secret, "***")
    return _KEY.sub("***", text)


def json_or_text(payload: bytes) -> Any:
    """What the bytes say as JSON, or as text where they are none."""
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")


def _innermost(error: Any) -> Any:
    # {"error": …} in {"error": …}, and Google's list round it; never so deep as to matter.
    for _ in range(4):
        if isinstance(error, list) and error:
            error = error[0]
        elif isinstance(error, dict) and error.get("error"):
            error = error["error"]
        else:
            break
    return error


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json_text.encode(value).decode()


def _as_status(code: Any) -> int | None:
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    return code if type(code) is int and 400 <= code <= 599 else None
