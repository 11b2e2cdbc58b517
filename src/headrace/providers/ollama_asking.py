"""Asking an Ollama: a request in the terms of OpenAI's chat API becomes the body of `POST /api/chat`.

Pure. What a request holds of Ollama's own (`GenerationRequest.foreign`) goes along as it came. What Ollama has no word
for is left out, and named by `names_left_out`. May import floors 0 to 2. Source: Ollama's documentation (docs/api.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.errors import UpstreamRefused
from headrace.providers.left_out import foreign_names, names_beyond
from headrace.requests import GenerationRequest, Message
from headrace.wire import json_text
from headrace.wire.ollama import ToolCall

# Options that have the same name in both. The last three are no words of OpenAI's, but many servers know them.
_OPTIONS = (
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "top_k",
    "min_p",
    "repeat_penalty",
)
# Of the levels of `reasoning_effort` Ollama knows three, and off.
_THINK: Mapping[str, str | bool] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
# What is put in Ollama's words below. Of `n` and `tool_choice` only the values that say nothing new are.
_CARRIED = frozenset({*_OPTIONS, "stop", "tools", "tool_choice", "response_format", "reasoning_effort", "n"})


def names_left_out(request: GenerationRequest) -> list[str]:
    """The names of the fields that Ollama has no word for."""
    names = [*names_beyond(request, _CARRIED), *foreign_names(request, family="ollama")]
    for name, carried in (("n", (b"1", b"null")), ("tool_choice", (b'"none"', b'"auto"', b"null"))):
        if bytes(request.fields.get(name, b"null")) not in carried:
            names.append(name)
    return names


def asking_body(request: GenerationRequest, upstream: str) -> bytes:
    """The JSON body that asks for `request`, without what Ollama has no word for.

    Raises:
        UpstreamRefused: the request holds what cannot be put to an Ollama, and would be answered wrongly without it.
    """
    try:
        return _asked(request, upstream)
    except (ValueError, RecursionError) as error:
        raise _cannot_carry(f"JSON that cannot be read ({error})", "the request", upstream) from error


def _asked(request: GenerationRequest, upstream: str) -> bytes:
    fields = dict(request.fields)
    own = request.foreign.get("ollama", {})

    def take(name: str) -> Any:
        raw = fields.pop(name, None)
        return None if raw is None else msgspec.json.decode(raw)

    options: dict[str, Any] = {}
    for name in _OPTIONS:
        if (value := take(name)) is not None:
            options[name] = value
    if (stop := take("stop")) is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    if request.max_tokens is not None:
        options["num_predict"] = request.max_tokens
    if "options" in own:
        options = {**msgspec.json.decode(own["options"]), **options}
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request.messages, upstream),
        "stream": request.stream,
    }
    if options:
        body["options"] = options
    choice, tools = take("tool_choice"), fields.pop("tools", None)
    if tools is not None and choice != "none":
        body["tools"] = tools
    if (wanted := _format(take("response_format"))) is not None:
        body["format"] = wanted
    effort = take("reasoning_effort")
    if "think" in own:
        body["think"] = own["think"]
    elif isinstance(effort, str) and effort in _THINK:
        body["think"] = _THINK[effort]
    if "keep_alive" in own:
        body["keep_alive"] = own["keep_alive"]
    return json_text.encode(body)


def _format(wanted: Any) -> Any:
    match wanted:
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return schema
        case _:
            return None


def _messages(messages: tuple[Message, ...], upstream: str) -> list[dict[str, Any]]:
    asked = []
    names: dict[str, str] = {}  # of the tools that were called, by the ids of the calls
    for place, message in enumerate(messages):
        said: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
        said["content"], images = _content(message, f"messages[{place}]", upstream)
        if images:
            said["images"] = images
        fields = message.fields
        for call in _decode_calls(fields.get("tool_calls", _NULL)) or ():
            names[call.id or ""] = call.function.name
            arguments = _object(call.function.arguments)
            said.setdefault("tool_calls", []).append({"function": {"name": call.function.name, "arguments": arguments}})
        if (identifier := _decode_text(fields.get("tool_call_id", _NULL))) is not None:
            said["tool_call_id"] = identifier
            if identifier in names:
                said["tool_name"] = names[identifier]
        for name in ("reasoning_content", "reasoning"):
            if (thinking := _decode_text(fields.get(name, _NULL))) is not None:
                said["thinking"] = thinking
                break
        asked.append(said)
    return asked


def _content(message: Message, where: str, upstream: str) -> tuple[str, list[str]]:
    """The text of a message, and its images in base64."""
    if not isinstance(message.content, msgspec.Raw):
        return message.content or "", []
    images = []
    for part in msgspec.json.decode(message.content):
        match part:
            case {"type": "text" | "refusal"}:
                continue
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)} if (
                url.startswith("data:") and ";base64," in url[:99]
            ):
                images.append(url.partition(";base64,")[2])
            case {"type": "image_url"}:
                raise _cannot_carry("an image that is no data: URL in base64", where, upstream)
            case _:
                raise _cannot_carry(f"a part of the type {part.get('type')!r}", where, upstream)
    return message.text(), images


def _cannot_carry(what: str, where: str, upstream: str) -> UpstreamRefused:
    return UpstreamRefused(f"{upstream} takes text and images; {where} holds {what}", upstream=upstream, status=400)


def _object(arguments: Any) -> dict[str, Any]:
    """The arguments of an earlier tool call: an object for Ollama, text for everybody else."""
    try:
        value = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        value = arguments
    return value if isinstance(value, dict) else {} if value is None else {"arguments": value}


_NULL = msgspec.Raw(b"null")
_decode_calls = msgspec.json.Decoder(list[ToolCall] | None).decode
_decode_text = msgspec.json.Decoder(str | None).decode
