"""What Ollama's routes are described as."""

from __future__ import annotations

from headrace.protocols.answer_shapes.ollama import OllamaLine, OllamaTags, OllamaVersion
from headrace.protocols.request_shapes import OllamaChatRequest, OllamaGenerateRequest
from headrace.server.describing import JSON, LINES, QUESTION, TEXT, Answer, Description

OLLAMA_GENERATE = Description(
    group="Ollama",
    summary="Ollama's generate",
    told="The body need not be declared as JSON. Without a prompt it asks that the model be loaded.",
    body=OllamaGenerateRequest,
    example={"model": "offline", "prompt": QUESTION},
    answers=(
        Answer(LINES, frame=OllamaLine, told="Lines of JSON; the last one says `done`."),
        Answer(JSON, OllamaLine, told="With `stream: false`: one object."),
    ),
    generates=True,
)
OLLAMA_CHAT = Description(
    group="Ollama",
    summary="Ollama's chat",
    told="The body need not be declared as JSON. Without messages it asks that the model be loaded.",
    body=OllamaChatRequest,
    example={"model": "offline", "messages": [{"role": "user", "content": QUESTION}]},
    answers=(
        Answer(LINES, frame=OllamaLine, told="Lines of JSON; the last one says `done`."),
        Answer(JSON, OllamaLine, told="With `stream: false`: one object."),
    ),
    generates=True,
)
TAGS = Description(
    group="Ollama",
    summary="The models that are configured",
    told="Nothing is known here of their files.",
    answers=(Answer(JSON, OllamaTags),),
)
VERSION = Description(
    group="Ollama",
    summary="The version of Ollama's API that is spoken here",
    answers=(Answer(JSON, OllamaVersion),),
)
ROOT = Description(
    group="Ollama",
    summary="That somebody is there",
    told="What Ollama's clients look for.",
    answers=(Answer(TEXT),),
)
