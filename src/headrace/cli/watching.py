"""What the commands about a server's streams share: the server, the ids that a shell completes, a stream read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, NamedTuple, TypeVar

import click
import msgspec

from headrace.cli import environment
from headrace.cli.answers import Followed, address_given, reaching
from headrace.cli.exits import say
from headrace.cli.showing import Shown, show

USUAL = "http://127.0.0.1:8000"
COMPLETING_SECONDS = 1.0

C = TypeVar("C", bound=Callable[..., Any])


def at_server(command: C) -> C:
    """Gives a command the option that says which server it means."""
    option = click.option(
        "--url", metavar="URL", help="Ask the server there (HEADRACE_URL; its key in HEADRACE_API_KEY)."
    )
    return option(command)


class Server(NamedTuple):
    """A server that is to be asked."""

    url: str
    key: str | None
    named: bool
    """Whether `--url` named it: a line that resumes must name it too."""


def server_wanted(url: str | None, surroundings: environment.Surroundings | None = None) -> Server:
    """The server that `--url` or the environment names, or else the one at the usual address.

    Raises:
        click.UsageError: what names it is no address.
    """
    surroundings = surroundings or environment.read(())
    address = address_given(url, surroundings.environment)
    # A server that was merely guessed is not given a key: anyone may listen on a port.
    key = None if address is None else surroundings.readers_key()
    return Server(address or USUAL, key, url is not None)


class Listed(msgspec.Struct):
    """A stream as `GET /v1/streams` tells it."""

    id: str
    model: str
    state: str
    created_at: str | None
    conversation_id: str | None
    events: int
    readers: int
    ending: str | None


class Page(msgspec.Struct):
    """A page of streams, newest first."""

    data: list[Listed]
    has_more: bool = False
    last_id: str | None = None


async def list_streams(server: Server, *, state: Literal["running"] | None, most: int) -> list[Listed]:
    """The newest streams of the server, at most so many.

    Raises:
        NoServer: nothing answers there.
        HeadraceError: the server refused.
    """
    from headrace.client.looking import look

    found: list[Listed] = []
    before = ""
    with reaching(server.url, server.key):
        while True:
            query = f"?limit={min(100, most - len(found))}" + (f"&state={state}" if state else "") + before
            page = await look(server.url, f"/v1/streams{query}", Page, key=server.key)
            found += page.data
            if not page.has_more or page.last_id is None or len(found) >= most:
                return found
            before = f"&before={page.last_id}"


def complete_stream(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The ids of the newest streams that begin so; none where no server answers at once."""

    async def found() -> list[Listed]:
        async with asyncio.timeout(COMPLETING_SECONDS):
            return await list_streams(server_wanted(context.params.get("url")), state=None, most=100)

    try:
        return [each.id for each in asyncio.run(found()) if each.id.startswith(incomplete)]
    except Exception:
        return []  # whoever presses Tab gets ids or nothing, and no message between the words of a command


@asynccontextmanager
async def watching(
    stream_id: str, after: int, server: Server, *, on_exit: Literal["cancel", "detach"]
) -> AsyncIterator[Followed]:
    """A stream of the server, from behind the event `after`.

    Raises:
        NoServer: nothing answers there.
        HeadraceError: the server refused.
    """
    from headrace.client import AsyncClient, Resuming

    async with (
        AsyncClient(server.url, key=server.key, resuming=Resuming(knocks=1)) as client,
        AsyncExitStack() as stack,
    ):
        with reaching(server.url, server.key):
            stream = await stack.enter_async_context(client.resume(stream_id, after=after, on_exit=on_exit))
        yield Followed(stream)


async def watch_and_show(
    stream_id: str, after: int, server: Server, shown: Shown, *, on_exit: Literal["cancel", "detach"]
) -> int:
    """Shows a stream of the server to its end; gives the exit code. Who is only watching is told how to come back."""
    async with watching(stream_id, after, server, on_exit=on_exit) as answer:

        def tell_how_to_read_on() -> None:
            if on_exit == "detach" and not answer.ended and not shown.quiet:
                where = f" --url {server.url}" if server.named else ""
                say(f"to read on: headrace watch {stream_id} --after {answer.offset}{where}")

        try:
            code = await show(answer, shown)
        except asyncio.CancelledError:
            tell_how_to_read_on()
            raise
        tell_how_to_read_on()
        return code
