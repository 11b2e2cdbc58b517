"""Node and the official packages, as the lock has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALL_SECONDS = 300


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder in which node finds the official packages. They are installed where they are not.

    Only where there is no node at all is a test left out; `.ci/run` fails before it comes to that.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed, and this test needs the real ones")
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        ran = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        assert ran.returncode == 0, ran.stderr
        installed.touch()
    return HERE
