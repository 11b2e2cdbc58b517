"""What an answer's body holds, route by route: the shapes that `/openapi.json` describes.

Pure. Encoders write bytes from templates and not from these structs; a test holds the two together: whatever the
protocols and routes write can be read as these, and holds nothing that stands here under no name.
Docstrings are the descriptions that readers get to see.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from headrace.usage import Provenance

Object: TypeAlias = dict[str, Any]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


# -- errors


class ErrorUpstream(msgspec.Struct, forbid_unknown_fields=True):
    """Where an error came from, where that was an upstream."""

    name: str
    """As the settings call it."""
    status: int | None = None
    """The status it answered with."""
    code: str | None = None
    """Its own code."""


class ErrorObject(msgspec.Struct, forbid_unknown_fields=True):
    """What went wrong."""

    message: str
    """What went wrong, and what to do about it."""
    type: str
    """OpenAI's word for the kind of error."""
    code: str
    """One of the stable codes."""
    param: str | None
    """The field of the request that is meant, where there is one."""
    upstream: ErrorUpstream | None = None


class ErrorBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of every error, but for Ollama's routes."""

    error: ErrorObject


class OllamaError(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an error on Ollama's routes: a text, which Ollama's clients show."""

    error: str
    """What went wrong, and what to do about it."""
    code: str
    """One of the stable codes."""


# -- what several answers share


class Passage(msgspec.Struct, forbid_unknown_fields=True):
    """A passage that the answer rests on."""

    n: int
    """The number that the answer refers to it by."""
    id: str
    title: str
    passage: str
    score: float | None


class TokenUsage(msgspec.Struct, forbid_unknown_fields=True):
    """Tokens in and out, and how they are known."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int | None
    reasoning_tokens: int | None
    source: Provenance
    """`reported` by the upstream, `counted` here, or `estimated` from the text."""
    prompt_source: Provenance
    completion_source: Provenance
    by: str
    """Who says so: an upstream's name, or `headrace`."""
    may_have_gone_on: bool = False
    """Whether the upstream was left in the middle and may have generated, and bill, more than this."""


class Phases(msgspec.Struct, forbid_unknown_fields=True):
    """How long it took, in milliseconds, in the order it happened; what was not reached is left out."""

    first_token_kind: str | None = None
    attempts: int = 1
    queue_ms: float | None = None
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None


class UsageMark(msgspec.Struct, forbid_unknown_fields=True):
    """That a usage was not reported by the upstream, or may not be all."""

    source: Provenance | None = None
    by: str | None = None
    may_have_gone_on: bool = False


class Extras(msgspec.Struct, forbid_unknown_fields=True):
    """What the language of another API has no word for."""

    sources: list[Passage] | None = None
    usage: UsageMark | None = None


# -- OpenAI's routes


class CachedTokens(msgspec.Struct, forbid_unknown_fields=True):
    """Part of the prompt's tokens."""

    cached_tokens: int


class ReasoningTokens(msgspec.Struct, forbid_unknown_fields=True):
    """Part of the answer's tokens."""

    reasoning_tokens: int


class CompletionUsage(msgspec.Struct, forbid_unknown_fields=True):
    """Tokens in and out, as OpenAI writes them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens


class ChatAnswer(msgspec.Struct):
    """What the model said; what an upstream adds of its own stands beside it."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Object] | None = None


class ChatChoice(msgspec.Struct):
    """One of the answers that were asked for."""

    index: int
    message: ChatAnswer
    finish_reason: FinishReason
    logprobs: Object | None = None


class ChatCompletion(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage | None = None
    headrace: Extras | None = None


class ChatDelta(msgspec.Struct):
    """What one chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Object] | None = None


class ChatChunkChoice(msgspec.Struct):
    """What one chunk adds to one of the answers."""

    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None


class ChatCompletionChunk(msgspec.Struct, forbid_unknown_fields=True):
    """One event of a streamed answer; after the last one stands `[DONE]`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: CompletionUsage | None = None
    headrace: Extras | None = None


class TextChoice(msgspec.Struct):
    """One of the answers, or what one chunk adds to it."""

    index: int
    text: str
    logprobs: None
    finish_reason: FinishReason | None


class TextCompletion(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer, or one event of a streamed one; after the last one stands `[DONE]`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage | None = None
    headrace: Extras | None = None


class Model(msgspec.Struct, forbid_unknown_fields=True):
    """A model, in one object that OpenAI's and Anthropic's clients accept."""

    id: str
    object: Literal["model"]
    type: Literal["model"]
    display_name: str
    created: int
    created_at: str
    owned_by: str
    """The upstream that is asked first."""


class ModelList(msgspec.Struct, forbid_unknown_fields=True):
    """The models of the settings, the default first."""

    object: Literal["list"]
    data: list[Model]
    has_more: bool
    first_id: str | None
    last_id: str | None


# -- typed events


class StartFrame(msgspec.Struct, tag_field="type", tag="start", forbid_unknown_fields=True):
    """The first frame."""

    timestamp: str
    stream_id: str
    model: str
    language: str | None = None
    conversation_id: str | None = None


class StatusFrame(msgspec.Struct, tag_field="type", tag="status", forbid_unknown_fields=True):
    """A phase that a person may want to know of."""

    phase: str
    message: str | None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    offset: int | UnsetType = UNSET
    """Of this event, where another model or another attempt goes on behind it."""


class SourcesFrame(msgspec.Struct, tag_field="type", tag="sources", forbid_unknown_fields=True):
    """The passages that were found."""

    sources: list[Passage]


class RationaleFrame(msgspec.Struct, tag_field="type", tag="rationale", forbid_unknown_fields=True):
    """A piece of reasoning."""

    content: str


class TokenFrame(msgspec.Struct, tag_field="type", tag="token", forbid_unknown_fields=True):
    """A piece of the answer."""

    content: str


class ToolCallFrame(msgspec.Struct, tag_field="type", tag="tool_call", forbid_unknown_fields=True):
    """A piece of a tool call; its first one has the id and the name."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


class DoneFrame(msgspec.Struct, tag_field="type", tag="done", forbid_unknown_fields=True):
    """The good end: the whole answer once more."""

    content: str
    sources: list[Passage]
    finish_reason: FinishReason


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    """What it took."""

    token_count: int | None
    duration_ms: float | None
    ttft_ms: float | None
    usage: TokenUsage | None
    timing: Phases


class MetadataFrame(Metadata, tag_field="type", tag="metadata", forbid_unknown_fields=True):
    """What it took."""


class ErrorFrame(msgspec.Struct, tag_field="type", tag="error", forbid_unknown_fields=True):
    """Any other end: what was said before stands, and is not the whole answer."""

    content: str
    code: str
    ending: Literal["cancelled", "incomplete", "interrupted", "error"]
    partial: bool
    """Whether anything was said."""


TypedFrame: TypeAlias = (
    StartFrame
    | StatusFrame
    | SourcesFrame
    | RationaleFrame
    | TokenFrame
    | ToolCallFrame
    | DoneFrame
    | MetadataFrame
    | ErrorFrame
)


class AssistantAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer of an assistant."""

    content: str
    sources: list[Passage]
    finish_reason: FinishReason
    stream_id: str
    model: str
    usage: TokenUsage | None
    language: str | None = None
    conversation_id: str | None = None
    rationale: str | None = None
    metadata: Metadata | None = None


# -- headrace's other routes


class PromptAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer of `/chat`."""

    content: str
    stream_id: str
    conversation_id: str | None
    model: str
    finish_reason: FinishReason
    sources: list[Passage]
    usage: TokenUsage | None


class QueryAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A whole answer of `/api/query`."""

    answer: str
    sources: list[Passage]
    usage: TokenUsage | None
    model: str
    stream_id: str
    timing: Phases


class CodedFailure(msgspec.Struct, forbid_unknown_fields=True):
    """Why a stream did not end well."""

    code: str
    message: str


class GeneratedToken(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of the answer, its end, or why it did not end well."""

    done: bool
    token: str | None = None
    error: CodedFailure | None = None


class ChatToken(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of the answer, its end, or why it did not end well."""

    type: Literal["token", "done", "error"]
    content: str | None = None
    code: str | None = None


class StreamRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What is known of a stream."""

    id: str
    object: Literal["stream"]
    model: str
    state: Literal["running", "ended"]
    created_at: str | None
    conversation_id: str | None
    parent: str | None
    """The stream of the conversation that it comes after; `null`: it begins the conversation, or is in none."""
    relation: Literal["follow", "continue"] | None
    """Whether its question follows the parent's answer, or it goes on with that answer."""
    language: str | None
    question: str | None
    """The text of the last message, where it is the user's."""
    events: int
    """How many there are."""
    readers: int
    """How many are attached now."""
    ending: str | None
    """Why it ended, once it has."""
    error: ErrorObject | None = None
    timing: Phases | None = None
    usage: TokenUsage | None = None


class StreamPage(msgspec.Struct, forbid_unknown_fields=True):
    """A page of a list of streams, newest first."""

    object: Literal["list"]
    data: list[StreamRecord]
    has_more: bool
    """Whether there are older ones: they are behind `before=<last_id>`."""
    first_id: str | None
    last_id: str | None


class Deleted(msgspec.Struct, forbid_unknown_fields=True):
    """That a stream is no longer there."""

    id: str
    object: Literal["stream"]
    deleted: Literal[True]


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


class FoundText(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of a passage that was found."""

    text: str
    match: bool
    """Whether it is what was looked for."""


class FoundWords(msgspec.Struct, forbid_unknown_fields=True):
    """Where the words that were looked for were found."""

    stream_id: str | None
    """`null`: in the title."""
    snippet: list[FoundText]
    """The words round it, in pieces that together are the text."""


class ConversationRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What is known of a conversation."""

    id: str
    object: Literal["conversation"]
    title: str
    """As it was given, or the beginning of the first question; empty where that had no words."""
    created_at: str
    updated_at: str
    """When its latest question was asked."""
    streams: int
    """How many it has."""
    running: bool
    """Whether one of them is being made."""
    found: FoundWords | None = None
    """With `q`: where."""


class ConversationPage(msgspec.Struct, forbid_unknown_fields=True):
    """A page of a list of conversations."""

    object: Literal["list"]
    data: list[ConversationRecord]
    has_more: bool
    """Whether there are more: they are behind `before=<last_id>`."""
    first_id: str | None
    last_id: str | None


class ConversationStreams(ConversationRecord, kw_only=True, forbid_unknown_fields=True):
    """A conversation with a page of its streams, newest first."""

    data: list[StreamRecord]
    has_more: bool
    """Whether there are older ones: they are behind `before=<last_id>`."""
    first_id: str | None
    last_id: str | None


class ExportedStream(StreamRecord, kw_only=True, forbid_unknown_fields=True):
    """A stream with what was said in it."""

    answer: str
    sources: list[Passage]
    rationale: str | None = None
    """The reasoning; `null`: there was none. Left out where the reader may not see it."""


class ExportedConversation(ConversationRecord, kw_only=True, forbid_unknown_fields=True):
    """A conversation with everything said in it."""

    data: list[ExportedStream]
    """The oldest first."""


class ConversationDeleted(msgspec.Struct, forbid_unknown_fields=True):
    """That a conversation is no longer there."""

    id: str
    object: Literal["conversation"]
    deleted: Literal[True]
    streams: int
    """How many streams went with it."""


class Cancelled(msgspec.Struct, forbid_unknown_fields=True):
    """What became of the wish to stop a stream."""

    id: str
    state: Literal["running", "ended"]
    cancelled: bool
    """`false`: it had ended by itself before."""


class Changed(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a stream from now on when its last reader leaves."""

    id: str
    state: Literal["running", "ended"]
    on_disconnect: Literal["cancel", "continue"] | float


class LoggedIn(msgspec.Struct, forbid_unknown_fields=True):
    """A login; what stands for the key is in `Set-Cookie`."""

    owner: str
    """Whose streams may be read now."""
    key: str
    """How the key begins, as lists name it."""
    expires_in_seconds: int


class LoggedOut(msgspec.Struct, forbid_unknown_fields=True):
    """The end of a login."""

    ended: bool


class UpstreamHealth(msgspec.Struct, forbid_unknown_fields=True):
    """How an upstream was when it was last asked."""

    name: str
    state: Literal["unused", "well", "unwell"]
    detail: str | None
    circuit: Literal["closed", "open", "half_open"]
    """`open`: it failed again and again, and is left alone where there is another; `half_open`: one tries it out."""
    failures_in_a_row: int
    left_alone_seconds: float
    """How much longer."""
    retries_left: int
    """How many more times it would be asked again after failures, of 100."""


class Health(msgspec.Struct, forbid_unknown_fields=True):
    """How headrace and its upstreams are."""

    status: Literal["ok", "draining"]
    service: Literal["headrace"]
    version: str | UnsetType = UNSET
    """This and what follows is told to whoever shows a key, or to all where none is asked for."""
    streams: int | UnsetType = UNSET
    """How many are in progress."""
    readers: int | UnsetType = UNSET
    """How many are served now."""
    cancelled_after_grace: int | UnsetType = UNSET
    """How many answers were cancelled since the start because no reader came back in time."""
    upstreams: list[UpstreamHealth] | UnsetType = UNSET


class Ready(msgspec.Struct, forbid_unknown_fields=True):
    """Whether new requests are taken."""

    ready: bool


# -- Ollama's routes


class OllamaLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line of an answer, or all of it: `response` of `/api/generate`, `message` of `/api/chat`."""

    model: str
    created_at: str
    done: bool
    """`true`: the last one."""
    message: Object | None = None
    response: str | None = None
    thinking: str | None = None
    tool_calls: list[Object] | None = None
    done_reason: str | None = None
    total_duration: int | None = None
    """In nanoseconds, as all durations here."""
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    headrace: Extras | None = None
    error: str | None = None
    """On the last line of an answer that was cancelled."""


class OllamaTag(msgspec.Struct, forbid_unknown_fields=True):
    """A model."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Object


class OllamaTags(msgspec.Struct, forbid_unknown_fields=True):
    """The models that are configured."""

    models: list[OllamaTag]


class OllamaVersion(msgspec.Struct, forbid_unknown_fields=True):
    """The version of Ollama's API that is spoken here."""

    version: str
    headrace: str
