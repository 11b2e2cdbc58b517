"""The figures made of the marks of an attempt (L42)."""

import pytest

from headrace.timing import Marks, Timing, measured


def marks(**moments: int) -> Marks:
    """The marks of an attempt that began at 1,000, with these moments written down."""
    made = Marks(1_000)
    for name, moment in moments.items():
        setattr(made, name, moment)
    return made


@pytest.mark.parametrize(
    ("last_attempt", "timing"),
    [
        # Nothing was asked: only the whole time is known.
        (None, Timing(total_ns=9_900)),
        (marks(), Timing(total_ns=9_900, queue_ns=900)),
        (marks(connected_ns=1_010), Timing(total_ns=9_900, queue_ns=900, connect_ns=10)),
        (
            marks(connected_ns=1_010, sent_ns=1_015, first_byte_ns=1_100),
            Timing(total_ns=9_900, queue_ns=900, connect_ns=10, first_byte_ns=85),
        ),
        (
            marks(connected_ns=1_010, sent_ns=1_015, first_byte_ns=1_100, first_token_ns=2_015),
            Timing(total_ns=9_900, queue_ns=900, connect_ns=10, first_byte_ns=85, time_to_first_token_ns=1_000),
        ),
        # Who never says when it sent is taken to have sent when it was asked.
        (
            marks(first_byte_ns=1_100, first_token_ns=1_200),
            Timing(total_ns=9_900, queue_ns=900, first_byte_ns=100, time_to_first_token_ns=200),
        ),
    ],
)
def test_each_phase_is_told_as_far_as_the_attempt_got(last_attempt: Marks | None, timing: Timing) -> None:
    assert measured(100, 10_000, last_attempt, 1) == timing


def test_the_phases_follow_each_other_and_end_at_the_first_token() -> None:
    seen = marks(connected_ns=1_010, sent_ns=1_015, first_byte_ns=1_100, first_token_ns=2_015)
    timing = measured(100, 10_000, seen, 2)
    assert timing.queue_ns is not None
    assert timing.connect_ns is not None
    assert timing.time_to_first_token_ns is not None
    assert timing.queue_ns + timing.connect_ns <= 2_015 - 100 - timing.time_to_first_token_ns
    assert timing.attempts == 2


def test_l42_the_kind_of_the_first_token_is_kept() -> None:
    seen = marks(sent_ns=1_000, first_token_ns=1_200)
    seen.first_token_kind = "reasoning"
    assert measured(0, 9_000, seen, 1).first_token_kind == "reasoning"
