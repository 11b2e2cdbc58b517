"""What is done after a failure: the table drawn in the docstring is read and held against the function."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import (
    HeadraceError,
    InternalError,
    StoreError,
    UpstreamKeyMissing,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamReset,
    UpstreamTimeout,
    UpstreamTooSlow,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from headrace.runs import recovery
from headrace.runs.recovery import (
    ATTEMPTS_PER_UPSTREAM,
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    UNWELL,
    Again,
    Decision,
    End,
    NextUpstream,
    choose,
    decide,
    kind_of,
)


def refused(status: int | None, retry_after_seconds: float | None = None) -> UpstreamRefused:
    return UpstreamRefused("no", upstream="groq", status=status, retry_after_seconds=retry_after_seconds)


ERRORS: dict[str, list[HeadraceError]] = {
    "no connection": [UpstreamUnreachable("no", upstream="groq")],
    "connection broke": [UpstreamReset("no", upstream="groq")],
    "cut off without a reason": [UpstreamTruncated("no", upstream="groq")],
    "busy or unwell (429, 5xx)": [*map(refused, (None, 408, 409, 425, 429, 500, 502, 503, 504, 529))],
    "refused (400, 413, 422)": [*map(refused, (400, 402, 405, 413, 422))],
    "refused (401, 403, 404)": [*map(refused, (401, 403, 404)), UpstreamKeyMissing("no", upstream="groq")],
    "not its protocol": [UpstreamMalformed("no", upstream="groq")],
    "too slow": [UpstreamTooSlow("no", upstream="groq")],
    "connect timer": [UpstreamTimeout("connect", 5, upstream="groq")],
    "first-token timer": [UpstreamTimeout("first_token", 120, upstream="groq")],
    "between-tokens timer": [UpstreamTimeout("between_tokens", 30, upstream="groq")],
    "total timer": [UpstreamTimeout("total", 600, upstream="groq")],
    "our own fault": [InternalError("no"), StoreError("no"), HeadraceError("no")],
}
STEPS = {"again": Again, "next upstream": NextUpstream}


def drawn() -> dict[str, tuple[list[str], list[str]]]:
    """The rows of the docstring: what failed → the steps before the first content, in order, and those after it."""
    assert recovery.__doc__ is not None
    _, _, below = recovery.__doc__.partition("────────────\n")
    table, _, _ = below.partition("\n\n")
    rows = {}
    for line in table.splitlines():
        failed, before, after = re.split(r" {2,}", line.strip())
        rows[failed] = (steps(before), steps(after))
    return rows


def steps(cell: str) -> list[str]:
    # What stands in brackets or behind a colon explains.
    words = re.sub(r"\(.*\)|:.*", "", cell)
    return [word for word in words.split(", else ") if word not in ("", "end")]


def test_every_row_of_the_table_has_its_errors_here() -> None:
    assert drawn().keys() == ERRORS.keys()
    assert {step for both in drawn().values() for steps in both for step in steps} == STEPS.keys()


@pytest.mark.parametrize("spoke", [False, True], ids=["before the first content", "after it"])
@pytest.mark.parametrize("failed", ERRORS)
def test_t5_the_first_step_of_the_row_that_is_possible_is_taken(failed: str, spoke: bool) -> None:
    for error, attempts_here, upstreams_left, may_retry in itertools.product(
        ERRORS[failed], range(1, ATTEMPTS_PER_UPSTREAM + 2), range(3), (True, False)
    ):
        possible = {
            "again": may_retry and attempts_here < ATTEMPTS_PER_UPSTREAM,
            "next upstream": upstreams_left > 0,
        }
        expected = next((STEPS[step] for step in drawn()[failed][spoke] if possible[step]), End)
        decision = decide(
            error,
            spoke=spoke,
            may_retry=may_retry,
            attempts_here=attempts_here,
            upstreams_left=upstreams_left,
            chance=0.5,
        )
        assert type(decision) is expected


@pytest.mark.parametrize("spoke", [False, True])
@pytest.mark.parametrize("failed", ERRORS)
def test_l27_where_nobody_may_be_asked_every_row_ends(failed: str, spoke: bool) -> None:
    for error in ERRORS[failed]:
        assert decide(error, spoke=spoke, may_retry=False, attempts_here=1, upstreams_left=0, chance=0.5) == End()


def test_what_is_the_requests_fault_or_a_keys_does_not_count_against_an_upstream() -> None:
    blameless = {"refused (400, 413, 422)", "refused (401, 403, 404)", "total timer", "our own fault"}
    for failed, errors in ERRORS.items():
        assert {kind_of(error) in UNWELL for error in errors} == {failed not in blameless}


@given(st.lists(st.booleans(), min_size=1))
def test_the_next_upstream_is_the_first_that_is_not_left_alone_and_else_the_first(admitted: list[bool]) -> None:
    chosen = choose(admitted)
    assert admitted[chosen] or not any(admitted)
    assert not any(admitted[:chosen])


@pytest.mark.parametrize(
    ("retry_after_seconds", "upstreams_left", "decision"),
    [
        (0, 0, Again(0)),
        (2.5, 0, Again(2.5)),
        (LONGEST_RETRY_AFTER_SECONDS, 1, Again(LONGEST_RETRY_AFTER_SECONDS)),
        # Asked to wait for longer, a reader is better served elsewhere, and told when that is nowhere.
        (LONGEST_RETRY_AFTER_SECONDS + 0.1, 1, NextUpstream()),
        (LONGEST_RETRY_AFTER_SECONDS + 0.1, 0, End()),
        (3600, 0, End()),
    ],
)
def test_an_upstream_that_says_when_to_come_back_is_taken_at_its_word(
    retry_after_seconds: float, upstreams_left: int, decision: Decision
) -> None:
    error = refused(429, retry_after_seconds)
    for spoke in (False, True):
        decided = decide(error, spoke=spoke, may_retry=True, attempts_here=1, upstreams_left=upstreams_left, chance=0.9)
        assert decided == decision


@given(st.integers(1, ATTEMPTS_PER_UPSTREAM - 1), st.floats(0, 1, exclude_max=True))
def test_delays_are_full_jitter_below_a_doubling_bound(attempts_here: int, chance: float) -> None:
    decision = decide(
        refused(500), spoke=False, may_retry=True, attempts_here=attempts_here, upstreams_left=0, chance=chance
    )
    assert isinstance(decision, Again)
    bound = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempts_here)
    assert decision.delay_seconds == pytest.approx(bound * chance)
    assert 0 <= decision.delay_seconds <= bound
