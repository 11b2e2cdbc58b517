"""What is put to a server as HTTP: the requests that ask for a stream, resume it and cancel it.

Pure: values in, method, path, headers and body out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote, urlsplit

import msgspec

from headrace.errors import InvalidRequest
from headrace.requests import Disconnect
from headrace.wire import json_text

Prompt: TypeAlias = str | Sequence[Mapping[str, object]]
"""A question, or messages as OpenAI's chat API has them, the last of them the user's."""


class Question(msgspec.Struct, frozen=True):
    """What is asked for."""

    prompt: Prompt
    model: str | None
    system: str | None
    max_tokens: int | None
    conversation_id: str | None
    assistant: str
    idempotency_key: str | None
    on_disconnect: Disconnect
    timeout_seconds: float | None
    fields: Mapping[str, object]


class Asked(msgspec.Struct, frozen=True):
    """One HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


def asking(question: Question, stream_id: str, heartbeat_seconds: float) -> Asked:
    """The request that asks for a stream.

    Raises:
        InvalidRequest: an argument is not what it may be.
    """
    query, history = _query_and_history(question.prompt)
    if question.system is not None:
        history = [{"role": "system", "content": question.system}, *history]
    named = {"model": question.model, "max_tokens": question.max_tokens, "conversation_id": question.conversation_id}
    body = {
        **question.fields,
        **{name: value for name, value in named.items() if value is not None},
        **({"history": history} if history else {}),
        "query": query,
        "stream": True,
    }
    headers = {
        **_reading_headers(heartbeat_seconds),
        "Content-Type": "application/json",
        "Headrace-Stream": stream_id,
        "Headrace-On-Disconnect": _text(question.on_disconnect),
    }
    if question.idempotency_key is not None:
        headers["Idempotency-Key"] = question.idempotency_key
    if question.timeout_seconds is not None:
        headers["Headrace-Timeouts"] = f"total={question.timeout_seconds:g}"
    try:
        encoded = json_text.encode(body)
    except TypeError as error:
        raise InvalidRequest(f"an argument is nothing that JSON can hold: {error}") from error
    return Asked("POST", f"/chat/{quote(question.assistant, safe='')}", headers, encoded)


def resuming(stream_id: str, after: int, heartbeat_seconds: float) -> Asked:
    """The request for the events after that offset; -1: from the beginning."""
    headers = _reading_headers(heartbeat_seconds)
    if after >= 0:
        # Rather than `?after=`: who has read everything is told so (204), and never mistakes it for a drop.
        headers["Last-Event-ID"] = str(after)
    return Asked("GET", f"{_path(stream_id)}/events", headers)


def cancelling(stream_id: str) -> Asked:
    """The request that ends a stream for everybody."""
    return Asked("POST", f"{_path(stream_id)}/cancel", {})


def letting_go_on(stream_id: str) -> Asked:
    """The request after which a stream goes on when nobody reads it."""
    return Asked("PATCH", _path(stream_id), {"Content-Type": "application/json"}, b'{"on_disconnect":"continue"}')


def address(url: str) -> str:
    """`url` as it is put before paths.

    Raises:
        InvalidRequest: it is no address of a server.
    """
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fit = False  # brackets left open, or a port that is none
    if not fit:
        raise InvalidRequest(f'"{url}" is no address of a server. As in: http://127.0.0.1:8000', parameter="url")
    return url.rstrip("/")


def is_this_machine(url: str) -> bool:
    """Whether the server is here: a proxy of the environment has no business between two programs of one machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def authorization(key: str | None) -> Mapping[str, str]:
    """The header that carries a key."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _query_and_history(prompt: Prompt) -> tuple[str, list[Mapping[str, object]]]:
    if isinstance(prompt, str):
        return prompt, []
    *history, last = prompt or [{}]
    query = last.get("content")
    if last.get("role") != "user" or not isinstance(query, str):
        raise InvalidRequest('the last message must be the user\'s, with a text as its "content"', parameter="prompt")
    return query, history


def _reading_headers(heartbeat_seconds: float) -> dict[str, str]:
    return {
        "Accept-Encoding": "identity",
        "Headrace-Event-Ids": "true",
        "Headrace-Heartbeat": f"{heartbeat_seconds:g}",
    }


def _text(on_disconnect: Disconnect) -> str:
    return on_disconnect if isinstance(on_disconnect, str) else f"{on_disconnect:g}"


def _path(stream_id: str) -> str:
    return f"/v1/streams/{quote(stream_id, safe='')}"
