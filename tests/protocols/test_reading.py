"""Reading a request: what is taken, what is passed on as it came, and every mistake said in words that help."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvalidRequest, MalformedBody, RequestError
from headrace.interfaces import ReaderProtocol
from headrace.protocols import PROTOCOLS
from headrace.protocols.reading import DEPTH_LIMIT
from headrace.requests import GenerationRequest, Message, ReaderOptions, Timeouts

# The least that each protocol takes.
LEAST: dict[str, dict[str, Any]] = {
    "openai_chat": {"model": "fast", "messages": [{"role": "user", "content": "Bread?"}]},
    "typed_events": {"query": "Bread?"},
}
both_protocols = pytest.mark.parametrize("protocol", [PROTOCOLS[name] for name in LEAST], ids=list(LEAST))
openai_chat = PROTOCOLS["openai_chat"]
typed_events = PROTOCOLS["typed_events"]
NO_HEADERS: Mapping[str, str] = {}


def read(
    protocol: ReaderProtocol, headers: Mapping[str, str] = NO_HEADERS, /, **more: Any
) -> tuple[GenerationRequest, ReaderOptions]:
    """What the protocol reads of the least body with these fields added; `...` takes one away."""
    body = {name: value for name, value in (LEAST[protocol.name] | more).items() if value is not ...}
    return protocol.read(json.dumps(body).encode(), headers)


def refusal(
    protocol: ReaderProtocol, headers: Mapping[str, str] = NO_HEADERS, /, **more: Any
) -> tuple[str, str | None]:
    """The message, and the field that is meant."""
    with pytest.raises(InvalidRequest) as error:
        read(protocol, headers, **more)
    assert error.value.http_status == 400
    return error.value.message, error.value.parameter


# -- the body as a whole


@both_protocols
@pytest.mark.parametrize(
    ("body", "essential"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b"{", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":1} {"b":2}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"model=fast", "not JSON"),
        (b"[1]", "not an object"),
        (b'"Bread?"', "not an object"),
        (b"null", "not an object"),
        (b'{"model":"\xff"}', "not UTF-8 (byte 10)"),
        (b'{"unknown":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":' * (DEPTH_LIMIT + 1) + b"1" + b"}" * (DEPTH_LIMIT + 1), f"more than {DEPTH_LIMIT} levels"),
        (b"[" * 1_000_000, f"more than {DEPTH_LIMIT} levels"),
    ],
    ids=range(16),
)
def test_a_body_that_is_no_json_object_is_refused_and_the_message_says_what_it_is(
    protocol: ReaderProtocol, body: bytes, essential: str
) -> None:
    with pytest.raises(MalformedBody) as error:
        protocol.read(body, {})
    assert essential in error.value.message
    assert len(error.value.message) < 200
    assert (error.value.http_status, error.value.code) == (400, "invalid_json")


@both_protocols
@pytest.mark.parametrize(
    ("body", "half"),
    [
        (rb'{"model":"\ud800"}', r"\ud800"),
        (rb'{"query":"x","unknown":{"a":["\udC00"]}}', r"\udc00"),
        (rb'{"\ud83d":1}', r"\ud83d"),
        (rb'{"a":"\ud83d\ud83d\ude00"}', r"\ud83d"),
        (rb'{"a":"\udfff","a":"a later one of the same name"}', r"\udfff"),
    ],
)
def test_half_a_character_is_said_to_be_that_and_not_to_be_no_json(
    protocol: ReaderProtocol, body: bytes, half: str
) -> None:
    with pytest.raises(MalformedBody) as error:
        protocol.read(body, {})
    assert f'the body is JSON, but "{half}" in it is half a character' in error.value.message


@both_protocols
def test_an_escape_of_half_a_character_does_not_excuse_what_is_no_json(protocol: ReaderProtocol) -> None:
    for body in (rb'{"a":"\ud800"', rb'{"a":"\ud800","b":NaN}', rb'{"a":"\ud8"}'):
        with pytest.raises(MalformedBody, match="the body is not JSON"):
            protocol.read(body, {})


@both_protocols
def test_json_may_nest_as_deep_as_the_limit(protocol: ReaderProtocol) -> None:
    deep: Any = 1
    for _ in range(DEPTH_LIMIT - 1):
        deep = [deep]
    request, _ = read(protocol, deep=deep)
    assert json.loads(bytes(request.fields["deep"])) == deep


@both_protocols
@given(body=st.binary())
def test_whatever_bytes_come_they_are_read_or_refused(protocol: ReaderProtocol, body: bytes) -> None:
    with pytest.raises(RequestError):
        protocol.read(body, {})


FIELDS = """
    model messages role content type text query message prompt history meta_params stream stream_options include_usage
    max_tokens max_completion_tokens temperature n stop tools metadata language conversation_id headrace timeouts total
    on_disconnect on_interruption heartbeat_seconds
