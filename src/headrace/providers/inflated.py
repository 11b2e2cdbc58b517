"""A response that is compressed, though none was asked for, read as if it were not.

Pure but for waiting on the response inside it. May import floors 0 to 2, zlib and its own room.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from headrace.errors import UpstreamError, UpstreamMalformed, UpstreamTruncated
from headrace.providers.transport import Hear, Response

# The most that compressed bytes become before what they became is heard.
MOST_INFLATED_BYTES = 1 << 20


class Inflated:
    """A response whose body is compressed, though we asked for none: some upstreams do so anyway."""

    __slots__ = ("_held", "_inflate", "_response", "_upstream", "headers", "status")

    def __init__(self, response: Response, upstream: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._upstream = upstream
        self._inflate: zlib._Decompress | None = None
        # Compressed bytes that wait: for the second of the two that tell the format, or for the next `listen`.
        self._held = b""

    async def listen(self, hear: Hear) -> None:
        """As `Response.listen`, with the body inflated."""
        broken: UpstreamError | None = None
        enough = False

        def inflate(pieces: Sequence[bytes]) -> bool:
            nonlocal broken, enough
            try:
                enough = self._hear_inflated(b"".join(pieces), hear)
            except zlib.error as error:
                broken = UpstreamMalformed(
                    f"what {self._upstream} sent is not compressed as it says ({error})", upstream=self._upstream
                )
            return enough or broken is not None

        if not (self._inflate is not None and inflate(())):  # what an earlier `listen` left
            await self._response.listen(inflate)
        if broken is not None:
            raise broken
        if not enough and (self._held or (self._inflate is not None and not self._inflate.eof)):
            raise UpstreamTruncated(
                f"{self._upstream} ended its response in the middle of compressed data", upstream=self._upstream
            )

    def _hear_inflated(self, arrived: bytes, hear: Hear) -> bool:
        compressed, self._held = self._held + arrived, b""
        if self._inflate is None:
            if len(compressed) < 2:
                self._held = compressed
                return False
            self._inflate = zlib.decompressobj(_window_bits(compressed))
        while True:
            # Not all at once: a kilobyte may hold a megabyte of nothing.
            plain = self._inflate.decompress(compressed, MOST_INFLATED_BYTES)
            compressed = self._inflate.unconsumed_tail
            if plain and hear((plain,)):
                self._held = compressed
                return True
            if len(plain) < MOST_INFLATED_BYTES:
                return False

    def release(self) -> None:
        """As `Response.release`."""
        self._response.release()

    async def close(self) -> None:
        """As `Response.close`."""
        await self._response.close()


def _window_bits(beginning: bytes) -> int:
    """What zlib has to be told: gzip, zlib, or the raw deflate that some servers send under the name of `deflate`."""
    first, second = beginning[:2]
    if (first, second) == (0x1F, 0x8B):
        return 16 + zlib.MAX_WBITS
    is_zlib = first & 0x0F == 8 and (first << 8 | second) % 31 == 0  # RFC 1950, 2.2
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
