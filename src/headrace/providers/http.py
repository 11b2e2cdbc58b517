"""HTTP/1.1 to one upstream: how connections are made, kept alive and used again, and a request sent over one.

Reading a response as it arrives is `headrace.providers.http_connection`'s. This file alone opens sockets;
`headrace.providers.http_through_httpx2` plays the same two roles (`transport.py`) over httpx2, for upstreams behind a
proxy. May import floors 0 to 2, asyncio, ssl and its own room.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from headrace.clock import Clock
from headrace.errors import SettingsError, UpstreamMalformed, UpstreamReset, UpstreamUnreachable
from headrace.providers.http_connection import Connection
from headrace.providers.inflated import Inflated
from headrace.providers.transport import Response, what_to_check
from headrace.timing import Marks

# Servers close idle connections after 60 s or more (nginx 75, uvicorn 5 but tells us by closing); we let go sooner.
IDLE_SECONDS = 50.0
MOST_IDLE = 1024
# Of what an upstream calls its content encoding: the longest registered name is `pack200-gzip`.
LONGEST_NAME = 12


class HTTPTransport:
    """Sends requests over our own connections, and keeps them alive.

    Args:
        upstream: its name, for errors.
        base_url: `http://` or `https://`, with the path all requests share.
        headers: sent with every request.
        clock: what the marks are taken with.
    """

    def __init__(self, upstream: str, base_url: str, headers: Mapping[str, str], clock: Clock) -> None:
        try:
            parts = urlsplit(base_url)
            port = parts.port
            self._path = parts.path.rstrip("/").encode("ascii")
        except ValueError as error:
            raise SettingsError(f"base_url of upstream {upstream!r} is {base_url!r}, which is none: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"base_url of upstream {upstream!r} is {base_url!r}: it must start with http:// or https://"
            )
        self._upstream = upstream
        self._clock = clock
        self._host = parts.hostname
        self._tls = parts.scheme == "https"
        self._port = port or (443 if self._tls else 80)
        self._ssl: ssl.SSLContext | None = None
        self._open: set[Connection] = set()
        # Longest idle first.
        self._idle: list[Connection] = []
        self._closed = False
        self._head = _common_head(upstream, parts.netloc.rpartition("@")[2], headers)

    async def send(self, method: str, path: str, body: bytes, marks: Marks) -> Response:
        """Sends a request; once more on a new connection if a kept one turns out to be dead and gave no byte."""
        request = b"%s %s HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (
            method.encode("ascii"),
            self._path + path.encode("ascii"),
            self._head,
            len(body),
            body,
        )
        connection = self._kept()
        if connection is not None:
            try:
                return await self._exchange(connection, request, marks)
            except UpstreamReset:
                if connection.spoke:
                    raise
        return await self._exchange(await self._connect(), request, marks)

    async def close(self) -> None:
        """Closes the connections that are kept; those in use are closed after their response."""
        self._closed = True
        self._idle.clear()
        for connection in self._open:
            if connection.resting:
                connection.abort()

    async def _exchange(self, connection: Connection, request: bytes, marks: Marks) -> Response:
        marks.connected_ns = self._clock.monotonic_ns()
        try:
            connection.begin(request, marks)
            marks.sent_ns = self._clock.monotonic_ns()
            await connection.head()
        except BaseException:
            connection.abort()
            raise
        transfer = connection.headers.get("transfer-encoding", "chunked")
        if transfer.lower() != "chunked":
            connection.abort()
            raise UpstreamMalformed(
                f"{self._upstream} answered with a transfer encoding that HTTP/1.1 does not know, not 'chunked'",
                upstream=self._upstream,
            )
        encoding = connection.headers.get("content-encoding", "identity").lower()
        if encoding in ("identity", ""):
            return connection
        if encoding in ("gzip", "x-gzip", "deflate"):
            return Inflated(connection, self._upstream)
        connection.abort()
        # A name is repeated; what is too long for one may be anything that was sent there.
        named = repr(encoding) if len(encoding) <= LONGEST_NAME else "of a kind that is not known here"
        raise UpstreamMalformed(
            f"{self._upstream} answered with content encoding {named}, though none was asked for",
            upstream=self._upstream,
        )

    def _kept(self) -> Connection | None:
        horizon = self._clock.monotonic_ns() - int(IDLE_SECONDS * 1e9)
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since_ns >= horizon and not connection.lost:
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= MOST_IDLE:
            connection.abort()
            return
        now = self._clock.monotonic_ns()
        # What a busy hour left behind goes here, one for one: the newest is always taken first, so the oldest stay.
        if self._idle and self._idle[0].idle_since_ns < now - int(IDLE_SECONDS * 1e9):
            self._idle.pop(0).abort()
        connection.idle_since_ns = now
        self._idle.append(connection)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self) -> Connection:
        if self._tls and self._ssl is None:
            self._ssl = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        where = f"{self._upstream} at {self._host}:{self._port}"
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(loop, self._upstream, self._clock, self._keep, self._forget),
                self._host,
                self._port,
                ssl=self._ssl,
                server_hostname=self._host if self._tls else None,
            )
        except ssl.SSLCertVerificationError as error:
            raise UpstreamUnreachable(
                f"the certificate of {where} does not hold ({error.verify_message}). If its authority is your own, name"
                " the file with that authority's certificate in SSL_CERT_FILE",
                upstream=self._upstream,
            ) from error
        except ssl.SSLError as error:
            raise UpstreamUnreachable(
                f"no TLS with {where} ({error.reason}). Does it speak plain http://?", upstream=self._upstream
            ) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
            reason = error.strerror if isinstance(error, OSError) else None
            raise UpstreamUnreachable(
                f"no connection to {where} ({reason or str(error) or type(error).__name__})."
                f" {what_to_check(self._host)}",
                upstream=self._upstream,
            ) from error
        self._open.add(connection)
        return connection


def _common_head(upstream: str, host: str, headers: Mapping[str, str]) -> bytes:
    lines = {"Host": host, "Accept-Encoding": "identity", "Connection": "keep-alive", **headers}
    for name, value in lines.items():
        if any(character in "\r\n\0" for character in name + value):
            # The value may be a key: it is not shown.
            raise SettingsError(
                f"the header {name!r} for upstream {upstream!r} holds a line break: is its key mistyped?"
            )
    try:
        return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")
    except UnicodeEncodeError:
        raise SettingsError(f"a header for upstream {upstream!r} holds characters HTTP does not allow") from None
