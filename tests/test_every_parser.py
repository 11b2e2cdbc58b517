"""Whatever comes from outside is read, or refused with an error that its parser names; nothing else is ever raised.

The parsers of SSE, NDJSON, JSON, of requests' bodies and of upstreams' answers have properties of their own beside
them (`tests/wire`, `tests/protocols`, `tests/providers`, `tests/client`); here are all the others.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cli import dotenv
from headrace.client.hearing import Hearing
from headrace.client.pieces import Pieces
from headrace.client.refusals import is_cancelled, refusal_of
from headrace.errors import HeadraceError, InvalidRequest, RequestError, SettingsError, UpstreamMalformed
from headrace.identifiers import is_stream_id
from headrace.protocols.reading import read_options
from headrace.protocols.socket_requests import ClientMessage
from headrace.providers.exchanges import retry_after_seconds
from headrace.providers.ollama_hearing import OllamaHearing
from headrace.providers.openai_refusals import json_or_text, refused
from headrace.server.bodies import require_json, require_no_page
from headrace.server.credentials import credential_of, keys_offered, refuse_key_in_url
from headrace.server.idempotency import idempotency_of
from headrace.server.responses import request_id
from headrace.server.socket_doors import door_at
from headrace.server.stream_routes import query_of
from headrace.settings.reading import from_document, from_environment
from headrace.settings.trust import read_record
from headrace.settings.variables import VARIABLES
from headrace.testing.torture.cases import Case
from headrace.testing.torture.judging import Transcript, judge
from headrace.wire import durable, ollama, openai_chat

TRIES = settings(deadline=None, max_examples=150)

# What a header can hold: HTTP/1.1 lets through any byte but CR, LF and NUL, and we read them as Latin-1.
values = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00"), max_size=40)
numbers = st.one_of(st.integers().map(str), st.floats().map(str), st.from_regex(r"-?\d{1,25}_\d{0,20}", fullmatch=True))
spelled = st.sampled_from(
    ["", "-1", "now", "true", "false", "None", "nan", "1e999", "cancel", "continue", "W/", '"', "*", "first_token=",
     "total=1,total=2", "١٢", "application/json; charset=", "2026-11-21T04:05:06Z", "0000000000000001_0000000000000002"]
)  # fmt: skip
HEADERS = (
    "headrace-on-disconnect", "headrace-on-interruption", "headrace-timeouts", "headrace-heartbeat",
    "headrace-rationale", "headrace-pace", "headrace-event-ids", "headrace-early-headers", "headrace-stream",
    "idempotency-key", "authorization", "x-api-key", "api-key", "cookie", "content-type", "origin", "sec-fetch-site",
    "last-event-id", "x-request-id", "stream-ttl", "stream-expires-at", "stream-closed", "stream-forked-from",
    "stream-fork-offset", "stream-seq", "producer-id", "producer-epoch", "producer-seq", "if-none-match",
    "retry-after", "retry-after-ms",
)  # fmt: skip
headers = st.dictionaries(st.sampled_from(HEADERS), values | numbers | spelled, max_size=6)

HEADER_PARSERS: dict[str, Callable[[dict[str, str]], object]] = {
    "options": lambda headers: read_options(None, headers),
    "credentials": credential_of,
    "keys among subprotocols": lambda headers: keys_offered([f"bearer.{each}" for each in headers.values()]),
    "the address of a WebSocket": lambda headers: [door_at(each, each.encode()) for each in headers.values()],
    "request id": request_id,
    "content type": lambda headers: require_json(headers.get("content-type")),
    "page": require_no_page,
    "idempotency key": lambda headers: idempotency_of(headers.get("idempotency-key", ""), "/chat", b""),
    "stream id": lambda headers: is_stream_id(headers.get("headrace-stream", "")),
    "when to come back": lambda headers: retry_after_seconds(headers, 0),
    "durable content type": durable.read_content_type,
    "durable kind": lambda headers: durable.kind_of(headers.get("content-type", "")),
    "durable lifetime": durable.read_lifetime,
    "durable producer": durable.read_producer,
    "durable fork": durable.read_fork,
    "durable closing": durable.closes,
    "durable etag": lambda headers: durable.matches_etag(headers, '"one-0-7"'),
}


Refusal = TypeVar("Refusal", bound=Exception)


def refusal(parse: Callable[[], object], kind: type[Refusal]) -> Refusal | None:
    """What something was refused with; `None`: it was read."""
    try:
        parse()
    except kind as error:
        return error
    return None


@pytest.mark.parametrize("name", HEADER_PARSERS)
@TRIES
@given(headers=headers)
def test_any_headers_are_read_or_refused(name: str, headers: dict[str, str]) -> None:
    error = refusal(lambda: HEADER_PARSERS[name](headers), RequestError)
    if error is not None:
        assert 400 <= error.http_status < 500
        assert error.message


URL = "http://127.0.0.1:8000"
BYTE_PARSERS: dict[str, tuple[Callable[[bytes], object], type[Exception]]] = {
    "query of a route": (query_of, InvalidRequest),
    "message of a WebSocket": (lambda data: ClientMessage(data).read(), RequestError),
    "refusal that a client is told": (lambda data: refusal_of(500, {}, data, URL), UpstreamMalformed),
    "what a cancel came to": (lambda data: is_cancelled(data, URL), UpstreamMalformed),
    "events that a client reads": (lambda data: Pieces(-1).feed(b"id: 7\ndata: %b\n\n" % data), ValueError),
    "record that is replayed": (lambda data: Hearing().feed(data.decode("utf-8", "replace")), msgspec.DecodeError),
    "query of a log": (durable.read_query, InvalidRequest),
    "key in a URL": (refuse_key_in_url, InvalidRequest),
    "messages of a log": (durable.split_messages, RequestError),
    "line of Ollama": (ollama.decode, ValueError),
    "tags of Ollama": (ollama.decode_tags, ValueError),
    "chunk of OpenAI": (openai_chat.decode, ValueError),
    "plain chunk of OpenAI": (openai_chat.decode_plain, ValueError),
    "error of an upstream": (lambda data: refused("lab", None, json_or_text(data), secret="sk-secret"), HeadraceError),
    "record of trust": (read_record, ValueError),
}

MAY_BE_TOO_DEEP = ("tags of Ollama", "plain chunk of OpenAI")
"""msgspec's own decoders, whose callers expect a `RecursionError` as well."""

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "message", "error", "code", "models", "usage", "trusted", "done"]
            )
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
queries = st.lists(st.tuples(st.sampled_from(["offset", "live", "cursor", "key", "x"]), values | numbers | spelled))
anything = st.one_of(
    st.binary(max_size=200),
    json.map(msgspec.json.encode),
    queries.map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode("latin-1", "replace")),
    st.integers(0, 20_000).map(lambda depth: b'{"choices":' + b"[" * depth),
)


