"""What all text chunks of one answer have in common, so that the next ones are split instead of decoded.

The chunks of one stream differ in the text they carry and in nothing else: the same id, model, time and empty fields
around it, byte for byte. Once one chunk has been decoded and found to be text alone, the bytes before and after its
text are known, and every further chunk between the same bytes must mean the same with another text, which alone is
then decoded. Whatever does not fit exactly is left to the ordinary decoder: the template is a shorter way to the same
events, never to others.

Pure: imports the standard library, msgspec and its own room.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from headrace.wire.openai_chat import decode_plain

_TEXT = re.compile(rb'"content":\s*("(?:[^"\\]|\\.)*")')
_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode


class ChunkTemplate:
    """The bytes round the text in the events of one stream, as framed by server-sent events with LF."""

    __slots__ = ("_before", "_behind", "choice")

    def __init__(self, before: bytes, behind: bytes, choice: int) -> None:
        self._before = b"data: " + before
        self._behind = behind + b"\n\n"
        self.choice = choice
        """The choice whose text this is."""

    @classmethod
    def learned(cls, payload: bytes, text: str, choice: int) -> ChunkTemplate | None:
        """The template of a chunk that was decoded as this text of this choice and nothing else.

        `None` where the text cannot be found in it beyond doubt.
        """
        found = _TEXT.search(payload)
        if found is None or b"\n" in payload:
            return None
        start, end = found.span(1)
        before, behind = payload[:start], payload[end:]
        try:
            # It is the text if it reads as the text, and if without it there is none.
            is_the_text = (
                _decode_text(payload[start:end]) == text
                and decode_plain(before + b'""' + behind).choices[0].delta.content == ""
            )
        except ValueError:
            return None
        return cls(before, behind, choice) if is_the_text else None

    def texts(self, pieces: Sequence[bytes], start: int) -> list[str]:
        """The texts of the pieces from `start` on, as far as they are whole events of this template.

        Args:
            pieces: bytes as they arrived, an event each where the upstream writes one at a time. The first begins an
                event.
            start: the first piece looked at.

        Returns:
            As many texts as pieces fit; empty where the first does not, or where a text turns out to be none.
        """
        before, behind = self._before, self._behind
        first, last = len(before), -len(behind)
        parts: list[bytes] = []
        if start == 0:
            # Mostly all of a read fits, which a comprehension finds out sooner than a loop.
            parts = [piece[first:last] for piece in pieces if piece.startswith(before) and piece.endswith(behind)]
        if len(parts) != len(pieces):
            parts.clear()
            for place in range(start, len(pieces)):
                piece = pieces[place]
                if not (piece.startswith(before) and piece.endswith(behind)):
                    break
                parts.append(piece[first:last])
        try:
            # As one array: whatever a part holds besides one text makes it invalid, or longer. The line end keeps a
            # text that one part leaves open from being closed by the next: no text may hold one.
            if len(parts) < 2:
                return [_decode_text(parts[0])] if parts else []
            texts = _decode_texts(b"[%b]" % b",\n".join(parts))
        except ValueError:  # no text, or broken UTF-8
            return []
        return texts if len(texts) == len(parts) else []
