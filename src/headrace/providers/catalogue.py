"""Services that speak a language some provider already knows: one row each, and nothing but data.

An upstream whose name is a row's gets that row's address, key variable and habits; what its settings say wins. An
upstream of another name but with a row's address gets its habits. May import floors 0 to 2; opens nothing.

Sources, as they stood in 2026-11: the services' API references at the addresses of the rows. What happens when a
connection is closed comes from OpenRouter's list of services that stop (lessons.md, L5), and for servers that people
run themselves from their source code. Where nobody says, it is `unknown`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from headrace.errors import SettingsError
from headrace.settings import Prefill, UpstreamSettings

OnClose: TypeAlias = Literal["stops", "goes on", "unknown"]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one service."""

    name: str
    provider: str = "openai"
    base_url: str | None = None
    """`None`: it has no address of its own that could be assumed, so the settings have to give one."""
    api_key_env: str | None = None
    """The variable its own documentation puts the key in."""
    key_required: bool = True
    """Whether it answers nobody without a key."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What it calls the most tokens to generate (row T3)."""
    asks_usage: bool = True
    """Whether it is asked for usage with `stream_options.include_usage`."""
    on_close: OnClose = "unknown"
    """Whether it goes on generating, and billing, when its connection is closed in the middle (L5)."""
    whole_goes_on: bool = False
    """Whether it goes on where the answer is not streamed, though it stops a stream."""
    prefill: Prefill = "none"
    """How it takes the beginning of an answer that it shall go on with; `none` where nobody says that it does."""
    notes: str = ""

    @property
    def may_go_on(self) -> Literal["never", "whole answers", "always"]:
        """When it may go on generating for nobody."""
        if self.on_close != "stops":
            return "always"
        return "whole answers" if self.whole_goes_on else "never"


SERVICES: tuple[Service, ...] = (
    # https://console.groq.com/docs/api-reference: max_tokens is deprecated there; usage also comes as x_groq.usage.
    Service(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        api_key_env="GROQ_API_KEY",
        max_tokens_field="max_completion_tokens",
        on_close="goes on",
        notes="Usage is in x_groq of the last chunk too.",
    ),
    # https://platform.openai.com/docs/api-reference/chat: reasoning models refuse max_tokens.
    Service(
        name="openai",
        base_url="https://api.openai.com/v1",
        api_key_env="OPENAI_API_KEY",
        max_tokens_field="max_completion_tokens",
        on_close="stops",
    ),
    # https://openrouter.ai/docs/api-reference/streaming: comments as heartbeats; whether closing stops the work depends
    # on the service behind the model.
    Service(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        api_key_env="OPENROUTER_API_KEY",
        notes="Closing stops the work where the service behind the model can be stopped.",
    ),
    # https://docs.together.ai/reference/chat-completions-1
    Service(
        name="together",
        base_url="https://api.together.xyz/v1",
        api_key_env="TOGETHER_API_KEY",
        on_close="stops",
    ),
    # https://docs.fireworks.ai/api-reference/post-chatcompletions: usage comes with the last chunk, asked for or not.
    Service(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        api_key_env="FIREWORKS_API_KEY",
        on_close="stops",
    ),
    # https://api-docs.deepseek.com/api/create-chat-completion: reasoning comes as reasoning_content. A beginning is
    # taken at https://api.deepseek.com/beta alone (/guides/chat_prefix_completion).
    Service(
        name="deepseek",
        base_url="https://api.deepseek.com/v1",
        api_key_env="DEEPSEEK_API_KEY",
        on_close="stops",
        notes='Goes on with an answer at its beta address: `base_url = "https://api.deepseek.com/beta"`, '
        '`api_key_env = "DEEPSEEK_API_KEY"`, `prefill = "prefix"`.',
    ),
    # https://docs.mistral.ai/api/: fields it does not know are refused with 422, stream_options among them
    # (llxprt-code#114, 2025-08); usage comes with the last chunk by itself. A last message of the assistant's is
    # taken as the beginning of the answer if it is marked with `prefix`, and refused otherwise.
    Service(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        api_key_env="MISTRAL_API_KEY",
        asks_usage=False,
        on_close="goes on",
        prefill="prefix",
        notes="Refuses unknown fields with 422.",
    ),
    # https://docs.x.ai/docs/api-reference: max_tokens is deprecated there.
    Service(
        name="xai",
        base_url="https://api.x.ai/v1",
        api_key_env="XAI_API_KEY",
        max_tokens_field="max_completion_tokens",
        on_close="stops",
    ),
    # https://docs.perplexity.ai/api-reference/chat-completions-post: there is no /v1 in its address.
    Service(
        name="perplexity",
        base_url="https://api.perplexity.ai",
        api_key_env="PERPLEXITY_API_KEY",
        on_close="goes on",
    ),
    # https://ai.google.dev/gemini-api/docs/openai
    Service(
        name="google",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        api_key_env="GEMINI_API_KEY",
        on_close="goes on",
        notes="Gemini, through its address for OpenAI's clients.",
    ),
    # https://inference-docs.cerebras.ai/api-reference/chat-completions: max_completion_tokens is its own name of it.
    Service(
        name="cerebras",
        base_url="https://api.cerebras.ai/v1",
        api_key_env="CEREBRAS_API_KEY",
        max_tokens_field="max_completion_tokens",
    ),
    # https://docs.api.nvidia.com/nim/reference/llm-apis
    Service(
        name="nvidia",
        base_url="https://integrate.api.nvidia.com/v1",
        api_key_env="NVIDIA_API_KEY",
    ),
    # https://docs.vllm.ai/en/stable/serving/openai_compatible_server/: listens on port 8000, as we do, so no address
    # is assumed. A disconnect aborts the request in its engine. continue_final_message since vllm#8942, 2024-10.
    Service(
        name="vllm",
        key_required=False,
        max_tokens_field="max_completion_tokens",
        on_close="stops",
        prefill="continue_final_message",
        notes="Listens on port 8000 as headrace does: give one of the two another port, and vLLM's address here.",
    ),
    # https://github.com/ggml-org/llama.cpp/tree/master/tools/server: the task is cancelled at the next write. A last
    # message of the assistant's is gone on with unless it was started with --no-prefill-assistant (llama.cpp#13608).
    Service(
        name="llama.cpp",
        base_url="http://127.0.0.1:8080/v1",
        key_required=False,
        on_close="stops",
        prefill="assistant",
    ),
    # transformers 5.23 (2026-11), run by tests/real: of stream_options it only says that it ignores them; usage comes
    # with the finish reason, and no [DONE]. A disconnect stops a stream, and no whole answer. Port 8000.
    Service(
        name="transformers",
        key_required=False,
        asks_usage=False,
        on_close="stops",
        whole_goes_on=True,
        notes="`transformers serve`. Listens on port 8000 as headrace does: start it with another --port.",
    ),
    # llama-cpp-python 0.3.36 (2026-11), run by tests/real: a stream reports no usage; when another request comes it
    # breaks a running one off with a bare [DONE], which we call incomplete. A disconnect stops a stream, and no whole
    # answer. Port 8000.
    Service(
        name="llama-cpp-python",
        key_required=False,
        asks_usage=False,
        on_close="stops",
        whole_goes_on=True,
        notes="`llama_cpp.server`. Breaks a stream off when another request comes: set `max_concurrent = 1` here, or "
        "start it with `--interrupt_requests false`. Listens on port 8000 as headrace does.",
    ),
    # https://docs.sglang.ai/basic_usage/openai_api_completions.html: its server has a request aborted when the
    # response is over, however it ended (python/sglang/srt/entrypoints/http_server.py).
    Service(
        name="sglang",
        base_url="http://127.0.0.1:30000/v1",
        key_required=False,
        on_close="stops",
        prefill="continue_final_message",  # since sglang#4226, 2025-03
    ),
    # https://lmstudio.ai/docs/developer/openai-compat
    Service(
        name="lmstudio",
        base_url="http://127.0.0.1:1234/v1",
        key_required=False,
    ),
    # https://docs.ollama.com/api. Leaving is seen at the next write (ollama#11889, 2025-08). Its templates leave a last
    # message of the assistant's open.
    Service(
        name="ollama",
        provider="ollama",
        base_url="http://127.0.0.1:11434",
        key_required=False,
        asks_usage=False,
        on_close="stops",
        prefill="assistant",
        notes="Through its own API. At an address that ends in /v1 it is asked through OpenAI's.",
    ),
    # Our own: answers from documents, needs nothing.
    Service(
        name="offline",
        provider="offline",
        key_required=False,
        on_close="stops",
    ),
)

