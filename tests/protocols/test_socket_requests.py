"""What a client says over a WebSocket, read message by message."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st

from headrace.errors import InvalidRequest, MalformedBody, RequestError
from headrace.protocols.socket_requests import Ask, Auth, Cancel, ClientMessage, Ping, Resume, Said


def said(message: object) -> Said:
    return ClientMessage(json.dumps(message).encode()).read()


def test_an_object_without_a_type_is_a_request_that_is_streamed_and_keeps_the_rest() -> None:
    given = b'{"request_id": "r1", "stream": "no", "model": "m", "x": 1.50, "headrace": {"pace": null}}'
    message = ClientMessage(given)
    asked = message.read()
    assert message.request_id == "r1"
    assert isinstance(asked, Ask)
    assert json.loads(asked.body) == {"stream": True, "model": "m", "x": 1.5, "headrace": {"pace": None}}
    assert b"1.50" in asked.body, "numbers stay as they were written"


def test_what_http_has_in_headers_alone_stands_in_the_headrace_object() -> None:
    asked = said({"headrace": {"stream_id": "s" * 22, "idempotency_key": "once"}})
    assert isinstance(asked, Ask)
    assert (asked.stream_id, asked.idempotency_key) == ("s" * 22, "once")


def test_every_type_is_read() -> None:
    assert said({"type": "cancel"}) == Cancel()
    assert said({"type": "ping"}) == Ping()
    assert said({"type": "auth", "token": "t"}) == Auth("t")
    resumed = said({"type": "resume", "stream_id": "s1", "after": 17, "headrace": {"rationale": False}})
    assert isinstance(resumed, Resume)
    assert (resumed.stream_id, resumed.after, resumed.options.rationale) == ("s1", 17, False)
    assert isinstance(whole := said({"type": "resume", "stream_id": "s1"}), Resume)
    assert whole.after == -1


@pytest.mark.parametrize(
    ("message", "parameter"),
    [
        ({"type": "dance"}, "type"),
        ({"type": 5}, "type"),
        ({"type": ""}, "type"),
        ({"type": "auth"}, "token"),
        ({"type": "auth", "token": 5}, "token"),
        ({"type": "resume"}, "stream_id"),
        ({"type": "resume", "stream_id": "s", "after": -2}, "after"),
        ({"type": "resume", "stream_id": "s", "after": 1.5}, "after"),
        ({"type": "resume", "stream_id": "s", "headrace": {"pace": "fast"}}, "pace"),
        ({"headrace": 5}, "headrace"),
        ({"headrace": {"stream_id": 5}}, "headrace"),
        ({"request_id": 5}, "request_id"),
        ({"request_id": ""}, "request_id"),
    ],
)
def test_a_mistake_names_its_field(message: object, parameter: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        said(message)
    assert told.value.parameter == parameter


@pytest.mark.parametrize("message", [b"", b"{", b"[]", b"5", b"null", b'{"a":}', b'{"a":"\\ud800"}', b"\xff"])
def test_what_is_no_object_of_json_is_called_a_message(message: bytes) -> None:
    with pytest.raises(MalformedBody, match="the message"):
        ClientMessage(message)


@given_any(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(RequestError):
        assert isinstance(ClientMessage(data).read(), Said)
