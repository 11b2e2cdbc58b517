"""One HTTP/1.1 connection to an upstream, and the response read as it arrives.

The hot path of every provider that speaks HTTP. Parsing is httptools'; what is ours is the asyncio Protocol
round it, because a general client costs more per read than all the rest of headrace together (design,
section 6). What one read from the socket held is heard in the same turn of the event loop: no task is woken for it.

Who makes connections and keeps them is `headrace.providers.http`. May import floors 0 to 2, asyncio, httptools and its
own room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from headrace.clock import Clock
from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamReset, UpstreamTruncated
from headrace.providers.transport import Hear
from headrace.timing import Marks

# A response that is read slower than it arrives stops being taken from the socket beyond this many bytes.
MOST_UNREAD_BYTES = 1 << 20
# The headers that somebody looks at. The others are not kept: there may be ten thousand streams.
READ_HEADERS = frozenset(
    {"content-type", "content-encoding", "content-length", "transfer-encoding", "retry-after", "retry-after-ms"}
)
MOST_HEADER_BYTES = 64 << 10
# How long the end of a body may take whose content has been read. Many servers send the last chunk by itself.
RELEASE_SECONDS = 1.0


class Connection(asyncio.Protocol):
    """One connection to an upstream, and the response that is arriving on it."""

    __slots__ = (
        "_body",
        "_clock",
        "_complete",
        "_enough",
        "_error",
        "_fault",
        "_forget",
        "_header_bytes",
        "_headers_complete",
        "_hear",
        "_informational",
        "_keep",
        "_loop",
        "_marks",
        "_parser",
        "_paused",
        "_released",
        "_transport",
        "_unread_bytes",
        "_until_eof",
        "_upstream",
        "_waiter",
        "_will_close",
        "headers",
        "idle_since_ns",
        "lost",
        "on_body",
        "spoke",
        "status",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        upstream: str,
        clock: Clock,
        keep: Callable[[Connection], None],
        forget: Callable[[Connection], None],
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.lost = False
        self.spoke = False
        """Whether a byte of the current response has arrived."""
        self.idle_since_ns = 0
        self._loop = loop
        self._upstream = upstream
        self._clock = clock
        self._keep = keep
        self._forget = forget
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: UpstreamError | None = None
        self._marks: Marks | None = None
        self._hear: Hear | None = None
        self._enough = False
        self._fault: Exception | None = None
        self._body: list[bytes] = []
        self._unread_bytes = 0
        self._paused = False
        self._complete = True
        self._headers_complete = False
        self._header_bytes = 0
        self._informational = False
        self._until_eof = False
        self._will_close = False
        self._released: asyncio.TimerHandle | None = None
        # The parser calls this once for each chunk: a list's own append, so that no frame of ours runs per chunk.
        self.on_body = self._body.append
        # The two hold each other: made when a connection was, since of a try that is given up `connection_lost` never
        # hears, which parts them.
        self._parser: httptools.HttpResponseParser | None = None

    # -- the request's side

    def begin(self, request: bytes, marks: Marks) -> None:
        """Writes a request; the response to it is the next to arrive."""
        self.spoke = False
        if self.lost or self._transport is None:
            raise UpstreamReset(f"{self._upstream} closed the connection", upstream=self._upstream)
        self._complete = self._headers_complete = self._until_eof = self._will_close = False
        self._header_bytes = 0
        self._marks = marks
        self._transport.write(request)

    async def head(self) -> None:
        """Waits until the head of the response is there."""
        while not self._headers_complete:
            if self._error is not None:
                raise self._taken(self._error)
            await self._wait()

    async def listen(self, hear: Hear) -> None:
        """Hands the body to `hear` as it arrives."""
        self._hear = hear
        self._enough = False
        try:
            self._hand_over()
            while not (self._enough or self._complete):
                if self._error is not None:
                    raise self._taken(self._error)
                await self._wait()
        finally:
            self._hear = None
        if self._fault is not None:
            raise self._taken(self._fault)

    def _taken(self, error: Exception) -> Exception:
        """What is raised is not kept: its traceback leads here, and both would wait for the garbage collector."""
        self._fault = None
        self._error = UpstreamReset(f"the connection to {self._upstream} broke before", upstream=self._upstream)
        return error

    def _hand_over(self) -> None:
        """What has arrived, to whoever listens. A fault of the listener's is kept for `listen` to raise."""
        if not self._body or self._hear is None:
            return
        pieces = self._body.copy()
        self._body.clear()
        self._unread_bytes = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        try:
            self._enough = self._hear(pieces)
        except Exception as fault:
            self._fault = fault
            self._enough = True
        if self._enough:
            self._hear = None

    def release(self) -> None:
        """Lets the end of the body arrive by itself; see `on_message_complete`."""
        self._body.clear()
        if not self._complete and not self.lost and self._error is None:
            self._released = self._loop.call_later(RELEASE_SECONDS, self.abort)

    async def close(self) -> None:
        """Back to the pool if the response was read whole and the upstream keeps the connection, else closed."""
        if self._released is None:
            self._settle()

    @property
    def resting(self) -> bool:
        """Whether nobody listens to it: it is kept, or about to be."""
        return self._complete or self._released is not None

    def _settle(self) -> None:
        if self._complete and not self._will_close and not self._body and not self.lost and self._error is None:
            self._keep(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Closes the connection at once, without waiting for anything."""
        self.lost = True
        if self._released is not None:
            self._released.cancel()
            self._released = None
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transport in everything but their base class.
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self.spoke = True
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(UpstreamMalformed(f"{self._upstream} switched protocols unasked", upstream=self._upstream))
            return
        except httptools.HttpParserError as error:
            self._fail(
                UpstreamMalformed(f"what {self._upstream} sent is not HTTP ({error})", upstream=self._upstream), error
            )
            return
        if not self._headers_complete:
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADER_BYTES:
                self._fail(UpstreamMalformed(f"{self._upstream} sent headers without end", upstream=self._upstream))
                return
        if self._hear is not None:
            self._hand_over()
            if not (self._enough or self._complete):
                return  # the hot path: nobody needs to be woken
        elif not self._complete:
            self._unread_bytes += len(data)
            if self._unread_bytes > MOST_UNREAD_BYTES and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._forget(self)
        if self._released is not None:
            self._released.cancel()
            self._released = None
        if self._complete:
            pass
        elif error is None and self._until_eof:
            self._complete = True
        elif error is None and self._headers_complete:
            self._error = self._error or UpstreamTruncated(
                f"{self._upstream} closed the connection before its response ended", upstream=self._upstream
            )
        elif self._error is None:
            self._error = UpstreamReset(f"the connection to {self._upstream} broke", upstream=self._upstream)
            self._error.__cause__ = error
        self._transport = None
        # The parser holds this object: without it, nothing here waits for the garbage collector.
        self._parser = None
        self._wake()

    def _fail(self, failure: UpstreamError, cause: BaseException | None = None) -> None:
        failure.__cause__ = cause
        self._error = failure
        self._hand_over()  # what was in order before it
        self.abort()
        self._wake()

    # -- called by the parser

    def on_message_begin(self) -> None:
        if self._complete:
            # Bytes that belong to no request of ours: whoever sends them cannot be trusted with the next one.
            raise ValueError("a response that nobody asked for")
        if self._marks is not None and self._marks.first_byte_ns is None:
            self._marks.first_byte_ns = self._clock.monotonic_ns()
        self._informational = False
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers_complete:
            return  # a trailer
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key not in READ_HEADERS:
            return
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code() if self._parser is not None else 0
        if 100 <= self.status < 200:
            self._informational = True
            return
        self._headers_complete = True
        # RFC 9112, 6.3: a body ends where its last chunk or its length says, else where the connection ends.
        self._until_eof = self.status not in (204, 304) and not (
            "transfer-encoding" in self.headers or "content-length" in self.headers
        )

    def on_message_complete(self) -> None:
        if self._informational:
            return
        self._complete = True
        self._will_close = self._parser is None or not self._parser.should_keep_alive()
        if self._released is not None:
            self._released.cancel()
            self._released = None
            self._body.clear()
            self._settle()
