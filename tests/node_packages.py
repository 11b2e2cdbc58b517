"""Packages of node that a test needs, exactly as their lock has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

INSTALL_SECONDS = 300


def install(folder: Path) -> Path:
    """Installs what the lock in `folder` names, where that is not done, and gives the folder it lies in.

    Raises:
        AssertionError: there is no npm, or it failed.
    """
    for tool in ("node", "npm"):
        assert shutil.which(tool), f"{tool} is not installed, and this test needs the real one: apt install {tool}"
    packages = folder / "node_modules"
    stamp = packages / ".package-lock.json"
    if not stamp.exists() or stamp.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
        ran = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        assert ran.returncode == 0, ran.stderr
        stamp.touch()
    return packages
