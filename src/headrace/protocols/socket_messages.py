"""The messages of a WebSocket that carry an answer: a protocol's records, each with its stream and its offset.

Pure. A message is the JSON that the protocol would send in one server-sent event, and in its `headrace` object the
stream's id and the event's offset (`seq`), behind which a reader may resume. Of several messages made from one event
only the last carries the offset: what came before it is asked for again, as with the ids of server-sent events.
There is no `[DONE]`, and the usage is in the last message. How messages become frames is the server's matter.
Source: `reference/websocket.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.events import Ended, Event, Started, UsageKnown
from headrace.interfaces import Encoder, ReaderProtocol
from headrace.protocols.objects import DONE, extras_object
from headrace.protocols.openai_chat import usage_object
from headrace.requests import ReaderOptions
from headrace.usage import Usage
from headrace.wire import json_text

SPOKEN = ("openai_chat", "openai_completions", "typed_events")
"""The protocols that can be spoken over a WebSocket: their records are objects of JSON."""


def message_encoder(
    protocol: ReaderProtocol, options: ReaderOptions, *, request_id: str | None = None, warning: str | None = None
) -> MessageEncoder:
    """An encoder of one answer's messages for one reader.

    Args:
        protocol: one of `SPOKEN`.
        options: the reader's own. Whether usage is wanted is not asked, and ids of frames there are none.
        request_id: what the reader named its request; every message carries it.
        warning: what of the request is not carried to its upstream, for the first message.
    """
    fixed = msgspec.structs.replace(options, include_usage=False, event_ids=False, opens_at_once=True)
    return MessageEncoder(protocol.encoder(fixed), protocol.framing.between, request_id, warning)


class MessageEncoder:
    """Events as messages.

    Args:
        inner: gives the records of the protocol, event by event.
        between: what stands between records that it gives joined.
        request_id: in every message, where there is one.
        warning: in the first.
    """

    __slots__ = ("_between", "_end_of_message", "_inner", "_open", "_request_id", "_stream_id", "_usage", "_warning")

    def __init__(self, inner: Encoder, between: bytes, request_id: str | None, warning: str | None) -> None:
        self._inner = inner
        self._between = between
        self._request_id = request_id
        self._warning = warning
        self._stream_id: str | None = None
        self._usage: Usage | None = None
        # What every message ends with: `_open`, its offset, and this.
        self._open = b""
        self._end_of_message = b"}}"
        if request_id is not None:
            self._end_of_message = b'},"request_id":%b}' % json_text.string(request_id)

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        """The messages for `events`."""
        messages: list[bytes] = []
        for seq, event in enumerate(events, offset):
            records = self._inner.encode(seq, (event,))
            kind = type(event)
            if kind is Started or kind is Ended:
                self._encode_edge(seq, event, records, messages)
                continue
            if kind is UsageKnown:
                assert isinstance(event, UsageKnown)
                self._usage = event.usage
            if records:
                # The hot path: a piece of text is one record, and its message that record with a little at its end.
                if len(records) > 1 or self._between in records[0]:
                    *earlier, last = self._split(records)
                    messages += [b"%b%b%b" % (each[:-1], self._open, self._end_of_message) for each in earlier]
                    records = [last]
                messages.append(b'%b%b,"seq":%d%b' % (records[0][:-1], self._open, seq, self._end_of_message))
        return messages

    def heartbeat(self) -> list[bytes]:
        """None: the connection has its own pings."""
        return []

    def _encode_edge(self, seq: int, event: Event, records: list[bytes], messages: list[bytes]) -> None:
        """The first and the last event, whose messages hold more: put together one by one, since it is done once."""
        more: dict[str, Any] = {}
        if isinstance(event, Started):
            self._stream_id = event.stream_id
            self._open = b',"headrace":{"stream_id":%b' % json_text.string(event.stream_id)
            more = {} if self._warning is None else {"warning": self._warning}
        *earlier, last = self._split(records)
        messages += [self._message(each, None, {}) for each in earlier]
        messages.append(self._message(last, seq, more, usage=self._usage if isinstance(event, Ended) else None))

    def _message(self, record: bytes, seq: int | None, more: dict[str, Any], *, usage: Usage | None = None) -> bytes:
        said: dict[str, Any] = json_text.decode(record)
        place: dict[str, Any] = {}
        # Where it is not known, the reader is told something that is no event of the stream.
        if self._stream_id is not None:
            place = {"stream_id": self._stream_id} if seq is None else {"stream_id": self._stream_id, "seq": seq}
        place |= said.pop("headrace", {}) | more
        # Typed events have a frame of their own for it.
        if usage is not None and "type" not in said:
            said["usage"] = usage_object(usage)
            place |= extras_object((), usage)
        if place:
            said["headrace"] = place
        if self._request_id is not None:
            said["request_id"] = self._request_id
        return json_text.encode(said)

    def _split(self, records: Sequence[bytes]) -> list[bytes]:
        """Records one by one, without the one that only says that no other comes."""
        apart = [each for record in records for each in record.split(self._between)]
        return [each for each in apart if each != DONE]
