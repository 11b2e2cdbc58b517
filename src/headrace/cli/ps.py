"""`headrace ps`: the streams of a server that are in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from headrace.cli.exits import say
from headrace.cli.printing import without_controls
from headrace.cli.watching import Listed, at_server, list_streams, server_wanted
from headrace.wire import json_text

MOST = 1000


@click.command("ps")
@click.option("--all", "everything", is_flag=True, help="Those that have ended, too.")
@click.option("--json", "as_json", is_flag=True, help="The same facts as one JSON object.")
@at_server
def ps(everything: bool, as_json: bool, url: str | None) -> None:
    """List your streams that are in progress on a server, newest first."""
    found = asyncio.run(list_streams(server_wanted(url), state=None if everything else "running", most=MOST))
    if as_json:
        click.echo(json_text.encode({"streams": found}))
    elif found:
        click.echo(text(found))
    else:
        say("no stream" if everything else "no stream is in progress")
    if len(found) == MOST and not as_json:
        say(f"only the newest {MOST} are shown")


def text(listed: Sequence[Listed]) -> str:
    """The streams as lines for people."""
    rows = [["id", "model", "state", "events", "readers", "since"]]
    for each in listed:
        state = each.ending or each.state
        rows.append([each.id, each.model, state, str(each.events), str(each.readers), each.created_at or ""])
    rows = [[without_controls(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
