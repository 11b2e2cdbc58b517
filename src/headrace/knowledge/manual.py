"""headrace's own documents, which are indexed at first run: what a stranger asks first is how this works.

May import the standard library and the index beside it. A wheel carries them as `headrace/manual/`; a checkout has
them where they are written, in README.md and docs/.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from headrace.knowledge.index import KnowledgeIndex

PREFIX = "headrace/"
"""What the names of our own documents begin with, so that they replace nobody else's README.md."""


def manual() -> dict[str, str]:
    """The documents headrace ships, name to text; empty where neither a wheel's nor a checkout's are found."""
    package = files("headrace")
    shipped = package.joinpath("manual")
    if shipped.is_dir():
        found = dict(_markdown_below(shipped, ""))
    else:
        found = _checkout(Path(str(package)).parent.parent)
    # Why headrace was built as it is, is told to those who build it: to a user's question it would be the wrong answer.
    return {PREFIX + name: text for name, text in sorted(found.items()) if not name.startswith("docs/decisions/")}


def index_manual(index: KnowledgeIndex) -> int:
    """Brings our own documents in `index` up to date; gives how many were added, changed or taken away."""
    documents = manual()
    outdated = [name for name in index.names() if name.startswith(PREFIX) and name not in documents]
    changes = [index.remove_document(name) for name in outdated]
    changes += [index.add_document(name, text) for name, text in documents.items()]
    return sum(changes)


def _checkout(root: Path) -> dict[str, str]:
    # A pyproject.toml of another project is above an editable install of a copied package: its README is not ours.
    if not (root / "src" / "headrace").is_dir():
        return {}
    readme = root / "README.md"
    found = {"README.md": readme.read_text(encoding="utf-8")} if readme.is_file() else {}
    if (root / "docs").is_dir():
        found.update(_markdown_below(root / "docs", "docs/"))
    return found


def _markdown_below(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _markdown_below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".md"):
            found.append((prefix + entry.name, entry.read_text(encoding="utf-8")))
    return found
