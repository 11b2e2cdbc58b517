"""The rules of the house that no type and no import contract can hold: who may touch what, and what stays absent.

The rules are data; the code below only reads the sources. Floors are in pyproject.toml (import-linter).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import headrace

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "headrace"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), name) for name, path in SOURCES.items()}

PACKAGES_AT_MOST = 25
MEGABYTES_AT_MOST = 40

# Who may import what: a place is a file, or a room when it ends in a slash. Absent here means free, or a floor's rule.
OWNERS = {
    "time": ["clock.py"],
    "random": ["identifiers.py"],
    "secrets": ["identifiers.py"],
    "uuid": ["identifiers.py"],
    "json": ["wire/"],  # for what msgspec is too strict to read; written by one file alone, below
    "ssl": ["providers/http.py"],
    "httptools": ["providers/http_connection.py", "server/connection.py", "server/socket_doors.py"],
    "httpx2": ["providers/", "client/", "cli/"],
    "starlette": ["server/"],
    "uvicorn": ["server/"],
    "uvloop": ["server/"],
    "websockets": ["server/socket_connection.py", "server/socket_frames.py"],
    "click": ["cli/"],
    "rich": ["cli/"],
    "sqlite3": ["keys/", "knowledge/", "streams/"],
    "limits": ["keys/quota.py"],
    "platformdirs": ["server/", "cli/"],
    "tokenizers": ["runs/tokenizer.py"],
}

# Who may use a name, however it was imported.
USERS = {
    "os.environ": ["cli/environment.py"],
    "os.getenv": ["cli/environment.py"],
    "json.dump": ["wire/json_text.py"],
    "json.dumps": ["wire/json_text.py"],
    "msgspec.json.encode": ["wire/json_text.py"],
    "msgspec.json.Encoder": ["wire/json_text.py"],
    # What time it is, clock.py says; a date that somebody else wrote may be read anywhere.
    "datetime.datetime.now": [],
    "datetime.datetime.utcnow": [],
    "datetime.datetime.today": [],
    "datetime.date.today": [],
    "starlette.middleware.base.BaseHTTPMiddleware": [],
}

# A delay before another attempt, and the sweeps over all that lives. Nothing sleeps between tokens.
SLEEPERS = ["client/asynchronous.py", "client/documents.py", "runs/run.py", "runs/registry.py", "server/serving.py"]

SHAPELESS_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "stuff"}


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def origins(tree: ast.Module) -> dict[str, str]:
    """Each name that an import brought, and what it is called where it came from."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def full_name(node: ast.expr, known: dict[str, str]) -> str:
    """A dotted name, spelled from the module it came from; as it stands where no import brought it."""
    head, dot, rest = ast.unparse(node).partition(".")
    return known.get(head, head) + dot + rest


def full_names(tree: ast.Module) -> Iterator[str]:
    """Every dotted name that is imported or used."""
    known = origins(tree)
    yield from known.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield full_name(node, known)


def sleeps(tree: ast.Module) -> list[int]:
    """The lines that wait for a time. `sleep(0)` waits for none: it gives the others their turn."""
    known = origins(tree)
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and full_name(node.func, known) == "asyncio.sleep"
        and [ast.unparse(argument) for argument in node.args] != ["0"]
    ]


def may(place: str, allowed: list[str]) -> bool:
    return any(place == one or (one.endswith("/") and place.startswith(one)) for one in allowed)


def within(name: str, whole: str) -> bool:
    return name == whole or name.startswith(whole + ".")


@pytest.mark.parametrize("module", OWNERS)
def test_a_dear_or_impure_module_is_imported_only_where_it_belongs(module: str) -> None:
    strangers = {
        place
        for place, tree in TREES.items()
        if any(within(name, module) for name in imports(tree)) and not may(place, OWNERS[module])
    }
    assert not strangers, f"{module} belongs to {OWNERS[module] or 'nobody'}"


@pytest.mark.parametrize("name", USERS)
def test_a_thing_done_in_one_place_is_done_only_there(name: str) -> None:
    strangers = {
        place
        for place, tree in TREES.items()
        if any(within(used, name) for used in full_names(tree)) and not may(place, USERS[name])
    }
    assert not strangers, f"{name} belongs to {USERS[name] or 'nobody'}"


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("import os\nos.environ['HOME']", "os.environ"),
        ("from os import environ\nenviron.get('HOME')", "os.environ"),
        ("import os as system\nsystem.environ", "os.environ"),
        ("from msgspec import json\njson.encode({})", "msgspec.json.encode"),
        ("import msgspec.json\nmsgspec.json.encode({})", "msgspec.json.encode"),
        ("from datetime import datetime as moment\nmoment.now()", "datetime.datetime.now"),
    ],
)
def test_a_name_is_recognised_however_it_was_imported(source: str, used: str) -> None:
    assert any(within(name, used) for name in full_names(ast.parse(source)))


@pytest.mark.parametrize("place", TREES)
def test_nothing_sleeps_between_tokens(place: str) -> None:
    assert not sleeps(TREES[place]) or place in SLEEPERS


def test_giving_the_others_their_turn_is_not_sleeping() -> None:
    tree = ast.parse("import asyncio\nfrom asyncio import sleep\nsleep(0)\nasyncio.sleep(0.01)\nsleep(pause)")
    assert sleeps(tree) == [4, 5]