"""
names = st.sampled_from(FIELDS.split())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@both_protocols
@given(more=st.dictionaries(names, values, max_size=4))
def test_whatever_json_comes_it_is_read_or_refused(protocol: ReaderProtocol, more: dict[str, Any]) -> None:
    try:
        request, _ = read(protocol, **more)
    except InvalidRequest as refused:
        error: InvalidRequest | None = refused
    else:
        error = None
        assert request.messages
        # What was read can be told to an upstream: its texts are there for whoever counts or searches them.
        assert all(isinstance(message.text(), str) for message in request.messages)
    assert error is None or (error.parameter and len(error.message) < 500)


# -- OpenAI's chat


def test_i1_a_request_is_kept_as_it_was_asked() -> None:
    body = b"""{
        "model": "meta-llama/Llama-2-7b-chat-hf", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "Short."},
            {"role": "user", "content": [{"type": "text", "text": "Bread?"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]},
            {"role": "tool", "tool_call_id": "c", "content": "fresh"}
        ],
        "temperature": 0.50, "seed": null, "frobnicate": {"a" : [1, 2]}, "user": "ann"
    }"""
    request, options = openai_chat.read(body, {})
    assert request == GenerationRequest(
        "meta-llama/Llama-2-7b-chat-hf",
        (
            Message("system", "Short."),
            Message(
                "user", msgspec.Raw(b'[{"type": "text", "text": "Bread?"}, {"type": "image_url", "image_url": {}}]')
            ),
            Message("assistant", None, {"tool_calls": msgspec.Raw(b'[{"id": "c"}]')}),
            Message("tool", "fresh", {"tool_call_id": msgspec.Raw(b'"c"')}),
        ),
        stream=True,
        fields={
            # As it came, to the last zero and blank; what is null is not said.
            "temperature": msgspec.Raw(b"0.50"),
            "frobnicate": msgspec.Raw(b'{"a" : [1, 2]}'),
            "user": msgspec.Raw(b'"ann"'),
        },
    )
    assert options == ReaderOptions(include_usage=True)
    assert [message.text() for message in request.messages] == ["Short.", "Bread?", "", "fresh"]


@pytest.mark.parametrize(
    ("more", "include_usage"),
    [
        ({}, False),
        ({"stream": True}, False),
        ({"stream": True, "stream_options": None}, False),
        ({"stream": True, "stream_options": {}}, False),
        ({"stream": True, "stream_options": {"include_usage": False}}, False),
        ({"stream": True, "stream_options": {"include_usage": None}}, False),
        ({"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}, True),
        # Clients may send it without `stream`: it says nothing then.
        ({"stream": False, "stream_options": {"include_usage": True}}, False),
    ],
    ids=range(8),
)
def test_l22_usage_is_asked_for_by_true_and_by_nothing_else(more: dict[str, Any], include_usage: bool) -> None:
    assert read(openai_chat, **more)[1].include_usage is include_usage


_NO_FLAGS: list[Any] = ["yes", 1, {}]


@pytest.mark.parametrize(
    ("more", "essential", "parameter"),
    [
        ({"model": ...}, '"model" is missing; GET /v1/models lists the names', "model"),
        ({"model": None}, '"model" is missing', "model"),
        ({"model": ""}, '"model" is missing', "model"),
        ({"model": 5}, '"model" must be text', "model"),
        ({"messages": ...}, '"messages" is missing or empty', "messages"),
        ({"messages": []}, '"messages" is missing or empty', "messages"),
        ({"messages": "Bread?"}, '"messages" must be a list of objects', "messages"),
        ({"messages": ["Bread?"]}, '"messages" must be a list of objects', "messages"),
        ({"messages": [{"content": "Bread?"}]}, 'messages[0] needs a "role"', "messages[0].role"),
        ({"messages": [{"role": "", "content": "x"}]}, 'messages[0] needs a "role"', "messages[0].role"),
        ({"messages": [{"role": 5, "content": "x"}]}, 'messages[0] needs a "role"', "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": 5}]},
            'messages[1]: "content" must be text or a list of parts',
            "messages[1].content",
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "a list of parts", "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, 'with a "type"', "messages[0].content"),
        ({"stream": "true"}, '"stream" must be true or false', "stream"),
        ({"messages": [{"role": "user"}]}, 'needs "content", text or', "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, 'needs "content", text or', "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, 'needs "content", text or', "messages[0].content"),
        ({"stream_options": "usage"}, '"stream_options" must be an object', "stream_options"),
        *[
            (
                {"stream_options": {"include_usage": value}},
                '"stream_options.include_usage" must be true or false',
                "stream_options.include_usage",
            )
            for value in _NO_FLAGS
        ],
    ],
    ids=range(22),
)
def test_a_mistake_is_named_with_its_place_and_what_to_do(more: dict[str, Any], essential: str, parameter: str) -> None:
    message, meant = refusal(openai_chat, **more)
    assert essential in message
    assert meant == parameter


def test_an_assistant_may_say_nothing_and_a_user_the_empty_text() -> None:
    messages = [{"role": "assistant", "content": None}, {"role": "assistant"}, {"role": "user", "content": ""}]
    assert [each.content for each in read(openai_chat, messages=messages)[0].messages] == [None, None, ""]


# -- typed events


def test_d1_a_question_is_read_with_what_was_said_before() -> None:
    request, options = read(
        typed_events,
        query="And rolls?",
        history=[{"role": "user", "content": "Bread?"}, {"role": "assistant", "content": "Yes."}],
        meta_params={"stream": True},
        conversation_id="c1",
        language="de",
        model="fast",
        temperature=0.5,
    )
    assert request == GenerationRequest(
        "fast",
        (Message("user", "Bread?"), Message("assistant", "Yes."), Message("user", "And rolls?")),
        stream=True,
        language="de",
        conversation_id="c1",
        fields={"temperature": msgspec.Raw(b"0.5")},
    )
    assert options == ReaderOptions()


def test_d1_the_least_question_leaves_everything_to_the_assistant() -> None:
    assert read(typed_events)[0] == GenerationRequest("", (Message("user", "Bread?"),))


@pytest.mark.parametrize("name", ["query", "message", "prompt"])
def test_a_question_has_three_names_and_none_is_passed_on(name: str) -> None:
    request, _ = read(typed_events, **{"query": ..., name: "Rolls?"})
    assert (request.messages[-1].content, request.fields) == ("Rolls?", {})


def test_of_several_names_the_first_counts() -> None:
    request, _ = read(typed_events, prompt="c", message="b", query="a")
    assert (request.messages[-1].content, request.fields) == ("a", {})


@pytest.mark.parametrize(
    ("more", "stream"),
    [
        ({}, False),
        ({"stream": True}, True),
        ({"meta_params": {"stream": True}}, True),
        ({"meta_params": {"stream": True, "unknown": 1}}, True),
        ({"meta_params": {}}, False),
        ({"meta_params": None, "stream": None}, False),
        ({"meta_params": {"stream": True}, "stream": False}, False),
        ({"meta_params": {"stream": False}, "stream": True}, True),
    ],
    ids=range(8),
)
def test_d1_streaming_is_asked_for_in_either_place(more: dict[str, Any], stream: bool) -> None:
    assert read(typed_events, **more)[0].stream is stream


@pytest.mark.parametrize(
    ("more", "essential", "parameter"),
    [
        ({"query": ...}, '"query" is missing or empty; send {"query": "…"}', "query"),
        ({"query": " \n"}, '"query" is missing or empty', "query"),
        ({"query": ["Bread?"]}, '"query" must be text', "query"),
        ({"message": 5}, '"message" must be text', "message"),
        ({"history": "Bread?"}, '"history" must be a list of objects', "history"),
        ({"history": [{"content": "x"}]}, 'history[0] needs a "role"', "history[0].role"),
        ({"meta_params": "stream"}, '"meta_params" must be an object', "meta_params"),
        ({"meta_params": {"stream": "yes"}}, '"meta_params" must be an object', "meta_params"),
        ({"language": 5}, '"language" must be text', "language"),
        ({"conversation_id": 5}, '"conversation_id" must be text', "conversation_id"),
        ({"model": 5}, '"model" must be text', "model"),
    ],
    ids=range(11),
)
def test_d1_a_mistake_is_named_with_what_to_do(more: dict[str, Any], essential: str, parameter: str) -> None:
    message, meant = refusal(typed_events, **more)
    assert essential in message
    assert meant == parameter


# -- what both take


@both_protocols
@pytest.mark.parametrize(
    ("more", "max_tokens"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 2**31}, 2**31),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": None}, 7),
    ],
    ids=range(6),
)
def test_t3_the_token_limit_is_taken_under_both_names_and_the_new_one_wins(
    protocol: ReaderProtocol, more: dict[str, Any], max_tokens: int | None
) -> None:
    request, _ = read(protocol, **more)
    assert (request.max_tokens, request.fields) == (max_tokens, {})


@both_protocols
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("value", "essential"),
    [
        (0, "must be at least 1"),
        (-1, "must be at least 1"),
        (2**31 + 1, "must be at most 2147483648"),
        (10**30, "must be at most 2147483648"),
        ("7", "must be a whole number"),
    ],
)
def test_t3_a_limit_that_is_none_is_refused_under_the_name_it_came_by(
    protocol: ReaderProtocol, name: str, value: object, essential: str
) -> None:
    message, parameter = refusal(protocol, **{name: value})
    assert message == f'"{name}" {essential}'
    assert parameter == name


@both_protocols
@pytest.mark.parametrize(
    ("name", "good", "bad", "words"),
    [
        ("temperature", [0, 0.7], ["warm", [], True], "a number"),
        ("top_p", [1], ["1"], "a number"),
        ("presence_penalty", [-2.0], [{}], "a number"),
        ("frequency_penalty", [2], ["2"], "a number"),
        ("n", [1, 2, 128], [0, -1, 129, 10**30, 1.5, "2"], "a whole number from 1 to 128"),
        ("seed", [-5], ["5"], "a whole number"),
        ("stop", ["\n", ["a", "b"]], [5, [5]], "text or a list of texts"),
        ("user", ["ann"], [5], "text"),
        ("tools", [[], [{"type": "function"}]], [{}, ["bake"]], "a list of objects"),
        ("tool_choice", ["auto", {"type": "function"}], [5, []], "text or an object"),
        ("response_format", [{"type": "json_object"}], ["json"], "an object"),
        ("metadata", [{"a": "b"}], ["a"], "an object"),
        ("logprobs", [True, 5], ["yes"], "true or false"),
        ("top_logprobs", [5], ["5"], "a whole number"),
        ("logit_bias", [{"50256": -100}], [[]], "an object"),
    ],
)
def test_a_sampling_field_is_checked_before_an_upstream_is_asked_and_passed_on_as_it_came(
    protocol: ReaderProtocol, name: str, good: list[Any], bad: list[Any], words: str
) -> None:
    for value in good:
        assert json.loads(bytes(read(protocol, **{name: value})[0].fields[name])) == value
    for value in bad:
        assert refusal(protocol, **{name: value}) == (f'"{name}" must be {words}', name)
    assert read(protocol, **{name: None})[0].fields == {}


@both_protocols
def test_the_request_keeps_none_of_the_bodys_bytes_alive(protocol: ReaderProtocol) -> None:
    # A piece of raw JSON is a view into its body: kept as it is, it would hold 4 MiB for the sake of four bytes.
    more = {"temperature": 0.5, "unknown": "x" * 100, "history": [{"role": "tool", "content": "", "name": "y" * 100}]}
    body = json.dumps(more | LEAST[protocol.name]).encode()
    before = sys.getrefcount(body)
    request, _ = protocol.read(body, {})
    assert request.fields
    assert sys.getrefcount(body) == before


# -- the options of every route


@both_protocols
@pytest.mark.parametrize(
    ("header", "value", "in_the_body", "expected"),
    [
        ("headrace-on-disconnect", "cancel", {"on_disconnect": "cancel"}, "cancel"),
        ("headrace-on-disconnect", "continue", {"on_disconnect": "continue"}, "continue"),
        ("headrace-on-disconnect", "10", {"on_disconnect": 10}, 10.0),
        ("headrace-on-disconnect", "0", {"on_disconnect": 0}, 0.0),
        ("headrace-on-disconnect", "2.5", {"on_disconnect": "2.5"}, 2.5),
    ],
)
def test_l3_what_becomes_of_the_run_when_its_reader_leaves_is_an_option(
    protocol: ReaderProtocol, header: str, value: str, in_the_body: dict[str, Any], expected: object
) -> None:
    assert read(protocol, {header: value})[0].on_disconnect == expected
    assert read(protocol, headrace=in_the_body)[0].on_disconnect == expected
    assert read(protocol)[0].on_disconnect is None


@both_protocols
def test_l25_what_becomes_of_an_answer_that_breaks_off_is_an_option(protocol: ReaderProtocol) -> None:
    header = {"headrace-on-interruption": "continue_any"}
    assert read(protocol)[0].on_interruption is None
    assert read(protocol, headrace={"on_interruption": "end"})[0].on_interruption == "end"
    assert read(protocol, header, headrace={"on_interruption": "end"})[0].on_interruption == "continue_any"
    with pytest.raises(InvalidRequest, match='must be "continue_same", "continue_any" or "end"'):
        read(protocol, headrace={"on_interruption": "go on"})


@both_protocols
def test_t6_each_timer_is_an_option_and_a_header_wins_over_the_body(protocol: ReaderProtocol) -> None:
    in_the_body = {"timeouts": {"first_token": 60, "connect": 1.5}}
    assert read(protocol, headrace=in_the_body)[0].timeouts == Timeouts(connect=1.5, first_token=60)
    both = {"headrace-timeouts": "first_token=90, total=0,between_tokens=2.5"}
    assert read(protocol, both, headrace=in_the_body)[0].timeouts == Timeouts(1.5, 90, 2.5, 0)


@both_protocols
def test_l31_the_heartbeat_is_an_option(protocol: ReaderProtocol) -> None:
    assert read(protocol)[1].heartbeat_seconds is None
    assert read(protocol, headrace={"heartbeat_seconds": 0})[1].heartbeat_seconds == 0
    assert read(protocol, {"headrace-heartbeat": "2.5"}, headrace={"heartbeat_seconds": 9})[1].heartbeat_seconds == 2.5


@both_protocols
@pytest.mark.parametrize(("value", "expected"), [("true", True), ("False", False), ("1", True), ("0", False)])
def test_d3_rationale_and_event_ids_are_options(protocol: ReaderProtocol, value: str, expected: bool) -> None:
    assert read(protocol, {"headrace-rationale": value})[1].rationale is expected
    assert read(protocol, {"headrace-event-ids": value})[1].event_ids is expected
    assert read(protocol, headrace={"rationale": expected, "event_ids": expected})[1] == ReaderOptions(
        rationale=expected, event_ids=expected
    )
    # A header wins.
    against = {"rationale": not expected, "event_ids": not expected}
    headers = {"headrace-rationale": value, "headrace-event-ids": value}
    assert read(protocol, headers, headrace=against)[1] == ReaderOptions(rationale=expected, event_ids=expected)


@both_protocols
def test_without_options_a_reader_gets_everything_and_no_ids(protocol: ReaderProtocol) -> None:
    request, options = read(protocol, {"user-agent": "curl", "headrace-stream": "x" * 22}, headrace=None)
    assert options == ReaderOptions()
    assert (request.timeouts, request.on_disconnect, request.fields) == (Timeouts(), None, {})


@both_protocols
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"timeouts": None},
        {"on_disconnect": None, "heartbeat_seconds": None, "rationale": None},
        {"tempo": "allegro"},
    ],
    ids=range(4),
)
def test_options_that_say_nothing_and_options_of_another_age_change_nothing(
    protocol: ReaderProtocol, options: dict[str, Any]
) -> None:
    assert read(protocol, headrace=options) == read(protocol)


@both_protocols
@pytest.mark.parametrize(
    ("header", "value", "essential"),
    [
        ("headrace-on-disconnect", "soon", 'one of "cancel", "continue" or a number of seconds'),
        ("headrace-on-disconnect", "-1", 'one of "cancel", "continue"'),
        ("headrace-on-disconnect", "nan", 'one of "cancel", "continue"'),
        ("headrace-on-disconnect", "inf", 'one of "cancel", "continue"'),
        ("headrace-on-disconnect", "", 'one of "cancel", "continue"'),
        ("headrace-timeouts", "60", "it must be as first_token=60,total=300"),
        ("headrace-timeouts", "", "it must be as first_token=60,total=300"),
        ("headrace-timeouts", "idle=60", "known: connect, first_token, between_tokens, total"),
        ("headrace-timeouts", "total=soon", "a number of seconds, 0 or more"),
        ("headrace-timeouts", "total=-1", "a number of seconds, 0 or more"),
        ("headrace-heartbeat", "often", "a number of seconds, 0 or more"),
        ("headrace-heartbeat", "-1", "a number of seconds, 0 or more"),
        ("headrace-rationale", "yes", "true or false"),
        ("headrace-event-ids", "", "true or false"),
    ],
)
def test_an_option_in_a_header_that_cannot_be_is_named(
    protocol: ReaderProtocol, header: str, value: str, essential: str
) -> None:
    message, parameter = refusal(protocol, {header: value})
    assert essential in message
    assert parameter is not None


@both_protocols
@pytest.mark.parametrize(
    "options",
    [
        [],
        "cancel",
        {"on_disconnect": "soon"},
        {"on_disconnect": -1},
        {"on_disconnect": True},
        {"on_disconnect": "x" * 10_000},
        {"timeouts": {"total": -1}},
        {"timeouts": {"total": "60"}},
        {"timeouts": {"idle": 60}},
        {"heartbeat_seconds": -1},
        {"heartbeat_seconds": "1"},
        {"rationale": "false"},
        {"event_ids": 1},
    ],
    ids=range(13),
)
def test_an_option_in_the_body_that_cannot_be_is_named(protocol: ReaderProtocol, options: Any) -> None:
    message, parameter = refusal(protocol, headrace=options)
    assert len(message) < 300
    assert parameter is not None
    named = next(iter(options)) if isinstance(options, dict) else "headrace"
    assert named in message or named in parameter
