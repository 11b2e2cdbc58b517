"""How much of a question a passage covers, and what is made of it. Pure: the standard library only.

BM25 says which of many passages is the likeliest, never whether the likeliest is an answer: a passage about "the price
of tea" ranks first for "the price of coffee" where nothing else has a price. So the candidates are measured again by
the share of the question that stands in them, each term weighing the more the fewer passages hold it, and a term
that no passage holds the most of all. The provider compares that share with a threshold; here nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.knowledge.documents import Kind
from headrace.knowledge.words import Term

# Added to the number of passages: in an index of one document every word is in every passage, and still says something.
_SMOOTHING = 10
# What decides between passages that cover about the same: BM25, and how early in its document a passage stands, since
# a document says first what a thing is. Together they move none that covers an eighth more.
_BM25_SHARE = 0.06
_EARLY_SHARE = 0.06


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A sentence, list item, block of code or table of a passage that was found."""

    kind: Kind
    text: str
    relevance: float
    """The share of the question, by weight of its terms, that stands in this unit: 0 to 1."""


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that may answer the question."""

    id: str
    """The document's name and the passage's place in it, as `guide.md#3`."""
    title: str
    """The document's name and the headings above the passage, as `guide.md › Install › On Linux`."""
    text: str
    """Letter for letter as it is in the document."""
    start: int
    """Where it begins there, in characters."""
    coverage: float
    """The share of the question that it covers: the mean of the whole passage's and its best unit's, 0 to 1."""
    heading_relevance: float
    """The share of the question that stands in the title: 0 to 1."""
    score: float
    """Passages are in the order of this: `coverage`, and where that is about equal, BM25 and earliness."""
    units: tuple[FoundUnit, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search gives."""

    looked_for: tuple[str, ...]
    """The words of the question that carry its meaning, in order; empty where it has none."""
    language: str | None
    """The language the question seems to be in, as `de`, where it shows."""
    passages: tuple[FoundPassage, ...]
    """Best first; empty where no passage holds any of the words."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage as the index has it, with the index words of its parts."""

    id: str
    title: str
    text: str
    title_words: str
    start: int
    position: int
    """How many passages of its document stand before it."""
    units: Sequence[tuple[Kind, str, str]]
    """Kind, text and words of each unit. Where the words are on several lines, a term counts with those on its line."""
    bm25: float
    """Its rank as a share of the best candidate's: 1 for the best, towards 0."""


def weighed(terms: Sequence[Term], holding: Mapping[str, int], passages: int) -> dict[Term, float]:
    """The weight of each term, the sum being 1; `holding` says how many of all `passages` hold a form."""
    weights: dict[Term, float] = {}
    for term in terms:
        count = max(holding.get(form, 0) for form in term.forms)
        weights[term] = term.share * math.log(1 + (passages + _SMOOTHING) / (count + 1))
    total = sum(weights.values())
    return {term: weight / total for term, weight in weights.items()}


def ranked(candidates: Sequence[Candidate], weights: Mapping[Term, float]) -> list[FoundPassage]:
    """The candidates as passages, best first, none with the text of a better one."""
    found = sorted((_found(candidate, weights) for candidate in candidates), key=lambda passage: -passage.score)
    distinct: dict[str, FoundPassage] = {}
    for passage in found:
        distinct.setdefault(passage.text, passage)
    return list(distinct.values())


def _found(candidate: Candidate, weights: Mapping[Term, float]) -> FoundPassage:
    in_title = _held(candidate.title_words, weights)
    lines = [[_held(line, weights) for line in words.split("\n")] for _, _, words in candidate.units]
    in_units = [max(held, key=lambda terms: _share(terms, weights)) for held in lines]
    anywhere = in_title.union(*(terms for held in lines for terms in held))
    best = max((_share(in_title | held, weights) for held in in_units), default=0.0)
    coverage = (_share(anywhere, weights) + best) / 2
    return FoundPassage(
        id=candidate.id,
        title=candidate.title,
        text=candidate.text,
        start=candidate.start,
        coverage=coverage,
        heading_relevance=_share(in_title, weights),
        score=(
            coverage * (1 - _BM25_SHARE - _EARLY_SHARE)
            + candidate.bm25 * _BM25_SHARE
            + _EARLY_SHARE / (1 + candidate.position)
        ),
        units=tuple(
            FoundUnit(kind, text, _share(held, weights))
            for (kind, text, _), held in zip(candidate.units, in_units, strict=True)
        ),
    )


def _held(words: str, weights: Mapping[Term, float]) -> set[Term]:
    present = frozenset(words.split(" "))
    return {term for term in weights if not present.isdisjoint(term.forms)}


def _share(held: set[Term], weights: Mapping[Term, float]) -> float:
    return min(1.0, sum(weights[term] for term in held))
