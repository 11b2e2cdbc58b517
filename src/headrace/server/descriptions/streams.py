"""What the routes of streams are described as."""

from __future__ import annotations

from typing import Literal

from headrace.protocols.answer_shapes.ollama import OllamaLine
from headrace.protocols.answer_shapes.streams import Cancelled, Changed, Deleted, StreamPage, StreamRecord
from headrace.protocols.answer_shapes.typed_events import TypedFrame
from headrace.protocols.request_shapes import StreamChange
from headrace.server.describing import (
    ENCODING_OPTIONS,
    EVENTS,
    JSON,
    LINES,
    PAGING,
    TEXT,
    Answer,
    Description,
    Flag,
    Offset,
    Parameter,
    Protocol,
)

_STREAM_ID = Parameter("stream_id", "path", str, "The id that `Headrace-Stream` told.")
STREAMS = Description(
    group="Streams",
    summary="Your streams, newest first",
    told="Nobody else's are among them. A conversation is the list of the streams that carry its id.",
    answers=(Answer(JSON, StreamPage),),
    parameters=(
        *PAGING,
        Parameter("conversation_id", "query", str, "Only the streams of this conversation."),
        Parameter("state", "query", Literal["running", "ended"], "Only those that are running, or have ended."),
    ),
    errors=(404,),
)
STREAM = Description(
    group="Streams",
    summary="What is known of a stream",
    told="A stream that belongs to another owner is not found.",
    answers=(Answer(JSON, StreamRecord),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
STREAM_EVENTS = Description(
    group="Streams",
    summary="One more reader of a stream, from any offset, in any protocol",
    told="The stream may be running or have ended. What a reader asks of the encoding is asked in headers, as where a"
    " stream is started.",
    answers=(
        Answer(EVENTS, frame=TypedFrame, told="Typed events; other protocols have their own frames."),
        Answer(LINES, frame=OllamaLine, told="With `protocol=ollama_chat` or `ollama_generate`."),
        Answer(TEXT, told="With `protocol=plain_text`."),
        Answer(None, told="An `EventSource` came back to the end of a stream that has ended.", status=204),
    ),
    parameters=(
        _STREAM_ID,
        Parameter("after", "query", Offset, "The offset of the last event that was read. Left out: from the start."),
        Parameter("protocol", "query", Protocol, "How the events are written. Left out: `typed_events`."),
        Parameter(
            "include_usage",
            "query",
            Flag,
            "Whether the last chunk of OpenAI's protocols holds the usage. Left out: as the first reader asked.",
        ),
        Parameter("event_ids", "query", Flag, "The same as `Headrace-Event-Ids`, which wins over it."),
        Parameter("pace", "query", Literal["recorded"], "The same as `Headrace-Pace`, which wins over it."),
        Parameter("rationale", "query", Flag, "The same as `Headrace-Rationale`, which wins over it."),
        Parameter("Last-Event-ID", "header", Offset, "The same as `after`, and wins over it."),
        *ENCODING_OPTIONS,
    ),
    errors=(404, 410),
)
STREAM_CANCEL = Description(
    group="Streams",
    summary="Stop a stream for everybody, up to the upstream",
    told="Twice is the same as once.",
    answers=(Answer(JSON, Cancelled),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
STREAM_CHANGE = Description(
    group="Streams",
    summary="Decide anew what becomes of a stream when its last reader leaves",
    told="As the option `on_disconnect` of its request did. It holds until the server is started again.",
    body=StreamChange,
    answers=(Answer(JSON, Changed),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
STREAM_DELETE = Description(
    group="Streams",
    summary="Forget a stream",
    told="One that is running is cancelled first. Readers that are attached read it to its end.",
    answers=(Answer(JSON, Deleted),),
    parameters=(_STREAM_ID,),
    errors=(404,),
)
