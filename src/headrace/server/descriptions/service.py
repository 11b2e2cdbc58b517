"""What the routes of the server itself are described as: logins, health, and the documentation."""

from __future__ import annotations

from typing import Any

from headrace.protocols.answer_shapes.service import Health, LoggedIn, LoggedOut, Ready
from headrace.protocols.request_shapes import LoginRequest
from headrace.server.describing import JSON, Answer, Description

LOGIN = Description(
    group="Server",
    summary="A cookie in place of a key",
    told="For pages, whose `EventSource` sends no header. The key may also be in a header, without any body.",
    body=LoginRequest,
    answers=(Answer(JSON, LoggedIn),),
    errors=(401,),
    keyless=True,
)
LOGOUT = Description(
    group="Server",
    summary="End a login",
    told="The one whose cookie is sent. Twice is the same as once.",
    answers=(Answer(JSON, LoggedOut),),
    keyless=True,
)
HEALTH = Description(
    group="Server",
    summary="How headrace and its upstreams are",
    told="No upstream is called for it. Where keys are asked for, whoever shows none is told `status` and `service`.",
    answers=(Answer(JSON, Health),),
    keyless=True,
)
READY = Description(
    group="Server",
    summary="Whether new requests are taken",
    answers=(
        Answer(JSON, Ready, told="New requests are taken."),
        Answer(JSON, Ready, told="The server drains.", status=503),
    ),
    keyless=True,
)
OPENAPI = Description(
    group="Server",
    summary="These routes as a document for programs",
    told="OpenAPI 3.1, made from the same table that requests are routed by.",
    answers=(Answer(JSON, dict[str, Any]),),
    keyless=True,
)
