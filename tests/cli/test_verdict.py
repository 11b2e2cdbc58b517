"""What a proof run is judged by: every promise can be seen to be broken."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from headrace.cli.reading import Reading
from headrace.cli.verdict import Cancelled, Observed, Shared, Whole, checks, figures
from headrace.testing.clock import ManualClock

TEXTS = ("One ", "two ", "three")


def frame(said: dict[str, object], offset: int | None = None) -> bytes:
    number = b"" if offset is None else b"id: %d\n" % offset
    return number + b"data: " + json.dumps(said).encode() + b"\n\n"


def token(text: str, offset: int) -> bytes:
    return frame({"type": "token", "content": text}, offset)


ANSWER = (
    frame({"type": "start"}, 0),
    *(token(text, place) for place, text in enumerate(TEXTS, start=1)),
    frame({"type": "done", "content": "One two three", "finish_reason": "stop", "sources": [{"n": 1}]}),
    frame({"type": "metadata", "ttft_ms": 5.0, "usage": {"completion_tokens": 3, "source": "reported"}}),
)


def reading(*frames: bytes) -> Reading:
    """A reader to whom a frame came every 10 ms."""
    clock = ManualClock()
    read = Reading(clock)
    for each in frames:
        clock.advance(0.01)
        read.feed(each)
    return read


def observed(
    *,
    unbroken: tuple[bytes, ...] = ANSWER,
    resumed: tuple[bytes, ...] = ANSWER,
    resumed_with: int = 3,
    ending: str = "cancelled",
    kept: tuple[bytes, ...] = ANSWER[:2],
    tokens_sent: int | None = 1,
    whole: str = "One two three",
    offline: tuple[bytes, ...] = ANSWER,
) -> Observed:
    return Observed(
        TEXTS,
        Shared(reading(*unbroken), reading(*resumed), 2, resumed_with),
        Cancelled(reading(*kept), ending, tokens_sent, None if tokens_sent is None else 1.0),
        Whole(whole, 40_000_000),
        reading(*offline),
    )


def broken(run: Observed) -> list[str]:
    return [check.name for check in checks(run) if not check.passed]


def test_a_run_as_it_should_be_breaks_no_promise() -> None:
    assert broken(observed()) == []


OTHER_STOP = frame({"type": "done", "content": "One two three", "finish_reason": "length", "sources": [{"n": 1}]})
ESTIMATED = frame({"type": "metadata", "usage": {"completion_tokens": 3, "source": "estimated"}})
NO_SOURCES = frame({"type": "done", "content": "One two three", "finish_reason": "stop", "sources": []})
DOUBLED = (*ANSWER[:3], ANSWER[2], *ANSWER[3:])
LOST = (*ANSWER[:2], *ANSWER[3:])

BREAKS: list[tuple[Callable[[], Observed], str]] = [
    (lambda: observed(resumed_with=2), "the cut reader was given what follows its offset"),
    (lambda: observed(resumed_with=4), "the cut reader was given what follows its offset"),
    (lambda: observed(resumed=(*ANSWER[:-1], ANSWER[-1] + b"\n")), "both transcripts are equal, byte for byte"),
    (lambda: observed(unbroken=DOUBLED, resumed=DOUBLED), "no offset came twice, and all came in order"),
    (lambda: observed(unbroken=LOST, resumed=LOST), "every token arrived, in order"),
    (lambda: observed(unbroken=(*ANSWER[:4], OTHER_STOP)), "the stream ended by itself"),
    (lambda: observed(unbroken=ANSWER[:4]), "the stream ended by itself"),
    (lambda: observed(unbroken=(*ANSWER, ESTIMATED)), "usage is what the upstream reported"),
    (lambda: observed(whole="One two"), "not streamed, the answer is the same"),
    (lambda: observed(tokens_sent=None), "cancelling closed the upstream's connection"),
    (lambda: observed(tokens_sent=3), "cancelling closed the upstream's connection"),
    (lambda: observed(ending="stop"), "the cancelled stream says so, and keeps its text"),
    (lambda: observed(kept=()), "the cancelled stream says so, and keeps its text"),
    (lambda: observed(kept=(ANSWER[2],)), "the cancelled stream says so, and keeps its text"),
    (lambda: observed(offline=(NO_SOURCES,)), "the offline provider answered with its sources"),
    (lambda: observed(offline=()), "the offline provider answered with its sources"),
]


@pytest.mark.parametrize(("run", "promise"), BREAKS)
def test_each_promise_is_seen_to_be_broken(run: Callable[[], Observed], promise: str) -> None:
    assert promise in broken(run())


def test_every_promise_has_a_case_that_breaks_it() -> None:
    assert {promise for _, promise in BREAKS} == {check.name for check in checks(observed())}


def test_figures_are_taken_from_when_the_tokens_came() -> None:
    measured = figures(observed())
    assert (measured.tokens, measured.ttft_streamed_ms, measured.ttft_upstream_ms) == (3, 20.0, 5.0)
    assert (measured.inter_token_p50_ms, measured.inter_token_max_ms) == (10.0, 10.0)
    assert (measured.ttft_whole_ms, measured.cancel_to_upstream_closed_ms) == (40.0, 1.0)


def test_what_never_came_has_no_figure() -> None:
    measured = figures(observed(unbroken=(), whole="", tokens_sent=None, offline=()))
    assert measured.tokens == 0
    assert {measured.ttft_streamed_ms, measured.ttft_whole_ms, measured.ttft_offline_ms} == {None}
    assert {measured.inter_token_p50_ms, measured.cancel_to_upstream_closed_ms} == {None}


def test_a_heartbeat_belongs_to_a_connection_and_not_to_the_transcript() -> None:
    assert reading(b": hb\n\n", *ANSWER).data == reading(*ANSWER).data
