"""What a request's body may hold, route by route: the shapes that `/openapi.json` describes.

Pure. Bodies are read field by field (`headrace.protocols.reading`), since mistakes are answered in words and what is
not known is passed on; these structs say the same as data. A test holds the two together: each field here is read
there, and each field that is read there stands here. Docstrings are the descriptions that readers get to see.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from headrace.protocols.reading import MOST_CHOICES, MOST_TOKENS
from headrace.requests import Interruption

Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
Said: TypeAlias = Annotated[str, Meta(pattern=r"[^\s]")]
"""A text with more in it than blanks."""
Named: TypeAlias = Annotated[str, Meta(min_length=1)]
No: TypeAlias = Annotated[bool, Meta(extra_json_schema={"const": False})]
Object: TypeAlias = dict[str, Any]


# -- what every route knows


class Timers(msgspec.Struct, forbid_unknown_fields=True):
    """The four timers of this request, in seconds; 0: no limit. What is left out is as the server has it."""

    connect: Seconds | None = None
    """Until the upstream accepts a connection."""
    first_token: Seconds | None = None
    """From then until its first token."""
    between_tokens: Seconds | None = None
    """Between two tokens."""
    total: Seconds | None = None
    """For the whole answer."""


class RequestOptions(msgspec.Struct):
    """What is asked of headrace itself, whatever the protocol. Each has a header of the same meaning, which wins."""

    on_disconnect: Literal["cancel", "continue"] | Seconds | None = None
    """What becomes of the answer when its last reader leaves: ended, carried on, or ended after so many seconds."""
    on_interruption: Interruption | None = None
    """What becomes of an answer that breaks off: the same model goes on, or any of its list, or it ends there."""
    timeouts: Timers | None = None
    heartbeat_seconds: Seconds | None = None
    """How long the connection may be silent before a heartbeat is sent; 0: none."""
    rationale: bool | None = None
    """`false`: reasoning is not sent."""
    event_ids: bool | None = None
    """`true`: each frame carries the offset of its event as `id:`."""
    pace: Literal["recorded"] | None = None
    """`recorded`: a stream that was recorded is replayed at its own speed."""
    parent: Annotated[str, Meta(min_length=1)] | None = None
    """The stream of a conversation that this one comes after. Left out: the conversation's latest."""
    relation: Literal["follow", "sibling", "continue"] | None = None
    """How it belongs to `parent`: a question after it, another answer beside it, or a continuation of its answer."""


class Sampling(msgspec.Struct, kw_only=True):
    """Fields of OpenAI's chat API that go to the upstream as they came."""

    max_tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None = None
    """The most tokens to generate."""
    max_completion_tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None = None
    """The same by its newer name, which wins."""
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    """How many answers are wanted."""
    seed: int | None = None
    stop: str | list[str] | None = None
    """Texts that end the answer."""
    user: str | None = None
    tools: list[Object] | None = None
    tool_choice: str | Object | None = None
    response_format: Object | None = None
    metadata: Object | None = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = None
    logit_bias: Object | None = None
    headrace: RequestOptions | None = None


# -- messages


class Part(msgspec.Struct):
    """One part of a message's content: a text, an image, a sound. What it holds besides is passed on as it came."""

    type: str
    """`text`, `image_url`, …"""
    text: str | None = None


Parts: TypeAlias = Annotated[list[Part], Meta(min_length=1)]


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    """What the user says."""

    content: str | Parts


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    """What the model is told beforehand."""

    content: str | Parts | None = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer"):
    """The same by its newer name."""

    content: str | Parts | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """What the model said before: a text, tool calls, or both."""

    content: str | Parts | None = None
    tool_calls: list[Object] | None = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """What a tool gave back."""

    content: str | Parts | None = None
    tool_call_id: str | None = None
    """The id of the call that this answers."""


ChatMessage: TypeAlias = UserMessage | SystemMessage | DeveloperMessage | AssistantMessage | ToolMessage


# -- OpenAI's routes


class StreamOptions(msgspec.Struct):
    """What else a stream holds."""

    include_usage: bool | None = None
    """`true`: the last chunk holds the usage."""


class ChatRequest(Sampling, kw_only=True):
    """A request for a chat completion. Fields that are not named here go to the upstream as they came."""

    model: Named
    """One of `GET /v1/models`, or `upstream/model`."""
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    """`true`: server-sent events. Otherwise one JSON object."""
    stream_options: StreamOptions | None = None


class CompletionRequest(Sampling, kw_only=True):
    """A request for a completion. The prompt is put to the model as a message of its user."""

    model: Named
    """One of `GET /v1/models`, or `upstream/model`."""
    prompt: Named | Annotated[list[Named], Meta(min_length=1, max_length=1)]
    """One prompt. Token ids and several prompts are refused."""
    stream: bool | None = None
    """`true`: server-sent events. Otherwise one JSON object."""
    stream_options: StreamOptions | None = None
    suffix: Literal[""] | None = None
    """Not served; refused unless it is empty."""
    echo: No | None = None
    """Not served; refused unless it is false."""
    logprobs: No | None = None
    """Not served here; `/v1/chat/completions` has them."""
    best_of: int | None = None
    """Read and passed over: the best of several is one of several."""


