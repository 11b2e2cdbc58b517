"""The state machine of a connection: its table, its bounds, and what no sequence of inputs may bring about."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.client.connection_state import (
    BOUNDS,
    ENDS,
    FOLLOWS,
    Action,
    Advanced,
    Ask,
    ConnectionState,
    Dropped,
    Exists,
    Finished,
    Get,
    Input,
    Join,
    Left,
    Opened,
    Post,
    Read,
    Refused,
    Resuming,
    State,
    Stop,
    Wait,
    Waited,
)

SECOND = 10**9
DROPPED = Dropped(0, 0.5)
EXAMPLES: list[Input] = [
    Ask(), Join(), Opened(), Advanced(10), Finished(), DROPPED, Waited(), Exists(), Refused(), Left()
]  # fmt: skip
WAYS: dict[State, list[Input]] = {
    "idle": [],
    "asking": [Ask()],
    "reading": [Ask(), Opened()],
    "waiting": [Ask(), DROPPED],
    "resuming": [Join()],
    "ended": [Join(), Finished()],
    "failed": [Ask(), Refused()],
    "detached": [Ask(), Left()],
}
"""How each state is reached."""


def after(*inputs: Input, bounds: Resuming = BOUNDS, known: int = -1) -> tuple[ConnectionState, Action | None]:
    """The machine after these inputs, and the last action it gave."""
    machine, action = ConnectionState(bounds, known), None
    for each in inputs:
        action = machine.feed(each)
    return machine, action


def test_the_table_knows_every_state_and_every_input() -> None:
    assert set(FOLLOWS) == set(get_args(State)) == set(WAYS)
    assert {type(each) for each in EXAMPLES} == set(get_args(Input))
    assert {kind for row in FOLLOWS.values() for kind in row} == set(get_args(Input))
    assert {state for state in FOLLOWS if not FOLLOWS[state]} == ENDS


@pytest.mark.parametrize("given", EXAMPLES, ids=lambda given: type(given).__name__)
@pytest.mark.parametrize("state", WAYS)
def test_each_input_leads_where_the_table_says_or_is_not_allowed(state: State, given: Input) -> None:
    machine, _ = after(*WAYS[state])
    assert machine.state == state
    allowed = FOLLOWS[state].get(type(given))
    if allowed is None:
        with pytest.raises(ValueError, match=f"{type(given).__name__} may not come in the state '{state}'"):
            machine.feed(given)
        assert machine.state == state
    else:
        machine.feed(given)
        assert machine.state in allowed


@pytest.mark.parametrize(
    ("inputs", "state", "action"),
    [
        ([Ask()], "asking", Post()),
        ([Join()], "resuming", Get(-1)),
        ([Ask(), Opened()], "reading", Read()),
        ([Ask(), Opened(), Advanced(4)], "reading", Read()),
        ([Ask(), Opened(), Advanced(4), Finished()], "ended", Stop()),
        # A drop before the server is known to have it: asked again, with the same id, which may be there by then.
        ([Ask(), DROPPED], "waiting", Wait(0.125)),
        ([Ask(), DROPPED, Waited()], "asking", Post()),
        ([Ask(), DROPPED, Waited(), Exists()], "resuming", Get(-1)),
        # An id that is there before this client ever asked is another's.
        ([Ask(), Exists()], "failed", Stop()),
        # A drop after that: never asked again, only resumed, behind what was read.
        ([Ask(), Opened(), DROPPED, Waited()], "resuming", Get(-1)),
        ([Ask(), Opened(), Advanced(4), DROPPED, Waited()], "resuming", Get(4)),
        ([Ask(), Opened(), Advanced(4), DROPPED, Waited(), DROPPED, Waited()], "resuming", Get(4)),
        ([Join(), Finished()], "ended", Stop()),
        ([Join(), DROPPED, Waited()], "resuming", Get(-1)),
        ([Ask(), DROPPED, Left()], "detached", Stop()),
    ],
)
def test_what_is_done_after(inputs: list[Input], state: State, action: Action) -> None:
    machine, last = after(*inputs)
    assert (machine.state, last) == (state, action)


def drops(count: int, *, every_ns: int = 0, answered: bool = True) -> list[Input]:
    return [each for n in range(count) for each in (Dropped(n * every_ns, 0.0, answered), Waited())]


def test_it_gives_up_after_so_many_attempts_without_an_event() -> None:
    bounds = Resuming(attempts=4)
    machine, _ = after(Ask(), Opened(), *drops(3), bounds=bounds)
    assert machine.feed(DROPPED) == Stop()
    assert machine.state == "failed"


def test_an_event_gives_all_attempts_back() -> None:
    bounds = Resuming(attempts=4)
    machine, _ = after(Ask(), Opened(), *drops(3), Opened(), Advanced(0), *drops(3), bounds=bounds)
    assert machine.state == "resuming"


def test_an_open_connection_without_an_event_gives_none_back() -> None:
    bounds = Resuming(attempts=3)
    machine, _ = after(Ask(), Opened(), DROPPED, Waited(), Opened(), DROPPED, Waited(), Opened(), bounds=bounds)
    assert machine.feed(DROPPED) == Stop()


def test_where_nothing_ever_answered_it_gives_up_sooner() -> None:
    bounds = Resuming(attempts=8, knocks=2)
    machine, _ = after(Ask(), *drops(1, answered=False), bounds=bounds)
    assert machine.feed(Dropped(0, 0.0, answered=False)) == Stop()
    machine, _ = after(Ask(), *drops(1, answered=True), *drops(6, answered=False), bounds=bounds)
    assert machine.state == "asking", "somebody was there once"


def test_it_gives_up_when_it_was_away_for_too_long() -> None:
    bounds = Resuming(attempts=1000, seconds=10)
    machine, _ = after(Ask(), Opened(), *drops(10, every_ns=SECOND), bounds=bounds)
    assert machine.feed(Dropped(10 * SECOND, 0.0)) == Stop()


def test_being_back_in_contact_begins_the_time_anew() -> None:
    bounds = Resuming(attempts=1000, seconds=10)
    machine, _ = after(Ask(), Opened(), DROPPED, Waited(), Opened(), bounds=bounds)
    assert machine.feed(Dropped(60 * SECOND, 0.0)) == Wait(0.0)


def test_the_last_attempt_is_made_when_the_time_is_over_and_not_later() -> None:
    bounds = Resuming(attempts=1000, seconds=1, first_delay_seconds=8, longest_delay_seconds=8)
    machine, _ = after(Ask(), Opened(), bounds=bounds)
    assert machine.feed(Dropped(0, 0.99)) == Wait(1.0)


def test_delays_double_up_to_the_longest_and_chance_decides_how_much_of_them() -> None:
    bounds = Resuming(attempts=99, seconds=1000, first_delay_seconds=1, longest_delay_seconds=5)
    machine, _ = after(Ask(), Opened(), bounds=bounds)
    waits = []
    for _ in range(5):
        waits.append(machine.feed(Dropped(0, 0.5)))
        machine.feed(Waited())
    assert waits == [Wait(0.5), Wait(1.0), Wait(2.0), Wait(2.5), Wait(2.5)]


def test_a_server_that_wants_to_be_left_alone_is_and_not_for_longer_than_there_is_time() -> None:
    machine, _ = after(Ask())
    assert machine.feed(Dropped(0, 0.5, retry_after_seconds=7)) == Wait(7)
    machine, _ = after(Ask(), bounds=Resuming(seconds=5))
    assert machine.feed(Dropped(0, 0.5, retry_after_seconds=7)) == Stop()


def test_an_event_that_was_read_before_is_not_read_again() -> None:
    machine, _ = after(Join(), Opened(), Advanced(4))
    with pytest.raises(ValueError, match="the event 4 was read before"):
        machine.feed(Advanced(4))


CHANCE = st.floats(0, 1, exclude_max=True)
STEPS = st.lists(
    st.tuples(st.integers(0, len(EXAMPLES) - 1), CHANCE, st.integers(0, 5 * SECOND), st.booleans(), st.floats(0, 40)),
    max_size=80,
)
ANY_BOUNDS = st.builds(
    Resuming,
    attempts=st.integers(1, 9),
    seconds=st.floats(0, 60),
    knocks=st.integers(1, 9),
    first_delay_seconds=st.floats(0, 2),
    longest_delay_seconds=st.floats(0, 9),
)


@given(ANY_BOUNDS, st.integers(-1, 5), st.booleans(), STEPS)
def test_whatever_happens(
    bounds: Resuming, known: int, joins: bool, steps: list[tuple[int, float, int, bool, float]]
) -> None:
    machine = ConnectionState(bounds, known)
    action = machine.feed(Join() if joins else Ask())
    now, offset, began, tried, away = 0, known, joins, 0, 0.0
    for choice, chance, passed, answered, again in steps:
        now += passed
        kind = type(EXAMPLES[choice])
        if kind not in FOLLOWS[machine.state]:
            continue
        assert machine.state not in ENDS, "nothing follows an end"
        if kind is Advanced:
            offset += 1 + choice
            given: Input = Advanced(offset)
            tried = 0
        elif kind is Dropped:
            given = Dropped(now, chance, answered, again)
            tried += 1
        else:
            given = EXAMPLES[choice]
        began = began or kind in (Opened, Exists)
        action = machine.feed(given)
        match action:
            case Post():
                assert not began, "a stream that has begun is never asked for again"
            case Get():
                assert action.after == offset, "nothing twice, nothing missed"
                assert began
            case Wait():
                assert 0 <= action.seconds <= bounds.seconds
                assert tried < bounds.attempts
                away = action.seconds
                now += int(away * 1e9)
            case Read():
                assert machine.state == "reading"
            case Stop():
                assert machine.state in ENDS
    assert machine.after == offset
