"""What each route is described as, one entry for each route: the words and types that `/openapi.json` is made of.

A row of the table in `headrace.server.routes` cannot be written without one of these. What an entry consists of is in
`headrace.server.describing`; how all of it becomes a document is in `headrace.server.openapi`.
"""

from __future__ import annotations

from headrace.server.descriptions import (
    conversations,
    documents,
    durable,
    ollama,
    openai,
    pages,
    questions,
    service,
    streams,
)

__all__ = [
    "conversations",
    "documents",
    "durable",
    "ollama",
    "openai",
    "pages",
    "questions",
    "service",
    "streams",
]
