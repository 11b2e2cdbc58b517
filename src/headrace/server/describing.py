"""What each route is described as: the words and types that `/openapi.json` is made of, one entry for each route.

A row of the table in `headrace.server.routes` cannot be written without one of these. The bodies' shapes are the
protocols' (`request_shapes`, `answer_shapes`); how all of it becomes a document is in `headrace.server.openapi`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from headrace.protocols import PROTOCOLS
from headrace.protocols import answer_shapes as answered
from headrace.protocols import request_shapes as asked
from headrace.requests import Interruption

Group: TypeAlias = Literal[
    "OpenAI", "Headrace", "Ollama", "Streams", "Conversations", "Documents", "Durable Streams", "Server", "Pages"
]

Flag: TypeAlias = Literal["true", "false"]
Offset: TypeAlias = Annotated[int, Meta(ge=0, lt=10**18)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
Protocol: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": list(PROTOCOLS)})]
StreamID: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.~-]{22,128}$")]

JSON = "application/json"
EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
TEXT = "text/plain"
HTML = "text/html"


class Answer(msgspec.Struct, frozen=True):
    """One way a route answers when all is well."""

    media_type: str | None
    """`None`: without a body."""
    shape: Any = None
    """The type of a JSON body."""
    frame: Any = None
    """The type of the JSON in one event, or in one line."""
    told: str = ""
    status: int = 200


class Parameter(msgspec.Struct, frozen=True):
    """Something in a request's address or headers."""

    name: str
    place: Literal["path", "query", "header"]
    kind: Any
    told: str
    example: str | None = None
    required: bool = False
    """Of one that is no part of the path, which always is."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader of the documentation is told of one route."""

    group: Group
    summary: str
    """One line, without a full stop."""
    told: str = ""
    body: type[msgspec.Struct] | None = None
    example: dict[str, Any] | None = None
    """A body that works on a server without any settings."""
    text_body: bool = False
    """Whether the body is a text as it is, instead of JSON."""
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    """HTTP statuses of the errors that this route has besides those that every route has."""
    generates: bool = False
    """Whether it starts an answer: such routes know the options of a request, and fail as upstreams do."""
    keyless: bool = False
    """Whether no key is asked for, also where keys are."""


_TIMERS = "(connect|first_token|between_tokens|total)=[0-9]{1,6}"

ENCODING_OPTIONS = (
    Parameter("Headrace-Event-Ids", "header", Flag, "`true`: each frame carries the offset of its event as `id:`."),
    Parameter("Headrace-Rationale", "header", Flag, "`false`: reasoning is not sent."),
    Parameter("Headrace-Pace", "header", Literal["recorded"], "A recorded stream is replayed at its own speed."),
    Parameter("Headrace-Heartbeat", "header", Seconds, "Seconds that the connection may be silent; 0: for ever."),
)
"""What every reader of a stream may ask of its encoding."""

OPTIONS = (
    *ENCODING_OPTIONS,
    Parameter(
        "Headrace-On-Disconnect",
        "header",
        Annotated[str, Meta(pattern=r"^(cancel|continue|[0-9]{1,6})$")],
        "What becomes of the answer when its last reader leaves: `cancel`, `continue`, or seconds to wait for one.",
    ),
    Parameter(
        "Headrace-On-Interruption",
        "header",
        Interruption,
        "What becomes of an answer that breaks off: the same model goes on, or any of its list, or it ends there.",
    ),
    Parameter(
        "Headrace-Timeouts",
        "header",
        Annotated[str, Meta(pattern=f"^{_TIMERS}(,{_TIMERS})*$")],
        "The timers of this request in seconds, as `first_token=60,total=300`; 0: no limit.",
    ),
    Parameter(
        "Headrace-Parent",
        "header",
        StreamID,
        "The stream of a conversation that this one comes after. Left out: the conversation's latest.",
    ),
    Parameter(
        "Headrace-Relation",
        "header",
        Literal["follow", "sibling", "continue"],
        "How it belongs to that stream: a question after it, another answer beside it, or a continuation of it.",
    ),
    Parameter("Headrace-Early-Headers", "header", Flag, "`true`: the answer opens at once, before the first token."),
    Parameter("Headrace-Stream", "header", StreamID, "The id of the new stream, made of 128 random bits."),
    Parameter(
        "Idempotency-Key",
        "header",
        Annotated[str, Meta(pattern=r"^[!-~]{1,255}$")],
        "Makes the request one that can be sent again: it joins the stream of the first, and is paid for once.",
    ),
)
"""What every request that starts an answer may ask for; all but the last three also stand in the body's `headrace`."""

