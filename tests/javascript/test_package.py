"""The archive of `@headrace/client`: what is in it, that it is what the page is served, and its types (row D10)."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import tomllib
from pathlib import Path

import pytest
from tests.javascript.conftest import HERE, ROOT, command

import headrace
from headrace.server.pages import page_files

PAGES = ROOT / "src" / "headrace" / "pages"
# Folder of the page → folder of the archive.
SHARED = {"client/": "package/transport/", "vendor/eventsource-parser/": "package/vendor/eventsource-parser/"}


@pytest.fixture(scope="module")
def packed(archive: Path) -> dict[str, bytes]:
    """The files of the archive."""
    with tarfile.open(archive) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened.getmembers()}  # type: ignore[union-attr]  # npm packs files alone


def test_what_the_page_is_served_and_what_is_packed_are_the_same_bytes(packed: dict[str, bytes]) -> None:
    served = page_files().by_name
    compared = 0
    for of_the_page, of_the_package in SHARED.items():
        ours = {
            name.removeprefix(of_the_page): file.body for name, file in served.items() if name.startswith(of_the_page)
        }
        theirs = {
            name.removeprefix(of_the_package): body
            for name, body in packed.items()
            if name.startswith(of_the_package) and name.endswith(".js")
        }
        assert ours == theirs
        compared += len(ours)
    assert compared >= 8


def test_the_page_reads_its_streams_with_these_files() -> None:
    page = (PAGES / "chat" / "house.js").read_text(encoding="utf-8")
    assert 'from "../client/client.js"' in page
    assert (
        "eventsource-parser" not in re.findall(r'"imports": \{.*?\}', (PAGES / "chat.html").read_text("utf-8"), re.S)[0]
    )


def test_the_package_says_what_it_is(packed: dict[str, bytes]) -> None:
    package = json.loads(packed["package/package.json"])
    assert (package["name"], package["version"]) == ("@headrace/client", headrace.__version__)
    assert (package["type"], package["sideEffects"], package["engines"]["node"]) == ("module", False, ">=20")
    assert not package.keys() & {"dependencies", "devDependencies", "scripts"}
    assert package["peerDependenciesMeta"] == {"react": {"optional": True}}
    for entry in (package["exports"]["."], package["exports"]["./react"]):
        assert entry.keys() == {"types", "default"}
        assert all(f"package/{path.removeprefix('./')}" in packed for path in entry.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert package["license"] == project["license"]


def test_the_licences_go_with_it(packed: dict[str, bytes]) -> None:
    assert packed["package/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    parser = PAGES / "vendor" / "licences" / "eventsource-parser.txt"
    assert packed["package/vendor/licences/eventsource-parser.txt"] == parser.read_bytes()


def test_every_module_of_ours_has_its_types_and_imports_nothing_from_elsewhere(packed: dict[str, bytes]) -> None:
    modules = {name for name in packed if name.endswith(".js")}
    for name in modules:
        text = packed[name].decode()
        imported = set(re.findall(r'^(?:import|export) .*?from [\'"]([^\'"]+)[\'"]', text, re.MULTILINE))
        assert all(each.startswith(("./", "../")) for each in imported - {"react"}), name
        assert "react" not in imported or name == "package/react.js"
        assert "/vendor/" in name or name.removesuffix("js") + "d.ts" in packed


def test_it_is_small(packed: dict[str, bytes], archive: Path) -> None:
    assert archive.stat().st_size < 40_000
    assert sum(len(body) for name, body in packed.items() if name.endswith(".js")) < 80_000


def test_the_types_hold_for_a_program_that_uses_every_export(project: Path, packed: dict[str, bytes]) -> None:
    program = (HERE / "every_export.ts").read_text(encoding="utf-8")
    exported = re.findall(
        r"^export type (\w+)|^export \{ (.*?) \}", packed["package/index.d.ts"].decode(), re.MULTILINE
    )
    names = {name.strip() for kind, values in exported for name in (kind or values).split(",")}
    assert len(names) >= 20
    head = program.partition('from "@headrace/client"')[0]
    assert {name for name in names if not re.search(rf"\b{name}\b", head)} == set()

    shutil.copy(HERE / "every_export.ts", project)
    settings = {
        "compilerOptions": {
            "strict": True,
            "noUncheckedIndexedAccess": True,
            "exactOptionalPropertyTypes": False,
            "noEmit": True,
            "module": "nodenext",
            "target": "es2022",
            "lib": ["es2022", "dom", "dom.iterable", "dom.asynciterable"],
            # The package's own declarations are checked with it.
            "skipLibCheck": False,
            "types": [],
        },
        "files": ["every_export.ts"],
    }
    (project / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command("node", "node_modules/typescript/bin/tsc", "-p", ".", folder=project)
