"""How often the offline provider answers what the documents hold, and says so where they hold nothing.

The questions and how they were divided are in `tests/knowledge/questions.toml`. The rates are printed by
`pytest -rP tests/providers/test_offline_abstention.py`.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.knowledge.searching import searching

from headrace.events import Sources, TextDelta
from headrace.interfaces import Batch
from headrace.knowledge.index import KnowledgeIndex
from headrace.providers.offline import ENOUGH_COVERAGE, OfflineProvider
from headrace.requests import GenerationRequest, Message
from headrace.timing import Marks

KNOWLEDGE = Path(__file__).parents[1] / "knowledge"
QUESTIONS: dict[str, list[dict[str, str]]] = tomllib.loads((KNOWLEDGE / "questions.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def index() -> Iterator[KnowledgeIndex]:
    index = KnowledgeIndex.open()
    for path in sorted((KNOWLEDGE / "corpus").iterdir()):
        index.add_document(path.name, path.read_text(encoding="utf-8"))
    yield index
    index.close()


def ask(index: KnowledgeIndex, question: str) -> tuple[bool, str]:
    """Whether anything was quoted, and what was said."""

    async def gather() -> tuple[bool, str]:
        request = GenerationRequest("offline", (Message("user", question),))
        batches: list[Batch] = []
        await OfflineProvider(searching(index)).generate(request, Marks(0), batches.append)
        events = [event for batch in batches for event in batch]
        quoted = any(isinstance(event, Sources) for event in events)
        return quoted, "".join(event.text for event in events if isinstance(event, TextDelta))

    return asyncio.run(gather())


@pytest.mark.parametrize(
    ("name", "answered_share", "abstained_share"), [("development", 0.96, 0.92), ("held_out", 0.96, 0.92)]
)
def test_it_answers_what_the_documents_hold_and_abstains_from_the_rest(
    index: KnowledgeIndex, name: str, answered_share: float, abstained_share: float
) -> None:
    questions = QUESTIONS[name]
    answerable = [question for question in questions if "answer" in question]
    unanswerable = [question["question"] for question in questions if "answer" not in question]
    assert len(answerable) >= 20
    assert len(unanswerable) >= 20
    missed = [
        question["question"] for question in answerable if question["answer"] not in ask(index, question["question"])[1]
    ]
    misled = [question for question in unanswerable if ask(index, question)[0]]
    answered, abstained = len(answerable) - len(missed), len(unanswerable) - len(misled)
    print(f"{name}: {answered} of {len(answerable)} answered, {abstained} of {len(unanswerable)} abstained from")
    print("not answered:", missed)
    print("not abstained from:", misled)
    assert answered / len(answerable) >= answered_share
    assert abstained / len(unanswerable) >= abstained_share


def test_the_threshold_makes_the_fewest_mistakes_on_the_development_questions(index: KnowledgeIndex) -> None:
    coverages = []
    for question in QUESTIONS["development"]:
        passages = index.search(question["question"]).passages
        coverages.append((passages[0].coverage if passages else 0.0, "answer" in question))

    def mistakes(threshold: float) -> int:
        return sum((coverage >= threshold) != answerable for coverage, answerable in coverages)

    counts = {percent: mistakes(percent / 100) for percent in range(1, 100)}
    fewest = [percent for percent, count in counts.items() if count == min(counts.values())]
    print(f"fewest mistakes, {min(counts.values())} of {len(coverages)}: {fewest[0]} to {fewest[-1]} percent")
    assert round(ENOUGH_COVERAGE * 100) in fewest


def test_other_endings_of_the_same_words_find_the_same_answer(index: KnowledgeIndex) -> None:
    questions = QUESTIONS["inflected"]
    missed = [
        question["question"] for question in questions if question["answer"] not in ask(index, question["question"])[1]
    ]
    print(f"inflected: {len(questions) - len(missed)} of {len(questions)} answered; not:", missed)
    assert len(questions) - len(missed) >= 15