# -- headrace's own routes


class Question(Sampling, kw_only=True):
    """What every question may hold besides itself."""

    model: str | None = None
    """The model that answers. Left out: the server's first."""
    stream: bool | None = None
    """`false`: one JSON object. Otherwise as it is made."""
    language: str | None = None
    """The language to answer in, as `en`."""
    conversation_id: str | None = None
    """Carries a conversation on: its earlier questions and answers are shown to the model."""


class PromptRequest(Question, kw_only=True):
    """A question to `/chat`."""

    prompt: Said
    query: str | None = None
    """Another name of the question."""
    message: str | None = None
    """Another name of the question."""


class QueryRequest(Question, kw_only=True):
    """A question to `/api/query`. Whether it is streamed, the route decides."""

    question: Said
    query: str | None = None
    """Another name of the question."""
    prompt: str | None = None
    """Another name of the question."""


class MessageRequest(Question, kw_only=True):
    """A message, or a whole conversation, to `/api/chat/stream`."""

    message: Said
    """The last thing said. May be left out where `messages` holds it."""
    query: str | None = None
    """Another name of the message."""
    prompt: str | None = None
    """Another name of the message."""
    messages: list[ChatMessage] | None = None
    """What was said before."""


class MetaParameters(msgspec.Struct):
    """Another place for `stream`."""

    stream: bool | None = None


class AssistantRequest(Sampling, kw_only=True):
    """A question to an assistant."""

    query: Said
    """The question."""
    message: str | None = None
    """Another name of the question."""
    prompt: str | None = None
    """Another name of the question."""
    stream: bool | None = None
    """`true`: server-sent events as they come. Otherwise one JSON object."""
    meta_params: MetaParameters | None = None
    model: str | None = None
    """The model that answers. Left out: the assistant's own, or the server's first."""
    language: str | None = None
    """The language to answer in, as `en`."""
    conversation_id: str | None = None
    """Carries a conversation on. Left out: a new one is begun."""
    history: list[ChatMessage] | None = None
    """Earlier messages; where they are sent, nothing else is shown to the model."""


# -- Ollama's routes


class OllamaFunction(msgspec.Struct):
    """A function that was called."""

    name: str
    arguments: Object | str = {}


class OllamaToolCall(msgspec.Struct):
    """A call that the model made before."""

    function: OllamaFunction
    id: str | None = None


class OllamaMessage(msgspec.Struct):
    """One message as Ollama writes it."""

    role: Named
    content: str | None = None
    images: list[str] | None = None
    """Images in base64."""
    tool_calls: list[OllamaToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaOptions(msgspec.Struct):
    """Options of the model. What is not named here goes to upstreams that are an Ollama."""

    num_predict: int | None = None
    """The most tokens to generate; below 1: no limit."""
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class OllamaRequest(msgspec.Struct, kw_only=True):
    """What both of Ollama's routes know."""

    model: Named
    """One of `GET /api/tags`, or `upstream/model`."""
    stream: bool | None = None
    """`false`: one JSON object. Otherwise lines of JSON."""
    options: OllamaOptions | None = None
    tools: list[Object] | None = None
    format: Literal["json", ""] | Object | None = None
    """`json`, or a JSON schema that the answer shall keep to."""
    think: bool | str | None = None
    """Whether, or how hard, the model thinks first."""
    headrace: RequestOptions | None = None


class OllamaChatRequest(OllamaRequest, kw_only=True):
    """A request to `/api/chat`. Without messages it asks that the model be loaded."""

    messages: list[OllamaMessage] | None = None


class OllamaGenerateRequest(OllamaRequest, kw_only=True):
    """A request to `/api/generate`. Without a prompt it asks that the model be loaded."""

    prompt: str | None = None
    system: str | None = None
    """What the model is told beforehand."""
    images: list[str] | None = None
    """Images in base64."""
    suffix: Literal[""] | None = None
    """Not served; refused unless it is empty."""
    template: Any = None
    """Read and passed over, as `raw` and `context` are."""
    raw: Any = None
    context: Any = None


class TokensRequest(OllamaGenerateRequest, kw_only=True):
    """The same body for `/api/generate/stream`, where a prompt is needed."""

    prompt: Named


class StreamChange(msgspec.Struct):
    """What shall become of a stream when its last reader leaves."""

    on_disconnect: Literal["cancel", "continue"] | Seconds


class ConversationChange(msgspec.Struct):
    """What can be changed of a conversation."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    """Its title; line breaks become blanks."""


class LoginRequest(msgspec.Struct):
    """A key, for the cookie that shall stand for it."""

    key: Named
