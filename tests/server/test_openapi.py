"""`/openapi.json`: made from the table of routes, whole, valid, and true."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any, cast

import jsonschema_rs
import pytest
from starlette.routing import Route
from tests.server.conftest import Process
from tests.server.raw import converse, request

from headrace import errors
from headrace.server.describing import Description
from headrace.server.doors import Door
from headrace.server.guard import is_open
from headrace.server.house import House
from headrace.server.openapi import document, error_codes
from headrace.server.routes import routes

ROUTES: list[Route] = routes(cast("House", None))  # a door asks nothing of its house before somebody knocks
DOCUMENT: dict[str, Any] = document(ROUTES)
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
EXAMPLES = {
    name: operation["requestBody"]["content"]["application/json"]
    for name, operation in OPERATIONS.items()
    if "example" in operation.get("requestBody", {}).get("content", {}).get("application/json", {})
}


def within(value: Any) -> Iterator[Any]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from within(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from within(inner)


def test_a_route_without_a_description_cannot_be_made() -> None:
    needed = inspect.signature(Door.__init__).parameters["description"]
    assert needed.default is inspect.Parameter.empty
    for route in ROUTES:
        assert isinstance(route.app, Door), route.path
        assert isinstance(route.app.description, Description)
        assert route.app.description.summary


def test_every_route_is_in_the_document() -> None:
    served = {
        f"{method} {route.path.replace(':path', '')}"
        for route in ROUTES
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert OPERATIONS.keys() == served
    assert "POST /v1/chat/completions" in served


def test_the_document_is_what_is_served(offline: Process) -> None:
    (answer,) = converse(offline.port, request("GET", "/openapi.json"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == json.loads(json.dumps(DOCUMENT))


def test_what_is_said_of_a_field_is_said_of_it_in_every_shape_that_inherits_it() -> None:
    shapes = DOCUMENT["components"]["schemas"]
    assert shapes["ExportedStream"]["properties"]["readers"] == shapes["StreamRecord"]["properties"]["readers"]
    assert shapes["StreamRecord"]["properties"]["readers"]["description"] == "How many are attached now."


def test_every_reference_leads_somewhere() -> None:
    references = [each["$ref"] for each in within(DOCUMENT) if "$ref" in each]
    assert len(references) > 100
    for reference in references:
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_one(name: str) -> None:
    jsonschema_rs.meta.validate({**DOCUMENT["components"]["schemas"][name], "$schema": DIALECT})


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"], "$schema": DIALECT})


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_what_its_schema_asks_for_and_works_as_it_stands(offline: Process, name: str) -> None:
    validator(EXAMPLES[name]["schema"]).validate(EXAMPLES[name]["example"])
    method, path = name.split(" ")
    body = json.dumps(EXAMPLES[name]["example"]).encode()
    (answer,) = converse(offline.port, request(method, path.replace("{assistant}", "basic"), body))
    assert answer.status == 200, answer
    assert answer.headers["content-type"].partition(";")[0] in OPERATIONS[name]["responses"]["200"]["content"]
    assert b"stream" in answer.body


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_every_parameter_in_a_path_is_described() -> None:
    for name, operation in OPERATIONS.items():
        told = {each["name"] for each in operation["parameters"] if each.get("in") == "path"}
        assert told == {part.strip("{}") for part in name.split("/") if part.startswith("{")}, name


def test_what_the_document_says_of_keys_is_what_the_guard_does() -> None:
    for route in ROUTES:
        assert isinstance(route.app, Door)
        for method in route.methods or ():
            assert route.app.description.keyless == is_open(method, route.path), route.path


def test_every_error_that_a_reader_may_meet_has_its_code_in_the_document() -> None:
    told = {each.code for each in error_codes()}
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.RequestError | errors.StoreError | errors.InternalError):
            assert kind.code in told, kind
    assert "invalid_settings" not in told
    listed = {each["code"] for each in DOCUMENT["x-headrace-errors"]}
    assert listed == told == set(DOCUMENT["components"]["schemas"]["ErrorObject"]["properties"]["code"]["enum"])
