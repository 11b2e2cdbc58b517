"""Every protocol of the table held to what `ReaderProtocol` promises, and the suite to finding what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from headrace.errors import HeadraceError
from headrace.events import Ended, Event
from headrace.interfaces import Encoder
from headrace.protocols import PROTOCOLS
from headrace.protocols.openai_chat import OpenAIChat
from headrace.requests import GenerationRequest, ReaderOptions
from headrace.testing.check_protocol import check_protocol


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_keeps_its_promises(name: str) -> None:
    check_protocol(PROTOCOLS[name])


def test_a_protocol_has_in_the_table_the_name_it_has() -> None:
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())


# --- the suite finds what is wrong: an encoder that breaks one promise each


class Wrapped:
    """The encoder of OpenAI's chat, with something wrong in it."""

    def __init__(self, options: ReaderOptions) -> None:
        self.inner: Encoder = OpenAIChat().encoder(options)

    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        return self.inner.encode(offset, events)

    def heartbeat(self) -> list[bytes]:
        return self.inner.heartbeat()


class TellsBatches(Wrapped):
    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        return [*super().encode(offset, events), b"{}"]


class TellsOffsetsWrong(Wrapped):
    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        return [b'{"offset":%d}' % offset, *super().encode(offset, events)]


class InventsStop(Wrapped):
    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        return super().encode(offset, [Ended("stop") if isinstance(event, Ended) else event for event in events])


class EndsInSilence(Wrapped):
    def encode(self, offset: int, events: Sequence[Event]) -> list[bytes]:
        return super().encode(offset, [event for event in events if not isinstance(event, Ended)])


class ForgetsAfterAHeartbeat(Wrapped):
    def heartbeat(self) -> list[bytes]:
        self.inner = OpenAIChat().encoder(ReaderOptions())
        return []


class SwallowsMistakes(OpenAIChat):
    def read(self, body: bytes, options: Mapping[str, str]) -> tuple[GenerationRequest, ReaderOptions]:
        return GenerationRequest("m", ()), ReaderOptions()


class HidesErrors(OpenAIChat):
    def error(self, error: HeadraceError | Ended) -> bytes:
        return b'{"error":"something went wrong"}'


@pytest.mark.parametrize("encoder", Wrapped.__subclasses__(), ids=lambda encoder: encoder.__name__)
def test_the_suite_finds_a_broken_encoder(encoder: type[Wrapped]) -> None:
    class Broken(OpenAIChat):
        def encoder(self, options: ReaderOptions) -> Encoder:  # type: ignore[override]  # a wrong one is the point
            return encoder(options)

    with pytest.raises(AssertionError):
        check_protocol(Broken())


@pytest.mark.parametrize("broken", [SwallowsMistakes, HidesErrors])
def test_the_suite_finds_a_broken_protocol(broken: type[OpenAIChat]) -> None:
    with pytest.raises(AssertionError):
        check_protocol(broken())
