"""What the pages use of others is exactly what was published, by version and hash, with its licence beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

import headrace

FOLDER = Path(headrace.__file__).parent / "pages" / "vendor"


class VendoredFile(msgspec.Struct, forbid_unknown_fields=True):
    file: str
    source: str
    sha256: str


class Package(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    version: str
    licence: str
    files: list[VendoredFile]


PACKAGES = msgspec.json.decode((FOLDER / "vendor.json").read_bytes(), type=list[Package])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_what_is_vendored_is_what_was_published(package: Package) -> None:
    for each in package.files:
        assert hashlib.sha256((FOLDER / each.file).read_bytes()).hexdigest() == each.sha256, each.file
    assert any(each.source.startswith("LICENSE") for each in package.files), "its licence goes with it"


def test_nothing_lies_among_it_that_is_not_listed() -> None:
    listed = {each.file for package in PACKAGES for each in package.files} | {"vendor.json"}
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert there == listed
