"""What the document says of bodies is what is read and written: each shape held against the code that it describes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
import pytest

from headrace.errors import InvalidRequest
from headrace.events import (
    Ended,
    Ending,
    Event,
    Failure,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.protocols import (
    PROTOCOLS,
    answer_shapes,
    ollama_requests,
    openai_chat,
    openai_completions,
    questions,
    reading,
    request_shapes,
    typed_events,
)
from headrace.protocols.objects import error_body
from headrace.protocols.ollama import error_text
from headrace.protocols.reading import Fields, Options
from headrace.requests import ReaderOptions, Timeouts
from headrace.timing import Timing
from headrace.usage import Usage, estimated

# Each protocol with the shape of its requests, of its whole answers, and of the JSON in its frames.
BODIES: dict[str, Any] = {
    "openai_chat": request_shapes.ChatRequest,
    "openai_completions": request_shapes.CompletionRequest,
    "ollama_chat": request_shapes.OllamaChatRequest,
    "ollama_generate": request_shapes.OllamaGenerateRequest,
    "typed_events": request_shapes.AssistantRequest,
    "durable_json": request_shapes.AssistantRequest,
    "text": request_shapes.PromptRequest,
    "plain_text": request_shapes.QueryRequest,
    "token_frames": request_shapes.TokensRequest,
    "chat_token_frames": request_shapes.MessageRequest,
}
WHOLES: dict[str, Any] = {
    "openai_chat": answer_shapes.openai.ChatCompletion,
    "openai_completions": answer_shapes.openai.TextCompletion,
    "ollama_chat": answer_shapes.ollama.OllamaLine,
    "ollama_generate": answer_shapes.ollama.OllamaLine,
    "typed_events": answer_shapes.typed_events.AssistantAnswer,
    "durable_json": answer_shapes.typed_events.AssistantAnswer,
    "text": answer_shapes.questions.PromptAnswer,
    "plain_text": answer_shapes.questions.QueryAnswer,
    "token_frames": answer_shapes.questions.GeneratedToken,
    "chat_token_frames": answer_shapes.questions.ChatToken,
}
FRAMES: dict[str, Any] = {
    "openai_chat": answer_shapes.openai.ChatCompletionChunk,
    "openai_completions": answer_shapes.openai.TextCompletion,
    "ollama_chat": answer_shapes.ollama.OllamaLine,
    "ollama_generate": answer_shapes.ollama.OllamaLine,
    "typed_events": answer_shapes.typed_events.TypedFrame,
    "token_frames": answer_shapes.questions.GeneratedToken,
    "chat_token_frames": answer_shapes.questions.ChatToken,
}
# Of OpenAI's sampling fields, Ollama's routes have their own; what else stands at the top of their bodies is passed on.
SAMPLING = set(reading._SAMPLING)
OLLAMA = ("ollama_chat", "ollama_generate", "token_frames")


def encoded_names(shape: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(shape)}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the fields that are taken out of bodies, as they are taken."""
    names: set[str] = set()

    class Noting(Fields):
        def take(self, name: str, kind: Any) -> Any:
            names.add(name)
            return super().take(name, kind)

        def take_raw(self, name: str) -> msgspec.Raw | None:
            names.add(name)
            return super().take_raw(name)

        def rest(self) -> dict[str, msgspec.Raw]:
            names.add("the rest")
            return super().rest()

    for module in (openai_chat, openai_completions, ollama_requests, questions, typed_events):
        monkeypatch.setattr(module, "Fields", Noting)
    return names


def least(shape: Any) -> dict[str, Any]:
    """A body with the needed fields and no others."""
    examples = {"messages": [{"role": "user", "content": "q"}]}
    return {
        field.encode_name: examples.get(field.encode_name, "q")
        for field in msgspec.structs.fields(shape)
        if field.required
    }


def test_every_protocol_has_a_shape_for_its_requests() -> None:
    assert BODIES.keys() == PROTOCOLS.keys() == WHOLES.keys()


@pytest.mark.parametrize("name", BODIES)
def test_what_is_read_is_described_and_what_is_described_is_read(name: str, taken: set[str]) -> None:
    shape = BODIES[name]
    PROTOCOLS[name].read(json.dumps(least(shape)).encode(), {})
    taken.remove("the rest")
    read = taken if name in OLLAMA else taken | SAMPLING
    assert read == encoded_names(shape)


