"""What the upstream does, byte for byte: scripts of good answers, and of those that break or come in unusual dress.

Pure: a case goes in, what is written to its connection comes out. Which fault is which script is the table in
`faults.py`. May import what `upstream.py` may.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import chain, zip_longest
from typing import Final, TypeAlias

from headrace.testing.torture.cases import Case
from headrace.testing.upstream import DONE, chunk, delta_chunk, finish_chunk, role_chunk, usage_chunk
from headrace.wire import json_text


class Step(Enum):
    """What is done with the connection instead of sending bytes."""

    RESET = "reset"
    """It is broken: a RST."""
    CLOSE = "close"
    """It is closed: a FIN."""
    STALL = "stall"
    """Nothing more is said until the other side leaves."""


Script: TypeAlias = Sequence[bytes | Step]
"""What the upstream does: each `bytes` is one write, and the connection stays open at the end."""

LAST_CHUNK: Final = b"0\r\n\r\n"
_GIANT: Final = 200_000
_FIRST_HALF: Final = re.compile(rb"(?<!\\)\\ud[89ab][0-9a-f]{2}")


# -- a good answer


def well(case: Case, *, stream: bool, after: str = "") -> Script:
    """The answer as it should be, streamed or whole; `after`: what an attempt before has said."""
    if not stream:
        return [response(json_text.encode(completion(case, after=after)))]
    return streamed([role_chunk(), *says(case, after=after), *ends(case)])


def says(case: Case, pieces: int | None = None, *, after: str = "") -> list[bytes]:
    """The events of the first so many pieces, or of all."""
    if "text" in case.said:
        rest = case.said["text"][:pieces] if not after else ["".join(case.said["text"])[len(after) :]]
        return [delta_chunk({"content": piece}) for piece in rest]
    return [delta_chunk({"tool_calls": [call]}) for call in call_pieces(case, pieces)]


def call_pieces(case: Case, pieces: int | None = None) -> list[dict[str, object]]:
    """The pieces of the tool calls, one of each call in turn, as OpenAI has them."""
    turns: list[list[dict[str, object]]] = []
    for index, channel in enumerate(case.said):
        first: dict[str, object] = {"index": index, "id": f"call_{case.number}_{index}", "type": "function"}
        arguments = case.said[channel][:pieces]
        rest = [{"index": index, "function": {"arguments": piece}} for piece in arguments]
        turns.append([{**first, "function": {"name": "say", "arguments": ""}}, *rest])
    return [call for turn in zip_longest(*turns) for call in turn if call is not None]


def ends(case: Case) -> list[bytes]:
    """The last events of a good answer."""
    return [finish_chunk(case.finish_reason), usage_chunk(*case.usage), DONE]


def _chunk_with(delta: Mapping[str, object], *, finish_reason: str | None = None, **more: object) -> bytes:
    """The event of a chunk that has more in it than others."""
    event = delta_chunk(delta, finish_reason=finish_reason)
    return event.removesuffix(b"}\n\n") + b"," + json_text.encode(more)[1:] + b"\n\n"


def _usage(prompt: int, completed: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed}


def completion(case: Case, *, pieces: int | None = None, finish: bool = True, after: str = "") -> dict[str, object]:
    """A whole answer, as an object."""
    if "text" in case.said:
        message: dict[str, object] = {"content": "".join(case.said["text"][:pieces])[len(after) :]}
    else:
        functions = [{"name": "say", "arguments": "".join(said)} for said in case.said.values()]
        calls = [
            {"id": f"call_{case.number}_{index}", "type": "function", "function": function}
            for index, function in enumerate(functions)
        ]
        message = {"content": None, "tool_calls": calls}
    finish_reason = case.finish_reason if finish else None
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}],
        "usage": _usage(*case.usage),
    }


# -- HTTP


def head(status: int = 200, **headers: str) -> bytes:
    """Status line and headers; `_` in a name stands for `-`."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


EVENTS_HEAD: Final = head(Content_Type="text/event-stream", Transfer_Encoding="chunked")
UNENDING_HEAD: Final = head(Content_Type="text/event-stream", Connection="close")


