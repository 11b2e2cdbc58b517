"""A client of WebSockets: the `websockets` library's, with what tests ask of it again and again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

READ_SECONDS = 20.0
CHAT = "/v1/chat/completions"
Message = dict[str, Any]


class Client:
    """One WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, message: object = None, **fields: object) -> None:
        """Sends a message: text as it is, anything else as JSON, with more fields."""
        if not isinstance(message, str | bytes):
            message = json.dumps({**(message if isinstance(message, dict) else {}), **fields})
        await self.socket.send(message)

    async def text(self) -> str:
        """The next message as it came."""
        async with asyncio.timeout(READ_SECONDS):
            said = await self.socket.recv()
        assert isinstance(said, str), "messages are text"
        return said

    async def hear(self) -> Message:
        """The next message."""
        said: Message = json.loads(await self.text())
        return said

    async def answer(self) -> list[Message]:
        """The messages up to the last one of an answer."""
        heard = [await self.hear()]
        while not is_last(heard[-1]):
            heard.append(await self.hear())
        return heard

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close that comes next; messages before it are passed over."""
        async with asyncio.timeout(READ_SECONDS):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        said = self.socket.protocol.close_rcvd
        assert said is not None, "it was cut off without a word"
        return said.code, said.reason

    def cut(self) -> None:
        """Cuts the connection off, without a goodbye."""
        self.socket.transport.abort()


@asynccontextmanager
async def talking(
    port: int,
    path: str = CHAT,
    headers: Mapping[str, str] = {},
    *,
    origin: str | None = None,
    subprotocols: Sequence[str] = (),
    **more: Any,
) -> AsyncIterator[Client]:
    """A WebSocket that is open."""
    more.setdefault("ping_interval", None)
    async with connect(
        f"ws://127.0.0.1:{port}{path}",
        additional_headers=headers,
        origin=None if origin is None else Origin(origin),
        subprotocols=[Subprotocol(each) for each in subprotocols] or None,
        proxy=None,
        close_timeout=2,
        **more,
    ) as socket:
        yield Client(socket)


def is_last(message: Message) -> bool:
    """Whether an answer, of one choice, ends with this."""
    return "error" in message or any(choice["finish_reason"] for choice in message.get("choices", ()))


def said_in(messages: Sequence[Message]) -> str:
    """The text in these."""
    return "".join(
        choice["text"] if "text" in choice else choice["delta"].get("content") or ""
        for message in messages
        for choice in message.get("choices", ())
    )
