"""What the journal writes down, as bytes and back: streams that began, batches that were appended, streams deleted.

Pure. A record is JSON, since requests and events carry pieces of JSON as they came. Where a text holds half a
surrogate pair, which JSON readers refuse, the record is escaped: every text in it is written as the Latin-1 reading
of its UTF-8 bytes, halves and all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from headrace.events import Event
from headrace.requests import GenerationRequest, Message
from headrace.wire import json_text

# The escape of a surrogate: from half a pair, or from JSON that was kept as it came and holds whole ones too.
_SURROGATE = b"\\ud"


class Created(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="c"):
    """A stream began. `number` is the store's own, given once and in the order streams were created."""

    number: int
    owner: str
    id: str
    created_ns: int
    """Wall time, nanoseconds since 1970 UTC."""
    request: msgspec.Raw
    """What was asked, as `encode_request` writes it."""


class Appended(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="a"):
    """Events were appended to a stream, the first of them at offset `first`."""

    number: int
    first: int
    at_ns: int
    """When: nanoseconds since the stream was created."""
    events: Sequence[Event]


class Deleted(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="d"):
    """A stream was deleted."""

    number: int


Entry: TypeAlias = Created | Appended | Deleted


class Chunk(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Events of one stream that follow each other, with the times at which they came."""

    times: Sequence[int]
    events: Sequence[Event]


class Tail(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A few events by themselves: the first, or the last two, of a stream."""

    events: Sequence[Event]


class _WrittenMessage(msgspec.Struct, frozen=True):
    """A message whose content may be text or a list of parts: which of them, its JSON says."""

    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")
    fields: dict[str, msgspec.Raw] = {}

    def message(self) -> Message:
        content = bytes(self.content)
        is_text = content[:1] == b'"' or content == b"null"
        return Message(self.role, msgspec.json.decode(content) if is_text else self.content, self.fields)


class _WrittenRequest(GenerationRequest, frozen=True):
    messages: tuple[_WrittenMessage, ...]  # type: ignore[assignment]  # read back as what they are by `decode_request`


_Record = TypeVar("_Record", bound="list[Entry] | Chunk | Tail")

_entries = msgspec.json.Decoder(list[Entry])
_chunk = msgspec.json.Decoder(Chunk)
_tail = msgspec.json.Decoder(Tail)
_request = msgspec.json.Decoder(_WrittenRequest)


def encode(record: object) -> bytes:
    """The bytes of a list of entries, of a chunk or of a tail."""
    data = json_text.encode(record)
    if _SURROGATE not in data:
        return data
    return b"~" + json_text.encode(_mapped(record, _escaped, _escaped_json))


def decode_entries(data: bytes) -> list[Entry]:
    """The entries in `data`.

    Raises:
        msgspec.DecodeError: these are not the bytes of entries.
    """
    return _decoded(_entries, data)


def decode_chunk(data: bytes) -> Chunk:
    """The chunk in `data`; errors as above."""
    return _decoded(_chunk, data)


def decode_tail(data: bytes) -> Sequence[Event]:
    """The events of the tail in `data`; errors as above."""
    return _decoded(_tail, data).events


def encode_request(request: GenerationRequest) -> msgspec.Raw:
    """The request as a piece of a record."""
    return msgspec.Raw(json_text.encode(request))


def decode_request(data: bytes | msgspec.Raw) -> GenerationRequest:
    """The request that was written so; errors as above."""
    written = _request.decode(data)
    fields = {name: getattr(written, name) for name in GenerationRequest.__struct_fields__}
    return GenerationRequest(**{**fields, "messages": tuple(each.message() for each in written.messages)})


def _decoded(decoder: msgspec.json.Decoder[_Record], data: bytes) -> _Record:
    if data[:1] != b"~":
        return decoder.decode(data)
    return cast("_Record", _mapped(decoder.decode(data[1:]), _unescaped, _unescaped_json))


def _escaped(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _unescaped(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogatepass")


def _escaped_json(value: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(json_text.encode(bytes(value).decode("latin-1")))


def _unescaped_json(value: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.decode(value, type=str).encode("latin-1"))


def _mapped(value: Any, text: Callable[[str], str], json: Callable[[msgspec.Raw], msgspec.Raw]) -> Any:
    """The same value with every text and every piece of JSON in it put through these functions."""
    match value:
        case str():
            return text(value)
        case msgspec.Raw():
            return json(value)
        case dict():
            return {text(key): _mapped(each, text, json) for key, each in value.items()}
        case list() | tuple():
            return type(value)(_mapped(each, text, json) for each in value)
        case msgspec.Struct():
            # Words of a closed set are Latin letters, which both ways leave as they are.
            fields = {name: _mapped(getattr(value, name), text, json) for name in value.__struct_fields__}
            return type(value)(**fields)
        case _:
            return value
