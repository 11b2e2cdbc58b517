"""The two C programs, built where they are missing or older than their sources."""

import os
import shutil
import subprocess
from pathlib import Path

from kit.failure import CannotMeasure

FOLDER = Path(__file__).resolve().parent.parent
BUILT = FOLDER / "build"


def build() -> tuple[Path, Path]:
    """The simulator and the client, ready to run."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise CannotMeasure(
            "gcc builds the simulator and the load client, and is not installed. Debian: apt-get install gcc libc6-dev"
        )
    BUILT.mkdir(exist_ok=True)
    return _compiled(compiler, "simulator"), _compiled(compiler, "client")


def _compiled(compiler: str, name: str) -> Path:
    source, program = FOLDER / f"{name}.c", BUILT / name
    newest = max(path.stat().st_mtime for path in (source, *FOLDER.glob("*.h")))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    # Beside its place and then moved there: two runs may build at the same time.
    fresh = BUILT / f"{name}.{os.getpid()}"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(fresh), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotMeasure(f"{name}.c does not compile (it needs Linux and glibc 2.35 or newer):\n{done.stderr}")
    fresh.replace(program)
    return program
