"""Requests a minute."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from headrace.clock import SystemClock
from headrace.errors import RateLimited
from headrace.keys.quota import RequestQuota


def test_so_many_requests_are_counted_down_and_the_next_is_refused() -> None:
    quota = RequestQuota(3, SystemClock())
    before = time.time()
    standings = [quota.take() for _ in range(3)]
    assert [(each.limit, each.remaining) for each in standings] == [(3, 2), (3, 1), (3, 0)]
    assert all(before + 59 < each.reset_unix_seconds < before + 63 for each in standings)
    with pytest.raises(RateLimited) as refused:
        quota.take()
    error = refused.value
    assert (error.code, error.http_status, error.limit) == ("rate_limited", 429, 3)
    assert error.retry_after_seconds is not None
    assert 58 <= error.retry_after_seconds <= 60
    assert error.reset_unix_seconds == standings[-1].reset_unix_seconds


def test_the_window_moves_and_what_was_refused_does_not_count() -> None:
    quota = RequestQuota(2, SystemClock(), seconds=1)
    quota.take()
    quota.take()
    deadline = time.monotonic() + 10
    refusals = 0
    while True:
        assert time.monotonic() < deadline
        try:
            quota.take()
            break
        except RateLimited:
            refusals += 1
            time.sleep(0.01)  # what is waited for is the window
    assert refusals > 10, "trying again and again does not lock anybody out"


def test_the_quotas_of_two_keys_are_two() -> None:
    first, second = RequestQuota(1, SystemClock()), RequestQuota(1, SystemClock())
    first.take()
    second.take()
    with pytest.raises(RateLimited):
        first.take()


def test_a_server_that_limits_nobodys_requests_never_imports_what_counts_them() -> None:
    code = (
        "import sys; from headrace.clock import SystemClock; from headrace.keys.keyring import Key;"
        " from headrace.settings import KeySettings; import headrace.server.serving;"
        " Key('hr_', KeySettings('ann', 'ab' * 32, max_streams=1), SystemClock()); sys.exit('limits' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
