"""What the tokenizers of the random models learn their pieces from: our own documents, as far as they are ASCII.

So everything such a model can say is valid UTF-8. Run by the Pythons of other environments too: standard library only.
"""

from pathlib import Path

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"


def training_text() -> str:
    """Some ten thousand words."""
    pages = sorted(DOCUMENTS.rglob("*.md"))
    return "\n".join(page.read_text(encoding="utf-8").encode("ascii", "ignore").decode("ascii") for page in pages)
