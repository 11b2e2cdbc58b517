"""One index as the offline provider searches: everybody's."""

from __future__ import annotations

from headrace.knowledge.index import KnowledgeIndex
from headrace.providers.offline import Findings, Search


def searching(index: KnowledgeIndex) -> Search:
    """A search of this index, whoever asks."""

    async def search(question: str, limit: int, owner: str) -> Findings:
        return index.search(question, limit)

    return search
