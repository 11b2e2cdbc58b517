"""What is asked under torture: cases drawn from a seed, the same on every machine and in every version of Python.

Pure. Chance comes in as the seed: a hash of it and of the question asked is the answer, so that a case of a run can be
looked at again by itself. May import nothing but the standard library and msgspec.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

Content: TypeAlias = Literal["text", "calls"]
T = TypeVar("T")

# What tears apart where bytes, characters, lines or events are cut carelessly; and what looks like the end of a stream.
_WORDS: Final = (
    "plain",
    " two words ",
    "naïve façade",
    "日本語の文",
    "한국어",
    "السلام عليكم",
    "🏝️",
    "👩‍👩‍👧‍👦",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "e\u0301e\u0323",
    "line\u2028paragraph\u2029next\u0085",
    "one\ntwo\r\nthree\rfour",
    "\n\n",
    "data: [DONE]\n\n",
    '{"finish_reason":"stop"}',
    "event: error\ndata: no\n\n",
    "back\\slash \\u0041 and \\ud83d",
    "\t",
    "</s><|im_end|>",
    "&amp;<b>",
)
# The same for the arguments of a tool call, within a JSON string: nothing that had to be escaped.
_WORDS_IN_ARGUMENTS: Final = (
    "plain",
    " two words ",
    "naïve façade",
    "日本語の文",
    "🏝️",
    "👩‍👩‍👧‍👦",
    "السلام عليكم",
    "&amp;<b>",
)

_FEWEST_PIECES: Final = 4
_MOST_PIECES: Final = 24
_MARK: Final = re.compile(rb"torture case (\d+) of seed")


class Case(msgspec.Struct, frozen=True):
    """One question, and the answer that the upstream has for it."""

    number: int
    """From 0, in the order in which the cases are asked."""
    seed: int
    fault: str
    """The row of `FAULTS`."""
    stream: bool
    """Whether the reader asks for a stream."""
    said: Mapping[str, tuple[str, ...]]
    """What the whole answer says, piece by piece: of `text`, or of `call 0`, `call 1`, the arguments of tool calls."""
    cut_after: int
    """After how many pieces a fault in the middle comes: at least one, never all."""

    @property
    def question(self) -> str:
        """What the reader asks. By the number in it the upstream knows which fault to play."""
        return f"This is torture case {self.number} of seed {self.seed}: say your pieces."

    @property
    def finish_reason(self) -> str:
        """The finish reason of the whole answer."""
        return "stop" if "text" in self.said else "tool_calls"

    @property
    def usage(self) -> tuple[int, int]:
        """Prompt and completion tokens, as the upstream reports them."""
        return self.number % 97 + 1, sum(len(pieces) for pieces in self.said.values())

    def draw(self, what: str, below: int) -> int:
        """A number from 0 to `below - 1`, always the same for the same case and `what`."""
        return drawn(below, self.seed, self.number, what)


def drawn(below: int, *what: object) -> int:
    """A number from 0 to `below - 1`, always the same for the same `what`."""
    digest = hashlib.sha256(":".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % below


def shuffled(things: Sequence[T], *what: object) -> list[T]:
    """The things in an order that `what` decides."""
    return sorted(things, key=lambda thing: hashlib.sha256(f"{what}:{thing}".encode()).digest())


def case(number: int, seed: int, fault: str, *, stream: bool, content: Content) -> Case:
    """One case."""
    said: dict[str, tuple[str, ...]] = {}
    for channel in ("text",) if content == "text" else ("call 0", "call 1"):
        label = "" if content == "text" else f".{channel[-1]}"
        words = _WORDS if content == "text" else _WORDS_IN_ARGUMENTS
        count = _FEWEST_PIECES + drawn(_MOST_PIECES - _FEWEST_PIECES, seed, number, channel)
        pieces = [
            f"[{number}{label}.{place}:{words[drawn(len(words), seed, number, channel, place)]}]"
            for place in range(count)
        ]
        said[channel] = tuple(pieces) if content == "text" else ('{"said":"', *pieces, '"}')
    shortest = min(len(pieces) for pieces in said.values())
    cut_after = 1 + drawn(shortest - 1, seed, number, "cut")
    return Case(number, seed, fault, stream, MappingProxyType(said), cut_after)


def plan(
    faults: Mapping[str, tuple[Sequence[bool], Content]], *, seed: int, count: int, only: Sequence[str] = ()
) -> list[Case]:
    """So many cases: every fault in turn, in an order that the seed decides anew for each round.

    Args:
        faults: each with the modes it can be played in (`True`: streamed), and what its answer is made of.
        seed: decides everything.
        count: how many cases.
        only: no other faults than these; none named: all.
    """
    names = [name for name in faults if not only or name in only]
    order: list[str] = []
    while len(order) < count:
        order += shuffled(names, seed, len(order))
    cases = []
    for number, name in enumerate(order[:count]):
        modes, content = faults[name]
        stream = modes[drawn(len(modes), seed, number, "mode")]
        cases.append(case(number, seed, name, stream=stream, content=content))
    return cases


def number_in(body: bytes) -> int | None:
    """The number of the case that a request to the upstream belongs to; `None`: it is none of ours."""
    found = _MARK.search(body)
    return None if found is None else int(found[1])
