"""The conformance suite of protocols: what `ReaderProtocol`, `Encoder` and `Framing` promise, as one function.

May import floors 0 to 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from headrace.errors import InvalidRequest, RequestError, UpstreamReset
from headrace.events import FINISHED, Ended, Event
from headrace.interfaces import Framing, ReaderProtocol
from headrace.requests import ReaderOptions
from headrace.streams.joining import joined
from headrace.testing.generations import ENDINGS, GENERATIONS, STARTED, ended
from headrace.wire.sse import SSEParser

OPTIONS: tuple[ReaderOptions, ...] = tuple(
    ReaderOptions(include_usage=usage, rationale=rationale, metadata=metadata, chunk_size=chunk_size)
    for usage, rationale, metadata, chunk_size in product((False, True), (False, True), (False, True), (None, 3))
)

NO_REQUESTS: tuple[bytes, ...] = (
    b"",
    b" ",
    b"{",
    b"{}",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"\xff",
    b"{}{}",
    b'{"\xff": 1}',
    b'{"model": "\\ud83d"}',
    b"[" * 100_000,
    b'{"messages":' * 500,
    b'{"model": 7, "messages": 7, "query": 7, "prompt": 7}',
    b'{"model": "", "messages": [], "query": "", "prompt": ""}',
    b'{"model": null, "messages": null, "query": null, "prompt": null}',
)
"""Bodies that are a request in no protocol."""


def check_protocol(protocol: ReaderProtocol) -> None:
    """Holds a protocol to its role.

    Raises:
        AssertionError: it breaks a promise; the message says which, and with what.
    """
    assert protocol.name, "a protocol has a name"
    _check_framing(protocol.framing)
    for name, events in GENERATIONS.items():
        for options in OPTIONS:
            _check_batching(protocol, events, options, name)
            _check_resuming(protocol, events, options, name)
            _check_horizon(protocol, events, options, name)
            if isinstance(last := events[-1], Ended) and last.ending in FINISHED:
                body = protocol.whole(events, options)
                assert isinstance(body, bytes), f"{name}: a whole answer is bytes"
                assert body == protocol.whole(list(events), options), (
                    f"{name}: a whole answer is a fold over its events"
                )
    _check_endings(protocol)
    _check_errors(protocol)
    _check_reading(protocol)


def _check_framing(framing: Framing) -> None:
    assert framing.content_type, "a framing has a content type"
    assert framing.frame([]) == b"", "no records are no bytes"
    if framing.opening:
        assert SSEParser().feed(framing.opening) == [], "what a connection begins with is no event"
    first, second = b'{"a":1}', b'{"b":2}'
    together = framing.frame([first, second])
    assert together == framing.frame([first]) + framing.frame([second]), "records are framed one by one"
    assert together == framing.frame([first + framing.between + second]), "`between` is what stands between two records"
    with_id = framing.frame_with_id([first, second], 17)
    assert with_id.replace(b"id: 17\n", b"") == together, "an id is added, and nothing else changes"
    assert with_id.count(b"id: 17\n") <= 1, "the last record alone carries the id"


def _pieces(protocol: ReaderProtocol, events: Sequence[Event], options: ReaderOptions) -> list[bytes]:
    """The bytes of each event, encoded one by one."""
    encoder = protocol.encoder(options)
    return [protocol.framing.frame(encoder.encode(offset, [event])) for offset, event in enumerate(events)]


def _check_batching(protocol: ReaderProtocol, events: Sequence[Event], options: ReaderOptions, name: str) -> None:
    pieces = _pieces(protocol, events, options)
    frame = protocol.framing.frame
    at_once = frame(protocol.encoder(options).encode(0, events))
    assert at_once == b"".join(pieces), f"{name}: batches change nothing ({options})"
    for place in range(1, len(events)):
        encoder = protocol.encoder(options)
        first = frame(encoder.encode(0, events[:place]))
        encoder.heartbeat()
        both = first + frame(encoder.encode(place, events[place:]))
        assert both == at_once, f"{name}: cut before {place}, batches change something ({options})"


def _check_resuming(protocol: ReaderProtocol, events: Sequence[Event], options: ReaderOptions, name: str) -> None:
    pieces = _pieces(protocol, events, options)
    for offset in range(len(events)):
        encoder = protocol.encoder(options)
        encoder.encode(0, events[:offset])
        rest = protocol.framing.frame(encoder.encode(offset, events[offset:]))
        unbroken = b"".join(pieces[offset:])
        assert rest == unbroken, f"{name}: resumed at {offset}, a reader gets other bytes ({options})"


def _check_horizon(protocol: ReaderProtocol, events: Sequence[Event], options: ReaderOptions, name: str) -> None:
    pieces = _pieces(protocol, events, options)
    for horizon in range(1, len(events)):
        encoder = protocol.encoder(options)
        encoder.encode(0, joined(events[:horizon]))
        rest = protocol.framing.frame(encoder.encode(horizon, events[horizon:]))
        unbroken = b"".join(pieces[horizon:])
        assert rest == unbroken, f"{name}: shortened to {horizon}, a reader gets other bytes ({options})"


def _check_endings(protocol: ReaderProtocol) -> None:
    def closing(last: Ended) -> bytes:
        encoder = protocol.encoder(ReaderOptions())
        encoder.encode(0, [STARTED])
        return protocol.framing.frame(encoder.encode(1, [last]))

    if not protocol.framing.tells_endings:
        return
    well = {closing(ended(ending)) for ending in ENDINGS if ending in FINISHED}
    for ending in ENDINGS:
        if ending not in FINISHED:
            told = closing(ended(ending))
            assert told, f"{ending}: the last event closes the protocol"
            assert told not in well, f"{ending}: what did not end well says so"


def _check_errors(protocol: ReaderProtocol) -> None:
    for error in (
        InvalidRequest("the field is wrong", parameter="messages"),
        UpstreamReset("the connection to larch broke", upstream="larch"),
        ended("error"),
    ):
        message = error.message if isinstance(error, RequestError | UpstreamReset) else "slow down"
        body = protocol.error(error)
        assert message.encode() in body, f"the body of an error holds its message: {body!r}"


def _check_reading(protocol: ReaderProtocol) -> None:
    for body in NO_REQUESTS:
        said = None
        try:
            protocol.read(body, {})
        except RequestError as error:
            said = error.message
        assert said is not None, f"{body[:40]!r} was read as a request"
        assert said, f"{body[:40]!r}: an error says what is wrong"
