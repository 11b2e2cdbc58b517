"""`headrace watch`: follows a stream of a server as one more reader."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from headrace.cli.showing import Shown, shown_as_wanted
from headrace.cli.watching import at_server, complete_stream, server_wanted, watch_and_show


@click.command("watch")
@click.argument("stream_id", metavar="ID", shell_complete=complete_stream)
@click.option("--after", type=click.IntRange(-1), default=-1, metavar="OFFSET", help="Begin behind this event.")
@shown_as_wanted
@at_server
def watch(
    stream_id: str, after: int, as_json: bool, ndjson: bool, output: Path | None, quiet: bool, url: str | None
) -> int:
    """Follow a stream of a server as one more reader, from its beginning to its end.

    Ctrl-C leaves, and nothing else: the stream goes on, and the line that reads on is printed.
    """
    if as_json and after >= 0:
        raise click.UsageError("--json tells the whole answer: leave --after out")
    shown = Shown(as_json=as_json, ndjson=ndjson, output=output, quiet=quiet)
    return asyncio.run(watch_and_show(stream_id, after, server_wanted(url), shown, on_exit="detach"))
