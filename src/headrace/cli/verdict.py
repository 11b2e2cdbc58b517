"""What a proof run showed: its checks, each kept or not, and its figures.

Pure: what was observed in, findings out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from headrace.cli.reading import Reading


class Shared(NamedTuple):
    """One stream and its two readers."""

    unbroken: Reading
    resumed: Reading
    cut_at: int
    """The last offset that the second reader had before it was cut off."""
    resumed_with: int
    """The first offset that it was given when it came back; -1: none."""


class Cancelled(NamedTuple):
    """A stream that was cancelled."""

    reading: Reading
    ending: str | None
    tokens_sent: int | None
    """How many tokens the upstream had sent when its connection closed; `None`: it did not close."""
    closed_after_ms: float | None
    """From asking for the cancel until the upstream saw that."""


class Whole(NamedTuple):
    """An answer that was not streamed."""

    text: str
    nanoseconds: int


class Observed(NamedTuple):
    """Everything that a run observed."""

    texts: Sequence[str]
    """What the scripted upstream says, token by token."""
    shared: Shared
    cancelled: Cancelled
    whole: Whole
    offline: Reading


class Check(msgspec.Struct, frozen=True):
    """One promise."""

    name: str
    passed: bool
    detail: str


class Figures(msgspec.Struct, frozen=True):
    """What was measured, by the readers unless it says otherwise. `None`: it did not come to it."""

    tokens: int
    ttft_streamed_ms: float | None
    """From asking to the first token."""
    ttft_whole_ms: float | None
    """The same for the answer that was not streamed: all of it came then."""
    ttft_upstream_ms: float | None
    """From headrace's request to the upstream to the first token, as headrace measured it."""
    ttft_offline_ms: float | None
    total_streamed_ms: float | None
    inter_token_p50_ms: float | None
    inter_token_p95_ms: float | None
    inter_token_max_ms: float | None
    cancel_to_upstream_closed_ms: float | None


def checks(observed: Observed) -> tuple[Check, ...]:
    """Every promise, and whether it was kept."""
    shared, cancelled = observed.shared, observed.cancelled
    text = "".join(observed.texts)
    unbroken, resumed = shared.unbroken, shared.resumed
    same = unbroken.data == resumed.data
    digest = hashlib.sha256(unbroken.data).hexdigest()[:12]
    offsets = resumed.offsets
    kept = cancelled.reading.text
    ending = _ending(unbroken)
    usage = unbroken.last.get("metadata", {}).get("usage", {})
    offline = observed.offline.last.get("done", {})
    return (
        Check(
            "the cut reader was given what follows its offset",
            shared.resumed_with == shared.cut_at + 1,
            f"cut after offset {shared.cut_at}, resumed with {shared.resumed_with}",
        ),
        Check(
            "both transcripts are equal, byte for byte",
            same and bool(unbroken.data),
            f"{len(unbroken.data)} bytes, sha256 {digest}"
            if same
            else f"{len(unbroken.data)} and {len(resumed.data)} bytes",
        ),
        Check(
            "no offset came twice, and all came in order",
            offsets == sorted(set(offsets)) == unbroken.offsets and offsets[:1] == [0],
            f"{len(offsets)} frames, the last at offset {resumed.offset}",
        ),
        Check(
            "every token arrived, in order",
            tuple(unbroken.pieces) == tuple(observed.texts),
            f"{len(unbroken.pieces)} of {len(observed.texts)} tokens",
        ),
        Check("the stream ended by itself", ending == "stop", f"ending: {ending}"),
        Check(
            "usage is what the upstream reported",
            (usage.get("completion_tokens"), usage.get("source")) == (len(observed.texts), "reported"),
            f"{usage.get('completion_tokens')} tokens, {usage.get('source')}",
        ),
        Check(
            "not streamed, the answer is the same",
            observed.whole.text == text,
            f"{len(observed.whole.text)} of {len(text)} characters",
        ),
        Check(
            "cancelling closed the upstream's connection",
            cancelled.tokens_sent is not None and cancelled.tokens_sent < len(observed.texts),
            _closed(cancelled, len(observed.texts)),
        ),
        Check(
            "the cancelled stream says so, and keeps its text",
            cancelled.ending == "cancelled" and bool(kept) and text.startswith(kept),
            f"ending: {cancelled.ending}, {len(cancelled.reading.pieces)} tokens kept",
        ),
        Check(
            "the offline provider answered with its sources",
            bool(offline.get("content")) and bool(offline.get("sources")),
            f"{len(offline.get('content', ''))} characters, {len(offline.get('sources', ()))} sources",
        ),
    )


def figures(observed: Observed) -> Figures:
    """What was measured."""
    unbroken = observed.shared.unbroken
    arrivals = unbroken.arrivals_ns
    gaps = sorted((after - before) / 1e6 for before, after in pairwise(arrivals))
    return Figures(
        tokens=len(unbroken.pieces),
        ttft_streamed_ms=_ttft_ms(unbroken),
        ttft_whole_ms=_rounded(observed.whole.nanoseconds / 1e6) if observed.whole.text else None,
        ttft_upstream_ms=unbroken.last.get("metadata", {}).get("ttft_ms"),
        ttft_offline_ms=_ttft_ms(observed.offline),
        total_streamed_ms=None
        if unbroken.ended_ns is None
        else _rounded((unbroken.ended_ns - unbroken.asked_ns) / 1e6),
        inter_token_p50_ms=_at(gaps, 0.5),
        inter_token_p95_ms=_at(gaps, 0.95),
        inter_token_max_ms=_at(gaps, 1.0),
        cancel_to_upstream_closed_ms=_rounded(observed.cancelled.closed_after_ms),
    )


def _ending(reading: Reading) -> str:
    done, error = reading.last.get("done"), reading.last.get("error")
    if error is not None:
        return f"{error.get('ending', 'error')} ({error.get('code')})"
    return "none" if done is None else str(done.get("finish_reason"))


def _closed(cancelled: Cancelled, tokens: int) -> str:
    if cancelled.closed_after_ms is None:
        return "it stayed open"
    return f"after {cancelled.closed_after_ms:.1f} ms, {cancelled.tokens_sent} of {tokens} tokens sent"


def _ttft_ms(reading: Reading) -> float | None:
    return _rounded(_since_asked_ms(reading, reading.arrivals_ns[0] if reading.arrivals_ns else None))


def _since_asked_ms(reading: Reading, then_ns: int | None) -> float | None:
    return None if then_ns is None else (then_ns - reading.asked_ns) / 1e6


def _at(ordered: Sequence[float], share: float) -> float | None:
    return _rounded(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else None


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
