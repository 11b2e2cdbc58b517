"""What OpenAI's routes are described as."""

from __future__ import annotations

from headrace.protocols.answer_shapes.openai import (
    ChatCompletion,
    ChatCompletionChunk,
    Model,
    ModelList,
    TextCompletion,
)
from headrace.protocols.request_shapes import ChatRequest, CompletionRequest
from headrace.server.describing import EVENTS, JSON, QUESTION, Answer, Description, Parameter

_CHAT = {"model": "offline", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
_NAME = Parameter("name", "path", str, "The name of a model; it may hold slashes.", "offline")
CHAT_COMPLETIONS = Description(
    group="OpenAI",
    summary="OpenAI's chat completions",
    told="The HTTP status waits for the first token, or for the failure, though no longer than one heartbeat.",
    body=ChatRequest,
    example=_CHAT,
    answers=(
        Answer(JSON, ChatCompletion, told="The whole answer."),
        Answer(EVENTS, frame=ChatCompletionChunk, told="With `stream: true`: chunks, then `[DONE]`."),
    ),
    generates=True,
)
COMPLETIONS = Description(
    group="OpenAI",
    summary="OpenAI's older completions",
    told="The prompt is put to the model as a message of its user.",
    body=CompletionRequest,
    example={"model": "offline", "prompt": QUESTION, "stream": True},
    answers=(
        Answer(JSON, TextCompletion, told="The whole answer."),
        Answer(EVENTS, frame=TextCompletion, told="With `stream: true`: chunks, then `[DONE]`."),
    ),
    generates=True,
)
MODELS = Description(
    group="OpenAI",
    summary="The models of the settings, the default first",
    told="A model that is not listed can be asked for all the same, as `upstream/model`.",
    answers=(Answer(JSON, ModelList),),
)
MODEL = Description(
    group="OpenAI",
    summary="One model",
    answers=(Answer(JSON, Model),),
    parameters=(_NAME,),
    errors=(404,),
)
