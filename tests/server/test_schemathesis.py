"""Requests that schemathesis makes out of `/openapi.json`, right ones and wrong ones: answered as the document says.

No 5xx, only statuses and content types that are documented, bodies and headers of the documented shape; and what the
document allows is not refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.conftest import Process, process
from tests.server.raw import converse, post, request, settled
from tests.server.test_openapi import DOCUMENT, OPERATIONS

from headrace.identifiers import StreamIdentifiers
from headrace.server.pages import page_files

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    positive_data_acceptance,
]
ANSWER_SECONDS = 10.0
# What a server without keys has no good answer to: there is nobody to log in as.
NEVER_WELL = ("POST /login",)
FEW = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
MANY = settings(FEW, max_examples=40, derandomize=False)
CASES_AT_LEAST = 2000


# Headers of Durable Streams that need each other, or a stream as they describe it: tested in test_durable_streams.py.
TIED = {
    "Stream-Expires-At", "Stream-Forked-From", "Stream-Fork-Offset", "Stream-Fork-Sub-Offset",
    "Producer-Id", "Producer-Epoch", "Producer-Seq",
}  # fmt: skip


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that does not make anybody wait for what may come, as long polls of a stream that stays open do."""
    with process(tmp_path_factory.mktemp("quick"), "[server]\nlong_poll_seconds = 0.05\n") as server:
        yield server


def real_names(server: Process) -> dict[str, str]:
    """For each parameter of a path, something that is there."""
    (answer,) = converse(server.port, post(b'{"question": "What is a stream?"}', "/api/query"))
    own = StreamIdentifiers().new()
    (created,) = converse(
        server.port, request("PUT", f"/v1/stream/{own}", b"x", "Stream-Closed: true", "Content-Length: 1")
    )
    assert created.status == 201
    (document,) = converse(
        server.port,
        request("POST", "/v1/documents?name=a.md", b"An anchor.", "Content-Type: text/markdown", "Content-Length: 10"),
    )
    (told,) = converse(server.port, post(b'{"query": "What is a stream?", "conversation_id": "talk"}', "/chat/basic"))
    assert told.status == 200
    return {
        "conversation_id": "talk",
        "path": own,
        "document_id": json.loads(document.body)["id"],
        "assistant": "basic",
        "name": "offline",
        "stream_id": answer.headers["headrace-stream"],
        "digest": page_files().digest,
        "file": "docs.js",
    }


def whole_numbers(value: Any) -> Any:
    """The value with 2.0 written as 2: the same to a JSON schema, though not to a reader of whole numbers."""
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case dict():
            return {key: whole_numbers(inner) for key, inner in value.items()}
        case list():
            return [whole_numbers(inner) for inner in value]
        case _:
            return value


def try_operation(server: Process, name: str, how: settings) -> Counter[int]:
    """Tries one route with right and with wrong requests; gives how often each status came."""
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT)))
    schema.config.update(base_url=server.url)
    method, path = name.split(" ")
    operation = schema[path][method]
    seen: Counter[int] = Counter()
    identifiers, names = StreamIdentifiers(), real_names(server)

    def attempt(case: Case[Any]) -> None:
        body = case.body
        if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
            # What may be used once is new each time.
            for header in ("Idempotency-Key", "Headrace-Stream"):
                if header in case.headers:
                    case.headers[header] = identifiers.new()
            case.path_parameters = {each: names[each] for each in case.path_parameters}
            if "path" in case.path_parameters:
                untie(case, identifiers.new())
            if isinstance(body, dict):
                case.body = body = whole_numbers(body)
            for options in (case.headers, body.get("headrace") if isinstance(body, dict) else None):
                leave_alone(options)
        elif "live" in case.query:
            case.path_parameters["path"] = names["path"]  # a stream that is closed: who follows one that is not, waits
        if isinstance(body, dict) and isinstance(body.get("model"), str):
            body["model"] = "offline"
        response = case.call(timeout=ANSWER_SECONDS)
        seen[response.status_code] += 1
        excluded: list[CheckFunction] = [positive_data_acceptance] if name in NEVER_WELL else []
        case.validate_response(response, checks=CHECKS, excluded_checks=excluded)

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        how(given(case=operation.as_strategy(generation_mode=mode))(attempt))()
    return seen


def leave_alone(options: Any) -> None:
    """Takes out how a stream belongs to another one, where it names none."""
    if options is not None and not ("Headrace-Parent" in options or options.get("parent")):
        for relation in ("Headrace-Relation", "relation"):
            options.pop(relation, None)


def untie(case: Case[Any], new_path: str) -> None:
    """Makes a request for a stream of one's own one that can stand by itself."""
    for header in TIED & set(case.headers):
        del case.headers[header]
    match case.method:
        case "PUT":
            case.path_parameters = {"path": new_path}
        case "POST":
            case.headers["Stream-Closed"] = "true"  # no body goes with it
        case "GET":
            case.query["offset"] = "-1"
        case _:
            pass


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_route_answers_as_the_document_says(quick: Process, name: str) -> None:
    seen = try_operation(quick, name, FEW)
    if name not in NEVER_WELL:
        assert any(200 <= status < 300 for status in seen), "some of the right requests were answered"
    assert settled(quick.port)["status"] == "ok"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousands_of_requests_are_answered_as_the_document_says(quick: Process) -> None:
    seen: Counter[int] = Counter()
    for name in OPERATIONS:
        seen += try_operation(quick, name, MANY)
    assert seen.total() >= CASES_AT_LEAST
    assert not [status for status in seen if status >= 500]
    assert settled(quick.port)["status"] == "ok"
