"""Generated answers: heard the same at any cutting, by the shorter way and the longer, and whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.errors import UpstreamError
from headrace.events import Ended, ReasoningDelta, Started, TextDelta, next_state
from headrace.providers import openai_hearing
from headrace.providers.openai_hearing import Hearing
from headrace.testing.upstream import DONE, delta_chunk, finish_chunk, role_chunk
from headrace.wire import openai_chat
from headrace.wire.chunk_template import ChunkTemplate

HearReads = Callable[[Iterable[Sequence[bytes]]], Any]

END = finish_chunk() + DONE

# Chunks as upstreams write them, and as none ever would. Texts hold what the template and the framing are made of.
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            '"content":',
            '"content":"x"',
            '"},"finish_reason":null}]}',
            '"}}]}\n\ndata: {"choices":[{"delta":{"content":"',
            "data: [DONE]\n\n",
            "\\",
            '\\"',
            "\\\\u0022",
            "\u2028\x85\r\n",
            "天气😀",
        ]
    ),
)
WRITERS: list[Callable[[Any], str]] = [
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    lambda value: json.dumps(value, ensure_ascii=False),
    lambda value: json.dumps(value, separators=(",", ":")),
    lambda value: json.dumps(value, indent=1),
    lambda value: json.dumps(value, sort_keys=True),
]

HEADS: list[dict[str, Any]] = [
    {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"},
    {"id": "c1", "created": 2, "usage": None, "x_groq": None, "system_fingerprint": "f"},
    {"meta": {"content": "a"}},
    {"model": '"content":"a"'},
    {},
]
BESIDE_THE_TEXT: list[dict[str, Any]] = [{}, {}, {"role": "assistant"}, {"reasoning_content": None}, {"refusal": None}]
BESIDE_THE_DELTA: list[dict[str, Any]] = [{}, {"finish_reason": None}, {"logprobs": None, "finish_reason": None}]


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """The chunks of one answer: fields that stay the same for a while, then change, and text that is anything."""
    written: list[bytes] = []
    for _ in range(draw(st.integers(1, 4))):
        write = draw(st.sampled_from(WRITERS))
        head = draw(st.sampled_from(HEADS))
        extra = draw(st.sampled_from(BESIDE_THE_TEXT))
        more = draw(st.sampled_from(BESIDE_THE_DELTA))
        key_first = draw(st.booleans())
        index = draw(st.sampled_from([0, 0, 0, 1]))
        for text in draw(st.lists(TEXTS, max_size=6)):
            delta: dict[str, Any] = {**extra, "content": text} if key_first else {"content": text, **extra}
            choice: dict[str, Any] = {"index": index, "delta": delta, **more}
            value: dict[str, Any] = {**head, "choices": [choice]} if key_first else {"choices": [choice], **head}
            lines = write(value).split("\n")
            written.append(b"".join(b"data: %b\n" % line.encode() for line in lines) + b"\n")
        written.append(draw(st.sampled_from([b"", b"", b": comment\n\n", role_chunk(), b"\n", OTHER_KINDS])))
    return b"".join(written) + draw(st.sampled_from([END, END, b"", finish_chunk(), DONE]))


CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
OTHER_KINDS = delta_chunk({"reasoning": "Hm"}) + delta_chunk({"tool_calls": [CALL]})


@st.composite
def reads_of(draw: st.DrawFn, data: bytes) -> list[list[bytes]]:
    """The bytes in reads of pieces: cut anywhere, or an event a piece."""
    if draw(st.booleans()):
        pieces = [event + b"\n\n" for event in data.split(b"\n\n") if event]
    else:
        places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
        pieces = [data[start:end] for start, end in pairwise([0, *places, len(data)])]
    edges = sorted(draw(st.lists(st.integers(0, len(pieces)), max_size=4)))
    return [pieces[start:end] for start, end in pairwise([0, *edges, len(pieces)])]


@given(data=chunks(), draws=st.data())
def test_generated_answers_are_heard_the_same_however_they_are_cut(
    hear_reads: HearReads, data: bytes, draws: st.DataObject
) -> None:
    assert hear_reads(draws.draw(reads_of(data))) == hear_reads([[data]])


@given(data=chunks(), draws=st.data())
@example(data=b'data: {"choices":[{"delta":{"\\u0063ontent":"b"}}],"m":{"content":"b"}}\n\n' * 3 + END, draws=None)
@example(data=b'data: {"choices":[{"delta":{"content":"a"}}],"m":"\\"content\\":\\"a\\""}\n\n' * 3 + END, draws=None)
@example(data=b'data: {"choices":[{"delta":{"content":"a","content":"b"}}]}\n\n' * 3 + END, draws=None)
def test_the_shorter_way_leads_to_the_same_events(
    hear_reads: HearReads, data: bytes, draws: st.DataObject | None
) -> None:
    reads = [[event + b"\n\n" for event in data.split(b"\n\n")]] if draws is None else draws.draw(reads_of(data))
    same_both_ways(hear_reads, reads)


PLAIN = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":%b},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize(
    "parts",
    [
        [b'"a', b'b","c"'],  # two that are broken, and together would be two texts
        [b'"a","b"', b'"c"'],
        [b'"a"', b""],
        [b'"a"', b"null"],
        [b'"a"', b"7"],
        [b'"a\xff"', b'"b"'],
        [rb'"\ud83d"', rb'"\ude00"'],
        [rb'"\ud83d"', b'"x"', rb'"\ude00"'],
        [b'"a\\', b'"b"'],
        [b'"a\\\\"', b'"\\""'],
        [b'"a"},"finish_reason":"stop"}]}\n\ndata: {"choices":[{"delta":{"content":"b"', b'"c"'],
        [b'"a","refusal":"no"', b'"c"'],
        [b'"a","content":"b"', b'"c"'],
        [b'"a\nb"', b'"c"'],
        [b'"a\tb"', b'"c"'],
        [b'["a"]', b'"c"'],
        [b' "a" ', b'"c"'],
    ],
)
def test_the_shorter_way_takes_no_more_for_text_than_the_longer(hear_reads: HearReads, parts: list[bytes]) -> None:
    pieces = [PLAIN % b'"x"' for _ in range(4)] + [PLAIN % part for part in parts] + [END]
    for reads in ([pieces], [[piece] for piece in pieces], [pieces[:4], pieces[4:]]):
        same_both_ways(hear_reads, reads)


def same_both_ways(hear_reads: HearReads, reads: list[list[bytes]]) -> object:
    """What is heard by the shorter way, which must be what is heard by the longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_hearing, "LESSONS", 0)
        expected = hear_reads(reads)
    assert hear_reads(reads) == expected
    return expected


