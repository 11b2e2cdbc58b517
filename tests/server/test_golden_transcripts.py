"""Honest endings: every protocol × the 12 failures of L16, in every mode, against transcripts kept as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from tests.server.golden_transcripts import FAILURES, FINE, GOLDEN, Mode, Recorded, modes, path_of, recorded, written
from tests.server.test_every_ending import says_it_is_whole

from headrace.protocols import PROTOCOLS

pytestmark = pytest.mark.anyio

every_mode = pytest.mark.parametrize(("name", "mode"), modes(), ids=[f"{name}-{mode}" for name, mode in modes()])
Transcripts = Mapping[tuple[str, Mode], Sequence[Recorded]]
OPENED = (200, 101)

# Ollama's errors have no place for a code, and plain text none for an error: there the connection breaks.
WITHOUT_CODES = {"ollama_chat", "ollama_generate", "plain_text"}


@pytest.fixture(scope="module")
async def transcripts() -> Transcripts:
    """All of them, as they are now."""
    return await recorded()


def test_l16_twelve_failures_in_every_protocol() -> None:
    assert len(FAILURES) == 12
    assert {name for name, mode in modes() if mode == "streamed"} == PROTOCOLS.keys(), (
        "say in golden_transcripts.DOORS how"
    )
    assert {path_of(*mode) for mode in modes()} == set(GOLDEN.glob("*.txt"))


@every_mode
async def test_l16_readers_are_told_of_failures_as_they_were(transcripts: Transcripts, name: str, mode: Mode) -> None:
    kept = path_of(name, mode).read_text(encoding="utf-8")
    assert written(list(transcripts[name, mode])) == kept, "if it is meant: scripts/golden-transcripts, and look at it"


@every_mode
async def test_l15_no_failure_is_told_as_a_finished_answer(transcripts: Transcripts, name: str, mode: Mode) -> None:
    for one in transcripts[name, mode]:
        if one.status in OPENED and one.complete:
            whole = says_it_is_whole(name, one.body) if mode != "whole" else b'"error"' not in one.body
            assert whole == (one.failure in FINE), one.section()
        else:
            assert one.failure not in FINE, one.section()
        assert (one.ending == "stop") == (one.failure in FINE), one.section()


@every_mode
async def test_l17_every_stream_has_one_last_event_and_all_agree_on_it(
    transcripts: Transcripts, name: str, mode: Mode
) -> None:
    for one in transcripts[name, mode]:
        assert one.endings == 1
        assert one.shown["state"] == "ended"
        assert one.shown["ending"] == one.logged["ending"] == one.ending, one.section()
        assert (one.shown.get("error") or {}).get("code") == one.logged.get("code") == one.code, one.section()
        if one.failure in FINE:
            assert one.code is None
            continue
        assert one.code is not None
        if one.status == 200 and not PROTOCOLS[name].framing.tells_endings:
            assert not one.complete, one.section()
        elif name not in WITHOUT_CODES:
            assert one.body.count(f'"code":"{one.code}"'.encode()) == 1, one.section()


@every_mode
async def test_l15_what_was_said_before_a_failure_is_kept(transcripts: Transcripts, name: str, mode: Mode) -> None:
    if mode != "whole":
        for one in transcripts[name, mode]:
            if one.ending in ("incomplete", "stop"):
                assert b"One" in one.body, one.section()
                assert b"delta," in one.body, one.section()
