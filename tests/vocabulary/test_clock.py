"""The clock: two times of which one never goes back, and how a time is written."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import Clock, SystemClock, utc_timestamp


def test_the_systems_clock_reads_both_times_of_the_machine() -> None:
    clock: Clock = SystemClock()
    before = time.monotonic_ns(), time.time_ns()
    read = clock.monotonic_ns(), clock.unix_ns()
    after = time.monotonic_ns(), time.time_ns()
    assert before[0] <= read[0] <= after[0]
    assert before[1] <= read[1] <= after[1]


@pytest.mark.parametrize(
    ("unix_ns", "written"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_168_800_000_000_000, "2026-11-20T10:00:00.000Z"),
        (1_795_168_800_012_999_999, "2026-11-20T10:00:00.012Z"),  # cut, not rounded: never in the future
        (1_709_164_799_999_000_000, "2024-02-28T23:59:59.999Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(unix_ns: int, written: str) -> None:
    assert utc_timestamp(unix_ns) == written


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 4_000_000_000_000))
def test_written_times_sort_as_the_times_do(first_ms: int, second_ms: int) -> None:
    first, second = utc_timestamp(first_ms * 1_000_000), utc_timestamp(second_ms * 1_000_000)
    assert (first < second) == (first_ms < second_ms)
