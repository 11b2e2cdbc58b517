"""`headrace demo`: the proof run, for real; and that it notices when a promise is broken."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import DEADLINE_SECONDS, Command

BUDGET_SECONDS = 20.0


@dataclass
class Runs:
    """Three runs, all at once: they wait much and work little."""

    folder: Path
    """Their working directory and their home."""
    plain: subprocess.CompletedProcess[str]
    faulty: subprocess.CompletedProcess[str]
    kept: subprocess.Popen[bytes]
    """Still running; has said its facts."""
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The demo as people see it, one whose upstream breaks off, and one whose server stays."""
    command = Command(tmp_path_factory.mktemp("demo"), {"HEADRACE_PORT": "no number"})
    plain = command.start("demo")
    faulty = command.start("demo", "--fault", "--json")
    kept = command.start("demo", "--json", "--keep")
    assert kept.stdout is not None
    try:
        yield Runs(command.folder, _finished(plain), _finished(faulty), kept, json.loads(kept.stdout.readline()))
    finally:
        for each in (plain, faulty, kept):
            if each.poll() is None:
                each.kill()
            each.communicate()


def _finished(process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[str]:
    said, complaints = process.communicate(timeout=DEADLINE_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, said.decode(), complaints.decode())


def broken(facts: dict[str, Any]) -> set[str]:
    return {check["name"] for check in facts["checks"] if not check["passed"]}


def test_the_proof_run_keeps_every_promise(runs: Runs) -> None:
    assert runs.plain.returncode == 0, runs.plain.stdout
    assert "BROKEN" not in runs.plain.stdout
    assert "both transcripts are equal, byte for byte" in runs.plain.stdout
    assert "cut after offset 40, resumed with 41" in runs.plain.stdout
    assert "no offset came twice, and all came in order: 202 frames, the last at offset 202" in runs.plain.stdout
    assert runs.plain.stderr == ""


def test_the_scripted_upstream_is_not_passed_off_as_a_model(runs: Runs) -> None:
    assert "scripted, not a model" in runs.plain.stdout
    assert "not a model" in runs.facts["upstream"]


def test_the_proof_run_leaves_nothing_behind(runs: Runs) -> None:
    assert list(runs.folder.iterdir()) == []


def test_json_holds_the_same_facts(runs: Runs) -> None:
    assert runs.facts["passed"] is True
    assert not broken(runs.facts)
    assert len(runs.facts["checks"]) == runs.plain.stdout.count("kept    ")
    assert runs.facts["seconds"] < BUDGET_SECONDS
    figures = runs.facts["figures"]
    assert figures["tokens"] == 200
    assert all(figures.values()), figures


def test_streaming_shows_its_first_words_long_before_the_whole_answer(runs: Runs) -> None:
    figures = runs.facts["figures"]
    assert figures["ttft_streamed_ms"] * 5 < figures["ttft_whole_ms"]


def test_the_tokens_come_at_the_pace_of_their_upstream(runs: Runs) -> None:
    # 30 a second; held back and sent together, half of the gaps would be 0.
    assert 20 < runs.facts["figures"]["inter_token_p50_ms"] < 50


def test_a_broken_promise_ends_with_exit_code_7(runs: Runs) -> None:
    assert runs.faulty.returncode == 7
    facts = json.loads(runs.faulty.stdout)
    assert facts["passed"] is False
    assert {"every token arrived, in order", "the stream ended by itself"} <= broken(facts)
    assert "both transcripts are equal, byte for byte" not in broken(facts), "the readers saw the same break"


def test_keep_leaves_the_server_up_until_it_is_told_to_end(runs: Runs) -> None:
    with urllib.request.urlopen(f"{runs.facts['url']}/health", timeout=DEADLINE_SECONDS) as health:
        assert json.load(health)["service"] == "headrace"
    runs.kept.send_signal(signal.SIGINT)
    complaints = runs.kept.communicate(timeout=DEADLINE_SECONDS)[1].decode()
    assert runs.kept.returncode == 0
    assert f"the server stays at {runs.facts['url']}" in complaints
    assert "Traceback" not in complaints
