"""A request in OpenAI's terms, put to an Ollama: nothing is lost without being named."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from headrace.errors import UpstreamRefused
from headrace.protocols import PROTOCOLS
from headrace.providers.ollama_asking import asking_body, names_left_out
from headrace.requests import GenerationRequest
from headrace.wire import json_text

PNG = base64.b64encode(b"\x89PNG").decode()


def read(protocol: str, **fields: Any) -> GenerationRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}], **fields}
    return PROTOCOLS[protocol].read(json_text.encode(body), {})[0]


def asked(**fields: Any) -> tuple[dict[str, Any], list[str]]:
    """The body that a request to `/v1/chat/completions` comes to, without what all have, and what was left out."""
    request = read("openai_chat", **fields)
    body = asking_body(request, "larch")
    value = msgspec.json.decode(body)
    assert (value.pop("model"), value.pop("stream")) == ("m", bool(fields.get("stream")))
    if "messages" not in fields:
        assert value.pop("messages") == [{"role": "user", "content": "q"}]
    return value, names_left_out(request)


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, {}),
        ({"stream": True}, {}),
        ({"temperature": 0.5, "top_p": 0.9, "seed": 7}, {"options": {"temperature": 0.5, "top_p": 0.9, "seed": 7}}),
        ({"presence_penalty": 1, "frequency_penalty": -1, "top_k": 3},
         {"options": {"presence_penalty": 1, "frequency_penalty": -1, "top_k": 3}}),
        ({"stop": "."}, {"options": {"stop": ["."]}}),
        ({"stop": [".", "!"]}, {"options": {"stop": [".", "!"]}}),
        ({"max_tokens": 9}, {"options": {"num_predict": 9}}),
        ({"max_completion_tokens": 8, "max_tokens": 9}, {"options": {"num_predict": 8}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
         {"format": SCHEMA}),
        ({"tools": [TOOL]}, {"tools": [TOOL]}),
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [TOOL]}),
        ({"tools": [TOOL], "tool_choice": "none"}, {}),
        ({"reasoning_effort": "none"}, {"think": False}),
        ({"reasoning_effort": "minimal"}, {"think": "low"}),
        ({"reasoning_effort": "xhigh"}, {"think": "high"}),
        ({"user": "u", "metadata": {"a": "b"}, "n": 1, "temperature": None}, {}),
    ],
)  # fmt: skip
def test_what_ollama_has_a_word_for_is_put_in_its_words(fields: dict[str, Any], body: dict[str, Any]) -> None:
    assert asked(**fields) == (body, [])


@pytest.mark.parametrize(
    ("fields", "left_out"),
    [
        ({"n": 2}, ["n"]),
        ({"logit_bias": {"5": 1}, "logprobs": True}, ["logit_bias", "logprobs"]),
        ({"tool_choice": "required"}, ["tool_choice"]),
        ({"something_new": [1]}, ["something_new"]),
    ],
)
def test_what_it_has_no_word_for_is_left_out_and_named(fields: dict[str, Any], left_out: list[str]) -> None:
    assert asked(**fields) == ({}, left_out)


def test_messages_are_put_in_its_words() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"place":"Lëns"}'}}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    body, _ = asked(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "what"}, image, {"type": "text", "text": "is it"}]},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ]
    )
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what\nis it", "images": [PNG]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"function": {"name": "look_up", "arguments": {"place": "Lëns"}}}],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "call_1", "tool_name": "look_up"},
    ]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}, "no data: URL"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, "no data: URL"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "'input_audio'"),
        ({"type": "file", "file": {"file_id": "x"}}, "'file'"),
    ],
)
def test_a_part_that_cannot_be_carried_is_refused_and_named(part: dict[str, Any], said: str) -> None:
    with pytest.raises(UpstreamRefused, match=said) as caught:
        asked(messages=[{"role": "user", "content": [part]}])
    assert "messages[0]" in caught.value.message
    assert caught.value.failure().http_status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": "text"},
        {"tool_calls": [{}]},
        {"tool_calls": [{"function": {"name": 7}}]},
        {"tool_call_id": 7},
        {"reasoning": {"a": 1}},
    ],
)
def test_a_message_of_another_shape_is_the_readers_mistake(fields: dict[str, Any]) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        asked(messages=[{"role": "assistant", "content": "a", **fields}])
    assert caught.value.failure().http_status == 400


@pytest.mark.parametrize("depth", [40, *range(960, 1000), 60_000])
def test_arguments_nested_however_deeply_are_carried_or_refused(depth: int) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[" * depth + "]" * depth}}
    request = read("openai_chat", messages=[{"role": "assistant", "content": "", "tool_calls": [call]}])
    with suppress(UpstreamRefused):
        assert b"[" * depth + b"]" * depth in asking_body(request, "larch")


def test_what_an_ollama_client_asked_reaches_an_ollama_as_it_was_said() -> None:
    said = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "q", "images": [PNG]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "tool_name": "f", "content": "r"},
        ],
        "stream": False,
        "options": {"num_ctx": 4096, "mirostat": 1, "temperature": 0, "stop": ["."], "num_predict": -1},
        "tools": [TOOL],
        "format": SCHEMA,
        "think": True,
        "keep_alive": "5m",
    }
    request, _ = PROTOCOLS["ollama_chat"].read(json_text.encode(said), {})
    body = asking_body(request, "larch")
    value = msgspec.json.decode(body)
    (tool,) = (message for message in value["messages"] if message["role"] == "tool")
    assert tool.pop("tool_call_id") == "call_0"
    assert value == said
    assert names_left_out(request) == []
