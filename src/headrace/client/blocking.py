"""`Client`: reads streams of a headrace server, for programs without an event loop.

A shell: what it does next is decided in `reading.py`. `asynchronous.py` is the same for programs with one, line for
line; neither stands on the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Self, assert_never

import httpx2

from headrace.client.connection_state import BOUNDS, Get, Post, Read, Resuming, Stop, Wait
from headrace.client.measuring import Stats
from headrace.client.pieces import Piece
from headrace.client.questions import (
    Asked,
    Prompt,
    Question,
    address,
    authorization,
    cancelling,
    is_this_machine,
    letting_go_on,
)
from headrace.client.reading import Final, OnExit, Reading
from headrace.client.refusals import MOST_ERROR_BYTES, broken, is_cancelled, refusal_of
from headrace.client.timers import CLOCK, HEARTBEAT_SECONDS, LIMITS, TELLING_ATTEMPTS, TELLING_SECONDS, timeouts
from headrace.clock import Clock
from headrace.errors import HeadraceError, UpstreamError
from headrace.events import Event, TextDelta
from headrace.identifiers import StreamIdentifiers, chance
from headrace.requests import Disconnect

NO_FIELDS: Mapping[str, object] = MappingProxyType({})


class Client:
    """A headrace server: asks it for answers, and reads them through whatever befalls the connection.

        with Client("http://127.0.0.1:8000") as client:
            with client.stream("What is an offset?") as stream:
                for text in stream.text: ...

    Args:
        url: where the server is, without a path.
        key: sent as `Authorization: Bearer`; `None`: none is.
        resuming: how it comes back after a drop, and when it gives up.
        heartbeat_seconds: how often a silent server shall say that it is still there; after four times as long it is
            taken to be gone.
        clock: for what is measured.
        chance: gives a number from 0 to just below 1, for the delays.

    Raises:
        InvalidRequest: `url` is no address of a server.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        resuming: Resuming = BOUNDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        clock: Clock = CLOCK,
        chance: Callable[[], float] = chance,
    ) -> None:
        self.url = address(url)
        self._resuming = resuming
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._chance = chance
        self._identifiers = StreamIdentifiers()
        self._http = httpx2.Client(
            base_url=self.url,
            headers=authorization(key),
            timeout=timeouts(heartbeat_seconds),
            limits=LIMITS,
            trust_env=not is_this_machine(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. Streams that were left go on, or end, as they were left."""
        self._http.close()

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        max_tokens: int | None = None,
        conversation_id: str | None = None,
        assistant: str = "basic",
        stream_id: str | None = None,
        idempotency_key: str | None = None,
        timeout_seconds: float | None = None,
        on_exit: OnExit = "cancel",
        on_disconnect: Disconnect | None = None,
        fields: Mapping[str, object] = NO_FIELDS,
    ) -> Stream:
        """A new answer, read as it is made. It is asked for when its block is entered.

        **Leaving the block before the end cancels the answer for everybody, up to its upstream**, unless `on_exit` is
        `"detach"` or `detach()` was called.

        Args:
            prompt: a question, or messages as OpenAI's chat API has them, the last of them the user's.
            model: the model that answers; `None`: the assistant's own.
            system: instructions put before the prompt.
            max_tokens: the most tokens of the answer.
            conversation_id: the conversation it is part of.
            assistant: who answers, as in `POST /chat/{assistant}`.
            stream_id: 128 random bits of your own; `None`: the client draws them.
            idempotency_key: a request with the same key and body joins the stream of the first.
            timeout_seconds: the most the answer may take; `None`: as the server has it.
            on_exit: `"cancel"` or `"detach"`: what leaving the block before the end does.
            on_disconnect: what the server does when the last reader has left: `"cancel"`, `"continue"`, or seconds to
                wait for one that returns. `None`: `"continue"` with `on_exit="detach"`, else as long as this client
                tries to come back.
            fields: anything else of the request, such as `{"temperature": 0}`.

        Raises:
            InvalidRequest: an argument is not what it may be.
        """
        by_default = on_disconnect is None
        if on_disconnect is None:
            on_disconnect = "continue" if on_exit == "detach" else self._resuming.seconds
        question = Question(
            prompt,
            model,
            system,
            max_tokens,
            conversation_id,
            assistant,
            idempotency_key,
            on_disconnect,
            timeout_seconds,
            fields,
        )
        reader = self._reader(stream_id or self._identifiers.new(), question, -1, on_exit)
        reader._ends_without_readers = by_default and on_exit == "cancel"
        return reader

    def resume(self, stream_id: str, *, after: int = -1, on_exit: OnExit = "detach") -> Stream:
        """A stream that is there already, read from behind the event `after`; -1: from its beginning.

        Leaving the block leaves the stream alone, unless `on_exit` is `"cancel"`.
        """
        return self._reader(stream_id, None, after, on_exit)

    def cancel(self, stream_id: str) -> bool:
        """Ends a stream for everybody, up to its upstream. One that has ended stays as it is.

        Gives whether it ends, or ended, as cancelled; false: it had ended by itself.

        Raises:
            UnknownStream: there is none of that id.
            UpstreamUnreachable, UpstreamReset: the server could not be told.
        """
        return is_cancelled(self._tell(cancelling(stream_id)), self.url)

    def _let_go_on(self, stream_id: str) -> None:
        self._tell(letting_go_on(stream_id))

    def _tell(self, asked: Asked) -> bytes:
        for attempt in range(TELLING_ATTEMPTS):
            try:
                response = self._http.request(
                    asked.method, asked.path, headers=asked.headers, content=asked.body, timeout=TELLING_SECONDS
                )
            except httpx2.HTTPError as error:
                if attempt == TELLING_ATTEMPTS - 1:
                    raise broken(error, self.url) from error
                continue
            if response.status_code != 200:
                raise refusal_of(response.status_code, response.headers, response.content, self.url)
            return response.content
        raise AssertionError("the last attempt gives or raises")

    def _send(self, asked: Asked) -> httpx2.Response:
        """The response to a request, its body not yet read.

        Raises:
            UpstreamError: there is none.
        """
        request = self._http.build_request(asked.method, asked.path, headers=asked.headers, content=asked.body)
        try:
            return self._http.send(request, stream=True)
        except httpx2.HTTPError as error:
            raise broken(error, self.url) from error

    def _reader(self, stream_id: str, question: Question | None, after: int, on_exit: OnExit) -> Stream:
        reading = Reading(
            url=self.url,
            stream_id=stream_id,
            question=question,
            after=after,
            heartbeat_seconds=self._heartbeat_seconds,
            bounds=self._resuming,
            clock=self._clock,
            chance=self._chance,
        )
        return Stream(self, reading, on_exit)


class Stream:
    """A stream as one reader has it: `for event in stream`, or `for text in stream.text`.

    A drop is resumed by itself, within bounds, and nothing comes twice. Read it inside its block. An ending that is
    none of the model's own is raised when everything before it was given: it is never taken for a finished answer.
    """

    def __init__(self, client: Client, reading: Reading, on_exit: OnExit) -> None:
        self._client = client
        self._reading = reading
        self._on_exit = on_exit
        # Whether the server ends it when nobody reads it any more, and whether it shall not.
        self._ends_without_readers = False
        self._goes_on = False
        self._response: httpx2.Response | None = None
        self._body: Iterator[bytes] | None = None

    @property
    def id(self) -> str:
        """The id of the stream: with it, anybody of the same owner can read it."""
        return self._reading.stream_id

    @property
    def offset(self) -> int:
        """The offset of the last event that was given; `resume` with it goes on behind it. -1: none was."""
        return self._reading.offset

    @property
    def final(self) -> Final:
        """The answer as far as it was read."""
        return self._reading.final

    @property
    def stats(self) -> Stats:
        """How quickly it comes, as this reader sees it."""
        return self._reading.stats

    @property
    def text(self) -> Iterator[str]:
        """The pieces of the answer's text, as they come."""
        return _Texts(self)

    @property
    def pieces(self) -> Iterator[Piece]:
        """The events with their offsets and the JSON they came as."""
        return _Pieces(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while (event := self._reading.take()) is None:
            self._go_on()
        return event

    def cancel(self) -> None:
        """Ends the stream for everybody, up to its upstream. What was said stays, and can still be read to its end.

        Raises:
            UpstreamUnreachable, UpstreamReset: the server could not be told.
        """
        self._reading.cancelled_here = True
        try:
            self._client.cancel(self.id)
        except HeadraceError as error:
            self._reading.explained(error)
            raise

    def detach(self) -> None:
        """Leaves the stream alone: nothing more is given here, and leaving the block ends nothing.

        The server is told when the block is left, unless `on_disconnect` was given: then that holds.

        Raises:
            UpstreamUnreachable, UpstreamReset: when the block is left, where the server could not be told.
        """
        self._goes_on = self._ends_without_readers and self._reading.unfinished
        self._reading.detach()

    def __enter__(self) -> Self:
        try:
            self._reading.begin()
            while isinstance(self._reading.action, Post | Get | Wait):
                self._step()
            if not self._reading.live and (error := self._reading.take_error()) is not None:
                raise error
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _go_on(self) -> None:
        """Does what is to be done before there is another event.

        Raises:
            StopIteration: there is none.
            HeadraceError: there is no whole answer.
        """
        if self._reading.live:
            self._step()
            return
        self._close()
        if (error := self._reading.take_error()) is not None:
            raise error
        raise StopIteration

    def _step(self) -> None:
        action = self._reading.action
        match action:
            case Post() | Get():
                self._ask()
            case Wait():
                threading.Event().wait(action.seconds)  # nobody sets it: a delay that Ctrl-C ends
                self._reading.waited()
            case Read():
                self._read()
            case Stop():
                raise RuntimeError("read a stream inside its block: with client.stream(…) as stream")
            case _:
                assert_never(action)

    def _ask(self) -> None:
        self._close()
        try:
            response = self._response = self._client._send(self._reading.request())
            if response.status_code == 200:
                self._body = response.iter_raw()
                self._reading.opened(response.headers)
            else:
                self._reading.answered(response.status_code, response.headers, self._error_body(response))
        except UpstreamError as error:
            self._reading.dropped(error)

    def _error_body(self, response: httpx2.Response) -> bytes:
        data = b""
        try:
            for piece in response.iter_bytes():
                data += piece
                if len(data) > MOST_ERROR_BYTES:
                    break
        except httpx2.HTTPError as error:
            raise broken(error, self._client.url) from error
        return data

    def _read(self) -> None:
        assert self._body is not None
        try:
            data = next(self._body)
        except StopIteration:
            self._reading.cut_off()
        except httpx2.HTTPError as error:
            dropped = broken(error, self._client.url)
            dropped.__cause__ = error
            self._reading.dropped(dropped)
        else:
            self._reading.came(data)

    def _take_piece(self) -> Piece | None:
        """The next piece that has come."""
        return self._reading.take_piece()

    def _leave(self) -> None:
        try:
            if self._goes_on:
                self._goes_on = False
                self._client._let_go_on(self.id)
            elif self._on_exit == "cancel" and self._reading.unfinished:
                try:
                    self._client.cancel(self.id)
                except HeadraceError:
                    pass  # the connection that closes next tells the server that nobody reads
        finally:
            self._reading.detach()
            self._close()

    def _close(self) -> None:
        response, self._response, self._body = self._response, None, None
        if response is not None:
            response.close()


class _Texts:
    """The text of a stream's events."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while True:
            event = next(self._stream)
            if type(event) is TextDelta and event.choice == 0:
                return event.text


class _Pieces:
    """The pieces of a stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        while (piece := self._stream._take_piece()) is None:
            self._stream._go_on()
        return piece
