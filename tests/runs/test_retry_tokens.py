"""The retries that an upstream is worth: what they cost, what pays for them, and how many a sick one gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.runs.retry_tokens import ALL_RETRY_TOKENS, FOR_A_SUCCESS, MOST_RETRY_TOKENS, RetryTokens


def test_a_retry_that_helps_costs_nothing() -> None:
    tokens = RetryTokens(7)
    assert tokens.taken().left == 6
    assert tokens.taken().earned(retried=True) == tokens


def test_an_upstream_that_never_answers_is_asked_again_a_hundred_times_and_no_more() -> None:
    tokens, retries = ALL_RETRY_TOKENS, 0
    while tokens.allow():
        tokens, retries = tokens.taken(), retries + 1
    assert retries == MOST_RETRY_TOKENS


def test_five_answers_that_went_well_pay_for_one_more_retry() -> None:
    tokens = RetryTokens(0)
    assert not tokens.allow()
    for _ in range(5):
        tokens = tokens.earned(retried=False)
    assert tokens.left == pytest.approx(5 * FOR_A_SUCCESS)
    assert tokens.allow()


@given(st.lists(st.sampled_from(["retry helps", "retry fails", "went well"]), max_size=400))
def test_retries_that_failed_never_exceed_what_was_there_and_what_was_earned(happenings: list[str]) -> None:
    tokens, failed, well = ALL_RETRY_TOKENS, 0, 0
    for happening in happenings:
        if happening == "went well":
            tokens, well = tokens.earned(retried=False), well + 1
        elif tokens.allow():
            tokens = tokens.taken()
            if happening == "retry helps":
                tokens = tokens.earned(retried=True)
            else:
                failed += 1
        assert 0 <= tokens.left <= MOST_RETRY_TOKENS
    assert failed <= MOST_RETRY_TOKENS + FOR_A_SUCCESS * well + 1e-6
