"""The table of which event may follow which, against a grammar written down a second time and in another way."""

import re
from collections.abc import Iterable
from typing import get_args

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.events import (
    CONTENT,
    FINISHED,
    FOLLOWS,
    Ended,
    Ending,
    Event,
    Failure,
    Passthrough,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    State,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
    next_state,
)
from headrace.timing import Timing
from headrace.usage import Usage

STARTED = Started("0" * 32, "fast", 1_700_000_000_000_000_000, language="de", conversation_id="c")
USAGE = Usage(3, 2, "reported", "estimated", "groq", cached_tokens=1, reasoning_tokens=1)

# One of each, with every field filled.
EXAMPLES: tuple[Event, ...] = (
    STARTED,
    Status("failed_over", "a did not answer; asking b", origin="a", destination="b"),
    Sources((Source(1, "doc#1", "Bread", "Bake it.", 0.8),)),
    ReasoningDelta("hm", choice=1),
    TextDelta("今天😀\u2028", choice=1),
    ToolCallDelta(1, id="call_1", name="bake", arguments='{"at":', choice=1),
    Passthrough("openai_chat", {"logprobs": msgspec.Raw(b"{}")}, {"audio": msgspec.Raw(b'{"id":"a"}')}, choice=1),
    UsageKnown(USAGE),
    Ended(
        "error",
        Failure("upstream_reset", "it broke", 502, True, 1.5, "groq", 500, "oops"),
        Timing(9, 1, 2, 3, 4, "text", 2),
        ((0, "stop"), (1, "length")),
    ),
)
KINDS = tuple(type(event) for event in EXAMPLES)

# The same language as `FOLLOWS`, as one regular expression over a letter for each event: S started, c content, e ended,
# a anything around them. A sequence may stop anywhere, since a stream may still be going on.
LETTERS: dict[type[Event], str] = {**dict.fromkeys(KINDS, "a"), **dict.fromkeys(CONTENT, "c"), Started: "S", Ended: "e"}
ALLOWED = re.compile(r"(S[ac]*e?)?")


def test_the_examples_are_of_every_kind_of_event() -> None:
    assert set(KINDS) == set(get_args(Event))


def test_every_kind_of_event_has_its_place_in_the_table() -> None:
    assert {kind for row in FOLLOWS.values() for kind in row} == set(KINDS)
    reached = {state for row in FOLLOWS.values() for state in row.values()}
    assert set(FOLLOWS) == set(get_args(State)) == reached | {"new"}


def test_content_alone_crosses_the_commit_boundary() -> None:
    crossing = {kind for kind, after in FOLLOWS["waiting"].items() if after == "speaking"}
    assert crossing == set(CONTENT) == {TextDelta, ReasoningDelta, ToolCallDelta}


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], "new"),
        ([STARTED], "waiting"),
        ([STARTED, Status("searching", "…"), UsageKnown(USAGE)], "waiting"),
        ([STARTED, ReasoningDelta("hm")], "speaking"),
        ([STARTED, TextDelta("a"), Status("waiting", "…"), TextDelta("b")], "speaking"),
        ([STARTED, Ended("error")], "ended"),
        ([STARTED, TextDelta("a"), UsageKnown(USAGE), Ended("stop")], "ended"),
    ],
)
def test_events_lead_from_state_to_state(events: list[Event], state: State) -> None:
    assert walked(events) == state


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([TextDelta("a")], "a TextDelta may not follow in the state 'new'"),
        ([Ended("error")], "a Ended may not follow in the state 'new'"),
        ([STARTED, STARTED], "a Started may not follow in the state 'waiting'"),
        ([STARTED, TextDelta("a"), STARTED], "a Started may not follow in the state 'speaking'"),
        ([STARTED, Ended("stop"), Ended("stop")], "a Ended may not follow in the state 'ended'"),
        ([STARTED, Ended("stop"), TextDelta("a")], "a TextDelta may not follow in the state 'ended'"),
    ],
)
def test_an_event_out_of_place_is_named(events: list[Event], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        walked(events)


def walked(events: Iterable[Event]) -> State:
    state: State = "new"
    for event in events:
        state = next_state(state, event)
    return state


class Generation(RuleBasedStateMachine):
    """Offers any event at any time: the table takes exactly those that the grammar takes."""

    def __init__(self) -> None:
        super().__init__()
        self.state: State = "new"
        self.letters = ""

    @rule(event=st.sampled_from(EXAMPLES))
    def offer(self, event: Event) -> None:
        letters = self.letters + LETTERS[type(event)]
        if ALLOWED.fullmatch(letters):
            self.state = next_state(self.state, event)
            self.letters = letters
        else:
            with pytest.raises(ValueError, match=type(event).__name__):
                next_state(self.state, event)

    @invariant()
    def the_state_says_what_has_happened(self) -> None:
        match self.state:
            case "new":
                assert self.letters == ""
            case "waiting":
                assert not set("ce") & set(self.letters)
            case "speaking":
                assert "c" in self.letters
                assert "e" not in self.letters
            case "ended":
                assert self.letters.endswith("e")


TestGeneration = Generation.TestCase


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_is_never_changed(event: Event) -> None:
    field = event.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(event, field, getattr(event, field))


def test_events_of_every_kind_can_be_kept_as_json_and_told_apart_again() -> None:
    assert msgspec.json.decode(msgspec.json.encode(EXAMPLES), type=tuple[Event, ...]) == EXAMPLES


def test_an_upstream_finishes_in_the_four_ways_openai_names() -> None:
    assert sorted(FINISHED) == ["content_filter", "length", "stop", "tool_calls"]
    assert set(get_args(Ending)) - FINISHED == {"cancelled", "incomplete", "interrupted", "error"}
