"""What `headrace doctor` looks at, one by one."""

from __future__ import annotations

import sys

import pytest

from headrace.cli import examination
from headrace.clock import SystemClock
from headrace.errors import StoreError
from headrace.requests import GenerationRequest
from headrace.settings import Document, resolve
from headrace.streams.memory import MemoryStore, MemoryStream
from headrace.testing.clock import ManualClock

TODAY_NS = 1_790_000_000_000_000_000


def test_versions_are_those_that_are_installed() -> None:
    requirements = ["msgspec>=0.20", "nowhere-to-be-found[x]>=1; python_version>'3'", "extra-thing; extra == 'all'"]
    own, packages = examination.versions(requirements[:1])
    assert sys.version.split()[0] in own.detail
    assert packages.state == "ok"
    assert packages.detail.startswith("msgspec ")
    broken = examination.versions(requirements)[1]
    assert broken.state == "broken"
    assert "nowhere-to-be-found." in broken.detail


@pytest.mark.parametrize(
    ("unix_ns", "after_ns", "state"),
    [
        (TODAY_NS, 6, "ok"),
        (TODAY_NS, 5, "ok"),
        (TODAY_NS, 4, "broken"),
        (0, 6, "broken"),
        (1_000_000_000_000_000_000, 6, "broken"),
        (5_000_000_000_000_000_000, 6, "broken"),
    ],
)
def test_a_clock_that_cannot_be_right_is_told(unix_ns: int, after_ns: int, state: str) -> None:
    assert examination.clock(unix_ns, 5, after_ns).state == state


class Forgetful(MemoryStore):
    """Gives back less than it was given."""

    def open(self, stream_id: str, owner: str) -> MemoryStream:
        return self.create(f"not {stream_id}", owner, GenerationRequest(model="none", messages=()))

    def delete(self, stream_id: str, owner: str) -> None: ...


class Full(MemoryStore):
    """Keeps nothing."""

    def create(self, stream_id: str, owner: str, request: GenerationRequest) -> MemoryStream:
        raise StoreError("the disk is full")


@pytest.mark.anyio
async def test_a_store_is_written_read_and_cleared() -> None:
    memory = MemoryStore(ManualClock(), 3600)
    assert (await examination.store(memory, "memory", "s" * 32, ManualClock())).state == "ok"
    assert not memory.list("headrace doctor")


@pytest.mark.parametrize(("kind", "words"), [(Forgetful, "not what was written"), (Full, "the disk is full")])
@pytest.mark.anyio
async def test_a_store_that_does_not_keep_is_told(kind: type[MemoryStore], words: str) -> None:
    finding = await examination.store(kind(SystemClock(), 3600), "memory", "s" * 32, SystemClock())
    assert (finding.state, words in finding.detail) == ("broken", True)


def test_files_of_settings_are_named_with_how_they_are_thought_of() -> None:
    documents = [
        Document("./headrace.toml", {"server": {"port": 9}}, trusted=False),
        Document("~/.config/headrace/config.toml", {}),
    ]
    finding = examination.settings(resolve({}, {"HEADRACE_HOST": "::1"}, documents), documents, "nowhere")
    assert "./headrace.toml (not trusted), ~/.config/headrace/config.toml (trusted)" in finding.detail
    assert "2 values set, from ./headrace.toml, environment" in finding.detail
    assert "no file; yours would be nowhere; all at their default" in (
        examination.settings(resolve({}, {}, []), [], "nowhere").detail
    )
