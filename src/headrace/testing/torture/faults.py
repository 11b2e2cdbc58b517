"""The table of faults: what the upstream does, byte for byte, when it is asked for a case.

Pure: a fault is a function from a case to a script, which `performing.py` plays on a socket. Three kinds of rows:

    must       nothing is wrong with the answer, or asking once more gives a good one before anything was said:
               a gateway that knows its trade hands over the whole answer
    may        whole only for a gateway that continues an answer, or that asks again after nonsense or silence;
               an explicit error is as good
    cannot     refused every time: an explicit error is all there is

A fault is played when its case is asked for the first time, one of the kind `cannot` every time. May import what
`upstream.py` may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from headrace.testing.torture.cases import Case, Content
from headrace.testing.torture.scripts import (
    EVENTS_HEAD,
    LAST_CHUNK,
    UNENDING_HEAD,
    Script,
    Step,
    all_but_done,
    answered,
    at_first,
    beside,
    between_events,
    calls_one_after_the_other,
    calls_written_as,
    cut_into,
    ends,
    escaped,
    everything,
    half,
    half_an_event,
    hints_first,
    in_halves,
    in_one_event,
    in_the_middle,
    inside_characters,
    length_too_long,
    odd_index,
    refusal,
    refused,
    says,
    several_data_lines,
    stream_compressed,
    streamed,
    until_close,
    usage_all_along,
    usage_before_finish,
    usage_on_finish,
    well,
    whole_body,
    whole_chunked,
    whole_chunked_cut,
    whole_compressed,
    whole_in_bytes,
    whole_without_reason,
    with_trailers,
    written_as,
)
from headrace.testing.upstream import DONE, chunk, delta_chunk, finish_chunk, frame, role_chunk

Outcome: TypeAlias = Literal["must", "may", "cannot"]
Door: TypeAlias = Literal["open", "refusing", "resetting"]


class Fault(NamedTuple):
    """One row."""

    told: str
    """What the upstream does, in words for the table."""
    whole: Outcome
    """Whether the reader can be given the whole answer."""
    script: Callable[[Case], Script]
    modes: tuple[bool, ...] = (True,)
    """Streamed answers (`True`), whole ones (`False`), or both."""
    content: Content = "text"
    door: Door = "open"
    """`refusing`: nobody listens while the case is asked. `resetting`: the next connection is reset at once."""


STREAMED: Final = (True,)
WHOLE: Final = (False,)
BOTH: Final = (True, False)


_HTML: Final = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_ERROR: Final = frame({"error": {"message": "scripted failure", "type": "server_error", "code": "scripted"}})
_FLAT_ERROR: Final = b'event: error\ndata: {"message":"scripted failure","code":"scripted"}\n\n'
_TEXT_ERROR: Final = frame({"error": "scripted failure"})
_NO_JSON: Final = b'data: {"id":"chatcmpl-scripted","choices":[{"index":0,"delta":{"content":\n\n'
_NO_CHUNK: Final = (b"zz\r\nnot a chunk\r\n", Step.CLOSE)


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        # nothing is wrong
        "well": Fault("answers as it should", "must", lambda case: well(case, stream=case.stream), BOTH),
        "crlf": Fault("ends lines with CRLF", "must", written_as(lambda event: event.replace(b"\n", b"\r\n"))),
        "cr": Fault("ends lines with CR alone", "must", written_as(lambda event: event.replace(b"\n", b"\r"))),
        "no_space": Fault(
            "writes `data:` without a space", "must", written_as(lambda event: event.replace(b"data: ", b"data:", 1))
        ),
        "several_data_lines": Fault("writes an event in several `data:` lines", "must", written_as(several_data_lines)),
        "comments": Fault("writes comments between events", "must", between_events(b": still here\n\n", b":\n\n")),
        "comments_inside": Fault(
            "writes comments within events", "must", written_as(lambda event: b": data: {}\n" + event[:-1] + b":\n\n")
        ),
        "other_fields": Fault(
            "writes `id`, `retry` and unknown fields",
            "must",
            written_as(lambda event: b"retry: 10\nid: 7\nodd: x\n" + event),
        ),
        "byte_order_mark": Fault(
            "begins with a byte order mark", "must", lambda case: streamed([b"\xef\xbb\xbf", *everything(case)])
        ),
        "one_byte_writes": Fault("sends byte by byte", "must", cut_into(1)),
        "odd_writes": Fault("sends 37 bytes at a time", "must", cut_into(37)),
        "one_write": Fault(
            "sends everything at once",
            "must",
            lambda case: [EVENTS_HEAD + b"".join(map(chunk, everything(case))) + LAST_CHUNK],
        ),
        "cut_characters": Fault("cuts every character beyond ASCII between its bytes", "must", inside_characters),
        "giant_event": Fault("says everything in one event of 200 KB", "must", in_one_event),
        "empty_deltas": Fault("says nothing in between", "must", beside(delta_chunk({"content": ""}), delta_chunk({}))),
        "null_deltas": Fault(
            "says null in between", "must", beside(delta_chunk({"content": None, "role": None, "tool_calls": None}))
        ),
        "no_choices": Fault(
            "sends chunks without choices in between",
            "must",
            beside(
                frame(
                    {
                        "id": "chatcmpl-scripted",
                        "object": "chat.completion.chunk",
                        "created": 1700000000,
                        "model": "scripted",
                        "choices": [],
                    }
                )
            ),
        ),
        "escaped": Fault("escapes every character beyond ASCII", "must", written_as(escaped)),
        "halves": Fault("cuts escaped characters between their halves", "must", in_halves),
        "usage_on_finish": Fault("reports usage with the finish reason", "must", usage_on_finish),
        "usage_before_finish": Fault("reports usage before the finish reason", "must", usage_before_finish),
        "usage_all_along": Fault("reports usage with every piece", "must", usage_all_along),
        "finish_twice": Fault(
            "says the finish reason twice",
            "must",
            lambda case: streamed([role_chunk(), *says(case), finish_chunk(), *ends(case)]),
        ),
        "more_after_done": Fault(
            "goes on after `[DONE]`",
            "must",
            lambda case: streamed([*everything(case), delta_chunk({"content": "more"})]),
        ),
        "no_done": Fault("says the finish reason and leaves out `[DONE]`", "must", all_but_done(LAST_CHUNK)),
        "no_done_and_silence": Fault(
            "says the finish reason, then nothing, and stays", "must", all_but_done(Step.STALL)
        ),
        "until_close": Fault(
            "sends no length, and closes at the end",
            "must",
            lambda case: [UNENDING_HEAD, *everything(case), Step.CLOSE],
        ),
        "trailers": Fault("sends chunk extensions and trailers", "must", with_trailers),
        "gzip": Fault("compresses the stream unasked", "must", stream_compressed),
        "early_hints": Fault("sends a 103 before its answer", "must", hints_first, BOTH),
        "closes_after": Fault(
            "closes a connection that it said it would keep",
            "must",
            lambda case: [*well(case, stream=case.stream), Step.CLOSE],
            BOTH,
        ),
        "calls": Fault("calls two tools at once", "must", calls_written_as(dict), content="calls"),
        "calls_in_turn": Fault("calls one tool after the other", "must", calls_one_after_the_other, content="calls"),
        "calls_odd_index": Fault(
            "numbers its tool calls 1 and 3", "must", calls_written_as(odd_index), content="calls"
        ),
        "whole_in_bytes": Fault("sends a whole answer byte by byte", "must", whole_in_bytes, WHOLE),
        "whole_chunked": Fault("sends a whole answer in chunks", "must", whole_chunked, WHOLE),
        "whole_gzip": Fault("compresses a whole answer unasked", "must", whole_compressed, WHOLE),
        # the first attempt fails before anything was said
        "status_429": Fault("429", "must", refused(429), BOTH),
        "status_429_seconds": Fault("429 with `Retry-After: 1`", "must", refused(429, Retry_After="1"), BOTH),
        "status_429_milliseconds": Fault(
            "429 with `retry-after-ms: 200`", "must", refused(429, retry_after_ms="200", Retry_After="1"), BOTH
        ),
        "status_500": Fault("500 with an error in JSON", "must", refused(500), BOTH),
        "status_500_text": Fault("500 with a line of text", "must", answered(500, b"oh dear", "text/plain"), BOTH),
        "status_502_html": Fault("502 with a page of HTML", "must", answered(502, _HTML, "text/html"), BOTH),
        "status_503_empty": Fault("503 without a body", "must", answered(503, b"", "text/plain"), BOTH),
        "reset_at_accept": Fault(
            "resets the connection when it is opened",
            "must",
            lambda case: well(case, stream=case.stream),
            BOTH,
            door="resetting",
        ),
        "reset_before_headers": Fault("resets when it was asked", "must", lambda case: [Step.RESET], BOTH),
        "close_before_headers": Fault("closes when it was asked", "must", lambda case: [Step.CLOSE], BOTH),
        "reset_in_headers": Fault(
            "resets within its headers", "must", lambda case: [EVENTS_HEAD[:40], Step.RESET], BOTH
        ),
        "empty_stream": Fault("ends its stream without an event", "must", at_first()),
        "error_first": Fault("an error as first event under 200", "must", at_first(_ERROR)),
        "role_then_error": Fault("names its role, then an error", "must", at_first(role_chunk(), _ERROR)),
        "role_then_reset": Fault("names its role, then a reset", "must", at_first(role_chunk(), then=[Step.RESET])),
        "role_then_eof": Fault("names its role, then ends", "must", at_first(role_chunk())),
        "role_then_done": Fault("names its role, then `[DONE]`", "must", at_first(role_chunk(), DONE)),
        "whole_cut_length": Fault(
            "closes in the middle of a whole answer", "must", whole_body(half, Step.CLOSE, promised=500), WHOLE
        ),
        "whole_cut_chunk": Fault("closes between the chunks of a whole answer", "must", whole_chunked_cut, WHOLE),
        "whole_reset": Fault(
            "resets in the middle of a whole answer", "must", whole_body(half, Step.RESET, promised=500), WHOLE
        ),
        "whole_error": Fault(
            "an error under 200 as a whole answer",
            "must",
            answered(200, refusal("scripted failure"), "application/json"),
            WHOLE,
        ),
        # it fails in the middle, or with nonsense, or in silence
        "error_in_the_middle": Fault("an error event in the middle", "may", in_the_middle(_ERROR)),
        "flat_error_in_the_middle": Fault(
            "`event: error` with a flat object in the middle", "may", in_the_middle(_FLAT_ERROR)
        ),
        "text_error_in_the_middle": Fault("an error that is a text in the middle", "may", in_the_middle(_TEXT_ERROR)),
        "reset_in_the_middle": Fault("resets in the middle", "may", in_the_middle(then=[Step.RESET])),
        "eof_in_the_middle": Fault("ends in the middle as if all were well", "may", in_the_middle()),
        "close_in_the_middle": Fault(
            "closes in the middle, between two chunks", "may", in_the_middle(then=[Step.CLOSE])
        ),
        "close_without_length": Fault("sends no length, and closes in the middle", "may", until_close),
        "length_too_long": Fault("promises more bytes than it sends", "may", length_too_long),
        "done_in_the_middle": Fault("`[DONE]` in the middle, without a finish reason", "may", in_the_middle(DONE)),
        "error_as_finish_reason": Fault(
            "the finish reason `error` in the middle", "may", in_the_middle(finish_chunk("error"), DONE)
        ),
        "stall_in_the_middle": Fault("falls silent in the middle", "may", in_the_middle(then=[Step.STALL])),
        "malformed_in_the_middle": Fault("an event that is no JSON in the middle", "may", in_the_middle(_NO_JSON)),
        "half_event": Fault("ends in the middle of an event", "may", half_an_event),
        "malformed_chunk": Fault("a chunk of HTTP that is none in the middle", "may", in_the_middle(then=_NO_CHUNK)),
        "finish_then_reset": Fault("says the finish reason, then a reset", "may", all_but_done(Step.RESET)),
        "calls_cut": Fault(
            "ends in the middle of its tool calls",
            "may",
            lambda case: streamed([role_chunk(), *says(case, case.cut_after)]),
            content="calls",
        ),
        "first_token_stall": Fault(
            "names its role, then falls silent", "may", at_first(role_chunk(), then=[Step.STALL])
        ),
        "silence": Fault("takes the request and says nothing", "may", lambda case: [Step.STALL], BOTH),
        "malformed_first": Fault("an event that is no JSON at first", "may", at_first(_NO_JSON)),
        "no_http": Fault(
            "answers with something that is not HTTP", "may", lambda case: [b"\x15\x03\x01\x00\x02", Step.CLOSE], BOTH
        ),
        "html_under_200": Fault("a page of HTML under 200", "may", answered(200, _HTML, "text/html"), BOTH),
        "whole_for_a_stream": Fault(
            "a whole answer when asked for a stream", "may", lambda case: well(case, stream=False)
        ),
        "whole_cut_json": Fault("half of a whole answer, as if it were all", "may", whole_body(half), WHOLE),
        "whole_empty": Fault("an empty body as a whole answer", "may", whole_body(lambda body: b""), WHOLE),
        "whole_without_reason": Fault("half an answer without a finish reason", "may", whole_without_reason, WHOLE),
        # refused for good
        "connection_refused": Fault("nobody listens", "cannot", lambda case: [Step.RESET], BOTH, door="refusing"),
        "status_400": Fault("400 every time", "cannot", refused(400), BOTH),
        "status_401": Fault("401 every time", "cannot", refused(401), BOTH),
        "status_500_always": Fault("500 every time", "cannot", refused(500), BOTH),
        "reset_always": Fault("resets every time", "cannot", lambda case: [Step.RESET], BOTH),
    }
)
"""Every fault by its name."""