def test_a_piece_that_looks_like_an_event_may_be_the_rest_of_one(hear_reads: HearReads) -> None:
    for beginning in (b"event: error\n", b"data: {\n", b": comment\n", b"data", b"data: "):
        pieces = [PLAIN % b'"x"' for _ in range(4)] + [beginning, PLAIN % b'"y"', END]
        same_both_ways(hear_reads, [pieces])
        same_both_ways(hear_reads, [[piece] for piece in pieces])


def test_a_text_is_not_looked_for_in_another_place(hear_reads: HearReads) -> None:
    def piece(meta: str) -> bytes:
        # Another key `content`; that of the delta is written with an escape, so that it is not found by its bytes.
        return b'data: {"m":{"content":"%b"},"choices":[{"delta":{"\\u0063ontent":"b"}}]}\n\n' % meta.encode()

    reads = [[piece("b")], [piece("b")], [piece("b")], [piece("other")], [END]]
    events, _ = hear_reads(reads)
    assert events == [TextDelta("b")] * 4
    same_both_ways(hear_reads, reads)


def test_the_shorter_way_is_taken(hear_reads: HearReads, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    decode_plain = openai_chat.decode_plain

    def counted(payload: bytes) -> object:
        decoded.append(payload)
        return decode_plain(payload)

    monkeypatch.setattr(openai_hearing, "decode_plain", counted)
    pieces = [PLAIN % json.dumps(f"word {number}").encode() for number in range(200)]
    for reads in ([pieces], [[piece] for piece in pieces]):
        decoded.clear()
        events, _ = hear_reads(reads)
        assert events == [TextDelta(f"word {number}") for number in range(200)]
        assert len(decoded) <= 3


def test_an_id_of_its_own_in_every_chunk_costs_only_so_many_lessons(
    hear_reads: HearReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons: list[bytes] = []
    learned = ChunkTemplate.learned

    def counted(payload: bytes, text: str, choice: int) -> object:
        lessons.append(payload)
        return learned(payload, text, choice)

    monkeypatch.setattr(ChunkTemplate, "learned", counted)
    count = openai_hearing.LESSONS * 3
    pieces = [PLAIN.replace(b'"c"', b'"%d"' % number) % b'"x"' for number in range(count)]
    events, _ = hear_reads([piece] for piece in pieces)
    assert len(events) == count
    assert len(lessons) <= openai_hearing.LESSONS


# --- whatever comes

JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just("stop")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "reasoning",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "id",
                    "index",
                    "usage",
                    "error",
                    "code",
                    "finish_reason",
                    "type",
                    "text",
                    "x_groq",
                    "prompt_tokens",
                    "logprobs",
                    "function_call",
                    "thinking",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(
    values=st.lists(
        st.one_of(
            JUNK,
            st.builds(lambda delta: {"choices": [{"index": 0, "delta": delta}]}, JUNK),
            st.builds(lambda call: {"choices": [{"delta": {"tool_calls": [{"function": call}]}}]}, JUNK),
            st.builds(lambda usage: {"choices": [], "usage": usage}, JUNK),
            st.builds(lambda error: {"error": error}, JUNK),
        ),
        max_size=4,
    )
)
def test_nothing_an_upstream_sends_is_a_fault_of_ours(hear_reads: HearReads, values: list[Any]) -> None:
    data = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    events, end = hear_reads([[data + END]])
    state = next_state("new", Started("s", "m", 0))
    for event in events:
        state = next_state(state, event)
        if isinstance(event, TextDelta | ReasoningDelta):
            assert event.text
            event.text.encode()  # no half characters
    assert isinstance(end, Ended) or issubclass(end[0], UpstreamError)
    Hearing("larch").hear_whole(json.dumps(values).encode())


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_bytes_that_mean_nothing_end_in_an_error(hear_reads: HearReads, pieces: list[bytes]) -> None:
    _, end = hear_reads([piece] for piece in pieces)
    assert not isinstance(end, Ended)