@pytest.mark.parametrize("name", BYTE_PARSERS)
@TRIES
@given(data=anything)
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    parse, kind = BYTE_PARSERS[name]
    with suppress(kind, RecursionError if name in MAY_BE_TOO_DEEP else kind):
        parse(data)


@TRIES
@given(data=anything, status=st.sampled_from([0, 200, 500]), over=st.sampled_from(["complete", "broken", "timed out"]))
def test_any_answer_under_torture_is_judged(
    data: bytes, status: int, over: Literal["complete", "broken", "timed out"]
) -> None:
    case = Case(7, 1, "well", True, MappingProxyType({"text": ("One", " two")}), 1)
    for content_type, body in (("application/json", data), ("text/event-stream", b"data: %b\n\n" % data)):
        assert judge(case, Transcript(status, content_type, body, over)).verdict != "ok"


@TRIES
@given(pieces=st.lists(st.binary(max_size=40) | json.map(lambda value: msgspec.json.encode(value) + b"\n"), max_size=6))
def test_any_bytes_of_an_ollama_end_as_it_said_or_in_an_error(pieces: list[bytes]) -> None:
    hearing = OllamaHearing("larch")
    for piece in pieces:
        hearing.feed([piece])
    hearing.finish()
    if hearing.failure is None:
        assert b'"done":true' in b"".join(pieces)
        hearing.ended()


# -- settings

lines = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.builds("{}={}".format, st.sampled_from(["A", "export B", " C ", "HEADRACE_PORT"]), st.text(max_size=30)),
        st.integers(0, 3000).map(lambda count: 'A="' + "\\" * count),
        st.integers(0, 3000).map(lambda count: "A=" + " " * count + "#"),
    ),
    max_size=5,
)


@TRIES
@given(lines=lines)
def test_any_text_is_a_dotenv_file(lines: list[str]) -> None:
    variables = dotenv.parse("\n".join(lines))
    assert all(isinstance(value, str) for value in variables.values())


def test_a_long_line_of_a_dotenv_file_takes_no_long_time() -> None:
    loop = asyncio.new_event_loop()
    try:
        began = loop.time()
        for line in ("A=" + " x" * 50_000, 'A="' + "\\a" * 50_000, "A" * 100_000, "A=" + " #" * 50_000 + "\x00"):
            dotenv.parse(line)
        assert loop.time() - began < 5
    finally:
        loop.close()


SECTIONS = ["server", "store", "upstreams", "models", "assistants", "keys", "timeouts", "logging", "other"]
FIELDS = ["port", "host", "name", "base_url", "kind", "timeouts", "total", "basic", "hash", "level", "max_streams"]
tables = st.dictionaries(
    st.sampled_from(SECTIONS),
    st.recursive(
        st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.times(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=3,
)


@TRIES
@given(document=tables)
def test_any_document_is_settings_or_refused(document: dict[str, Any]) -> None:
    error = refusal(lambda: from_document(document, "headrace.toml"), SettingsError)
    if error is not None:
        assert "headrace.toml" in error.message


@TRIES
@given(text=st.text(max_size=80))
def test_any_toml_is_settings_or_refused(text: str) -> None:
    with suppress(tomllib.TOMLDecodeError, SettingsError):
        from_document(tomllib.loads(text), "headrace.toml")


@TRIES
@given(
    variables=st.dictionaries(
        st.sampled_from(list(VARIABLES)) | st.text(max_size=4).map("HEADRACE_{}".format), values | numbers | spelled
    )
)
def test_any_environment_is_settings_or_refused(variables: dict[str, str]) -> None:
    error = refusal(lambda: from_environment(variables, "the environment"), SettingsError)
    if error is not None:
        assert error.message
