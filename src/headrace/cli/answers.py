"""Where the answer to `headrace ask` comes from: this process, or a server. Both give the same events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import click
import msgspec

from headrace.cli.exits import NoServer
from headrace.errors import Unauthorized, UpstreamUnreachable
from headrace.events import Event
from headrace.requests import GenerationRequest, Message, ReaderOptions, Timeouts
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.client import AsyncStream


class Question(msgspec.Struct, frozen=True):
    """What somebody asked."""

    text: str
    stream: bool
    model: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    timeout_seconds: float | None = None


class Answer(Protocol):
    """An answer while it comes."""

    def follow(self) -> AsyncGenerator[tuple[list[bytes], list[Event]], None]:
        """Its typed-event records and the events they were made of, as they come, to the last."""
        ...

    async def leave(self) -> None:
        """Somebody wants out: stops it, up to the upstream, or lets it go on for others."""
        ...


@asynccontextmanager
async def in_process(
    question: Question, settings: Settings, environment: Mapping[str, str], *, records: bool
) -> AsyncIterator[Answer]:
    """An answer made here, as `POST /chat/basic` would make it. `records`: whether they are wanted.

    Raises:
        HeadraceError: it cannot be started.
    """
    from headrace.server.callers import LOCAL
    from headrace.server.discovery import discover, missing_key
    from headrace.server.preparing import BASIC
    from headrace.server.wiring import open_house

    settings = (await discover(settings, environment)).settings
    basic = settings.assistants[BASIC]
    if (missing := missing_key(question.model or basic.model or "", settings, environment)) is not None:
        raise missing
    system = () if question.system is None else (Message("system", question.system),)
    request = GenerationRequest(
        model=question.model or "",
        messages=(*system, Message("user", question.text)),
        stream=question.stream,
        max_tokens=question.max_tokens,
        timeouts=Timeouts(total=question.timeout_seconds),
    )
    async with open_house(settings, environment) as house:
        stream = await house.start_assistant(request, BASIC, LOCAL)

        class _InProcess:
            async def follow(self) -> AsyncGenerator[tuple[list[bytes], list[Event]], None]:
                from headrace.protocols import PROTOCOLS

                options = ReaderOptions(rationale=basic.rationale, metadata=basic.metadata, chunk_size=basic.chunk_size)
                encoder = PROTOCOLS["typed_events"].encoder(options)
                async with aclosing(stream.follow()) as pieces:
                    async for offset, events in pieces:
                        made: list[bytes] = []
                        # One by one: records of several events may come joined for a framing that is not ours.
                        for place, event in enumerate(events if records else ()):
                            made += encoder.encode(offset + place, [event])
                        yield [record for record in made if record != b"[DONE]"], list(events)

            async def leave(self) -> None:
                house.cancel(stream)

        yield _InProcess()


@asynccontextmanager
async def from_server(question: Question, url: str, key: str | None) -> AsyncIterator[Answer]:
    """An answer of the server at `url`.

    Raises:
        NoServer: nothing answers there.
        HeadraceError: the server refused.
    """
    from headrace.client import AsyncClient, Resuming

    # Somebody waits at a terminal: where nothing answers at all, that is said at once.
    async with AsyncClient(url, key=key, resuming=Resuming(knocks=1)) as client, AsyncExitStack() as stack:
        asked = client.stream(
            question.text,
            model=question.model,
            system=question.system,
            max_tokens=question.max_tokens,
            timeout_seconds=question.timeout_seconds,
        )
        with reaching(url, key):
            stream = await stack.enter_async_context(asked)
        yield Followed(stream)


class Followed:
    """A server's stream as an answer. What leaving does was decided where its block is."""

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream

    @property
    def offset(self) -> int:
        """Of the last event that was given."""
        return self._stream.offset

    @property
    def ended(self) -> bool:
        """Whether its end was given."""
        return self._stream.final.ending is not None

    async def follow(self) -> AsyncGenerator[tuple[list[bytes], list[Event]], None]:
        """Its records and events, as they come."""
        from headrace.client import StreamFailed

        try:
            async for piece in self._stream.pieces:
                yield list(piece.records), list(piece.events)
        except StreamFailed:
            pass  # its ending was among the events

    async def leave(self) -> None:
        """Does nothing: the block is left next."""


@contextmanager
def reaching(url: str, key: str | None) -> Iterator[None]:
    """Says in a person's words why the server at `url` was not reached: nothing answers there, or a key is wanted.

    Raises:
        NoServer: nothing answers, with how to start a server where one can be started from here.
        Unauthorized: with the variable that the key belongs into.
    """
    try:
        yield
    except UpstreamUnreachable as error:
        raise NoServer(error.message + _how_to_start(url)) from error
    except Unauthorized as error:
        if key is None:
            message = f"{url} asks for a key. Set HEADRACE_API_KEY, and name the server: --url {url}"
        else:
            message = f"{url} does not take what is in HEADRACE_API_KEY: {error.message}"
        raise Unauthorized(message) from error


def address_given(url: str | None, environment: Mapping[str, str]) -> str | None:
    """The address of the server that `--url` or the environment names; `None`: neither does.

    Raises:
        click.UsageError: it is none.
    """
    address = url or environment.get("HEADRACE_URL") or None
    if address is not None and not _is_address(address):
        said_by = "--url " if url else "HEADRACE_URL="
        raise click.UsageError(f'"{address}" is no address of a server. As in: {said_by}http://127.0.0.1:8000')
    return address


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False  # brackets left open, or a port that is none


def _how_to_start(url: str) -> str:
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return ""
    port = "" if parts.port in (None, 8000) else f" --port {parts.port}"
    return f". Start one: headrace serve{port}"


async def server_here(address: tuple[str, int] = ("127.0.0.1", 8000)) -> str | None:
    """The address of a headrace server on this machine's usual port; `None` where none answers within 200 ms."""
    from headrace.server.discovery import get_loopback

    body = await get_loopback(address, "/health")
    try:
        found = body is not None and msgspec.json.decode(body, type=_Health).service == "headrace"
    except (ValueError, RecursionError):
        found = False  # another program's port
    return f"http://{address[0]}:{address[1]}" if found else None


class _Health(msgspec.Struct):
    service: str = ""