def response(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> bytes:
    """A whole response."""
    return head(status, Content_Type=kind, Content_Length=str(len(body)), **headers) + body


def streamed(events: Sequence[bytes], *then: bytes | Step) -> list[bytes | Step]:
    """Events as a chunked body, a chunk and a write each; `then` instead of its end."""
    return [EVENTS_HEAD, *map(chunk, events), *(then or [LAST_CHUNK])]


def refusal(message: str, kind: str = "server_error", code: str | None = None) -> bytes:
    """The body of an error, as OpenAI has it."""
    return json_text.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def refused(status: int, **headers: str) -> Callable[[Case], Script]:
    """An error with this status, as OpenAI has it."""
    return lambda case: [response(refusal(f"scripted {status}"), status, **headers)]


def answered(status: int, body: bytes, kind: str) -> Callable[[Case], Script]:
    """A whole response with this body, whatever it is."""
    return lambda case: [response(body, status, kind)]


# -- streams that break


def at_first(*events: bytes, then: Sequence[bytes | Step] = ()) -> Callable[[Case], Script]:
    """Before anything was said."""
    return lambda case: streamed(events, *then)


def in_the_middle(*events: bytes, then: Sequence[bytes | Step] = ()) -> Callable[[Case], Script]:
    """After some of the pieces."""
    return lambda case: streamed([role_chunk(), *says(case, case.cut_after), *events], *then)


def all_but_done(*then: bytes | Step) -> Callable[[Case], Script]:
    """After all of the answer but `[DONE]`."""
    return lambda case: streamed([role_chunk(), *says(case), *ends(case)[:-1]], *then)


def half_an_event(case: Case) -> Script:
    """Some pieces, then the beginning of one more event, and a proper end."""
    event = says(case, case.cut_after + 1)[-1]
    half = event[: 10 + case.draw("half", len(event) - 12)]
    return streamed([role_chunk(), *says(case, case.cut_after), half])


def length_too_long(case: Case) -> Script:
    """Some pieces under a length that is never reached."""
    body = b"".join([role_chunk(), *says(case, case.cut_after)])
    size = str(len(body) + 1000)
    return [head(Content_Type="text/event-stream", Content_Length=size), body, Step.CLOSE]


def until_close(case: Case) -> Script:
    """Some pieces without a length, then the connection closes."""
    return [UNENDING_HEAD, role_chunk(), *says(case, case.cut_after), Step.CLOSE]


# -- streams in unusual dress


def everything(case: Case) -> list[bytes]:
    """All events of a good answer."""
    return [role_chunk(), *says(case), *ends(case)]


def written_as(change: Callable[[bytes], bytes]) -> Callable[[Case], Script]:
    """Every event written in another way."""
    return lambda case: streamed([change(event) for event in everything(case)])


def several_data_lines(event: bytes) -> bytes:
    """The event in two `data:` lines."""
    # Between two members of the JSON object a line end means nothing.
    return event.replace(b',"choices"', b',\ndata: "choices"')


def between_events(*others: bytes) -> Callable[[Case], Script]:
    """Other bytes before every event."""
    return lambda case: streamed(list(chain.from_iterable((*others, event) for event in everything(case))))


def cut_into(size: int) -> Callable[[Case], Script]:
    """Written so many bytes at a time, whatever they are; the chunks of HTTP are cut as well."""

    def script(case: Case) -> Script:
        first = [role_chunk(), *says(case)[:6]] if size == 1 else [role_chunk(), *says(case)]
        rest = [] if size > 1 else says(case)[6:]
        data = b"".join(map(chunk, first))
        end = b"".join(map(chunk, [*rest, *ends(case)])) + LAST_CHUNK
        return [EVENTS_HEAD, *(data[place : place + size] for place in range(0, len(data), size)), end]

    return script


def inside_characters(case: Case) -> Script:
    """A chunk of HTTP ends, and another begins, between the bytes of every character that has several."""
    data = b"".join(everything(case))
    pieces, begun = [], 0
    for place, byte in enumerate(data):
        if byte & 0xC0 == 0x80:  # the second, third or fourth byte of a character
            pieces.append(data[begun:place])
            begun = place
    pieces.append(data[begun:])
    # Neighbouring events stay together until the next such character, so there are not too many writes.
    return [EVENTS_HEAD, *(chunk(piece) for piece in pieces if piece), LAST_CHUNK]


def in_one_event(case: Case) -> Script:
    """All of the text in one very long event."""
    text = "".join(case.said["text"])
    return streamed([role_chunk(), _chunk_with({"content": text}, obfuscation="x" * _GIANT), *ends(case)])


def beside(*others: bytes) -> Callable[[Case], Script]:
    """Events that say nothing before each piece."""

    def script(case: Case) -> Script:
        return streamed([*chain.from_iterable((*others, event) for event in says(case)), *ends(case)])

    return script


def usage_on_finish(case: Case) -> Script:
    """The usage stands on the chunk with the finish reason."""
    last = _chunk_with({}, finish_reason=case.finish_reason, usage=_usage(*case.usage))
    return streamed([role_chunk(), *says(case), last, DONE])


def usage_all_along(case: Case) -> Script:
    """Each piece comes with the usage so far."""
    prompt, _ = case.usage
    pieces = enumerate(case.said["text"])
    running = [_chunk_with({"content": piece}, usage=_usage(prompt, place + 1)) for place, piece in pieces]
    return streamed([role_chunk(), *running, *ends(case)])


def usage_before_finish(case: Case) -> Script:
    """The usage comes before the finish reason."""
    return streamed([role_chunk(), *says(case), usage_chunk(*case.usage), finish_chunk(), DONE])


def escaped(event: bytes) -> bytes:
    r"""Every character beyond ASCII written as `\uXXXX`, those beyond U+FFFF as two of them."""
    text = event.decode()
    units = text.encode("utf-16-be")
    pairs = [units[place] << 8 | units[place + 1] for place in range(0, len(units), 2)]
    return b"".join(bytes([unit]) if unit < 0x80 else b"\\u%04x" % unit for unit in pairs)


def in_halves(case: Case) -> Script:
    """The two halves of a character beyond U+FFFF in two deltas."""
    empty = delta_chunk({"content": "@@"})
    events = []
    for piece in case.said["text"]:
        text = escaped(json_text.encode(piece))[1:-1]
        half = _FIRST_HALF.search(text)
        parts = [text] if half is None else [text[: half.end()], text[half.end() :]]
        events += [empty.replace(b"@@", part) for part in parts]
    return streamed([role_chunk(), *events, *ends(case)])


def with_trailers(case: Case) -> Script:
    """Chunk extensions on every chunk, and a trailer (RFC 9112, 7.1.1 and 7.1.2)."""
    chunks = [b"%x;piece=1\r\n%b\r\n" % (len(event), event) for event in everything(case)]
    return [EVENTS_HEAD, *chunks, b"0\r\nServer-Timing: total;dur=1\r\n\r\n"]


def stream_compressed(case: Case) -> Script:
    """The whole stream in gzip, cut somewhere."""
    body = gzip.compress(b"".join(everything(case)), mtime=0)
    start = head(Content_Type="text/event-stream", Content_Encoding="gzip", Transfer_Encoding="chunked")
    middle = 1 + case.draw("gzip", len(body) - 1)
    return [start, chunk(body[:middle]), chunk(body[middle:]), LAST_CHUNK]


def hints_first(case: Case) -> Script:
    """An informational response, then the answer."""
    return [b"HTTP/1.1 103 Early Hints\r\nLink: </v1>; rel=preload\r\n\r\n", *well(case, stream=case.stream)]


# -- tool calls


def calls_written_as(change: Callable[[dict[str, object]], dict[str, object]]) -> Callable[[Case], Script]:
    """Tool calls whose pieces are written in another way."""
    return lambda case: streamed(
        [role_chunk(), *(delta_chunk({"tool_calls": [change(call)]}) for call in call_pieces(case)), *ends(case)]
    )


def odd_index(call: dict[str, object]) -> dict[str, object]:
    """The piece under the numbers 1 and 3 instead of 0 and 1."""
    index = call["index"]
    assert isinstance(index, int)
    return {**call, "index": index * 2 + 1}


def calls_one_after_the_other(case: Case) -> Script:
    """All pieces of the first call, then those of the second."""
    calls = call_pieces(case)
    calls.sort(key=lambda call: str(call["index"]))
    return streamed([role_chunk(), *(delta_chunk({"tool_calls": [call]}) for call in calls), *ends(case)])


# -- whole answers


def whole_body(cut: Callable[[bytes], bytes], *then: Step, promised: int = 0) -> Callable[[Case], Script]:
    """The body of a whole answer changed by `cut`; the length promised is that of what is sent, and so much more."""

    def script(case: Case) -> Script:
        body = cut(json_text.encode(completion(case)))
        start = head(Content_Type="application/json", Content_Length=str(len(body) + promised))
        return [start, *([body] if body else []), *then]

    return script


def whole_without_reason(case: Case) -> Script:
    """A part of the text, and null for a finish reason."""
    return [response(json_text.encode(completion(case, pieces=case.cut_after, finish=False)))]


def whole_in_bytes(case: Case) -> Script:
    """A whole answer, a byte a write."""
    body = json_text.encode(completion(case))
    start = head(Content_Type="application/json", Content_Length=str(len(body)))
    return [start, *(body[place : place + 1] for place in range(len(body)))]


def whole_chunked(case: Case) -> Script:
    """A whole answer in two chunks."""
    body = json_text.encode(completion(case))
    middle = 1 + case.draw("chunk", len(body) - 1)
    start = head(Content_Type="application/json", Transfer_Encoding="chunked")
    return [start, chunk(body[:middle]), chunk(body[middle:]), LAST_CHUNK]


def whole_chunked_cut(case: Case) -> Script:
    """The first of two chunks."""
    start, first, *_ = whole_chunked(case)
    return [start, first, Step.CLOSE]


def whole_compressed(case: Case) -> Script:
    """A whole answer in gzip."""
    body = gzip.compress(json_text.encode(completion(case)), mtime=0)
    return [response(body, Content_Encoding="gzip")]


def half(body: bytes) -> bytes:
    """The first half."""
    return body[: len(body) // 2]
