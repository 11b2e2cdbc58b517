"""What a reader sees of an answer's pace, from moments that are given (row I5)."""

from headrace.client.measuring import WINDOW, Measuring
from headrace.events import Ended, Event, ReasoningDelta, Started, TextDelta, UsageKnown
from headrace.usage import reported

MS = 1_000_000


def test_i5_ttft_gaps_tokens_and_rate() -> None:
    measuring = Measuring(1000 * MS)
    measuring.feed([Started("s", "m", 0)], 1010 * MS)
    assert measuring.stats(1020 * MS).time_to_first_token_seconds is None
    measuring.feed([ReasoningDelta("Hm")], 1100 * MS)
    measuring.feed([TextDelta("a"), TextDelta("b")], 1200 * MS)
    measuring.feed([TextDelta("c")], 1300 * MS)
    assert measuring.stats(1400 * MS).tokens_per_second is None
    measuring.feed([UsageKnown(reported(7, 5, by="lab")), Ended("stop")], 1350 * MS)
    measuring.finish(1350 * MS)
    stats = measuring.stats(9999 * MS)
    assert (stats.total_seconds, stats.time_to_first_token_seconds) == (0.35, 0.1)
    assert stats.mean_gap_seconds == (100 + 0 + 100) / 3 / 1000
    assert (stats.deltas, stats.tokens, stats.tokens_per_second) == (4, 5, 4 / 0.2)


def test_i5_the_mean_is_taken_over_the_last_hundred_gaps() -> None:
    measuring, now = Measuring(0), 0
    for gap in [50] * 30 + [10] * WINDOW:
        now += gap * MS
        measuring.feed([TextDelta("x")], now)
    assert measuring.stats(now).mean_gap_seconds == 0.01


def test_an_answer_that_came_at_once_has_no_rate() -> None:
    measuring = Measuring(0)
    events: list[Event] = [TextDelta("x"), TextDelta("y"), UsageKnown(reported(1, 2, by="lab")), Ended("stop")]
    measuring.feed(events, 5 * MS)
    stats = measuring.stats(5 * MS)
    assert (stats.tokens_per_second, stats.mean_gap_seconds) == (None, 0.0)