@pytest.mark.parametrize("name", [name for name in BODIES if name not in OLLAMA])
def test_a_described_field_of_a_wrong_type_is_refused_by_its_name(name: str) -> None:
    shape = BODIES[name]
    for field in msgspec.structs.fields(shape):
        wrong: Any = {"nobody": "expects this"}
        if field.encode_name in ("metadata", "response_format", "tool_choice", "logit_bias"):
            wrong = 5
        elif field.encode_name == "headrace":
            wrong = "no object"
        elif field.encode_name in ("stream_options", "meta_params"):
            wrong = 7
        elif field.encode_name == "best_of":
            continue  # read and passed over
        body = json.dumps({**least(shape), field.encode_name: wrong}).encode()
        with pytest.raises(InvalidRequest) as refused:
            PROTOCOLS[name].read(body, {})
        assert refused.value.parameter is not None
        assert refused.value.parameter.split("[")[0] == field.encode_name


def test_the_options_of_a_request_are_those_that_are_read() -> None:
    # How a stream belongs to its parent is part of the parent, once it was read.
    assert encoded_names(request_shapes.RequestOptions) == {*Options.__struct_fields__, "relation"}
    assert encoded_names(request_shapes.Timers) == set(Timeouts.__struct_fields__)


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        (request_shapes.OllamaMessage, ollama_requests._Message),
        (request_shapes.OllamaOptions, ollama_requests._Options),
        (request_shapes.OllamaToolCall, ollama_requests._ToolCall),
        (request_shapes.OllamaFunction, ollama_requests._Function),
        (request_shapes.MetaParameters, typed_events._MetaParams),
    ],
)
def test_a_shape_inside_a_body_has_the_fields_that_are_read(shape: Any, read: Any) -> None:
    assert encoded_names(shape) == encoded_names(read)


# -- answers

STARTED = Started("s" * 22, "offline", 1_000_000_000_000_000_000, "en", "c1")
SOURCE = Source(1, "id", "title", "passage", 0.5)
USAGE = Usage(3, 2, "reported", "reported", "lab", 1, 1)
TIMING = Timing(9_000_000, 1_000, 2_000, 3_000, 4_000, "reasoning", 2)
FAILURE = Failure("upstream_truncated", "it broke", 502, upstream="lab", upstream_status=200, upstream_code="x")


def events(*, rich: bool, ending: Ending = "stop", failure: Failure | None = None) -> list[Event]:
    if not rich:
        return [STARTED, TextDelta("a"), UsageKnown(estimated(["q"], ["a"])), Ended(ending, failure, TIMING)]
    return [
        STARTED,
        Status("failed_over", "going on elsewhere", "lab/a", "lab/b"),
        Sources((SOURCE,)),
        ReasoningDelta("hm"),
        TextDelta("a"),
        ToolCallDelta(0, "call", "find", '{"a":'),
        ToolCallDelta(0, None, None, "1}"),
        UsageKnown(USAGE),
        Ended(ending, failure, TIMING),
    ]


SAID = {
    "rich": events(rich=True),
    "plain": events(rich=False),
    "cut": events(rich=True, ending="incomplete", failure=FAILURE),
    "cancelled": events(rich=False, ending="cancelled", failure=Failure("cancelled", "stopped", 499)),
}


@pytest.mark.parametrize("said", ["rich", "plain"])
@pytest.mark.parametrize("name", WHOLES)
def test_a_whole_answer_has_the_shape_that_is_described(name: str, said: str) -> None:
    body = PROTOCOLS[name].whole(SAID[said], ReaderOptions())
    msgspec.json.decode(body, type=WHOLES[name])


def records(name: str, said: Sequence[Event]) -> Iterator[bytes]:
    encoder = PROTOCOLS[name].encoder(ReaderOptions(include_usage=True))
    for offset, event in enumerate(said):
        yield from encoder.encode(offset, [event])


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_has_a_shape_that_is_described(name: str, said: str) -> None:
    for record in records(name, SAID[said]):
        if record == b"[DONE]":
            continue
        shape = FRAMES[name]
        if record.startswith(b'{"error":'):
            shape = answer_shapes.errors.OllamaError if name.startswith("ollama") else answer_shapes.errors.ErrorBody
            if name == "token_frames":
                shape = FRAMES[name]
        msgspec.json.decode(record, type=shape)


def test_errors_have_the_shapes_that_are_described() -> None:
    for error in (InvalidRequest("no", parameter="x"), cast("Ended", SAID["cut"][-1])):
        msgspec.json.decode(error_body(error), type=answer_shapes.errors.ErrorBody)
        msgspec.json.decode(error_text(error), type=answer_shapes.errors.OllamaError)
