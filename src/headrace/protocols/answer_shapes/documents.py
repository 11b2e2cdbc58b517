"""What is told of documents."""

from __future__ import annotations

from typing import Literal

import msgspec


class DocumentRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A document that was added."""

    id: str
    """The same text has the same id, whatever its name."""
    object: Literal["document"]
    name: str
    size_bytes: int
    passages: int
    """How many pieces an answer can quote from."""
    created_at: str


class AddedDocument(DocumentRecord, forbid_unknown_fields=True):
    """A document that was just added."""

    state: Literal["indexed", "replaced", "unchanged"]
    """`replaced`: it took the place of one of the same name; `unchanged`: the same text was there before, perhaps under
    another name."""


class DocumentPage(msgspec.Struct, forbid_unknown_fields=True):
    """A page of documents, the latest first."""

    object: Literal["list"]
    data: list[DocumentRecord]
    has_more: bool
    first_id: str | None
    last_id: str | None
    """What `before` is given for the next page."""
    limit_bytes: int
    """The largest document that is taken (`documents.limit_bytes`)."""


class DeletedDocument(msgspec.Struct, forbid_unknown_fields=True):
    """That a document is no longer there."""

    id: str
    object: Literal["document"]
    deleted: Literal[True]
