"""`headrace ingest`: files and folders of documents for a server's model `offline` to answer from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.answers import reaching
from headrace.cli.exits import DONE, USAGE, code_of_error, say
from headrace.cli.printing import without_controls
from headrace.cli.watching import Server, at_server, server_wanted
from headrace.wire import json_text

if TYPE_CHECKING:
    from headrace.client.documents import Added

ENDINGS = (".md", ".markdown", ".txt", ".text")
"""Of the files that are taken out of a folder; a file that is named itself may be called anything."""

_BECAME = {"indexed": "indexed", "replaced": "indexed anew", "unchanged": "was there"}


@dataclass(frozen=True)
class Found:
    """A file, and the name it shall have."""

    name: str
    path: Path


@dataclass(frozen=True)
class Problem:
    """A file that was not indexed, and why."""

    path: str
    code: str
    message: str
    exit_code: int = USAGE


@dataclass
class Told:
    """What became of the files."""

    documents: list[Added] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def failed(self, path: Path, code: str, message: str, exit_code: int = USAGE) -> None:
        """Says what was wrong with a file, at once and for the end."""
        problem = Problem(os.fsencode(path).decode("utf-8", "replace"), code, message, exit_code)
        self.problems.append(problem)
        say(without_controls(f"{problem.path}: {message}"))


@click.command("ingest")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object: documents, and an error for each other file.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but errors.")
@at_server
def ingest(paths: tuple[Path, ...], as_json: bool, quiet: bool, url: str | None) -> int:
    """Add Markdown and text files to the documents that a server's model offline answers you from.

    Out of a folder come its .md, .markdown, .txt and .text files, named by their path. One file that cannot be indexed
    stops no other: its error is told, and the exit code is 2.
    """
    told = asyncio.run(_ingest(paths, server_wanted(url), quiet=quiet or as_json))
    if as_json:
        errors = [{"path": each.path, "code": each.code, "message": each.message} for each in told.problems]
        click.echo(json_text.encode({"documents": told.documents, "errors": errors}))
    elif not quiet and len(told.documents) + len(told.problems) > 1:
        say(f"{len(told.documents)} of {len(told.documents) + len(told.problems)} files are indexed")
    return told.problems[0].exit_code if told.problems else DONE


async def _ingest(paths: Sequence[Path], server: Server, *, quiet: bool) -> Told:
    from headrace.client.documents import Documents
    from headrace.errors import RequestError, Unauthorized

    told = Told()
    async with Documents(server.url, key=server.key) as documents:
        with reaching(server.url, server.key):
            limit_bytes = await documents.limit_bytes()
            for each in gathered(paths, told):
                try:
                    added = await documents.add(each.name, read(each.path, limit_bytes))
                except Unauthorized:
                    raise  # which no other file would change
                except RequestError as error:
                    told.failed(each.path, error.code, error.message, code_of_error(error))
                except OSError as error:
                    told.failed(each.path, "unreadable", reason(error))
                else:
                    told.documents.append(added)
                    if not quiet:
                        click.echo(without_controls(line_of(added)))
    return told


def gathered(paths: Sequence[Path], told: Told) -> Iterator[Found]:
    """The documents that all the paths give, each name once; what gives none is told."""
    taken: dict[str, Path] = {}
    for path in paths:
        try:
            found = list(files_of(path))
        except OSError as error:
            told.failed(path, "unreadable", reason(error))
            continue
        if not found:
            told.failed(path, "no_documents", f"holds no file that ends in {', '.join(ENDINGS)}")
        for each in found:
            other = taken.setdefault(each.name, each.path)
            if other != each.path:
                told.failed(
                    each.path, "same_name", f"would take the place of {other}, since both are called {each.name}"
                )
            else:
                yield each


def files_of(path: Path) -> Iterator[Found]:
    """The documents that a path gives: itself, or what a folder holds, in the order of their names.

    Raises:
        OSError: there is nothing, or it cannot be read.
    """
    if not path.is_dir():
        path.stat()
        yield Found(_name(path), path)
        return

    def stop(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(path, onerror=stop):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for file in sorted(files):
            if file.lower().endswith(ENDINGS) and not file.startswith("."):
                yield Found(_name(Path(folder, file), path), Path(folder, file))


def _name(path: Path, root: Path | None = None) -> str:
    """What a file is called: its path as seen from here, or, where it is elsewhere, from the folder that was named."""
    try:
        seen = path.resolve().relative_to(Path.cwd().resolve())
    except ValueError:
        seen = Path(path.name) if root is None else Path(root.resolve().name, path.relative_to(root))
    # A name that is no text is told as nearly as text can tell it.
    return os.fsencode(seen.as_posix()).decode("utf-8", "replace")


def read(path: Path, limit_bytes: int) -> bytes:
    """What is in a file; what is too large is not read to its end.

    Raises:
        OSError: it cannot be read.
        BodyTooLarge: it is larger than the server takes.
    """
    from headrace.errors import BodyTooLarge

    with path.open("rb") as opened:
        data = opened.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise BodyTooLarge(
            f"it is larger than {limit_bytes} bytes, which is the most that is taken (documents.limit_bytes)"
        )
    return data


def reason(error: OSError) -> str:
    """Why a file cannot be read, in the system's words."""
    return (error.strerror or str(error)).lower()


def line_of(added: Added) -> str:
    """One document as a line for people."""
    passages = "1 passage" if added.passages == 1 else f"{added.passages} passages"
    return f"{_BECAME[added.state]}  {added.name}  {passages}"
