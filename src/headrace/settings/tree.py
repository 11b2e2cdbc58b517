"""The settings themselves, field by field. The field, the variable and the flag share a name.

Every default is what a stranger wants on the first run: loopback, one file of the user's own, nothing to fill in. A
setting is added here in the change that makes something obey it, never before.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from headrace.requests import Interruption, Timeouts

Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[^/\s]+\Z", description="a name without spaces and slashes")]
Address: TypeAlias = Annotated[str, Meta(pattern=r"^https?://[^\s?#@]+\Z", description="an address as https://host/v1")]
VariableName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", description="the name of a variable, never the key itself")
]
KeyHash: TypeAlias = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="the SHA-256 of the key as 64 hexadecimal digits")
]
UpstreamModel: TypeAlias = Annotated[
    str, Meta(pattern=r"^[^/\s]+/\S.*\Z", description='texts such as "upstream/model"')
]

Prefill: TypeAlias = Literal["continue_final_message", "prefix", "assistant", "none"]
"""How an upstream is given the beginning of an answer that broke off (`headrace.runs.continuing`)."""

DEFAULT_TIMEOUTS = Timeouts(connect=5.0, first_token=120.0, between_tokens=30.0, total=600.0)
"""A cold model may take a minute before its first token and is not cut off (row O6)."""


class ServerSettings(msgspec.Struct, frozen=True):
    """`[server]`: where readers come in, and what one of them may ask of the machine."""

    host: str = "127.0.0.1"
    """The address listened on."""
    port: Port = 8000
    """The port listened on; 0: one the system chooses."""
    auth: bool = False
    """Whether a reader has to give a key (see `keys`)."""
    drain_seconds: float = 30.0
    """How long runs may go on after SIGTERM."""
    heartbeat_seconds: float = 15.0
    """How long a connection may be silent before a heartbeat is sent; 0: none."""
    long_poll_seconds: float = 20.0
    """How long a reader of `/v1/stream/` that waits for more waits before it is answered that there is none."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in `Host` that are answered besides the address itself and loopback; `*`: all."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins, such as `https://app.example`, whose pages may call this server."""
    body_limit_bytes: Positive = 4 * 1024 * 1024
    """The largest request body."""
    header_limit_bytes: Positive = 32 * 1024
    """The largest request line and headers together."""
    header_seconds: float = 10.0
    """How long a request's headers may take to arrive."""
    body_seconds: float = 30.0
    """How long a request's body may take to arrive."""
    write_stall_seconds: float = 30.0
    """How long a reader may take nothing before its connection is closed. Its stream goes on."""
    keep_alive_seconds: float = 75.0
    """How long an idle connection is kept for the next request."""
    max_streams: Positive = 10_000
    """The most streams in progress at once; one more is answered 503."""
    max_readers: Positive = 20_000
    """The most readers served at once, of any stream; one more is answered 503."""
    max_readers_per_stream: Positive = 5_000
    """The most of them that follow the same stream; one more is answered 503."""


class StoreSettings(msgspec.Struct, frozen=True):
    """`[store]`: where streams are kept."""

    kind: Literal["sqlite", "memory"] = "sqlite"
    """`sqlite`: in a file, from which streams are read again after a restart. `memory`: gone when the process ends."""
    path: str | None = None
    """The file of the `sqlite` store. `None`: `headrace.db` where the system keeps a user's data."""
    durability: Literal["memory", "process", "power"] = "process"
    """What readers are shown survives a killed process, or a power failure too (slower); `memory`: shown at once."""
    retention_hours: float = 24.0
    """How long an ended stream can be read again."""
    retention_megabytes: Positive = 10_240
    """How large the file may become before the streams that ended first are forgotten."""
    stream_limit_megabytes: Positive = 64
    """How much of one running stream `memory` keeps event by event; of what is beyond, it keeps what was said."""
    max_byte_logs: Positive = 10_000
    """The most streams that clients have written to `/v1/stream/` at once."""
    byte_log_limit_bytes: Positive = 64 * 1024 * 1024
    """The most memory that one of them may take."""
    byte_logs_limit_bytes: Positive = 256 * 1024 * 1024
    """The most memory that all of them together may take."""


class DocumentSettings(msgspec.Struct, frozen=True):
    """`[documents]`: what readers may add for the model `offline` to answer from."""

    limit_bytes: Positive = 5 * 1024 * 1024
    """The largest document."""
    max_per_owner: Positive = 1000
    """The most documents of one owner."""


