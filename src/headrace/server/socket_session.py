"""What is done with the messages of one WebSocket: requests, lanes, cancelling, resuming, and who it is.

An answer is a lane: one reader of one stream, as over HTTP, with a task for its beginning and its end and none for
what comes between. All lanes write to one connection; a client that is slow stops all of them, and is served from the
log later. Losing the connection is that its readers leave. How bytes become messages is in
`headrace.server.socket_connection`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from headrace.errors import Busy, HeadraceError, InternalError, InvalidRequest, Unauthorized
from headrace.interfaces import ReaderProtocol, Stream
from headrace.keys.keyring import REVOKED, Key
from headrace.protocols import PROTOCOLS
from headrace.protocols.objects import error_object
from headrace.protocols.reading import reader_options
from headrace.protocols.socket_messages import SPOKEN
from headrace.protocols.socket_requests import Ask, Auth, Cancel, ClientMessage, Ping, Resume
from headrace.requests import ReaderOptions
from headrace.server.answering import below_horizon, deliver
from headrace.server.callers import STRANGER, Caller
from headrace.server.generating import GRACE_SECONDS, check_stream_id
from headrace.server.guard import Guard
from headrace.server.house import House
from headrace.server.idempotency import idempotency_of
from headrace.server.socket_connection import SocketConnection
from headrace.server.socket_doors import SocketDoor, close_code
from headrace.server.socket_lane import Lane, LaneMessages
from headrace.server.stream_routes import query_of, read_following
from headrace.server.warnings import warning
from headrace.wire import json_text

logger = logging.getLogger("headrace.server")

MOST_LANES = 16
"""How many answers with a `request_id` there may be at once, beside the one without."""
AUTH_SECONDS = 5.0
"""How long a client that showed no key may take to send one."""
_PONG = b'{"type":"pong"}'
_FIRST = 'send {"type": "auth", "token": "<key>"} first, or the header Authorization: Bearer <key>'


class Session:
    """One client, from its handshake until it leaves.

    Args:
        house: what it talks to.
        guard: finds out who it is, where its handshake did not say.
        door: where it came in.
        connection: what its messages come from.
        caller: who it is; `None`: its first message has to say so.
        request_id: of its handshake, for the log.
    """

    def __init__(
        self,
        house: House,
        guard: Guard,
        door: SocketDoor,
        connection: SocketConnection,
        caller: Caller | None,
        request_id: str,
    ) -> None:
        self._house = house
        self._guard = guard
        self._door = door
        self._connection = connection
        self._caller = STRANGER
        self._request_id = request_id
        self._lanes: dict[str | None, Lane] = {}
        self._deadline: asyncio.TimerHandle | None = None
        connection.listener = self
        if caller is None:
            self._deadline = connection.loop.call_later(AUTH_SECONDS, self._too_late)
        else:
            self._admit(caller)

    # -- called by the connection

    def hear(self, message: bytes) -> None:
        """Does what a message says. A mistake in it is told, and the socket lives."""
        request_id = None
        try:
            said = ClientMessage(message)
            request_id = said.request_id
            self._perform(said, request_id, message)
        except HeadraceError as error:
            self._tell(error, request_id)
        except Exception:
            logger.exception("a message at %s: a fault of our own", self._door.path)
            self._tell(InternalError("headrace made a mistake with this message; its log says which"), request_id)

    def ready(self) -> None:
        """Has every lane write on. Another is the first each time: what there is room for may not be enough for all."""
        if len(self._lanes) > 1:
            first = next(iter(self._lanes))
            self._lanes[first] = self._lanes.pop(first)
        for lane in list(self._lanes.values()):
            if lane.on_ready is not None:
                lane.on_ready()

    def leave(self) -> None:
        """The client has left: so have the readers that it was. Twice is the same as once."""
        self._stop_waiting()
        key = self._caller.key
        if key is not None:
            key.waiting.discard(self._revoked)
        for lane in list(self._lanes.values()):
            lane.leave()

    def look(self) -> None:
        """Closes what nobody uses while the server drains: the client may find another that does not."""
        if self._house.runs.draining and not self._lanes:
            self._connection.close(1001, "the server is shutting down; come back in a moment")

    def ping_seconds(self) -> float:
        """How often the connection is pinged: as often as the least patient of its lanes has it."""
        server = self._house.settings.server.heartbeat_seconds
        asked = [server if lane.heartbeat_seconds is None else lane.heartbeat_seconds for lane in self._lanes.values()]
        return min(filter(None, asked), default=0.0) if asked else server

    # -- who it is

    def _admit(self, caller: Caller) -> None:
        self._stop_waiting()
        self._caller = caller
        if caller.key is not None:
            caller.key.waiting.add(self._revoked)
        if self._door.stream_id is not None:
            self._follow(self._door.stream_id)

    def _authenticate(self, token: str) -> None:
        if self._deadline is None:
            return  # it is known, or nobody is asked
        try:
            caller = self._guard.admit_token(token)
        except Unauthorized as error:
            self._refuse(error, None)
            return
        self._admit(caller)

    def _too_late(self) -> None:
        self._deadline = None
        self._connection.close(4408, f"no key came within {AUTH_SECONDS:g} s; {_FIRST}")

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _revoked(self) -> None:
        self._connection.close(4401, REVOKED)

    # -- messages

    def _perform(self, message: ClientMessage, request_id: str | None, raw: bytes) -> None:
        said = message.read()
        match said:
            case Ping():
                self._connection.send(_PONG)
            case Auth():
                self._authenticate(said.token)
            case _ if self._deadline is not None:
                self._refuse(Unauthorized(f"no key was given; {_FIRST}"), request_id)
            case Cancel():
                self._cancel(request_id)
            case Ask() | Resume() if self._door.stream_id is not None:
                raise InvalidRequest(
                    "this WebSocket follows one stream, and takes no requests; open another at /v1/chat/completions"
                )
            case Ask() | Resume() if self._waits(request_id, raw):
                pass
            case Ask():
                self._ask(said, request_id)
            case Resume():
                self._resume(said, request_id)

    def _ask(self, asked: Ask, request_id: str | None) -> None:
        self._check_room(request_id)
        protocol = PROTOCOLS[self._door.protocol]
        request, options = protocol.read(asked.body, {})
        check_stream_id(asked.stream_id, "headrace.stream_id")
        key = asked.idempotency_key
        request = msgspec.structs.replace(
            request,
            # Every message says how to come back.
            on_disconnect=GRACE_SECONDS if request.on_disconnect is None else request.on_disconnect,
            view=options,
            idempotency=None if key is None else idempotency_of(key, self._door.path, asked.body),
        )

        async def answer(lane: Lane) -> None:
            stream = await self._house.start(request, self._caller, stream_id=asked.stream_id)
            await self._deliver(lane, stream, protocol, options, 0)

        self._open_lane(request_id, answer)

    def _resume(self, asked: Resume, request_id: str | None) -> None:
        self._check_room(request_id)
        stream = self._house.store.open(asked.stream_id, self._caller.owner)
        options = reader_options(asked.options).within(stream.request.view)

        async def answer(lane: Lane) -> None:
            await self._deliver(lane, stream, PROTOCOLS[self._door.protocol], options, _behind(stream, asked.after))

        self._open_lane(request_id, answer)

    def _follow(self, stream_id: str) -> None:
        """The one thing that is done at the door of a stream."""
        try:
            stream = self._house.store.open(stream_id, self._caller.owner)
            asked = read_following(stream, query_of(self._door.query), {})
            if asked.protocol not in SPOKEN:
                raise InvalidRequest(
                    f"{asked.protocol} is not spoken over a WebSocket. There are: {', '.join(SPOKEN)}",
                    parameter="protocol",
                )
        except HeadraceError as error:
            self._refuse(error, None)
            return

        async def answer(lane: Lane) -> None:
            protocol = PROTOCOLS[asked.protocol]
            await self._deliver(lane, stream, protocol, asked.options, _behind(stream, asked.after))

        self._open_lane(None, answer)

    def _cancel(self, request_id: str | None) -> None:
        lane = self._lanes.get(request_id)
        if lane is None:
            return  # it has ended: twice is the same as once
        if lane.stream is None:
            lane.cancelled = True
        else:
            self._house.cancel(lane.stream)

    # -- lanes

    def _waits(self, request_id: str | None, message: bytes) -> bool:
        """Keeps a message for the end of an answer that is over: the client was quicker than the loop's next turn."""
        lane = self._lanes.get(request_id)
        if lane is None or not lane.over or lane.next_message is not None or self._door.closes:
            return False
        lane.next_message = message
        return True

    def _check_room(self, request_id: str | None) -> None:
        if request_id in self._lanes:
            which = "without a request_id" if request_id is None else "of this request_id"
            raise Busy(
                f"an answer {which} is in progress on this WebSocket; wait for its end, cancel it, or send another"
                ' "request_id"'
            )
        taken = sum(name is not None and not lane.over for name, lane in self._lanes.items())
        if request_id is not None and taken >= MOST_LANES:
            raise Busy(f"{MOST_LANES} answers are in progress on this WebSocket, as many as it may have; let one end")
        key: Key | None = self._caller.key
        if key is not None:
            key.check()
            if key.quota is not None:
                key.quota.take()

    def _open_lane(self, request_id: str | None, answer: Callable[[Lane], Awaitable[None]]) -> None:
        lane = self._lanes[request_id] = Lane(self._connection, self._caller, request_id)
        task = self._connection.loop.create_task(self._serve(lane, answer))
        self._connection.tasks.add(task)
        task.add_done_callback(self._connection.tasks.discard)

    async def _serve(self, lane: Lane, answer: Callable[[Lane], Awaitable[None]]) -> None:
        failed: HeadraceError | None = None
        try:
            await answer(lane)
        except HeadraceError as error:
            failed = error
        except Exception:
            logger.exception("an answer at %s: a fault of our own", self._door.path)
            failed = InternalError("headrace made a mistake with this request; its log says which")
        finally:
            del self._lanes[lane.request_id]
        if failed is not None and self._door.stream_id is not None:
            self._refuse(failed, lane.request_id)
        elif failed is not None:
            self._tell(failed, lane.request_id)
        if lane.next_message is not None and not lane.gone:
            self.hear(lane.next_message)
        if self._lanes:
            return
        if self._door.closes:
            self._connection.close(1000, "")
        elif self._house.runs.draining:
            self._connection.close(1001, "the server is shutting down; come back in a moment")

    async def _deliver(
        self, lane: Lane, stream: Stream, protocol: ReaderProtocol, options: ReaderOptions, offset: int
    ) -> None:
        house, key = self._house, lane.caller.key
        lane.stream = stream
        lane.heartbeat_seconds = options.heartbeat_seconds
        if lane.cancelled:
            house.cancel(stream)
        house.readers.attach(key, stream.readers)
        try:
            warned = warning(house, stream.request)
            messages = LaneMessages(protocol, lane.request_id, None if warned is None else warned.decode("ascii"))
            below = offset < stream.horizon
            if not below and await deliver(house, stream, messages, options, lane, offset) == "failed":
                # It was told why, unless what came next was let go while it was slow.
                below = stream.horizon > 0
            if below:
                self._send(below_horizon(stream), lane.request_id, stream.id)
        finally:
            house.readers.detach(key)
            house.runs.reader_left(stream)

    # -- what is told

    def _tell(self, error: HeadraceError, request_id: str | None) -> None:
        told = {"request": self._request_id, "method": "GET", "path": self._door.path}
        self._house.log.refused(error, told)
        failure = error.failure()
        said = {"error": error_object(failure, error.parameter)}
        if failure.retry_after_seconds is not None:
            # What a header says over HTTP.
            said["headrace"] = {"retry_after_seconds": failure.retry_after_seconds}
        self._send(said, request_id)

    def _refuse(self, error: HeadraceError, request_id: str | None) -> None:
        """Tells an error that ends the WebSocket."""
        self._tell(error, request_id)
        self._connection.close(close_code(error.http_status), error.message)

    def _send(self, said: dict[str, Any], request_id: str | None, stream_id: str | None = None) -> None:
        if stream_id is not None:
            said = {**said, "headrace": {"stream_id": stream_id}}
        if request_id is not None:
            said = {**said, "request_id": request_id}
        self._connection.send(json_text.encode(said))


def _behind(stream: Stream, after: int) -> int:
    """Where a reader goes on that has read up to `after`: it gets the last message in any case, and knows the end."""
    last = stream.length - 1 if stream.ended is not None else stream.length
    return min(after + 1, last)
