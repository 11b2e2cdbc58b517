"""The official suite of the Durable Streams protocol against a real server: all of its default tests pass."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.server.conftest import process

DEFAULT_TESTS = 332
# About half a minute alone; most of it is waiting, for lifetimes to end and for polls that find nothing.
SUITE_SECONDS = 150
# The suite waits two seconds for an answer to a poll that finds nothing.
SETTINGS = "[server]\nlong_poll_seconds = 2.0\n"


@pytest.mark.timeout(SUITE_SECONDS + 60)
def test_the_official_suite_passes_whole(packages: Path, tmp_path: Path) -> None:
    report_path = tmp_path / "report.json"
    vitest = packages / "node_modules" / "vitest" / "vitest.mjs"
    with process(tmp_path, SETTINGS) as server:
        ran = subprocess.run(
            ["node", str(vitest), "run", "conformance.test.mjs", "--reporter=json", f"--outputFile={report_path}"],
            cwd=packages,
            env={**os.environ, "CONFORMANCE_TEST_URL": server.url},
            capture_output=True,
            text=True,
            timeout=SUITE_SECONDS,
        )
        assert server.stop() == 0
    assert report_path.exists(), ran.stdout + ran.stderr
    report = json.loads(report_path.read_text(encoding="utf-8"))
    tests = [test for file in report["testResults"] for test in file["assertionResults"]]
    failed = {test["fullName"]: test["failureMessages"] for test in tests if test["status"] == "failed"}
    assert not failed
    assert sum(test["status"] == "passed" for test in tests) == DEFAULT_TESTS, ran.stdout
    assert ran.returncode == 0