class UpstreamSettings(msgspec.Struct, frozen=True):
    """One of `[[upstreams]]`: a place tokens come from. Its models are asked for as `name/model`."""

    name: Name
    """What it is called here. The name of a service in the catalogue brings that service's address and habits."""
    provider: str = "openai"
    """The language it speaks, one of the providers' table."""
    base_url: Address | None = None
    """Where its API begins. Needed unless the catalogue knows the name."""
    api_key_env: VariableName | None = None
    """The variable that holds its key. `None`, and none in the catalogue: no `Authorization` header is sent."""
    timeouts: Timeouts = Timeouts()
    """Its own timers; what is left out comes from `[timeouts]`."""
    max_concurrent: Positive | None = None
    """The most requests to it at once; others wait. `None`: no limit."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    """What it calls the most tokens to generate (row T3). `None`: as the catalogue has it."""
    min_characters_per_second: float = 0.0
    """An answer that begins more slowly is left for the model's next upstream, if it has one; 0: however slowly."""
    prefill: Prefill | None = None
    """How it takes the beginning of an answer that it shall go on with. `None`: as the catalogue has it."""
    transport: Literal["headrace", "httpx2"] = "headrace"
    """`headrace`: our own client, the quick one. `httpx2`: for proxies, and the way out should ours fail somebody."""


class ModelSettings(msgspec.Struct, frozen=True):
    """One of `[[models]]`: a name readers may ask for. `upstream/model` works without any entry."""

    name: str
    """What readers ask for; `*` catches every other name."""
    upstreams: tuple[UpstreamModel, ...]
    """`upstream/model`, in the order they are tried."""
    on_interruption: Interruption = "continue_same"
    """What is done when an answer breaks off: the same model goes on, or any of `upstreams`, or it ends there."""
    continue_prompt: bool = False
    """Whether an upstream that takes no beginning is asked in words to go on, by a message of ours."""
    hedge: bool = False
    """Whether an upstream that has said nothing for as long as 19 of 20 of its answers take is not waited for alone."""
    context_tokens: Positive | None = None
    """How many tokens the model takes: earlier questions beyond that are not shown to it. `None`: all are."""
    tokenizer: str | None = None
    """A `tokenizer.json` that counts tokens where the upstream reports none (extra `tokens`). `None`: an estimate."""


class AssistantSettings(msgspec.Struct, frozen=True):
    """`[assistants.NAME]`: what answers at `POST /chat/NAME`; `basic` is always there."""

    model: str | None = None
    """The model that answers where the request names none. `None`: the server's first."""
    instructions: str | None = None
    """The system message put before the conversation."""
    language: str | None = None
    """The language answered in where the request names none."""
    rationale: bool = True
    """Whether reasoning is sent as `rationale` frames (rows D3, D7)."""
    metadata: bool = True
    """Whether the `metadata` frame is sent (row D7)."""
    chunk_size: Positive | None = None
    """The most characters in one `token` frame; longer deltas are split (row D7). `None`: as they came."""
    history_turns: Annotated[int, Meta(ge=0)] = 10
    """How many earlier questions of a conversation, with their answers, the model is shown (row D1)."""


class KeySettings(msgspec.Struct, frozen=True):
    """One of `[[keys]]`: a key readers may come with. The key itself is written nowhere."""

    owner: Name
    """Whose key it is; an owner reads and cancels only their own streams."""
    hash: KeyHash
    """SHA-256 of the key, in hexadecimal digits."""
    max_streams: Positive | None = None
    """The most streams it may have in progress at once; one more is answered 429. `None`: no limit."""
    max_readers: Positive | None = None
    """The most answers it may be reading at once; one more is answered 429. `None`: no limit."""
    requests_per_minute: Positive | None = None
    """The most requests in any minute; one more is answered 429. `None`: no limit."""


class LoggingSettings(msgspec.Struct, frozen=True):
    """`[logging]`: what is said while the server runs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least grave message that is written."""
    format: Literal["auto", "text", "json"] = "auto"
    """`text` for people, one JSON object a line for programs; `auto`: text at a terminal."""


class Settings(msgspec.Struct, frozen=True):
    """Everything a person can choose."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    documents: DocumentSettings = DocumentSettings()
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    """`[timeouts]`: the four timers in seconds for upstreams that say nothing of their own; 0: no limit."""
    upstreams: tuple[UpstreamSettings, ...] = ()
    """Each with all four timers filled in."""
    models: tuple[ModelSettings, ...] = ()
    assistants: dict[str, AssistantSettings] = msgspec.field(default_factory=lambda: {"basic": AssistantSettings()})
    keys: tuple[KeySettings, ...] = ()
    logging: LoggingSettings = LoggingSettings()
