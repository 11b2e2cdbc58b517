"""headrace's own documents, found in a checkout and kept up to date in an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.knowledge import manual as manual_module
from headrace.knowledge.index import KnowledgeIndex
from headrace.knowledge.manual import PREFIX, index_manual, manual

CHECKOUT = Path(__file__).parents[2]


def test_a_checkout_gives_its_readme_and_its_docs_but_not_what_only_builders_ask_for() -> None:
    pages = [path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "docs").rglob("*.md")]
    assert any(page.startswith("docs/decisions/") for page in pages)
    expected = {PREFIX + page for page in pages if not page.startswith("docs/decisions/")}
    if (CHECKOUT / "README.md").is_file():
        expected.add(PREFIX + "README.md")
    assert set(manual()) == expected
    assert expected


def test_a_wheel_gives_what_it_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "site-packages" / "headrace" / "manual"
    (shipped / "docs" / "how-to").mkdir(parents=True)
    (shipped / "README.md").write_text("# Shipped", encoding="utf-8")
    (shipped / "docs" / "how-to" / "run.md").write_text("# Run", encoding="utf-8")
    (shipped / "docs" / "picture.svg").write_text("<svg/>", encoding="utf-8")
    monkeypatch.setattr(manual_module, "files", lambda package: shipped.parent)
    assert manual() == {f"{PREFIX}README.md": "# Shipped", f"{PREFIX}docs/how-to/run.md": "# Run"}


def test_a_package_without_documents_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("somebody else's", encoding="utf-8")
    package = tmp_path / "lib" / "headrace"
    package.mkdir(parents=True)
    monkeypatch.setattr(manual_module, "files", lambda name: package)
    assert manual() == {}


def test_indexing_the_manual_twice_changes_nothing_and_takes_away_what_is_gone() -> None:
    index = KnowledgeIndex.open()
    index.add_document(PREFIX + "docs/old.md", "gone since")
    index.add_document("README.md", "somebody's own")
    assert index_manual(index) == len(manual()) + 1
    assert index_manual(index) == 0
    assert set(index.names()) == {*manual(), "README.md"}
    index.close()
