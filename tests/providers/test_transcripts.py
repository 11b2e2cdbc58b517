"""What upstreams send, kept as files beside the events expected of it; `transcripts/README.md` says from where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.providers.openai_hearing import Hearing
from headrace.wire import json_text

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.sse"))


def without_nothing(event: dict[str, Any]) -> dict[str, Any]:
    """An event as the files write it: without what is null, false, empty or 0."""
    return {
        key: {name: inner for name, inner in value.items() if inner is not None and inner is not False}
        if isinstance(value, dict)
        else value
        for key, value in event.items()
        if value not in (None, [], "", 0)
    }


def plain(value: object) -> dict[str, Any]:
    """An event of ours in the same way."""
    return without_nothing(json.loads(json_text.encode(value)))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 7, 100, 1460, 1 << 20])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_transcript_is_heard_as_it_is_written_beside_it(path: Path, size: int, line_end: bytes) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    data = path.read_bytes().replace(b"\n", line_end)
    hearing = Hearing(path.stem)
    events: list[object] = []
    for start in range(0, len(data), size):
        events += hearing.feed([data[start : start + size]])
    if hearing.failure is None:
        events += hearing.finish()
    assert [plain(event) for event in events] == [without_nothing(event) for event in expected["events"]]
    if hearing.failure is None:
        assert plain(hearing.ended()) == expected["ended"]
    else:
        assert plain(hearing.failure.failure()).items() >= expected["failure"].items()


def test_every_transcript_says_where_its_format_is_from() -> None:
    assert len(TRANSCRIPTS) >= 6
    for path in TRANSCRIPTS:
        assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["written_after"]
