"""What the routes of conversations are described as."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headrace.protocols.answer_shapes.conversations import (
    ConversationDeleted,
    ConversationPage,
    ConversationRecord,
    ConversationStreams,
    ExportedConversation,
)
from headrace.protocols.answer_shapes.typed_events import TypedFrame
from headrace.protocols.request_shapes import ConversationChange
from headrace.server.describing import JSON, LINES, PAGING, Answer, Description, Parameter

_CONVERSATION_ID = Parameter("conversation_id", "path", str, "The id of the conversation.", "a1b2")
CONVERSATIONS = Description(
    group="Conversations",
    summary="Your conversations, the one with the latest question first",
    told="Nobody else's are among them. With `q` only those in which a question and its answer, or the title, hold all"
    " these words, or words that begin so.",
    answers=(Answer(JSON, ConversationPage),),
    parameters=(
        Parameter("q", "query", Annotated[str, Meta(max_length=200)], "Words to look for. Left out: all."),
        *PAGING,
    ),
    errors=(404,),
)
CONVERSATION = Description(
    group="Conversations",
    summary="One conversation: its title, and a page of its streams",
    told="Each stream names its parent, so that branches can be told apart. A conversation that belongs to another"
    " owner is not found.",
    answers=(Answer(JSON, ConversationStreams),),
    parameters=(
        _CONVERSATION_ID,
        *PAGING,
    ),
    errors=(404,),
)
CONVERSATION_EXPORT = Description(
    group="Conversations",
    summary="A whole conversation as a file",
    told="Markdown holds the branch that ends with the latest stream; JSON and events hold all streams, the oldest"
    " first. `headrace replay FILE` plays the events again.",
    answers=(
        Answer("text/markdown", told="`format=md`"),
        Answer(JSON, ExportedConversation, told="`format=json`"),
        Answer(LINES, frame=TypedFrame, told="`format=ndjson`: typed events, one a line."),
    ),
    parameters=(
        _CONVERSATION_ID,
        Parameter("format", "query", Literal["md", "json", "ndjson"], "The kind of file. Left out: `md`."),
    ),
    errors=(404,),
)
CONVERSATION_RENAME = Description(
    group="Conversations",
    summary="Give a conversation a title",
    told="Until then its title is the beginning of its first question.",
    body=ConversationChange,
    answers=(Answer(JSON, ConversationRecord),),
    parameters=(_CONVERSATION_ID,),
    errors=(404,),
)
CONVERSATION_DELETE = Description(
    group="Conversations",
    summary="Forget a conversation with all its streams",
    told="Those that are running are cancelled first. Readers that are attached read them to their end.",
    answers=(Answer(JSON, ConversationDeleted),),
    parameters=(_CONVERSATION_ID,),
    errors=(404,),
)
