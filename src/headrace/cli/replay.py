"""`headrace replay`: a recorded stream again, from a server or from a file of its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import click
import msgspec

from headrace.cli.showing import Shown, show_all, shown_as_wanted
from headrace.cli.watching import at_server, complete_stream, server_wanted, watch_and_show
from headrace.events import Event


@click.command("replay")
@click.argument("recorded", metavar="ID|FILE", shell_complete=complete_stream)
@shown_as_wanted
@at_server
def replay(recorded: str, as_json: bool, ndjson: bool, output: Path | None, quiet: bool, url: str | None) -> int:
    """Show a recorded stream again: one of a server, or a file that `--ndjson` wrote.

    A file may hold a whole conversation, as the chat page and `/v1/conversations/ID/export` save it.

    What is recorded is shown at once. Of a stream that is still in progress the rest follows as it comes.
    """
    shown = Shown(as_json=as_json, ndjson=ndjson, output=output, quiet=quiet)
    path = Path(recorded)
    if not path.is_file():
        if path.name != recorded:
            raise click.UsageError(f"there is no file {recorded}")
        return asyncio.run(watch_and_show(recorded, -1, server_wanted(url), shown, on_exit="detach"))
    return asyncio.run(show_all(_recorded(path), shown))


class _Typed(msgspec.Struct):
    type: str = ""


def _recorded(path: Path) -> list[_Recorded]:
    """The answers in a file: one, or those of a conversation, each of which begins with its `start`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}") from error
    answers: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            begins = msgspec.json.decode(line, type=_Typed).type == "start"
        except msgspec.DecodeError as error:
            raise click.UsageError(f"{path}, line {number}: no event of a stream ({error})") from error
        if begins and answers[-1]:
            answers.append([])
        answers[-1].append((number, line))
    return [_Recorded(path, each) for each in answers]


class _Recorded:
    """Typed events, one JSON object a line, as an answer."""

    def __init__(self, path: Path, lines: Sequence[tuple[int, str]]) -> None:
        self._path = path
        self._lines = lines

    async def follow(self) -> AsyncGenerator[tuple[list[bytes], list[Event]], None]:
        """Its records and events."""
        from headrace.client.hearing import Hearing

        hearing = Hearing()
        for number, line in self._lines:
            try:
                yield [line.encode()], hearing.feed(line)
            except msgspec.DecodeError as error:
                raise click.UsageError(f"{self._path}, line {number}: no event of a stream ({error})") from error
        yield [], hearing.feed("[DONE]")

    async def leave(self) -> None:
        """Does nothing: there is nobody to be told."""