# A service of its own name that speaks OpenAI's language, and of which nothing else is known. `max_tokens` is the older
# name and the one that the small servers know; closing a connection promises nothing.
UNKNOWN = Service(name="", key_required=False)

_BY_NAME = {service.name: service for service in SERVICES}
_BY_ADDRESS = {service.base_url: service for service in SERVICES if service.base_url is not None}


def service_named(name: str) -> Service | None:
    """The row of that name."""
    return _BY_NAME.get(name)


def service_of(upstream: UpstreamSettings) -> Service:
    """The row whose habits an upstream has: that of its address, else that of its name, else `UNKNOWN`.

    The address comes first, since somebody may call their own server `openai`.
    """
    address = None if upstream.base_url is None else upstream.base_url.rstrip("/")
    if address is not None and address in _BY_ADDRESS:
        return _BY_ADDRESS[address]
    row = _BY_NAME.get(upstream.name)
    if row is not None and (address is None or row.base_url is None):
        return row
    return UNKNOWN


def completed(upstream: UpstreamSettings) -> UpstreamSettings:
    """The same upstream with what its settings leave out taken from the catalogue.

    A key variable is only taken over together with the address it belongs to: a key goes nowhere but where its
    service is, unless the settings say so. Afterwards neither `max_tokens_field` nor `prefill` is `None`.

    Raises:
        SettingsError: its provider needs an address, and neither the settings nor the catalogue give one.
    """
    service = service_of(upstream)
    base_url = (upstream.base_url or service.base_url or "").rstrip("/") or None
    provider = upstream.provider
    if provider == "openai" and not (base_url or "").endswith("/v1"):
        # The default, or meant: a service that speaks another language is spoken to in it, but for a /v1 of OpenAI's.
        provider = (service if service is not UNKNOWN else _BY_NAME.get(upstream.name, UNKNOWN)).provider
    if base_url is None and provider != "offline":
        why = f" ({service.notes})" if service.notes else ""
        raise SettingsError(
            f'the upstream "{upstream.name}" lacks base_url: write where its API begins, such as'
            f' base_url = "http://127.0.0.1:8001/v1"{why}'
        )
    return msgspec.structs.replace(
        upstream,
        provider=provider,
        base_url=base_url,
        api_key_env=upstream.api_key_env or (service.api_key_env if base_url == service.base_url else None),
        max_tokens_field=upstream.max_tokens_field or service.max_tokens_field,
        prefill=upstream.prefill or service.prefill,
    )
