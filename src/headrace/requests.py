"""What a reader asks for, in our own words and in the terms of OpenAI's chat API.

A request keeps what was asked: the fields headrace itself acts on are named, everything else is kept as
the JSON it came as, and passes to upstreams of the same family untouched.
Vocabulary: imports only its neighbours on this floor. How a request is read from bytes is in
`headrace.protocols`; how it is put to an upstream, in `headrace.providers`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from headrace.errors import Timer

Disconnect: TypeAlias = Literal["cancel", "continue"] | float
"""What becomes of a run when its last reader leaves: ended, carried on, or ended after so many seconds."""

Interruption: TypeAlias = Literal["continue_same", "continue_any", "end"]
"""What becomes of an answer that broke off: the same model goes on, or any of the list, or it ends there."""

Relation: TypeAlias = Literal["follow", "continue"]
"""How a stream belongs to the one before it: its question follows that answer, or it goes on with that answer."""


class TextPart(msgspec.Struct, frozen=True, gc=False):
    """The text of one part of a message's content."""

    type: str
    text: str | None = None


_PARTS = msgspec.json.Decoder(list[TextPart])


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a conversation."""

    role: str
    content: str | msgspec.Raw | None = None
    """Text, or the JSON of a list of parts (images, audio, files) as it came."""
    fields: dict[str, msgspec.Raw] = {}
    """Every other key (`name`, `tool_calls`, `tool_call_id` …) as it came."""

    def text(self) -> str:
        """The text of this message; the texts of its parts joined by line breaks where it has parts."""
        if isinstance(self.content, str):
            return self.content
        if self.content is None:
            return ""
        return "\n".join(part.text for part in _PARTS.decode(self.content) if part.text is not None)


class Timeouts(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The four timers in seconds, each on its own (row T6). `None`: what the next wider choice says; 0: no limit."""

    connect: float | None = None
    first_token: float | None = None
    between_tokens: float | None = None
    total: float | None = None

    def seconds(self, timer: Timer) -> float | None:
        """The seconds of one timer."""
        match timer:
            case "connect":
                return self.connect
            case "first_token":
                return self.first_token
            case "between_tokens":
                return self.between_tokens
            case "total":
                return self.total

    def over(self, wider: Timeouts) -> Timeouts:
        """These where they are given, else those of `wider`."""
        return Timeouts(
            connect=wider.connect if self.connect is None else self.connect,
            first_token=wider.first_token if self.first_token is None else self.first_token,
            between_tokens=wider.between_tokens if self.between_tokens is None else self.between_tokens,
            total=wider.total if self.total is None else self.total,
        )


class ReaderOptions(msgspec.Struct, frozen=True, gc=False):
    """What one reader wants of the encoding; fixed when its encoder is made."""

    include_usage: bool = False
    rationale: bool = True
    metadata: bool = True
    event_ids: bool = False
    heartbeat_seconds: float | None = None
    """`None`: as the server has it; 0: none."""
    chunk_size: int | None = None
    """The most characters in one `token` frame; longer deltas are split, nothing is held back (row D7)."""
    pace: Literal["recorded"] | None = None
    """`recorded`: each event at its own time after the first. `None`: at once."""
    opens_at_once: bool = False
    """OpenAI's chunks: whether the first is written when the stream starts, or waits for the first content."""

    def within(self, view: ReaderOptions) -> ReaderOptions:
        """These, but nothing that `view` does not show, and split as there."""
        return msgspec.structs.replace(
            self,
            rationale=self.rationale and view.rationale,
            metadata=self.metadata and view.metadata,
            chunk_size=view.chunk_size if self.chunk_size is None else self.chunk_size,
        )


class Idempotency(msgspec.Struct, frozen=True, gc=False):
    """What makes a second request the same as a first: it joins the first one's stream."""

    key: str
    digest: str
    """SHA-256 of the route and the body, in hexadecimal digits."""


class Parent(msgspec.Struct, frozen=True, gc=False):
    """Where a stream belongs in its conversation."""

    id: str | None
    """The stream before it; `None`: it begins the conversation, or another branch of it."""
    relation: Relation | Literal["sibling"] = "follow"
    """`sibling` stands in what a reader asked alone: it is resolved into the place of the stream that is named."""


BEGINS = Parent(None)
"""The place of a conversation's first stream."""


class GenerationRequest(msgspec.Struct, frozen=True, gc=False):
    """One generation, as asked for."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    """Whether it is read live: asked of the upstream as a stream, or in one piece."""
    max_tokens: int | None = None
    """The most tokens to generate, whichever of its two names it came under (row T3)."""
    fields: dict[str, msgspec.Raw] = {}
    """Sampling, tools, response format, user, metadata and unknown fields, as the JSON they came as."""
    foreign: dict[str, dict[str, msgspec.Raw]] = {}
    """What has no word in OpenAI's chat API, by the family of APIs it came from: for upstreams of that family alone."""
    language: str | None = None
    conversation_id: str | None = None
    assistant: str | None = None
    """The assistant that answers, under its instructions; `None`: the model by itself."""
    parent: Parent | None = None
    """`None`: it is part of no conversation, or was made before streams named their parents."""
    timeouts: Timeouts = Timeouts()
    on_disconnect: Disconnect | None = None
    """`None`: as the route has it."""
    on_interruption: Interruption | None = None
    """`None`: as the model's entry in the settings has it."""
    view: ReaderOptions = ReaderOptions()
    """What whoever asked gets to see, narrowed by its assistant: no later reader of the stream gets to see more."""
    idempotency: Idempotency | None = None
    """`None`: every request is one of its own."""
    owner: str = ""
    """Whose answer it is: told by the run to providers that answer from what is the owner's own, and to no upstream."""
