"""What a client says over a WebSocket: one object of JSON a message, told apart by its `type`.

Pure. An object without a `type` is a request, the body that the same route takes over HTTP; there are no headers beside
it, so what HTTP has in headers alone (`Headrace-Stream`, `Idempotency-Key`) stands in its `headrace` object.
Source: `reference/websocket.md`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from headrace.errors import InvalidRequest
from headrace.protocols.reading import Fields, Options, read_options

MOST_ID_CHARACTERS = 128
TYPES = ("auth", "cancel", "ping", "resume")
_LARGEST_OFFSET = 10**18


class Ask(msgspec.Struct, frozen=True):
    """Start an answer."""

    body: bytes
    """The request as the route takes it over HTTP, always streamed."""
    stream_id: str | None
    """The id that the reader chose for its stream."""
    idempotency_key: str | None


class Resume(msgspec.Struct, frozen=True):
    """Read a stream on, behind an offset."""

    stream_id: str
    after: int
    options: Options


class Cancel(msgspec.Struct, frozen=True):
    """Stop the answer of this lane."""


class Auth(msgspec.Struct, frozen=True):
    """The key, where the handshake carried none."""

    token: str


class Ping(msgspec.Struct, frozen=True):
    """Say that you are there."""


Said: TypeAlias = Ask | Resume | Cancel | Auth | Ping


class _OwnOptions(msgspec.Struct):
    stream_id: str | None = None
    idempotency_key: str | None = None


class ClientMessage:
    """One message. Its request id is known before the rest is read, so that a mistake is told in its lane.

    Raises:
        MalformedBody: it is no object of JSON.
        InvalidRequest: its `request_id` is none.
    """

    def __init__(self, data: bytes) -> None:
        self._fields = Fields(data, "the message")
        self.request_id = self._fields.take("request_id", str)
        if self.request_id is not None and not 0 < len(self.request_id) <= MOST_ID_CHARACTERS:
            raise InvalidRequest(
                f'"request_id" must be 1 to {MOST_ID_CHARACTERS} characters long', parameter="request_id"
            )

    def read(self) -> Said:
        """What it says.

        Raises:
            InvalidRequest: a field is missing or wrong.
        """
        fields = self._fields
        match fields.take("type", str):
            case None:
                return self._ask()
            case "resume":
                return self._resume()
            case "cancel":
                return Cancel()
            case "ping":
                return Ping()
            case "auth":
                token = fields.take("token", str)
                if not token:
                    raise InvalidRequest('"token" is missing; send {"type": "auth", "token": "…"}', parameter="token")
                return Auth(token)
            case other:
                raise InvalidRequest(
                    f'no message of the type {other[:50]!r}. There are: {", ".join(TYPES)}; a request has no "type"',
                    parameter="type",
                )

    def _ask(self) -> Ask:
        own = _OwnOptions()
        options = self._fields.look_at("headrace")
        if options is not None:
            try:
                own = msgspec.json.decode(options, type=_OwnOptions)
            except msgspec.DecodeError as error:
                raise InvalidRequest(f'"headrace": {error}', parameter="headrace") from None
        return Ask(self._fields.written(stream=True), own.stream_id, own.idempotency_key)

    def _resume(self) -> Resume:
        stream_id = self._fields.take("stream_id", str)
        if not stream_id:
            raise InvalidRequest(
                '"stream_id" is missing; send {"type": "resume", "stream_id": "…", "after": 17}', parameter="stream_id"
            )
        after = self._fields.take("after", int)
        if after is None:
            after = -1
        if not -1 <= after < _LARGEST_OFFSET:
            raise InvalidRequest(
                '"after" is no offset: send the "seq" of the last message that was read', parameter="after"
            )
        return Resume(stream_id, after, read_options(self._fields, {}))
