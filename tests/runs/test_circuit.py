"""An upstream that fails again and again is left alone for a while: the table of its circuit, and what always holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.runs.circuit import (
    CLOSED,
    COOLING_OFF_SECONDS,
    FAILURES_IN_A_ROW,
    LONGEST_COOLING_OFF_SECONDS,
    Circuit,
)

SECOND = 1_000_000_000
COOLING_OFF = int(COOLING_OFF_SECONDS * SECOND)


def opened(now_ns: int = 0) -> Circuit:
    circuit = CLOSED
    for _ in range(FAILURES_IN_A_ROW):
        circuit = circuit.failed(now_ns, trial=False)
    return circuit


def test_a_circuit_opens_with_the_fifth_failure_in_a_row() -> None:
    circuit = CLOSED
    for _ in range(FAILURES_IN_A_ROW - 1):
        circuit = circuit.failed(0, trial=False)
        assert (circuit.state(0), circuit.admits(0)) == ("closed", True)
    circuit = circuit.failed(0, trial=False)
    assert (circuit.state(0), circuit.admits(0), circuit.seconds_left(0)) == ("open", False, COOLING_OFF_SECONDS)


def test_a_success_between_failures_begins_the_row_anew() -> None:
    circuit = CLOSED
    for _ in range(FAILURES_IN_A_ROW - 1):
        circuit = circuit.failed(0, trial=False)
    circuit = circuit.succeeded().failed(0, trial=False)
    assert circuit.state(0) == "closed"


def test_after_the_cooling_off_one_run_tries_it_out_and_the_rest_stay_away() -> None:
    circuit = opened()
    assert circuit.state(COOLING_OFF - 1) == "open"
    assert circuit.tried(COOLING_OFF - 1) is circuit, "whoever asks it meanwhile, having nobody else, is no trial"
    assert (circuit.state(COOLING_OFF), circuit.admits(COOLING_OFF)) == ("half_open", True)
    on_trial = circuit.tried(COOLING_OFF)
    assert (on_trial.state(COOLING_OFF), on_trial.admits(COOLING_OFF)) == ("half_open", False)
    assert on_trial.let_go().admits(COOLING_OFF), "a trial whose reader left tells nothing: another may try"
    assert on_trial.succeeded() == CLOSED


def test_a_trial_that_fails_opens_it_for_twice_as_long() -> None:
    circuit, now, lasted = opened(), 0, []
    for _ in range(6):
        lasted.append(circuit.seconds_left(now))
        now += int(lasted[-1] * SECOND)
        circuit = circuit.tried(now).failed(now, trial=True)
    assert lasted == [30, 60, 120, 240, LONGEST_COOLING_OFF_SECONDS, LONGEST_COOLING_OFF_SECONDS]


def test_failures_of_those_who_ask_it_all_the_same_do_not_lengthen_the_cooling_off() -> None:
    circuit = opened()
    assert circuit.failed(SECOND, trial=False).open_until_ns == circuit.open_until_ns


STEPS = st.lists(
    st.tuples(st.sampled_from(["failed", "failed on trial", "succeeded", "let go", "tried"]), st.integers(0, 400)),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_it_closes_with_a_success_and_is_tried_again_in_time(steps: list[tuple[str, int]]) -> None:
    circuit, now = CLOSED, 0
    for step, seconds in steps:
        now += seconds * SECOND
        match step:
            case "failed" | "failed on trial":
                circuit = circuit.failed(now, trial=step == "failed on trial")
            case "succeeded":
                circuit = circuit.succeeded()
                assert circuit.state(now) == "closed"
            case "let go":
                circuit = circuit.let_go()
            case _:
                circuit = circuit.tried(now)
        assert circuit.seconds_left(now) <= LONGEST_COOLING_OFF_SECONDS
        if circuit.state(now) == "closed":
            assert circuit.failures < FAILURES_IN_A_ROW
    later = now + int(LONGEST_COOLING_OFF_SECONDS * SECOND)
    assert circuit.let_go().admits(later)