REQUEST_ID = Parameter(
    "X-Request-Id",
    "header",
    Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")],
    "An id of your own for this request; the answer repeats it.",
)

_SAY = "What is a stream?"
_CHAT = {"model": "offline", "messages": [{"role": "user", "content": _SAY}], "stream": True}

_STREAM_ID = Parameter("stream_id", "path", str, "The id that `Headrace-Stream` told.")
_NAME = Parameter("name", "path", str, "The name of a model; it may hold slashes.", "offline")

CHAT_COMPLETIONS = Description(
    group="OpenAI",
    summary="OpenAI's chat completions",
    told="The HTTP status waits for the first token, or for the failure, though no longer than one heartbeat.",
    body=asked.ChatRequest,
    example=_CHAT,
    answers=(
        Answer(JSON, answered.ChatCompletion, told="The whole answer."),
        Answer(EVENTS, frame=answered.ChatCompletionChunk, told="With `stream: true`: chunks, then `[DONE]`."),
    ),
    generates=True,
)
COMPLETIONS = Description(
    group="OpenAI",
    summary="OpenAI's older completions",
    told="The prompt is put to the model as a message of its user.",
    body=asked.CompletionRequest,
    example={"model": "offline", "prompt": _SAY, "stream": True},
    answers=(
        Answer(JSON, answered.TextCompletion, told="The whole answer."),
        Answer(EVENTS, frame=answered.TextCompletion, told="With `stream: true`: chunks, then `[DONE]`."),
    ),
    generates=True,
)
MODELS = Description(
    group="OpenAI",
    summary="The models of the settings, the default first",
    told="A model that is not listed can be asked for all the same, as `upstream/model`.",
    answers=(Answer(JSON, answered.ModelList),),
)
MODEL = Description(
    group="OpenAI",
    summary="One model",
    answers=(Answer(JSON, answered.Model),),
    parameters=(_NAME,),
    errors=(404,),
)
ASSISTANT = Description(
    group="Headrace",
    summary="A question to an assistant, answered as typed events",
    told="`/chat/basic` is always there; each `[assistants.NAME]` of the settings adds one.",
    body=asked.AssistantRequest,
    example={"query": _SAY, "stream": True},
    answers=(
        Answer(JSON, answered.AssistantAnswer, told="The whole answer."),
        Answer(EVENTS, frame=answered.TypedFrame, told="With `stream: true`: frames, then `[DONE]`."),
    ),
    parameters=(Parameter("assistant", "path", str, "The name of the assistant.", "basic"),),
    generates=True,
)
TEXT_EVENTS = Description(
    group="Headrace",
    summary="A question, answered as text over server-sent events",
    told="An event for each piece of text; line breaks are several `data:` lines. The end of the body is the end of the"
    " answer; what did not end well says so in an event named `error`.",
    body=asked.PromptRequest,
    example={"prompt": _SAY},
    answers=(
        Answer(EVENTS, told="Pieces of text."),
        Answer(JSON, answered.PromptAnswer, told="With `stream: false`: the whole answer."),
    ),
    generates=True,
)
QUERY = Description(
    group="Headrace",
    summary="A question, answered in one piece",
    body=asked.QueryRequest,
    example={"question": _SAY},
    answers=(Answer(JSON, answered.QueryAnswer),),
    generates=True,
)
QUERY_STREAM = Description(
    group="Headrace",
    summary="A question, answered as bare text while it is made",
    told="The body is the answer and nothing else. One that does not end well is cut off before its last chunk.",
    body=asked.QueryRequest,
    example={"question": _SAY},
    answers=(Answer(TEXT, told="The answer."),),
    generates=True,
)
TOKENS = Description(
    group="Headrace",
    summary="Ollama's generate, answered as token frames",
    body=asked.TokensRequest,
    example={"model": "offline", "prompt": _SAY},
    answers=(
        Answer(EVENTS, frame=answered.GeneratedToken, told="Frames; the last one says `done`."),
        Answer(JSON, answered.GeneratedToken, told="With `stream: false`: one frame with all of it."),
    ),
    generates=True,
)
CHAT_TOKENS = Description(
    group="Headrace",
    summary="A message, answered as token frames",
    body=asked.MessageRequest,
    example={"message": _SAY},
    answers=(
        Answer(EVENTS, frame=answered.ChatToken, told="Frames; the last one's type is `done`, or `error`."),
        Answer(JSON, answered.ChatToken, told="With `stream: false`: one frame with all of it."),
    ),
    generates=True,
)
OLLAMA_GENERATE = Description(
    group="Ollama",
    summary="Ollama's generate",
    told="The body need not be declared as JSON. Without a prompt it asks that the model be loaded.",
    body=asked.OllamaGenerateRequest,
    example={"model": "offline", "prompt": _SAY},
    answers=(
        Answer(LINES, frame=answered.OllamaLine, told="Lines of JSON; the last one says `done`."),
        Answer(JSON, answered.OllamaLine, told="With `stream: false`: one object."),
    ),
    generates=True,
)
OLLAMA_CHAT = Description(
    group="Ollama",
    summary="Ollama's chat",
    told="The body need not be declared as JSON. Without messages it asks that the model be loaded.",
    body=asked.OllamaChatRequest,
    example={"model": "offline", "messages": [{"role": "user", "content": _SAY}]},
    answers=(
        Answer(LINES, frame=answered.OllamaLine, told="Lines of JSON; the last one says `done`."),
        Answer(JSON, answered.OllamaLine, told="With `stream: false`: one object."),
    ),
    generates=True,
)
TAGS = Description(
    group="Ollama",
    summary="The models that are configured",
    told="Nothing is known here of their files.",
    answers=(Answer(JSON, answered.OllamaTags),),
)
VERSION = Description(
    group="Ollama",
    summary="The version of Ollama's API that is spoken here",
    answers=(Answer(JSON, answered.OllamaVersion),),
)
ROOT = Description(
    group="Ollama",
    summary="That somebody is there",
    told="What Ollama's clients look for.",
    answers=(Answer(TEXT),),
)
STREAMS = Description(
    group="Streams",
    summary="Your streams, newest first",
    told="Nobody else's are among them. A conversation is the list of the streams that carry its id.",
    answers=(Answer(JSON, answered.StreamPage),),
    parameters=(
        Parameter("limit", "query", Annotated[int, Meta(ge=1, le=100)], "The most streams of one page. Left out: 20."),
        Parameter("before", "query", str, "The `last_id` of the page before: only streams that began before that one."),
        Parameter("conversation_id", "query", str, "Only the streams of this conversation."),
        Parameter("state", "query", Literal["running", "ended"], "Only those that are running, or have ended."),
    ),
    errors=(404,),
)
STREAM = Description(
    group="Streams",
    summary="What is known of a stream",
    told="A stream that belongs to another owner is not found.",
    answers=(Answer(JSON, answered.StreamRecord),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
STREAM_EVENTS = Description(
    group="Streams",
    summary="One more reader of a stream, from any offset, in any protocol",
    told="The stream may be running or have ended. What a reader asks of the encoding is asked in headers, as where a"
    " stream is started.",
    answers=(
        Answer(EVENTS, frame=answered.TypedFrame, told="Typed events; other protocols have their own frames."),
        Answer(LINES, frame=answered.OllamaLine, told="With `protocol=ollama_chat` or `ollama_generate`."),
        Answer(TEXT, told="With `protocol=plain_text`."),
        Answer(None, told="An `EventSource` came back to the end of a stream that has ended.", status=204),
    ),
    parameters=(
        _STREAM_ID,
        Parameter("after", "query", Offset, "The offset of the last event that was read. Left out: from the start."),
        Parameter("protocol", "query", Protocol, "How the events are written. Left out: `typed_events`."),
        Parameter(
            "include_usage",
            "query",
            Flag,
            "Whether the last chunk of OpenAI's protocols holds the usage. Left out: as the first reader asked.",
        ),
        Parameter("event_ids", "query", Flag, "The same as `Headrace-Event-Ids`, which wins over it."),
        Parameter("pace", "query", Literal["recorded"], "The same as `Headrace-Pace`, which wins over it."),
        Parameter("rationale", "query", Flag, "The same as `Headrace-Rationale`, which wins over it."),
        Parameter("Last-Event-ID", "header", Offset, "The same as `after`, and wins over it."),
        *ENCODING_OPTIONS,
    ),
    errors=(404, 410),
)
STREAM_CANCEL = Description(
    group="Streams",
    summary="Stop a stream for everybody, up to the upstream",
    told="Twice is the same as once.",
    answers=(Answer(JSON, answered.Cancelled),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
STREAM_CHANGE = Description(
    group="Streams",
    summary="Decide anew what becomes of a stream when its last reader leaves",
    told="As the option `on_disconnect` of its request did. It holds until the server is started again.",
    body=asked.StreamChange,
    answers=(Answer(JSON, answered.Changed),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
STREAM_DELETE = Description(
    group="Streams",
    summary="Forget a stream",
    told="One that is running is cancelled first. Readers that are attached read it to its end.",
    answers=(Answer(JSON, answered.Deleted),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
_DOCUMENT_ID = Parameter("document_id", "path", str, "The `id` that adding it told.")
DOCUMENTS = Description(
    group="Documents",
    summary="Your documents, the latest first",
    told="Nobody else's are among them.",
    answers=(Answer(JSON, answered.DocumentPage),),
    parameters=(
        Parameter("limit", "query", Annotated[int, Meta(ge=1, le=100)], "The most of one page. Left out: 20."),
        Parameter("before", "query", str, "The `last_id` of the page before: only documents added before that one."),
    ),
    errors=(404, 503),
)
DOCUMENT_ADD = Description(
    group="Documents",
    summary="Add a document for the model `offline` to answer from",
    told="The body is the file itself: Markdown, where its name ends in `.md` or `.markdown`, else plain text, in"
    " UTF-8. It is answered once it is indexed. One of the same name takes the place of the one before.",
    text_body=True,
    answers=(
        Answer(JSON, answered.AddedDocument, told="It can be answered from.", status=201),
        Answer(JSON, answered.AddedDocument, told="The same text was there before."),
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
    answers=(Answer(JSON, answered.DocumentRecord),),
    parameters=(_DOCUMENT_ID,),
    errors=(404, 503),
)
DOCUMENT_DELETE = Description(
    group="Documents",
    summary="Delete a document",
    told="No answer quotes it from then on. What was quoted before stays in the streams of those answers.",
    answers=(Answer(JSON, answered.DeletedDocument),),
    parameters=(_DOCUMENT_ID,),
    errors=(404, 503),
)
_CONVERSATION_ID = Parameter("conversation_id", "path", str, "The id of the conversation.", "a1b2")
CONVERSATIONS = Description(
    group="Conversations",
    summary="Your conversations, the one with the latest question first",
    told="Nobody else's are among them. With `q` only those in which a question and its answer, or the title, hold all"
    " these words, or words that begin so.",
    answers=(Answer(JSON, answered.ConversationPage),),
    parameters=(
        Parameter("q", "query", Annotated[str, Meta(max_length=200)], "Words to look for. Left out: all."),
        Parameter("limit", "query", Annotated[int, Meta(ge=1, le=100)], "The most of one page. Left out: 20."),
        Parameter("before", "query", str, "The `last_id` of the page before: only what stands behind that one."),
    ),
    errors=(404,),
)
CONVERSATION = Description(
    group="Conversations",
    summary="One conversation: its title, and a page of its streams",
    told="Each stream names its parent, so that branches can be told apart. A conversation that belongs to another"
    " owner is not found.",
    answers=(Answer(JSON, answered.ConversationStreams),),
    parameters=(
        _CONVERSATION_ID,
        Parameter("limit", "query", Annotated[int, Meta(ge=1, le=100)], "The most streams of one page. Left out: 20."),
        Parameter("before", "query", str, "The `last_id` of the page before: only streams that began before that one."),
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
        Answer(JSON, answered.ExportedConversation, told="`format=json`"),
        Answer(LINES, frame=answered.TypedFrame, told="`format=ndjson`: typed events, one a line."),
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
    body=asked.ConversationChange,
    answers=(Answer(JSON, answered.ConversationRecord),),
    parameters=(_CONVERSATION_ID,),
    errors=(404,),
)
CONVERSATION_DELETE = Description(
    group="Conversations",
    summary="Forget a conversation with all its streams",
    told="Those that are running are cancelled first. Readers that are attached read them to their end.",
    answers=(Answer(JSON, answered.ConversationDeleted),),
    parameters=(_CONVERSATION_ID,),
    errors=(404,),
)
LOGIN = Description(
    group="Server",
    summary="A cookie in place of a key",
    told="For pages, whose `EventSource` sends no header. The key may also be in a header, without any body.",
    body=asked.LoginRequest,
    answers=(Answer(JSON, answered.LoggedIn),),
    errors=(401,),
    keyless=True,
)
LOGOUT = Description(
    group="Server",
    summary="End a login",
    told="The one whose cookie is sent. Twice is the same as once.",
    answers=(Answer(JSON, answered.LoggedOut),),
    keyless=True,
)
_PATH = Parameter(
    "path", "path", str, "The name of the stream, which may hold slashes; `generations/{id}` is that of an answer.", "a"
)
_CONTENT_TYPE = Parameter(
    "Content-Type",
    "header",
    Annotated[str, Meta(pattern=r"^[a-z]+/[a-z0-9.+-]+(; ?[a-z]+=[a-z0-9-]+)?$")],
    "The type of what the stream holds.",
    "application/json",
)
_CLOSED = Parameter("Stream-Closed", "header", Literal["true"], "The stream ends here.")
_DURABLE = "The protocol is Durable Streams."

DURABLE_CREATE = Description(
    group="Durable Streams",
    summary="Create a stream of your own, or make sure that it is there",
    told=f"{_DURABLE} The body is its first content, of any type; an array of JSON is taken apart into messages.",
    answers=(
        Answer(None, told="It is new.", status=201),
        Answer(None, told="It was there, and is as asked for."),
    ),
    parameters=(
        _PATH,
        _CONTENT_TYPE,
        Parameter("Stream-TTL", "header", Annotated[int, Meta(ge=0, lt=10**10)], "Seconds that it lives unused."),
        Parameter("Stream-Expires-At", "header", str, "Until when it lives, as RFC 3339 writes it."),
        Parameter("Stream-Forked-From", "header", str, "The address of a stream whose beginning it shares."),
        Parameter("Stream-Fork-Offset", "header", str, "Up to where it shares it. Left out: all of it."),
        Parameter("Stream-Fork-Sub-Offset", "header", Offset, "So many bytes, or messages of JSON, further."),
        _CLOSED,
    ),
    errors=(400, 403, 404, 409, 413),
)
DURABLE_APPEND = Description(
    group="Durable Streams",
    summary="Append to a stream, close it, or both in one step",
    told=f"{_DURABLE} What a producer sends twice is appended once.",
    answers=(
        Answer(None, told="It is appended, or was before.", status=204),
        Answer(None, told="It is appended, for a producer."),
    ),
    parameters=(
        _PATH,
        _CONTENT_TYPE,
        _CLOSED,
        Parameter("Stream-Seq", "header", str, "Must rise from append to append, letter by letter."),
        Parameter("Producer-Id", "header", str, "Who appends; the next two go with it."),
        Parameter("Producer-Epoch", "header", Offset, "Which life of the producer this is."),
        Parameter("Producer-Seq", "header", Offset, "Its count of appends, from 0."),
    ),
    errors=(400, 403, 404, 409, 410, 413),
)
DURABLE_READ = Description(
    group="Durable Streams",
    summary="Read a stream, at once or as it grows",
    told=f"{_DURABLE} Every answer says in `Stream-Next-Offset` where to go on.",
    answers=(
        Answer("application/octet-stream", told="Content, of the type that the stream has; JSON as one array."),
        Answer(EVENTS, told="With `live=sse`: `data` and `control` events."),
        Answer(None, told="With `live=long-poll`: nothing came.", status=204),
        Answer(None, told="Nothing has changed since `If-None-Match`.", status=304),
    ),
    parameters=(
        _PATH,
        Parameter("offset", "query", str, "A `Stream-Next-Offset`, `-1` for the start, or `now`.", "-1"),
        Parameter("live", "query", Literal["long-poll", "sse"], "Wait for more: once, or as server-sent events."),
        Parameter("cursor", "query", Offset, "The `Stream-Cursor` of the answer before."),
    ),
    errors=(400, 404, 410),
)
DURABLE_DELETE = Description(
    group="Durable Streams",
    summary="Delete a stream",
    told=f"{_DURABLE} Content that forks share is kept for them.",
    answers=(Answer(None, status=204),),
    parameters=(_PATH,),
    errors=(403, 404, 410),
)
DURABLE_PREFLIGHT = Description(
    group="Durable Streams",
    summary="What a page may send",
    told="Pages of other origins are let in by `server.allowed_origins` alone.",
    answers=(Answer(None, status=204),),
    parameters=(_PATH,),
    errors=(404,),
    keyless=True,
)
HEALTH = Description(
    group="Server",
    summary="How headrace and its upstreams are",
    told="No upstream is called for it. Where keys are asked for, whoever shows none is told `status` and `service`.",
    answers=(Answer(JSON, answered.Health),),
    keyless=True,
)
READY = Description(
    group="Server",
    summary="Whether new requests are taken",
    answers=(
        Answer(JSON, answered.Ready, told="New requests are taken."),
        Answer(JSON, answered.Ready, told="The server drains.", status=503),
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
DOCS = Description(
    group="Pages",
    summary="These routes as a page for people",
    told="It loads nothing from any other host.",
    answers=(Answer(HTML),),
    keyless=True,
)
CHAT_PAGE = Description(
    group="Pages",
    summary="The chat page",
    told="Ask, stop, reload, come back: an answer goes on where it is. It loads nothing from any other host.",
    answers=(Answer(HTML),),
    keyless=True,
)
PAGE_FILE = Description(
    group="Pages",
    summary="A file that a page is made of",
    told="Its address holds the hash of what it holds, so it may be kept for ever.",
    answers=(
        Answer("text/javascript"),
        Answer("text/css"),
        Answer("image/svg+xml"),
    ),
    parameters=(
        Parameter("digest", "path", str, "The hash of all files of the pages.", "0"),
        Parameter("file", "path", str, "The name of the file.", "docs.js"),
    ),
    errors=(404,),
    keyless=True,
)
