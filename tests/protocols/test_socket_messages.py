"""A protocol's records as messages of a WebSocket: what they add, and that they add nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from headrace.events import Ended, Event, Failure, TextDelta, UsageKnown
from headrace.protocols import PROTOCOLS
from headrace.protocols.socket_messages import SPOKEN, message_encoder
from headrace.requests import ReaderOptions
from headrace.testing.generations import GENERATIONS, STARTED, TIMING
from headrace.usage import reported

every_spoken = pytest.mark.parametrize("name", SPOKEN)
every_generation = pytest.mark.parametrize("events", GENERATIONS.values(), ids=list(GENERATIONS))
OPTIONS = ReaderOptions(chunk_size=3)


def messages(name: str, events: Sequence[Event], **more: Any) -> list[dict[str, Any]]:
    encoder = message_encoder(PROTOCOLS[name], OPTIONS, **more)
    return [json.loads(message) for message in encoder.encode(0, events)]


@every_spoken
@every_generation
def test_messages_do_not_depend_on_how_events_were_batched(name: str, events: Sequence[Event]) -> None:
    whole = message_encoder(PROTOCOLS[name], OPTIONS, request_id="r").encode(0, events)
    one_by_one = message_encoder(PROTOCOLS[name], OPTIONS, request_id="r")
    assert whole == [each for offset, event in enumerate(events) for each in one_by_one.encode(offset, (event,))]


@every_spoken
@every_generation
def test_resuming_behind_any_offset_that_was_told_gives_the_rest(name: str, events: Sequence[Event]) -> None:
    whole = message_encoder(PROTOCOLS[name], OPTIONS).encode(0, events)
    places = [json.loads(message)["headrace"].get("seq") for message in whole]
    for after in filter(None, places):
        returned = message_encoder(PROTOCOLS[name], OPTIONS)
        returned.encode(0, events[: after + 1])
        assert returned.encode(after + 1, events[after + 1 :]) == whole[places.index(after) + 1 :]


@every_spoken
@every_generation
def test_offsets_rise_and_the_last_message_of_an_event_has_its_own(name: str, events: Sequence[Event]) -> None:
    encoder = message_encoder(PROTOCOLS[name], OPTIONS)
    for offset, event in enumerate(events):
        made = [json.loads(message)["headrace"] for message in encoder.encode(offset, (event,))]
        assert [place.get("seq") for place in made] == [None] * (len(made) - 1) + [offset] * bool(made)
        assert {place["stream_id"] for place in made} <= {STARTED.stream_id}


@every_spoken
@every_generation
def test_a_message_is_one_line_of_json_and_none_is_only_an_end(name: str, events: Sequence[Event]) -> None:
    for message in message_encoder(PROTOCOLS[name], OPTIONS).encode(0, events):
        assert len(message.decode().splitlines()) == 1
        assert isinstance(json.loads(message), dict)


@every_spoken
def test_every_message_carries_the_name_of_its_request(name: str) -> None:
    events: list[Event] = [STARTED, TextDelta("abcdefgh"), Ended("stop", timing=TIMING)]
    awkward = 'r"\\\u2028é'
    assert {message["request_id"] for message in messages(name, events, request_id=awkward)} == {awkward}
    assert not [message for message in messages(name, events) if "request_id" in message]


@pytest.mark.parametrize("name", ["openai_chat", "openai_completions"])
def test_usage_is_in_the_last_chunk_of_the_last_choice(name: str) -> None:
    usage = UsageKnown(reported(1, 2, by="lab"))
    events: list[Event] = [STARTED, TextDelta("a"), TextDelta("b", 1), usage, Ended("stop")]
    *rest, last = messages(name, events)
    assert last["usage"]["total_tokens"] == 3
    assert last["choices"][0]["finish_reason"] == "stop"
    assert not [message for message in rest if "usage" in message]


@every_spoken
def test_an_answer_that_failed_ends_in_its_error_with_what_it_used(name: str) -> None:
    failure = Failure("upstream_reset", "it broke", 502)
    events: list[Event] = [STARTED, TextDelta("a"), UsageKnown(reported(1, 2, by="lab")), Ended("incomplete", failure)]
    last = messages(name, events)[-1]
    assert last["headrace"] == {"stream_id": STARTED.stream_id, "seq": 3}
    if name == "typed_events":
        assert (last["type"], last["code"]) == ("error", "upstream_reset")
    else:
        assert last["error"]["code"] == "upstream_reset"
        assert last["usage"]["completion_tokens"] == 2


@every_spoken
def test_what_is_no_event_of_the_stream_claims_no_place_in_it(name: str) -> None:
    for message in messages(name, [Ended("error", Failure("internal_error", "a mistake", 500))], request_id="r"):
        assert "headrace" not in message
        assert message["request_id"] == "r"


@every_spoken
def test_a_warning_stands_in_the_first_message_alone(name: str) -> None:
    first, *rest = messages(name, [STARTED, TextDelta("a"), Ended("stop", timing=TIMING)], warning="not carried")
    assert first["headrace"] == {"stream_id": STARTED.stream_id, "seq": 0, "warning": "not carried"}
    assert not [message for message in rest if "warning" in message["headrace"]]


def test_the_first_message_of_openais_protocols_comes_with_the_start_and_over_http_with_the_content() -> None:
    opening: Mapping[str, Any] = {"openai_chat": {"role": "assistant", "content": ""}, "openai_completions": ""}
    for name, expected in opening.items():
        choice = messages(name, [STARTED])[0]["choices"][0]
        assert choice.get("delta", choice.get("text")) == expected
        assert PROTOCOLS[name].encoder(ReaderOptions()).encode(0, [STARTED]) == []
