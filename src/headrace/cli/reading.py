"""A reader that keeps every byte: what `headrace demo` compares.

Frames are told apart here by their empty lines and not by headrace's own parser, so that a mistake there is not made
on both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import msgspec

from headrace.clock import Clock


class Reading:
    """What one reader has read of one stream, over however many connections."""

    def __init__(self, clock: Clock) -> None:
        self.data = b""
        """Every byte of every whole frame, in order."""
        self.offsets: list[int] = []
        """The offset of each frame that has one."""
        self.pieces: list[str] = []
        """The texts of the tokens."""
        self.arrivals_ns: list[int] = []
        """When each token was read, on the monotonic clock."""
        self.asked_ns = clock.monotonic_ns()
        """When it was asked for."""
        self.last: dict[str, dict[str, Any]] = {}
        """The last frame of each type."""
        self.ended_ns: int | None = None
        self._clock = clock
        self._moved = asyncio.Event()

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    @property
    def offset(self) -> int:
        """The offset of the last frame read; -1: none yet."""
        return self.offsets[-1] if self.offsets else -1

    async def read(self, response: httpx2.Response, *, last_offset: int | None = None) -> None:
        """Reads on, to the end of the response or until the frame of `last_offset` was read, whichever is first.

        What arrived behind that frame is dropped, as by a reader that was cut off there.
        """
        try:
            async for frame in _frames(response):
                self.feed(frame)
                if last_offset is not None and self.offset >= last_offset:
                    return
            self.ended_ns = self._clock.monotonic_ns()
        except httpx2.HTTPError:
            pass  # the connection broke: what was read is what there is to compare
        finally:
            if last_offset is None:
                self.ended_ns = self.ended_ns or self._clock.monotonic_ns()
            self._moved.set()

    async def reaches(self, offset: int) -> None:
        """Returns when the frame of that offset was read, or there is nothing more to read."""
        while self.offset < offset and self.ended_ns is None:
            self._moved.clear()
            await self._moved.wait()

    def feed(self, frame: bytes) -> None:
        """Takes in one whole frame, its empty line included."""
        if frame.startswith((b":", b"retry:")):
            return  # a heartbeat, or when to come back: it belongs to a connection, not to the stream
        self.data += frame
        for line in frame.split(b"\n"):
            if line.startswith(b"id: "):
                self.offsets.append(int(line[4:]))
            elif line.startswith(b"data: {"):
                said = msgspec.json.decode(line[6:], type=dict[str, Any])
                self.last[said["type"]] = said
                if said["type"] == "token":
                    self.pieces.append(said["content"])
                    self.arrivals_ns.append(self._clock.monotonic_ns())
        self._moved.set()


async def _frames(response: httpx2.Response) -> AsyncIterator[bytes]:
    unread = b""
    async for piece in response.aiter_raw():
        *frames, unread = (unread + piece).split(b"\n\n")
        for frame in frames:
            yield frame + b"\n\n"


def query(text: str, model: str, *, stream: bool) -> Mapping[str, object]:
    """The body of a question to `POST /chat/basic`."""
    return {"query": text, "model": model, "stream": stream}
