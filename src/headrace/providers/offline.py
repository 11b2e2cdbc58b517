"""The provider that is always there: it answers by quoting documents, with numbered sources, and needs no network.

Floor 3: may import floors 0 to 2. It knows no index: it is given a function that searches one, of the shape written
down here. It is no language model and says so. It quotes a sentence, a list item, a table or a whole block of code at
a time, each written before the next is looked for; where the documents hold too little of a question it says that
instead. What it says in words of its own is in `offline_phrases.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from headrace.clock import Clock, SystemClock
from headrace.events import Ended, Ending, Source, Sources, Status, TextDelta, UsageKnown
from headrace.interfaces import Batch, Write
from headrace.providers.left_out import foreign_names, names_beyond
from headrace.providers.offline_phrases import Phrases, greeting, phrases_for
from headrace.requests import GenerationRequest
from headrace.timing import Marks
from headrace.usage import Usage

ENOUGH_COVERAGE = 0.4
"""The share of a question a passage must cover to be quoted.

Chosen on the development questions of `tests/knowledge/questions.toml`, where every threshold from 0.33 to 0.44 makes
the fewest mistakes (3 of 50). `tests/providers/test_offline_abstention.py` measures it on those and on others.
"""

_CANDIDATES = 5  # passages asked for, of which the best are read
_MOST_PASSAGES = 3
_NEAR_THE_BEST = 0.75  # of the best passage's coverage: what covers less would dilute the answer
_NEAR_THE_BEST_UNIT = 0.6  # of the relevance of a passage's best unit
_TITLE_ANSWERS = 0.5  # a passage whose title holds this much of the question is quoted from its beginning
_UNITS_FROM_THE_BEGINNING = 3
_MOST_UNITS = 6  # of one passage, but for what a colon announces
_MOST_ANNOUNCED = 10


class Unit(Protocol):
    """What is quoted whole."""

    @property
    def kind(self) -> str:
        """`sentence`, `item`, `code` or `table`."""
        ...

    @property
    def text(self) -> str:
        """As it shall be quoted."""
        ...

    @property
    def relevance(self) -> float:
        """The share of the question that stands in it: 0 to 1."""
        ...


class Passage(Protocol):
    """A stretch of a document that may answer the question."""

    @property
    def id(self) -> str:
        """Names it for programs."""
        ...

    @property
    def title(self) -> str:
        """Names it for people."""
        ...

    @property
    def text(self) -> str:
        """All of it, letter for letter."""
        ...

    @property
    def coverage(self) -> float:
        """The share of the question that it covers: 0 to 1."""
        ...

    @property
    def heading_relevance(self) -> float:
        """The share of the question that stands in its title: 0 to 1."""
        ...

    @property
    def units(self) -> Sequence[Unit]:
        """Its sentences, items, blocks of code and tables, in order; never empty."""
        ...


class Findings(Protocol):
    """What a search gives."""

    @property
    def looked_for(self) -> Sequence[str]:
        """The words of the question that carry its meaning; empty where it has none."""
        ...

    @property
    def language(self) -> str | None:
        """The language the question seems to be in."""
        ...

    @property
    def passages(self) -> Sequence[Passage]:
        """Best first."""
        ...


class Search(Protocol):
    """Finds passages for a question, at most `limit`, among the documents that `owner` may be answered from."""

    async def __call__(self, question: str, limit: int, owner: str) -> Findings:
        """The findings for `question`. The event loop is kept for a few milliseconds at most."""
        ...


class OfflineProvider:
    """Quotes what a search finds.

    Args:
        search: finds passages.
        clock: where the marks are read.
        add_command: the command that adds documents, told where nothing is found; `None`: nothing is told about it.
    """

    def __init__(self, search: Search, *, clock: Clock | None = None, add_command: str | None = None) -> None:
        self._search = search
        self._clock = clock or SystemClock()
        self._add_command = add_command

    async def generate(self, request: GenerationRequest, marks: Marks, write: Write) -> Ended:
        """The answer to the last user message: sources as they are turned to, then a delta for each unit quoted.

        Where the last message has no words to look for ("and then?"), those of the user message before it are
        looked for too. Ends with `length` after the unit that reaches `max_tokens`, counted in words.

        Raises:
            StoreError: the documents could not be searched.
        """
        marks.connected_ns = marks.sent_ns = self._clock.monotonic_ns()
        asked = [message.text() for message in request.messages if message.role == "user"]
        greeted = greeting(asked[-1]) if asked else None
        count = _Count(request.max_tokens)
        if greeted is None:
            write([Status("searching", "searching the documents")])
            answer = await self._answer(request, asked)
        else:
            answer = _says([phrases_for(request.language, greeted).introduction])
        marks.first_byte_ns = self._clock.monotonic_ns()
        ending: Ending = "stop"
        for batch in answer:
            write(batch)
            if count.reached(batch):
                ending = "length"
                break
            # Reading on is this task's own work: in between, others have their turn, and a cancel is noticed.
            await asyncio.sleep(0)
        prompt = sum(map(words_in, (message.text() for message in request.messages)))
        usage = Usage(prompt, count.words, "counted", "counted", "headrace")
        write([UsageKnown(usage)])
        return Ended(ending)

    def left_out(self, request: GenerationRequest) -> Sequence[str]:
        """All but the words and how many are wanted: it quotes, and has nothing to sample."""
        return [*names_beyond(request, ()), *foreign_names(request)]

    async def models(self) -> Sequence[str]:
        """Its one model: itself."""
        return ("offline",)

    async def close(self) -> None:
        """Nothing: the index belongs to whoever opened it."""

    async def _answer(self, request: GenerationRequest, asked: Sequence[str]) -> Iterator[Batch]:
        findings = await self._search(asked[-1] if asked else "", _CANDIDATES, request.owner)
        if not findings.looked_for and len(asked) > 1 and greeting(asked[-2]) is None:
            findings = await self._search(asked[-2] + "\n" + asked[-1], _CANDIDATES, request.owner)
        phrases = phrases_for(request.language, findings.language)
        if not findings.looked_for:
            return _says([phrases.introduction])
        passages = _worth_reading(findings.passages)
        if not passages:
            return _says(phrases.nothing_for(findings.looked_for, self._add_command))
        return _quotes(passages, phrases)


# A word, or a character of a script that writes no spaces: what our count calls a token.
_COUNTED = re.compile(
    r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_\u2e80-\u9fff\uac00-\ud7af]+"
)


def words_in(text: str) -> int:
    """How many words `text` has, a Chinese, Japanese or Korean character being one: this provider's count of tokens."""
    return len(_COUNTED.findall(text))


