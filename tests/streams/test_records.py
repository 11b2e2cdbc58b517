"""What the journal writes down is what it reads back, whatever texts and pieces of JSON are in it."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.events import Event, Passthrough, TextDelta, ToolCallDelta
from headrace.requests import GenerationRequest, Message
from headrace.streams import records
from headrace.streams.records import Appended, Chunk, Created, Deleted, Entry, Tail
from headrace.testing.generations import GENERATIONS

REQUEST = GenerationRequest(
    "fast",
    (Message("user", msgspec.Raw(b'[{"type":"text","text":"Brot?"}]'), {"name": msgspec.Raw(b'"ann"')}),),
    fields={"temperature": msgspec.Raw(b"0.5")},
    conversation_id="talk",
)
# Half a surrogate pair, in a text and in a piece of JSON that was kept as it came.
HALVES: list[Event] = [
    TextDelta("half \ud83d"),
    ToolCallDelta(0, "call", "look", '{"a":"\udc00"}'),
    Passthrough("openai_chat", {"logprobs": msgspec.Raw(b'{"token":"\\ud83d"}')}),
    TextDelta("whole 😀 ü"),
]


def plain(value: object) -> object:
    """A value that compares by what is in it: two `Raw` of the same bytes are not equal by themselves."""
    return records._mapped(value, lambda text: text, lambda raw: cast("msgspec.Raw", bytes(raw)))


@pytest.mark.parametrize("name", GENERATIONS)
def test_every_event_is_read_back_as_it_was_written(name: str) -> None:
    events = list(GENERATIONS[name])
    entries: list[Entry] = [
        Created(1, "ann", "s", 5, records.encode_request(REQUEST)),
        Appended(1, 0, 7, events),
        Deleted(1),
    ]
    assert plain(records.decode_entries(records.encode(entries))) == plain(entries)
    chunk = Chunk(list(range(len(events))), events)
    assert plain(records.decode_chunk(records.encode(chunk))) == plain(chunk)
    assert plain(records.decode_tail(records.encode(Tail(events[-2:])))) == plain(events[-2:])


def test_a_request_is_read_back_with_its_pieces_of_json() -> None:
    assert plain(records.decode_request(records.encode_request(REQUEST))) == plain(REQUEST)


def test_half_a_character_is_kept_as_it_came() -> None:
    entries: list[Entry] = [Appended(3, 9, 1, HALVES)]
    assert plain(records.decode_entries(records.encode(entries))) == plain(entries)


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=5))
def test_any_text_is_read_back(texts: list[str]) -> None:
    entries: list[Entry] = [Appended(1, 0, 0, [TextDelta(text) for text in texts])]
    assert records.decode_entries(records.encode(entries)) == entries
