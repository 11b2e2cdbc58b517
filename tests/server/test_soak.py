"""The soak on a small scale: what `scripts/soak` finds in three quarters of a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "scripts" / "soak.py"


def soaked(minutes: float) -> str:
    command = [sys.executable, str(SOAK), "--minutes", str(minutes), "--readers", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=minutes * 60 + 100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return done.stdout


@pytest.mark.timeout(200)
def test_mixed_traffic_with_faults_leaves_nothing_behind() -> None:
    told = soaked(0.75)
    assert "upstream    0 requests in hand" in told
    assert "wrong       0" in told


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_minutes_of_mixed_traffic_with_faults_leave_nothing_behind() -> None:
    assert "wrong       0" in soaked(2)
