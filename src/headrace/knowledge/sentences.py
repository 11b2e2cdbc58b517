"""Prose cut into sentences, in every script the offline provider reads. Pure: the standard library only.

A cut in the wrong place shows as half a sentence in an answer, one too few only as a longer quotation: where a full
stop may be an abbreviation's, no cut is made.
"""

from __future__ import annotations

import re
from bisect import bisect

_LONGEST = 800  # characters; what goes on longer without an end is cut at a space, so that a quotation stays one
_LONGEST_READ = 10_000  # a paragraph is read in pieces of this size, so that no text costs more than its length

# A full stop ends a sentence only before a space; full-width ones and the Arabic question mark end it by themselves.
_END = re.compile(r"(?<![.!?…])[.!?…]+[)\]\"'”’»*_]*(?=\s)|[。！？｡؟]+[”’」』）】》\"')\]]*|؛(?=\s)")
_CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“„«*_])(?:[A-Za-z]|e\.\s?g|i\.\s?e|etc|vs|cf|ca|approx|resp|incl|Mr|Mrs|Ms|Dr|Prof|St|No|Nr|Fig|Vol|pp"
    r"|z\.\s?B|d\.\s?h|u\.\s?a|bzw|vgl|ggf|usw|p\.\s?ex|c\.-à-d|p\.\s?ej|Sr|Sra|Ud)\.$",
)


def sentences(paragraph: str) -> list[str]:
    """The sentences of `paragraph`, in order, none empty; each is a part of it, and only white space is left out."""
    return [found for piece in _bounded(paragraph.strip(), _LONGEST_READ) for found in _sentences(piece)]


def _sentences(paragraph: str) -> list[str]:
    spans = [match.span() for match in _CODE_SPAN.finditer(paragraph)]
    starts = [start for start, _ in spans]
    found: list[str] = []
    start = 0
    for end in _END.finditer(paragraph):
        place = end.end()
        span = bisect(starts, end.start()) - 1
        if (span >= 0 and end.start() < spans[span][1]) or _goes_on(paragraph, start, end):
            continue
        found.extend(_bounded(paragraph[start:place].strip(), _LONGEST))
        start = place
    found.extend(_bounded(paragraph[start:].strip(), _LONGEST))
    return found


def _goes_on(paragraph: str, start: int, end: re.Match[str]) -> bool:
    """Whether the full stop at `end` is inside a sentence: an abbreviation, or a small letter follows."""
    if end[0][0] not in ".…":
        return False
    if paragraph[end.end() : end.end() + 8].lstrip()[:1].islower():
        return True
    return end[0] == "." and _ABBREVIATION.search(paragraph[max(start, end.end() - 12) : end.end()]) is not None


def _bounded(sentence: str, longest: int) -> list[str]:
    pieces: list[str] = []
    while len(sentence) > longest:
        at = sentence.rfind(" ", 1, longest)
        if at < 0:
            at = longest
        pieces.append(sentence[:at].rstrip())
        sentence = sentence[at:].lstrip()
    return [*pieces, sentence] if sentence else pieces
