"""The way between a client and a server, which breaks when a test says so: a proxy that forwards bytes.

Each connection is broken by its own plan, asked for when the connection comes: after so many bytes of the server's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Literal, NamedTuple, Self

How = Literal["reset", "end", "silence"]


class Break(NamedTuple):
    """After so many bytes of the server's: a RST, a FIN, or nothing any more, ever."""

    after_bytes: int
    how: How = "reset"


class Weather:
    """A proxy on loopback before the server at `port`, which may be changed: a server started anew is somewhere else.

    `plan` says for each connection, counted from 0, when it breaks; `None`: never. `break_once` is one break more, of
    whichever connection carries so many bytes from now on.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.plan: Callable[[int], Break | None] = lambda number: None
        self._due: Break | None = None
        self.connections = 0
        self.broken = 0
        """How many connections were broken."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *rest: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where clients find it."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def is_due(self) -> bool:
        """Whether the break that was asked for has not come yet."""
        return self._due is not None

    def break_once(self, after_bytes: int, how: How = "reset") -> None:
        """Breaks the connection that carries the server's next bytes but so many."""
        self._due = Break(after_bytes, how)

    async def _pass_on(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            client_out.close()  # there is no server now
            return
        upward = asyncio.create_task(_copy(client_in, server_out))
        try:
            await self._downward(server_in, client_out, self.plan(number))
        except ConnectionError:
            pass  # the client left
        finally:
            upward.cancel()
            server_out.close()
            client_out.close()

    async def _downward(
        self, server_in: asyncio.StreamReader, client_out: asyncio.StreamWriter, plan: Break | None
    ) -> None:
        left = None if plan is None else plan.after_bytes
        while True:
            if plan is not None and left == 0:
                await self._break(client_out, plan.how)
                return
            data = await server_in.read(65536 if left is None else left)
            if self._due is not None:
                if len(data) >= self._due.after_bytes:
                    due, self._due = self._due, None
                    client_out.write(data[: due.after_bytes])
                    await client_out.drain()
                    await self._break(client_out, due.how)
                    return
                self._due = Break(self._due.after_bytes - len(data), self._due.how)
            if not data:
                return
            client_out.write(data)
            await client_out.drain()
            left = None if left is None else left - len(data)

    async def _break(self, client_out: asyncio.StreamWriter, how: How) -> None:
        self.broken += 1
        match how:
            case "reset":
                linger = struct.pack("ii", 1, 0)
                client_out.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                client_out.transport.abort()
            case "silence":
                await asyncio.Event().wait()
            case "end":
                pass


async def _copy(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
    try:
        while data := await incoming.read(65536):
            outgoing.write(data)
            await outgoing.drain()
    except ConnectionError:
        pass  # one of the two left
    outgoing.close()
