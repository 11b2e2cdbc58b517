"""The house: everything that lives as long as the server does, opened together and closed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from headrace.clock import Clock
from headrace.errors import Unauthorized, UnknownStream
from headrace.interfaces import Stream, StreamStore
from headrace.keys.keyring import REVOKED, Keyring
from headrace.keys.sessions import Sessions
from headrace.knowledge.shelves import Shelves
from headrace.observers.request_log import RequestLog
from headrace.requests import BEGINS, GenerationRequest, ReaderOptions
from headrace.runs import Runs
from headrace.runs.registry import KEY_REVOKED
from headrace.server.callers import LOCAL, Caller
from headrace.server.delivery import Served
from headrace.server.idempotency import stream_to_join
from headrace.server.placing import placed
from headrace.server.preparing import Preparation
from headrace.server.readers import Readers
from headrace.settings import Settings
from headrace.streams.byte_logs import ByteLogs
from headrace.streams.conversations import Conversations


@dataclass(slots=True)
class House:
    """What routes and the command line work with."""

    settings: Settings
    clock: Clock
    store: StreamStore
    conversations: Conversations
    """What is known of them beside their streams."""
    runs: Runs
    preparation: Preparation
    """What is done to a request before it is a run."""
    log: RequestLog
    byte_logs: ByteLogs
    readers: Readers
    shelves: Shelves
    """The documents that owners have added."""
    keyring: Keyring | None = None
    """The keys readers come with; `None`: none are asked for."""
    sessions: Sessions | None = None
    """The logins made with them."""
    deliveries: set[Served] = field(default_factory=set)

    async def start(
        self,
        request: GenerationRequest,
        caller: Caller = LOCAL,
        *,
        stream_id: str | None = None,
    ) -> Stream:
        """Starts a generation and gives its stream; or that of the first, where the request is one sent again.

        Args:
            request: what is asked; part of a conversation where it names one, or a stream of one.
            caller: who asks.
            stream_id: the id its stream shall have.

        Raises:
            RequestError: it cannot be started; nothing has begun.
        """
        if (joined := stream_to_join(self.store, request, caller.owner)) is not None:
            return joined
        self.readers.check()  # nothing begins that nobody could read
        if not request.model:
            request = msgspec.structs.replace(request, model=self.runs.models.default)
        if request.conversation_id is not None or request.parent is not None:
            request = placed(self.store, request, caller.owner)
        middleware = self.preparation.middleware(request)
        key = caller.key
        if key is None or self.keyring is None:
            return self.runs.start(request, caller.owner, stream_id=stream_id, middleware=middleware)
        key.check_start()
        stream = self.runs.start(request, caller.owner, stream_id=stream_id, middleware=middleware)
        self.keyring.started(key, stream)
        return stream

    async def delete_conversation(self, conversation_id: str, owner: str) -> int:
        """Cancels and forgets every stream of a conversation, and gives how many there were.

        Raises:
            UnknownConversation: the owner has none of that id.
            StoreError: not all could be forgotten for good.
        """
        await self.conversations.find(owner, conversation_id)
        deleted = 0
        while page := self.store.list(owner, conversation_id=conversation_id):
            for stream in page:
                self.runs.cancel(stream)
            for stream in page:
                try:
                    await self.runs.delete(stream)
                except UnknownStream:
                    continue  # somebody else deleted it meanwhile
                deleted += 1
        return deleted

    async def start_assistant(
        self, request: GenerationRequest, name: str, caller: Caller, *, stream_id: str | None = None
    ) -> Stream:
        """Starts a generation under an assistant: its model, its language, its instructions, and what was said before.

        Raises:
            RequestError: it cannot be started; nothing has begun.
            KeyError: there is no such assistant.
        """
        assistant = self.settings.assistants[name]
        # A conversation that begins here has no history to look for.
        new = request.conversation_id is None and request.parent is None
        request = msgspec.structs.replace(
            request,
            assistant=name,
            model=request.model or assistant.model or self.runs.models.default,
            language=request.language or assistant.language,
            conversation_id=self.runs.identifiers.new() if new else request.conversation_id,
            parent=BEGINS if new else request.parent,
        )
        return await self.start(request, caller, stream_id=stream_id)

    def cancel(self, stream: Stream) -> None:
        """Stops a generation, up to its upstream. One that has ended stays as it is."""
        self.runs.cancel(stream)

    def refresh_keys(self) -> None:
        """Takes in what `headrace keys` has done. Called twice a second where keys are asked for.

        The runs of a revoked key are cancelled up to their upstreams, and its readers are told and closed.
        """
        if self.keyring is None:
            return
        for key in self.keyring.refresh():
            for stream in list(key.streams.values()):
                self.runs.cancel(stream, KEY_REVOKED)
            for delivery in list(self.deliveries):
                if delivery.outlet.caller.key is key:
                    delivery.dismiss(Unauthorized(REVOKED).failure())
            # Last: a WebSocket closes here, and its readers shall have been told.
            for wake in list(key.waiting):
                wake()

    def model_names(self) -> Sequence[str]:
        """The models that are configured, the default first."""
        return self.runs.models.names()

    def heartbeat_seconds(self, options: ReaderOptions) -> float:
        """How long this reader's connection may be silent; 0: for ever."""
        asked = options.heartbeat_seconds
        return self.settings.server.heartbeat_seconds if asked is None else asked

    def check_heartbeats(self, now: float) -> None:
        """Sends the heartbeats that are due. Called about once a second."""
        for delivery in list(self.deliveries):
            delivery.check_heartbeat(now, self.heartbeat_seconds(delivery.options))

    def forget_expired(self) -> None:
        """Forgets the streams that are older than the retention. Called about once a second."""
        self.store.sweep()
        self.byte_logs.sweep()