@pytest.mark.parametrize("place", TREES)
def test_every_file_begins_by_saying_what_it_is_for(place: str) -> None:
    docstring = ast.get_docstring(TREES[place])
    assert docstring is not None
    assert len(docstring) > 20


def test_no_file_is_named_for_an_idea_not_yet_found() -> None:
    parts = {part for place in SOURCES for part in place.removesuffix(".py").split("/")}
    assert not parts & SHAPELESS_NAMES


@pytest.mark.parametrize("place", TREES)
def test_no_module_keeps_state_of_its_own(place: str) -> None:
    tree = TREES[place]
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)]
    # An empty container at the top of a file is there to be filled by somebody later.
    filled_later = [
        statement.lineno
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        and statement.value is not None
        and ast.unparse(statement.value) in {"[]", "{}", "set()", "list()", "dict()", "deque()"}
    ]
    assert not filled_later


@pytest.mark.parametrize("place", TREES)
def test_every_type_ignore_carries_its_reason(place: str) -> None:
    text = SOURCES[place].read_text(encoding="utf-8")
    bare = [line for line in text.splitlines() if re.search(r"#\s*type:\s*ignore(\[[\w, -]+\])?\s*$", line)]
    assert not bare


def test_the_package_itself_imports_nothing() -> None:
    code = "import sys; before = set(sys.modules); import headrace; print(*sorted(set(sys.modules) - before))"
    # Without site: what an editable install imports for itself would count as there already.
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {code}"]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split() == [
        "headrace"
    ]


def declared_requirements() -> list[str]:
    """What a core install brings, and what the extras do."""
    extras = PYPROJECT["project"].get("optional-dependencies", {}).values()
    return [*PYPROJECT["project"]["dependencies"], *(text for extra in extras for text in extra)]


def test_every_import_from_outside_is_a_declared_dependency() -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in declared_requirements()}
    tops = {name.partition(".")[0] for tree in TREES.values() for name in imports(tree)}
    homes = packages_distributions()
    outside = {
        canonicalize_name(homes[top][0]) for top in tops if top not in sys.stdlib_module_names and top != "headrace"
    }
    assert not outside - declared, "imported, not declared"
    assert not declared - outside, "declared, used by nobody"


def core_distributions() -> list[Distribution]:
    """headrace and all that a core install brings, without extras, as installed here."""
    found: dict[str, Distribution] = {}
    wanted = ["headrace"]
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in found:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
    return list(found.values())


def test_a_core_install_stays_within_its_package_budget() -> None:
    names = sorted(found.name for found in core_distributions())
    assert "starlette" in names  # the walk did find something
    assert len(names) <= PACKAGES_AT_MOST, names


def test_a_core_install_stays_within_its_size_budget() -> None:
    # As the wheels unpack: the bytecode that Python adds for itself is left out, since pip writes it and uv does not.
    paths = {
        path
        for found in core_distributions()
        for file in found.files or []
        if (path := Path(str(found.locate_file(file)))).suffix != ".pyc" and path.is_file()
    }
    # This checkout is installed in place, so its own files are not in its record.
    paths |= {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    assert 1 < megabytes <= MEGABYTES_AT_MOST


def test_the_lock_was_made_from_these_dependencies() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (own,) = (package for package in lock["package"] if package["name"] == "headrace")

    def asked(requirements: list[str]) -> dict[str, str]:
        parsed = map(Requirement, requirements)
        return {canonicalize_name(one.name): str(one.specifier) for one in parsed}

    def locked(entries: list[dict[str, str]]) -> dict[str, str]:
        return {entry["name"]: str(Requirement("x" + entry.get("specifier", "")).specifier) for entry in entries}

    assert locked(own["metadata"]["requires-dist"]) == asked(declared_requirements())
    assert locked(own["metadata"]["requires-dev"]["dev"]) == asked(PYPROJECT["dependency-groups"]["dev"])


def test_a_wheel_carries_the_package_and_its_manual_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.iterdir()
    names = set(zipfile.ZipFile(wheel).namelist())
    pages = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert wheel.name == f"headrace-{headrace.__version__}-py3-none-any.whl"
    assert {f"headrace/manual/{page}" for page in ["README.md", *pages]} <= names
    assert {"headrace/__init__.py", "headrace/py.typed", "headrace/pages/docs.html", "headrace/pages/docs.js"} <= names
    shown = [path for path in (PACKAGE / "pages").rglob("*") if path.is_file()]
    assert {path.relative_to(PACKAGE.parent).as_posix() for path in shown} <= names
    assert {name.split("/")[0] for name in names} == {"headrace", f"headrace-{headrace.__version__}.dist-info"}


def test_a_page_is_opened_in_a_browser_only_where_it_is_watched() -> None:
    # tests/server/browsing.py fails a visit that asked another host or complained in its console: none goes round it
    opening = re.compile(r"\bsync_playwright\(|\.new_context\(|(?<!\.context)\.new_page\(")
    opened = {path for path in (ROOT / "tests").rglob("*.py") if opening.search(path.read_text(encoding="utf-8"))}
    assert {path.relative_to(ROOT).as_posix() for path in opened} == {"tests/server/browsing.py"}
