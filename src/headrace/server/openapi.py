"""`GET /openapi.json`: the table of routes as an OpenAPI 3.1 document.

Made when it is first asked for and kept. Shapes come from the types in the routes' descriptions, what is said of a
field from its docstring, and error codes from the tree in `headrace.errors`.
Source: OpenAPI 3.1.1, and JSON Schema 2020-12 as msgspec writes it.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias, get_args

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope

import headrace
from headrace import errors
from headrace.events import Failure
from headrace.protocols import answer_shapes, request_shapes
from headrace.protocols.answer_shapes.errors import ErrorBody, OllamaError
from headrace.runs import registry, restart
from headrace.server.credentials import COOKIE
from headrace.server.describing import EVENTS, JSON, LINES, OPTIONS, REQUEST_ID, Answer, Description, Parameter
from headrace.server.doors import Door, Handler
from headrace.server.house import House
from headrace.server.responses import send_json
from headrace.wire import json_text

_REFERENCE = "#/components/schemas/{name}"
_WORDS = """One protocol in, every protocol out: any of these routes starts an answer, and any reader can follow it.

Unknown fields of a body are accepted. `HEAD` is answered wherever `GET` is. Every answer carries `X-Request-Id`; one
with a stream behind it carries `Headrace-Stream`, by which it is resumed and cancelled.
"""

_HEADERS = {
    "Headrace-Stream": "The id of the stream behind this answer.",
    "Headrace-Warning": "What of the request the first upstream has no word for, and is not told.",
    "X-Request-Id": "The id of this request; the one it came with, if it came with one.",
    "Retry-After": "When to come back, in seconds.",
    "X-RateLimit-Limit": "How much of this a key may use.",
    "X-RateLimit-Remaining": "How much of it is left.",
    "X-RateLimit-Reset": "When more of it may be used, in Unix seconds.",
}
_LIMITS = [name for name in _HEADERS if name.startswith("X-RateLimit")]
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`"},
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "The same key, as Anthropic's clients send it.",
    },
    "azure": {"type": "apiKey", "in": "header", "name": "Api-Key", "description": "The same key, as at Azure."},
    "login": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "The cookie of a login."},
}
# Of the errors that come before any route has a say. 405 and the 404 of unknown paths have no route to stand at.
_ALWAYS = (400, 403, 408, 431, 500)
_WITH_BODY = (413, 415)
_GENERATING = (404, 409, 422, 429, 499, 502, 503, 504, 529)


_WORTH_READING = "^[A-Za-z][ -~]*$"
"""What a text can be made of, for programs that make them up: there are many others."""


class ErrorCode(NamedTuple):
    """One of the stable codes."""

    code: str
    status: int
    retryable: bool
    told: str


Codes: TypeAlias = Sequence[ErrorCode]


def describes(served: Sequence[Route]) -> Handler:
    """A handler that answers with the document of these routes."""

    @functools.cache
    def made() -> bytes:
        return json_text.encode(document(served))

    async def handle(house: House, scope: Scope, receive: Receive) -> None:
        # In a thread: it takes about 25 ms, and streams go on meanwhile.
        send_json(scope, await asyncio.to_thread(made))

    return handle


def document(served: Iterable[Route]) -> dict[str, Any]:
    """The document of these routes."""
    codes = error_codes()
    doors = [(route, route.app) for route in served if isinstance(route.app, Door)]
    types = _Types(each for _, door in doors for each in _types_of(door.description))
    paths: dict[str, dict[str, Any]] = {}
    for route, door in doors:
        path = re.sub(r":\w+}", "}", route.path)
        for method in sorted(_methods(route)):
            paths.setdefault(path, {})[method.lower()] = _operation(method, path, door, types, codes)
    types.components["ErrorObject"]["properties"]["code"]["enum"] = sorted({each.code for each in codes})
    return {
        "openapi": "3.1.1",
        "info": {"title": "headrace", "version": headrace.__version__, "description": _WORDS},
        "servers": [{"url": "/"}],
        "security": [{}, *({name: []} for name in _SECURITY)],
        "tags": [{"name": name} for name in dict.fromkeys(door.description.group for _, door in doors)],
        "paths": paths,
        "components": {
            "schemas": types.components,
            "headers": {name: {"description": told, "schema": {"type": "string"}} for name, told in _HEADERS.items()},
            "parameters": {each.name: _parameter(each, types) for each in (REQUEST_ID, *OPTIONS)},
            "securitySchemes": _SECURITY,
        },
        "x-headrace-errors": [each._asdict() for each in codes],
    }


def error_codes() -> list[ErrorCode]:
    """Every code that a reader may meet, by status."""
    found: dict[tuple[str, int], ErrorCode] = {}

    def add(code: str, status: int, retryable: bool, told: str) -> None:
        found.setdefault((code, status), ErrorCode(code, status, retryable, told))

    for kind in _error_classes(errors.HeadraceError):
        if issubclass(kind, errors.SettingsError):
            continue  # it never reaches a reader
        if kind not in (errors.UpstreamRefused, errors.UpstreamTimeout, errors.RequestError):
            add(kind.code, kind.http_status, kind.retryable, inspect.cleandoc(kind.__doc__ or "").partition("\n")[0])
    for timer in get_args(errors.Timer):
        failure = errors.UpstreamTimeout(timer, 1, upstream="the upstream").failure()
        add(failure.code, failure.http_status, failure.retryable, f"The timer `{timer}` ran out.")
    for status in (None, 400, 401, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529):
        failure = errors.UpstreamRefused("", upstream="", status=status).failure()
        add(failure.code, failure.http_status, failure.retryable, "The upstream answered with an error.")
    for failure in (each for room in (registry, restart) for each in vars(room).values() if isinstance(each, Failure)):
        add(failure.code, failure.http_status, failure.retryable, f"{failure.message[0].upper()}{failure.message[1:]}.")
    return sorted(found.values(), key=lambda each: (each.status, each.code))


def _error_classes(parent: type[errors.HeadraceError]) -> Iterator[type[errors.HeadraceError]]:
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _error_classes(child)


class _Types:
    """The JSON schemas of types, and those of the structs in them by name."""

    def __init__(self, types: Iterable[Any]) -> None:
        wanted = [*types, ErrorBody, OllamaError]
        schemas, self.components = msgspec.json.schema_components(wanted, ref_template=_REFERENCE)
        self._schemas = list(zip(wanted, schemas, strict=True))
        shelf = (*answer_shapes.SHELF, request_shapes)
        told = {name: fields for module in shelf for name, fields in field_docstrings(module).items()}
        for module in shelf:
            for name, struct in vars(module).items():
                if name in self.components and isinstance(struct, type) and issubclass(struct, msgspec.Struct):
                    _describe(self.components[name], struct, told)

    def schema(self, kind: Any) -> dict[str, Any]:
        """The schema of one of the types."""
        return next(schema for known, schema in self._schemas if known is kind)


def _describe(schema: dict[str, Any], struct: type[msgspec.Struct], told: Mapping[str, Mapping[str, str]]) -> None:
    """Puts what is said of the fields into the schema of a struct, its own fields before those it shares."""
    known: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        known |= told.get(owner.__name__, {})
    properties = schema["properties"]
    for field in msgspec.structs.fields(struct):
        if field.name in known:
            properties[field.encode_name]["description"] = known[field.name]
    own = [each.encode_name for each in msgspec.structs.fields(struct) if each.name in struct.__annotations__]
    schema["properties"] = {name: properties[name] for name in dict.fromkeys((*own, *properties))}


def field_docstrings(module: ModuleType) -> dict[str, dict[str, str]]:
    """What stands below the fields of each class of a module, in its source."""
    told: dict[str, dict[str, str]] = {}
    for definition in ast.parse(inspect.getsource(module)).body:
        if not isinstance(definition, ast.ClassDef):
            continue
        known = told.setdefault(definition.name, {})
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    known[name] = " ".join(text.split())
                case _:
                    pass
    return told


def _types_of(description: Description) -> Iterator[Any]:
    if description.body is not None:
        yield description.body
    for answer in description.answers:
        yield from (each for each in (answer.shape, answer.frame) if each is not None)
    for parameter in (*description.parameters, *OPTIONS, REQUEST_ID):
        yield parameter.kind


def _methods(route: Route) -> set[str]:
    methods = set(route.methods or ())
    return methods - {"HEAD"} if "GET" in methods else methods


def _operation(method: str, path: str, door: Door, types: _Types, codes: Codes) -> dict[str, Any]:
    about = door.description
    known = [{"$ref": f"#/components/parameters/{each.name}"} for each in (*_options(about), REQUEST_ID)]
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", path)]),
        "tags": [about.group],
        "summary": about.summary,
        "parameters": [_parameter(each, types) for each in about.parameters] + known,
    }
    if about.told:
        operation["description"] = about.told
    if about.body is not None:
        content = {"schema": types.schema(about.body)}
        if about.example is not None:
            content["example"] = about.example
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    if about.text_body:
        text = {"schema": {"type": "string", "pattern": _WORTH_READING}}
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(("text/plain", "text/markdown"), text)}
    if about.keyless:
        operation["security"] = []
    operation["responses"] = _responses(door, types, codes)
    return operation


def _options(about: Description) -> Sequence[Parameter]:
    return OPTIONS if about.generates else ()


def _parameter(parameter: Parameter, types: _Types) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required or parameter.place == "path",
        "description": parameter.told,
        "schema": types.schema(parameter.kind),
    }
    if parameter.example is not None:
        told["example"] = parameter.example
    return told


def _responses(door: Door, types: _Types, codes: Codes) -> dict[str, Any]:
    about = door.description
    responses: dict[str, Any] = {}
    for answer in about.answers:
        response = responses.setdefault(str(answer.status), {"description": "", "headers": _headers(about)})
        response["description"] = " ".join(filter(None, (response["description"], answer.told))) or _name(answer.status)
        if answer.media_type is not None:
            response.setdefault("content", {})[answer.media_type] = _content(answer, types)
    # What an error looks like is the protocol's to say: it is asked for one.
    plain = isinstance(msgspec.json.decode(door.protocol.error(errors.InternalError("")))["error"], str)
    shape = types.schema(OllamaError if plain else ErrorBody)
    for status in _error_statuses(about):
        response = responses.setdefault(str(status), {"description": f"{_name(status)}: {_codes(codes, status)}"})
        if status in (429, 503):
            names = ["Retry-After", *(_LIMITS if status == 429 else ())]
            response["headers"] = {**response.get("headers", {}), **{name: _header(name) for name in names}}
        known = response.setdefault("content", {}).setdefault(JSON, {"schema": shape})
        if known["schema"] is not shape:
            known["schema"] = {"anyOf": [known["schema"], shape]}
    return dict(sorted(responses.items()))


def _error_statuses(about: Description) -> list[int]:
    statuses = {*_ALWAYS, *about.errors}
    if not about.keyless:
        statuses.update((401, 429))
    if about.body is not None:
        statuses.update(_WITH_BODY)
    if about.generates:
        statuses.update(_GENERATING)
    return sorted(statuses)


def _headers(about: Description) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if about.generates:
        names += ["Headrace-Stream", "Headrace-Warning"]
    return {name: _header(name) for name in names}


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _content(answer: Answer, types: _Types) -> dict[str, Any]:
    if answer.shape is not None:
        return {"schema": types.schema(answer.shape)}
    # A text that is sent piece by piece is no value that a schema could describe; OpenAPI has a word for the items of a
    # stream from 3.2 on (`itemSchema`).
    content: dict[str, Any] = {} if answer.media_type in (EVENTS, LINES) else {"schema": {"type": "string"}}
    if answer.frame is not None:
        content["x-headrace-frame"] = types.schema(answer.frame)
    return content


def _codes(codes: Codes, status: int) -> str:
    return ", ".join(dict.fromkeys(f"`{each.code}`" for each in codes if each.status == status))


def _name(status: int) -> str:
    known = {499: "Cancelled", 529: "The upstream is overloaded"}
    return known.get(status) or HTTPStatus(status).phrase
