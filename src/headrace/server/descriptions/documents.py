"""What the routes of documents are described as."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.protocols.answer_shapes.documents import AddedDocument, DeletedDocument, DocumentPage, DocumentRecord
from headrace.server.describing import JSON, PAGING, Answer, Description, Parameter

_DOCUMENT_ID = Parameter("document_id", "path", str, "The `id` that adding it told.")
DOCUMENTS = Description(
    group="Documents",
    summary="Your documents, the latest first",
    told="Nobody else's are among them.",
    answers=(Answer(JSON, DocumentPage),),
    parameters=(*PAGING,),
    errors=(404, 503),
)
DOCUMENT_ADD = Description(
    group="Documents",
    summary="Add a document for the model `offline` to answer from",
    told="The body is the file itself: Markdown, where its name ends in `.md` or `.markdown`, else plain text, in"
    " UTF-8. It is answered once it is indexed. One of the same name takes the place of the one before.",
    text_body=True,
    answers=(
        Answer(JSON, AddedDocument, told="It can be answered from.", status=201),
        Answer(JSON, AddedDocument, told="The same text was there before."),
    ),
    parameters=(
        Parameter(
            "name",
            "query",
            Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_-]+\.(md|txt)$")],
            "The name of the file; answers name it as their source.",
            "guide.md",
            required=True,
        ),
    ),
    errors=(409, 413, 415, 422, 503),
)
DOCUMENT = Description(
    group="Documents",
    summary="What is known of a document",
    told="A document that belongs to another owner is not found.",
    answers=(Answer(JSON, DocumentRecord),),
    parameters=(_DOCUMENT_ID,),
    errors=(404, 503),
)
DOCUMENT_DELETE = Description(
    group="Documents",
    summary="Delete a document",
    told="No answer quotes it from then on. What was quoted before stays in the streams of those answers.",
    answers=(Answer(JSON, DeletedDocument),),
    parameters=(_DOCUMENT_ID,),
    errors=(404, 503),
)
