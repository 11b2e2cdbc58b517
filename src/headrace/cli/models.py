"""`headrace models`: what may be asked for, and how the upstreams behind it are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from headrace.cli import environment
from headrace.cli.answers import address_given, reaching, server_here
from headrace.wire import json_text

if TYPE_CHECKING:
    from headrace.cli.inventory import Inventory


@click.command("models")
@click.option("--all", "ask", is_flag=True, help="Also ask every upstream that can be for the names of its models.")
@click.option("--json", "as_json", is_flag=True, help="The same facts as one JSON object.")
@click.option("--url", metavar="URL", help="Ask the server there (HEADRACE_URL; its key in HEADRACE_API_KEY).")
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
def models(ask: bool, as_json: bool, url: str | None, config: tuple[str, ...]) -> None:
    """List the models that are configured, and their upstreams with their state.

    From a running server where --url names one or one answers on this machine's usual port; else as a server with
    these settings would have them. Beside them, upstream/NAME leads to any model of an upstream.
    """
    from headrace.cli import inventory

    surroundings = environment.read(config)
    address = address_given(url, surroundings.environment)
    if ask and url is not None:
        raise click.UsageError("--all asks the upstreams from here, and --url a server: give one of them")

    async def found() -> Inventory:
        where = None if ask else address if address is not None or config else await server_here()
        if where is None:
            settings = surroundings.settings({}).settings
            return await inventory.of_this_process(settings, surroundings.with_keys(settings), ask=ask)
        # A server that was merely found is not given a key: anyone may listen on a port.
        key = None if address is None else surroundings.readers_key()
        with reaching(where, key):
            return await inventory.of_server(where, key)

    listed = asyncio.run(found())
    click.echo(json_text.encode(listed) if as_json else text(listed))


def text(listed: Inventory) -> str:
    """The models and upstreams as lines for people."""
    from headrace.cli.inventory import WORDS

    models = [[each.name, ", ".join(each.upstreams), WORDS[each.state]] for each in listed.models]
    upstreams = []
    for each in listed.upstreams:
        words = WORDS[each.state] if each.detail is None else each.detail
        upstreams.append([each.name, each.where or "", f"unwell: {words}" if each.state == "unwell" else words])
    lines = [*_table("models", models), *_table("upstreams", upstreams)]
    for each in listed.upstreams:
        lines += [f"           {each.name}/{name}" for name in each.models or ()]
    return "\n".join([*lines, f"{'source':10} {listed.source}"])


def _table(label: str, rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        lines.append(f"{label if number == 0 else '':10} {cells}".rstrip())
    return lines
