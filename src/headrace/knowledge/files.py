"""Files as texts that can be indexed, or the reason why one cannot. Pure: the standard library and the errors.

What somebody drops onto a page may be anything. What is no Markdown and no plain text is told by its first bytes and
its name, so that the answer says what it is and what to do; nothing is guessed out of bytes that are no text.
"""

from __future__ import annotations

from headrace.errors import InvalidRequest, UnusableDocument
from headrace.knowledge.manual import PREFIX

LONGEST_NAME = 255
"""Characters: what file systems allow."""

# Embeddings, overrides and isolates (UAX 9, section 2): a name that holds one could be shown as another.
_REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LATER = "Markdown and plain text are indexed so far: save it as one of them, and add that"
_BEGINNINGS = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\xd0\xcf\x11\xe0", "an office document"),
    (b"{\\rtf", "an RTF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x1f\x8b", "a compressed file"),
    (b"SQLite format 3", "a database"),
)
_ENDINGS = {".html": "HTML", ".htm": "HTML", ".xml": "XML", ".svg": "an image", ".ipynb": "a notebook", ".rtf": "RTF"}


def checked_name(name: str) -> str:
    """The name as it shall be kept.

    Raises:
        InvalidRequest: it is none that could be told in an answer.
    """
    name = name.strip()
    if not name:
        raise InvalidRequest("the document has no name: send ?name=guide.md", parameter="name")
    if len(name) > LONGEST_NAME:
        raise InvalidRequest(f"the document's name is longer than {LONGEST_NAME} characters", parameter="name")
    if any(ord(sign) < 32 or 127 <= ord(sign) < 160 or sign in "\u2028\u2029" for sign in name):
        raise InvalidRequest("the document's name holds control characters", parameter="name")
    if (sign := next((sign for sign in name if sign in _REORDERING), None)) is not None:
        raise InvalidRequest(
            f"the document's name holds U+{ord(sign):04X}, which reorders how it is shown; take it out",
            parameter="name",
        )
    if name.startswith(PREFIX):
        raise InvalidRequest(f"names that begin with {PREFIX} are headrace's own; choose another", parameter="name")
    return name


def text_of(name: str, body: bytes) -> str:
    """The text of a file.

    Raises:
        UnusableDocument: it is empty, or no text in UTF-8.
    """
    if not body.strip():
        raise UnusableDocument(f"{name} is empty; add it once there is something in it")
    kind = next((told for beginning, told in _BEGINNINGS if body.startswith(beginning)), None)
    kind = kind or next((told for ending, told in _ENDINGS.items() if name.lower().endswith(ending)), None)
    if kind is not None:
        raise UnusableDocument(f"{name} is {kind}. {_LATER}")
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnusableDocument(f"{name} is text in UTF-16; save it as UTF-8, and add that")
    if 0 in body:
        raise UnusableDocument(f"{name} is no text (byte {body.index(0)} is 0). {_LATER}")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnusableDocument(
            f"{name} is not text in UTF-8 (byte {error.start}); save it as UTF-8, and add that"
        ) from None
