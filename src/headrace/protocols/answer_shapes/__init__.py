"""What an answer's body holds, route by route: the shapes that `/openapi.json` describes.

Pure. Encoders write bytes from templates and not from these structs; a test holds the two together: whatever the
protocols and routes write can be read as these, and holds nothing that stands here under no name.
Docstrings are the descriptions that readers get to see.
"""

from __future__ import annotations

from headrace.protocols.answer_shapes import (
    conversations,
    documents,
    errors,
    ollama,
    openai,
    questions,
    service,
    shared,
    streams,
    typed_events,
)

SHELF = (shared, errors, openai, questions, typed_events, ollama, streams, conversations, documents, service)
"""Every file of this shelf."""
