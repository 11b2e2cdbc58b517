"""What headrace's own routes for a question are described as."""

from __future__ import annotations

from headrace.protocols.answer_shapes.questions import ChatToken, GeneratedToken, PromptAnswer, QueryAnswer
from headrace.protocols.answer_shapes.typed_events import AssistantAnswer, TypedFrame
from headrace.protocols.request_shapes import (
    AssistantRequest,
    MessageRequest,
    PromptRequest,
    QueryRequest,
    TokensRequest,
)
from headrace.server.describing import EVENTS, JSON, QUESTION, TEXT, Answer, Description, Parameter

ASSISTANT = Description(
    group="Headrace",
    summary="A question to an assistant, answered as typed events",
    told="`/chat/basic` is always there; each `[assistants.NAME]` of the settings adds one.",
    body=AssistantRequest,
    example={"query": QUESTION, "stream": True},
    answers=(
        Answer(JSON, AssistantAnswer, told="The whole answer."),
        Answer(EVENTS, frame=TypedFrame, told="With `stream: true`: frames, then `[DONE]`."),
    ),
    parameters=(Parameter("assistant", "path", str, "The name of the assistant.", "basic"),),
    generates=True,
)
TEXT_EVENTS = Description(
    group="Headrace",
    summary="A question, answered as text over server-sent events",
    told="An event for each piece of text; line breaks are several `data:` lines. The end of the body is the end of the"
    " answer; what did not end well says so in an event named `error`.",
    body=PromptRequest,
    example={"prompt": QUESTION},
    answers=(
        Answer(EVENTS, told="Pieces of text."),
        Answer(JSON, PromptAnswer, told="With `stream: false`: the whole answer."),
    ),
    generates=True,
)
QUERY = Description(
    group="Headrace",
    summary="A question, answered in one piece",
    body=QueryRequest,
    example={"question": QUESTION},
    answers=(Answer(JSON, QueryAnswer),),
    generates=True,
)
QUERY_STREAM = Description(
    group="Headrace",
    summary="A question, answered as bare text while it is made",
    told="The body is the answer and nothing else. One that does not end well is cut off before its last chunk.",
    body=QueryRequest,
    example={"question": QUESTION},
    answers=(Answer(TEXT, told="The answer."),),
    generates=True,
)
TOKENS = Description(
    group="Headrace",
    summary="Ollama's generate, answered as token frames",
    body=TokensRequest,
    example={"model": "offline", "prompt": QUESTION},
    answers=(
        Answer(EVENTS, frame=GeneratedToken, told="Frames; the last one says `done`."),
        Answer(JSON, GeneratedToken, told="With `stream: false`: one frame with all of it."),
    ),
    generates=True,
)
CHAT_TOKENS = Description(
    group="Headrace",
    summary="A message, answered as token frames",
    body=MessageRequest,
    example={"message": QUESTION},
    answers=(
        Answer(EVENTS, frame=ChatToken, told="Frames; the last one's type is `done`, or `error`."),
        Answer(JSON, ChatToken, told="With `stream: false`: one frame with all of it."),
    ),
    generates=True,
)
