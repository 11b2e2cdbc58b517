"""`headrace cancel`: ends a stream of a server for everybody."""

from __future__ import annotations

import asyncio

import click

from headrace.cli.answers import reaching
from headrace.cli.exits import say
from headrace.cli.watching import Server, at_server, complete_stream, server_wanted
from headrace.wire import json_text


@click.command("cancel")
@click.argument("stream_id", metavar="ID", shell_complete=complete_stream)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the id, and whether it ends as cancelled.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors.")
@at_server
def cancel(stream_id: str, as_json: bool, quiet: bool, url: str | None) -> None:
    """End a stream of a server for every reader, up to its upstream. Twice is the same as once."""
    cancelled = asyncio.run(_cancel(stream_id, server_wanted(url)))
    if as_json:
        click.echo(json_text.encode({"id": stream_id, "cancelled": cancelled}))
    elif not quiet:
        say("cancelled" if cancelled else "it had ended by itself before")


async def _cancel(stream_id: str, server: Server) -> bool:
    from headrace.client import AsyncClient

    async with AsyncClient(server.url, key=server.key) as client:
        with reaching(server.url, server.key):
            return await client.cancel(stream_id)
