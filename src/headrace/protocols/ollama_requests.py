"""Reading what Ollama's clients ask, in the terms of OpenAI's chat API.

Pure. What has no such term (`keep_alive`, most of `options`, `think`) is kept as it came, for upstreams that are an
Ollama themselves. Left out: `template`, `raw` and `context`, which speak of a prompt as its model sees it, and the
`thinking` of earlier answers, which services refuse. Source: `reference/ollama.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from headrace.errors import InvalidRequest
from headrace.protocols.reading import Fields, Options, read_options, reader_options
from headrace.requests import GenerationRequest, Message, ReaderOptions
from headrace.wire import json_text

FAMILY = "ollama"
"""The name of these fields in `GenerationRequest.foreign`."""

T = TypeVar("T")

# Options that OpenAI's chat API has under the same name.
_SHARED_OPTIONS = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")
# Words of `think` that `reasoning_effort` has too, with the same meaning.
_EFFORTS = ("low", "medium", "high")
# How the base64 of an image begins, by its type. Ollama's clients send no more than that.
_IMAGE_TYPES = (("/9j/", "image/jpeg"), ("iVBOR", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))


class _Options(msgspec.Struct):
    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


_decode_options = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str = {}


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: Annotated[str, msgspec.Meta(min_length=1)]
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


def read_chat(body: bytes, headers: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
    """The request of `/api/chat`; without messages it asks for the model to be loaded, and nothing else.

    Raises:
        InvalidRequest: a field is missing or wrong.
    """
    fields = Fields(body)
    asked = read_options(fields, headers)
    messages = _take(fields, "messages", list[_Message]) or []
    return _request(fields, asked, _messages(messages))


def read_generate(body: bytes, headers: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
    """The request of `/api/generate`; without a prompt it asks for the model to be loaded, and nothing else.

    Raises:
        InvalidRequest: a field is missing or wrong, or asks for a text to be filled in.
    """
    fields = Fields(body)
    asked = read_options(fields, headers)
    prompt = fields.take("prompt", str) or ""
    system = fields.take("system", str)
    images = _take(fields, "images", list[str])
    if fields.take("suffix", str):
        raise InvalidRequest('"suffix" is not served: nothing can be filled in before it', parameter="suffix")
    for name in ("template", "raw", "context"):
        fields.take_raw(name)
    messages: list[_Message] = []
    if prompt or images:
        messages = [_Message("system", system)] if system else []
        messages.append(_Message("user", prompt, images))
    return _request(fields, asked, _messages(messages))


def _request(fields: Fields, asked: Options, messages: tuple[Message, ...]) -> tuple[GenerationRequest, ReaderOptions]:
    model = fields.take("model", str)
    if not model:
        raise InvalidRequest('"model" is missing; GET /api/tags lists the names', parameter="model")
    stream = fields.take("stream", bool) is not False
    foreign: dict[str, msgspec.Raw] = {}
    translated: dict[str, msgspec.Raw] = {}
    limit = None
    if (raw := fields.take_raw("options")) is not None:
        options = _decoded("options", raw, _Options)
        limit = options.num_predict
        for name in _SHARED_OPTIONS:
            if (value := getattr(options, name)) is not None:
                translated[name] = msgspec.Raw(json_text.encode(value))
        # A copy: a Raw is a view that would keep the whole body alive as long as the stream.
        own = {name: value.copy() for name, value in _decode_options(raw).items() if name not in translated}
        if limit is not None and limit > 0:
            del own["num_predict"]
        if own:
            foreign["options"] = msgspec.Raw(json_text.encode(own))
    # Ollama's clients always send a list of tools, and OpenAI refuses an empty one.
    if (raw := fields.take_raw("tools")) is not None and _decoded("tools", raw, list[dict[str, Any]]):
        translated["tools"] = raw.copy()
    if (wanted := _response_format(fields.take_raw("format"))) is not None:
        translated["response_format"] = msgspec.Raw(json_text.encode(wanted))
    if (raw := fields.take_raw("think")) is not None:
        think = _decoded("think", raw, bool | str)
        if think not in _EFFORTS:
            foreign["think"] = raw.copy()
        if isinstance(think, str):
            translated["reasoning_effort"] = raw.copy()
        elif not think and asked.rationale is None:
            asked = msgspec.structs.replace(asked, rationale=False)
    foreign |= fields.rest()
    request = GenerationRequest(
        model=model,
        messages=messages,
        stream=stream,
        # -1 and -2 mean without end, and as much as the context holds.
        max_tokens=limit if limit is not None and limit > 0 else None,
        fields=translated,
        foreign={FAMILY: foreign} if foreign else {},
        timeouts=asked.timeouts,
        on_disconnect=asked.on_disconnect,
        on_interruption=asked.on_interruption,
    )
    return request, reader_options(asked)


def _response_format(raw: msgspec.Raw | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    wanted = _decoded("format", raw, str | dict[str, Any])
    if isinstance(wanted, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    if wanted in ("", "json"):
        return {"type": "json_object"} if wanted else None
    raise InvalidRequest(f'"format" is {wanted[:50]!r}; it must be "json" or a JSON schema', parameter="format")


def _messages(given: list[_Message]) -> tuple[Message, ...]:
    """The same messages as OpenAI writes them, with an id for each tool call, which Ollama's may lack."""
    messages = []
    # Calls that were not answered yet, as name and id.
    open_calls: list[tuple[str, str]] = []
    count = 0
    for message in given:
        fields: dict[str, msgspec.Raw] = {}
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                identifier = call.id or f"call_{count}"
                count += 1
                open_calls.append((call.function.name, identifier))
                calls.append(_tool_call(call.function, identifier))
            fields["tool_calls"] = msgspec.Raw(json_text.encode(calls))
        elif message.role == "tool":
            fields["tool_call_id"] = msgspec.Raw(json_text.encode(_answered(message, open_calls)))
        messages.append(Message(message.role, _content(message), fields))
    return tuple(messages)


def _tool_call(function: _Function, identifier: str) -> dict[str, Any]:
    arguments = function.arguments
    if isinstance(arguments, dict):
        arguments = json_text.encode(arguments).decode()
    return {"id": identifier, "type": "function", "function": {"name": function.name, "arguments": arguments}}


def _answered(message: _Message, open_calls: list[tuple[str, str]]) -> str:
    """The id of the call that a tool's message answers: its own, else that of the first open one of its name."""
    for place, (name, identifier) in enumerate(open_calls):
        if identifier == message.tool_call_id or (message.tool_call_id is None and message.tool_name in (None, name)):
            del open_calls[place]
            return identifier
    return message.tool_call_id or (open_calls.pop(0)[1] if open_calls else "call_0")


def _content(message: _Message) -> str | msgspec.Raw | None:
    if not message.images:
        return message.content or (None if message.tool_calls else "")
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
    parts += [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images]
    return msgspec.Raw(json_text.encode(parts))


def _data_url(image: str) -> str:
    kind = next((kind for beginning, kind in _IMAGE_TYPES if image.startswith(beginning)), "image/jpeg")
    return image if image.startswith("data:") else f"data:{kind};base64,{image}"


def _take(fields: Fields, name: str, kind: type[T]) -> T | None:
    raw = fields.take_raw(name)
    return None if raw is None else _decoded(name, raw, kind)


def _decoded(name: str, raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f'"{name}": {error}', parameter=name) from None
