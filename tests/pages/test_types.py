"""The types that the pages' comments name hold, from one file to the next and against the libraries' own.

A browser is served the files as they are, and nothing is compiled; the compiler looks at them here and nowhere else.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
from tests.node_packages import install
from tests.pages.test_vendored import PACKAGES

import headrace

PAGES = Path(headrace.__file__).parent / "pages"
HERE = Path(__file__).parent / "types"
PARSER = Path(__file__).parents[2] / "clients" / "javascript" / "eventsource-parser.d.ts"
# Published under one name as built for pages, and under the other with types.
TYPED = {"@highlightjs/cdn-assets": "highlight.js"}
UNTYPED = {"eventsource-parser", "@preact/signals-core"}  # the first has a file of ours, the second comes with another


def test_the_types_of_the_pages_hold(tmp_path: Path) -> None:
    packages = install(HERE)
    for name in ("tsconfig.json", "highlight.d.ts"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(packages)
    for source in [*PAGES.glob("*.js"), *PAGES.glob("chat/*.js"), *PAGES.glob("client/*.js")]:
        copy = tmp_path / "pages" / source.relative_to(PAGES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    parser = tmp_path / "pages" / "vendor" / "eventsource-parser" / "index.d.ts"
    parser.parent.mkdir(parents=True)
    shutil.copy(PARSER, parser)
    compiler = packages / "typescript" / "bin" / "tsc"
    ran = subprocess.run(
        ["node", compiler, "-p", tmp_path, "--listFilesOnly"], capture_output=True, text=True, timeout=60
    )
    looked_at = [line for line in ran.stdout.splitlines() if "/pages/chat/" in line]
    assert len(looked_at) == len(list(PAGES.glob("chat/*.js"))) > 40
    ran = subprocess.run(["node", compiler, "-p", tmp_path], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout


def test_the_types_are_those_of_what_is_vendored() -> None:
    asked = msgspec.json.decode((HERE / "package.json").read_bytes())["devDependencies"]
    vendored = {TYPED.get(each.name, each.name): each.version for each in PACKAGES if each.name not in UNTYPED}
    assert {name: version for name, version in asked.items() if name != "typescript"} == vendored