class _Count:
    """The words said so far, and whether they are as many as asked for."""

    __slots__ = ("_most", "words")

    def __init__(self, most: int | None) -> None:
        self._most = most
        self.words = 0

    def reached(self, batch: Batch) -> bool:
        self.words += sum(words_in(event.text) for event in batch if isinstance(event, TextDelta))
        return self._most is not None and self.words >= self._most


def _says(sentences: Sequence[str]) -> Iterator[Batch]:
    for place, sentence in enumerate(sentences):
        yield [TextDelta(sentence if place == 0 else " " + sentence)]


def _worth_reading(passages: Sequence[Passage]) -> list[Passage]:
    """The passages an answer rests on; empty where none covers enough of the question: then nothing is quoted."""
    best = max((passage.coverage for passage in passages), default=0.0)
    least = max(ENOUGH_COVERAGE, best * _NEAR_THE_BEST)
    return [passage for passage in passages if passage.coverage >= least][:_MOST_PASSAGES]


def _quotes(passages: Sequence[Passage], phrases: Phrases) -> Iterator[Batch]:
    """The passages read one after another. A source is named when the first quotation from it is said, not before."""
    used: list[Source] = []
    said: set[str] = set()
    for passage in passages:
        source = Source(len(used) + 1, passage.id, passage.title, passage.text, passage.coverage)
        before: Unit | None = None
        for unit in _worth_quoting(passage):
            if unit.text in said:
                continue
            said.add(unit.text)
            if before is None:
                used.append(source)
                yield [Sources((source,))]
                if source.number == 1:
                    yield [TextDelta(phrases.opening)]
            yield [TextDelta(_cited(unit, before, source.number))]
            before = unit
    for source in used:
        yield [TextDelta(("\n\n" if source.number == 1 else "\n") + f"- [{source.number}] {source.title}")]


def _worth_quoting(passage: Passage) -> Iterator[Unit]:
    """The units of a passage that answer, in the order they stand, found one at a time. At least one.

    A unit answers by its own words, or because the title says that the passage is about this and it stands at the
    beginning, or because the unit quoted just before announces it: with a colon, or by being followed by code.
    """
    units = passage.units
    best = max(unit.relevance for unit in units)
    from_the_beginning = passage.heading_relevance >= max(_TITLE_ANSWERS, best) or best == 0
    quoted = announced = 0
    before: Unit | None = None  # the unit just before this one, if it was quoted
    announces = False
    for place, unit in enumerate(units):
        after = units[place + 1] if place + 1 < len(units) else None
        by_itself = quoted < _MOST_UNITS and (
            (best > 0 and unit.relevance >= best * _NEAR_THE_BEST_UNIT)
            or (from_the_beginning and place < _UNITS_FROM_THE_BEGINNING)
            # A sentence that ends in a colon is quoted with what it leads up to.
            or (after is not None and _ends_in_colon(unit) and after.relevance >= max(best * _NEAR_THE_BEST_UNIT, 0.01))
        )
        by_announcement = (
            before is not None
            and announced < _MOST_ANNOUNCED
            and ((announces and unit.kind != "sentence") or (unit.kind == "code" and before.kind != "code"))
        )
        if not by_itself and not by_announcement:
            before, announces = None, False
            continue
        announces = _ends_in_colon(unit) or (announces and unit.kind == "item")
        announced += not by_itself
        quoted += by_itself
        before = unit
        yield unit


def _ends_in_colon(unit: Unit) -> bool:
    return unit.kind != "code" and unit.text.rstrip("*_ ").endswith((":", "："))


def _cited(unit: Unit, before: Unit | None, number: int) -> str:
    """A unit as it follows the one quoted before it from the same source (`None`: it is the first), with its number."""
    is_block = unit.kind in ("code", "table")
    if unit.kind == "item" and before is not None and before.kind == "item":
        space = "\n"
    elif is_block or unit.kind == "item" or before is None or before.kind != "sentence":
        space = "\n\n"
    else:
        space = " "
    if not is_block:
        return f"{space}{'- ' if unit.kind == 'item' else ''}{unit.text} [{number}]"
    # Nothing may stand beside a fence or a row of a table. What leads up to a block carries the number for both.
    cited = before is not None and _ends_in_colon(before)
    return space + unit.text + ("" if cited else f"\n\n[{number}]")
