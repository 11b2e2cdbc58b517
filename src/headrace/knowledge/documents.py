"""Documents cut into passages: what stands under one heading, as the units an answer can quote. Pure.

May import the standard library only. A unit is a sentence, a list item, a whole block of code or a table: what can
be quoted without being torn. Only what quoting needs of Markdown is read (CommonMark 0.31, sections 4 and 5, and
GitHub's tables and front matter); how it looks is left as it is written. How units are found is in `index.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from headrace.knowledge.sentences import sentences

Kind: TypeAlias = Literal["sentence", "item", "code", "table"]

_LONG_PASSAGE = 1_200  # characters: about what a screen shows; a longer section becomes several passages
_LONG_PARAGRAPH = 2_400  # characters; a paragraph that goes on is cut at the end of a line, best of a sentence
_LONG_LINE = 4_800  # characters; what is longer is taken for several lines, so that no passage is a whole book
_LONG_TABLE = (
    600  # characters of rows; a longer table is cut into tables with the same head, to quote the part asked for
)

_FENCE = re.compile(r"(\s*)(`{3,}(?=[^`]*$)|~{3,})(.*)")
_HEADING = re.compile(r" {0,3}(#{1,6})(?![^ \t])(.*)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_ITEM = re.compile(r"([ \t]*)(?:[-*+]|\d{1,9}[.)])(?:[ \t]+(.*)|$)")
_QUOTED = re.compile(r" {0,3}>(?:[ \t]*>)* ?")
_TABLE_RULE_CELL = re.compile(r":?-+:?\Z")
_DEFINITION = re.compile(r" {0,3}\[[^\]]+\]:[ \t]*\S")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_DECORATION = re.compile(r"\[?!\[[^\]]{0,200}\]\([^)]{0,500}\)(?:\]\([^)]{0,500}\))?|</?[A-Za-z][^>]{0,500}>")
_LINE_END = re.compile(r"\r\n?|\n")
_SENTENCE_ENDS = re.compile(r"[.!?…。！？｡؟][)\]\"'”’»*_”’」』）】》]*\s*\Z")
_WRAP = re.compile(r"(?<=[\u3001-\u9fff\uff00-\uffef])[ \t]*\n\s*(?=[\u3001-\u9fff\uff00-\uffef])")
# NUL ends a string in C, and half a surrogate pair cannot be stored: CommonMark 2.3 replaces the one, we both.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_PIECE = 1 << 16  # characters


@dataclass(frozen=True, slots=True)
class Unit:
    """What an answer quotes whole. Prose is on one line, however it was wrapped; code is exact, with its fence."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document under one heading. Every unit's text is a part of `text`."""

    heading: tuple[str, ...]
    """The headings above it, outermost first; empty before the first."""
    text: str
    """As it is read: without the signs of lists and quotations, prose on one line."""
    units: tuple[Unit, ...]
    start: int
    """Where it begins in the document, in characters."""
    end: int
    """Where it ends: letter for letter it is what stands between them."""


def cut(name: str, text: str) -> list[Passage]:
    """The passages of a document, in order. Markdown where `name` ends in `.md` or `.markdown`, else plain text."""
    text = storable(text)
    spans = list(_spans(text))
    lines = [text[start:end] for start, end in spans]
    if name.lower().endswith((".md", ".markdown")):
        first = _front_matter_end(lines)
        blocks = _markdown(lines[first:], first)
    else:
        blocks = _plain(lines)
    return list(_passages(blocks, spans))


def storable(text: str) -> str:
    """`text` with what cannot be stored replaced by U+FFFD, each by one: places stay where they are."""
    # Piece by piece: one call over a whole book would keep every other thread waiting.
    return "".join(_UNSTORABLE.sub("\ufffd", text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each line begins and ends, without its line end."""
    start = 1 if text.startswith("\ufeff") else 0
    for end in _LINE_END.finditer(text, start):
        yield from _bounded(text, start, end.start())
        start = end.end()
    yield from _bounded(text, start, len(text))


def _bounded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONG_LINE:
        at = max(text.rfind(sign, start, start + _LONG_LINE) for sign in " 。؟")
        at = at + 1 if at > start else start + _LONG_LINE
        yield start, at
        start = at
    yield start, end


@dataclass(slots=True)
class _Block:
    """What is cut no further while passages are put together. A heading is a block of no units."""

    units: tuple[Unit, ...]
    heading: tuple[str, ...]
    text: str
    first: int
    """The number of its first line."""
    behind: int
    """The number of the line behind its last."""


def _prose(lines: Sequence[str], heading: tuple[str, ...], first: int) -> Iterator[_Block]:
    """The sentences of one paragraph, each part of its block's text: one block, or several where it goes on and on."""
    begin = length = 0
    for place, line in enumerate(lines):
        length += len(line)
        last = place + 1 == len(lines)
        if last or (length > _LONG_PARAGRAPH and (_SENTENCE_ENDS.search(line[-12:]) or length > _LONG_LINE)):
            joined = _on_one_line("\n".join(lines[begin : place + 1]))
            if _DECORATION.sub("", joined).strip():
                units = tuple(Unit("sentence", sentence) for sentence in sentences(joined))
                yield _Block(units, heading, joined, first + begin, first + place + 1)
            begin, length = place + 1, 0


def _on_one_line(text: str) -> str:
    """`text` as it is read: a line break is a space, but none between two Chinese or Japanese characters."""
    return " ".join(_WRAP.sub("", text).split())


def _plain(lines: list[str]) -> Iterator[_Block]:
    paragraph: list[str] = []
    for place, line in enumerate([*lines, ""]):
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield from _prose(paragraph, (), place - len(paragraph))
            paragraph = []


def _front_matter_end(lines: list[str]) -> int:
    """The number of the first line behind the front matter."""
    if lines and lines[0].rstrip() == "---":
        for place, line in enumerate(lines[1:], 1):
            if line.rstrip() in ("---", "..."):
                return place + 1
    return 0


@dataclass(slots=True)
class _Reading:
    """Where a reading of Markdown stands: the headings above, and the paragraph or list item that is still open."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    first: int = 0
    """The number of the first line of what is open."""
    in_item: bool = False
    in_list: bool = False
    """Between the items of a list, where indentation does not mean code."""

    @property
    def heading(self) -> tuple[str, ...]:
        return tuple(title for _, title in self.headings)

    def turn_to(self, level: int, title: str) -> None:
        while self.headings and self.headings[-1][0] >= level:
            self.headings.pop()
        self.headings.append((level, title))
        self.in_list = False

    def finish(self) -> Iterator[_Block]:
        """The open paragraph or item as a block, if there is one."""
        lines, item = self.open, self.in_item
        self.open, self.in_item = [], False
        if not lines:
            return
        text = "\n".join(lines)
        if not item and "<!--" not in text:
            yield from _prose(lines, self.heading, self.first)
            return
        joined = _on_one_line(_COMMENT.sub(" ", text))
        behind = self.first + len(lines)
        if not item:
            for block in _prose([joined], self.heading, self.first):
                yield replace(block, behind=behind)
        elif joined:
            yield _Block((Unit("item", joined),), self.heading, joined, self.first, behind)


def _markdown(lines: list[str], above: int, reading: _Reading | None = None) -> Iterator[_Block]:
    """The blocks of `lines`, which have `above` lines of the document before them."""
    reading = reading or _Reading()
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        if fence := _FENCE.match(line):
            yield from reading.finish()
            end = _fence_end(lines, place, fence[2])
            text = _code(fence, lines[place:end])
            behind = min(end + 1, len(lines))
            yield _Block((Unit("code", text),), reading.heading, text, above + place - 1, above + behind)
            place = end + 1
        elif not line.strip():
            yield from reading.finish()
        elif line.startswith(("    ", "\t")) and not reading.open and not reading.in_list:
            end = _indented_end(lines, place)
            text = "\n".join(lines[place - 1 : end])
            yield _Block((Unit("code", text),), reading.heading, text, above + place - 1, above + end)
            place = end
        elif heading := _HEADING.match(line):
            yield from reading.finish()
            reading.turn_to(len(heading[1]), _title(heading[2]))
        elif reading.open and not reading.in_item and (underline := _UNDERLINE.match(line)):
            reading.turn_to(1 if underline[1][0] == "=" else 2, _on_one_line("\n".join(reading.open)))
            reading.open = []
        elif _RULE.match(line):
            yield from reading.finish()
            reading.in_list = False
        elif _QUOTED.match(line):
            yield from reading.finish()
            end = _quotation_end(lines, place)
            # Every level of quotation is taken off at once, so this goes no deeper than one call.
            inner = [_QUOTED.sub("", quoted) for quoted in lines[place - 1 : end]]
            yield from _markdown(inner, above + place - 1, _Reading(list(reading.headings)))
            place = end
        elif "|" in line and place < len(lines) and _is_table_rule(lines[place]):
            yield from reading.finish()
            end = _table_end(lines, place + 1)
            yield from _tables(lines[place - 1 : place + 1], lines[place + 1 : end], reading.heading, above + place - 1)
            place = end
        elif item := _ITEM.match(line):
            yield from reading.finish()
            reading.in_list = True
            content = item[2] or ""
            if _FENCE.match(content):
                place -= 1
                lines[place] = " " * (len(line) - len(content)) + content
            else:
                reading.open, reading.in_item, reading.first = [content], True, above + place - 1
        elif _DEFINITION.match(line) and not reading.open:
            continue  # where a link leads says nothing that can be quoted
        elif line.lstrip().startswith("<!--") and not reading.open:
            place = _comment_end(lines, place)
        else:
            if not reading.open:
                reading.first = above + place - 1
                reading.in_list = reading.in_list and line[0].isspace()
            reading.open.append(line)
    yield from reading.finish()


def _title(written: str) -> str:
    """A heading without the number signs that may close it."""
    title = written.strip()
    without = title.rstrip("#")
    return without.rstrip() if without.endswith((" ", "\t")) or not without else title


def _is_table_rule(line: str) -> bool:
    cells = line.strip().removeprefix("|").removesuffix("|").split("|")
    return "|" in line and all(_TABLE_RULE_CELL.match(cell.strip()) for cell in cells)


def _fence_end(lines: list[str], place: int, fence: str) -> int:
    """The line that closes the fence, or the number of lines where none does."""
    closing = re.compile(rf"\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")
    return next((at for at in range(place, len(lines)) if closing.match(lines[at])), len(lines))


def _code(fence: re.Match[str], inside: list[str]) -> str:
    # Code in a list item is indented with it; that indentation is the list's, not the code's.
    indent = len(fence[1].expandtabs(4))
    inside = [line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in inside]
    return "\n".join([fence[2] + fence[3].rstrip(), *inside, fence[2]])


def _indented_end(lines: list[str], place: int) -> int:
    """The line after the last one of indented code; blank lines belong to it only when more code follows."""
    end = place
    for at in range(place, len(lines)):
        if lines[at].startswith(("    ", "\t")) and lines[at].strip():
            end = at + 1
        elif lines[at].strip():
            break
    return end


def _quotation_end(lines: list[str], place: int) -> int:
    return next((at for at in range(place, len(lines)) if not _QUOTED.match(lines[at])), len(lines))


def _table_end(lines: list[str], place: int) -> int:
    return next((at for at in range(place, len(lines)) if "|" not in lines[at] or not lines[at].strip()), len(lines))


def _comment_end(lines: list[str], place: int) -> int:
    return next((at + 1 for at in range(place - 1, len(lines)) if "-->" in lines[at]), len(lines))


def _tables(head: list[str], rows: list[str], heading: tuple[str, ...], first: int) -> Iterator[_Block]:
    behind = first + len(head)
    for part in _parts(rows):
        text = "\n".join(line.strip() for line in [*head, *part])
        behind += len(part)
        yield _Block((Unit("table", text),), heading, text, first, behind)
        first = behind


def _parts(rows: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for row in rows:
        if part and sum(map(len, part)) + len(row) > _LONG_TABLE:
            yield part
            part = []
        part.append(row)
    yield part


def _passages(blocks: Iterator[_Block], spans: Sequence[tuple[int, int]]) -> Iterator[Passage]:
    """Neighbouring blocks under one heading put together until they are long. Code stays with what leads up to it."""
    gathered: list[_Block] = []
    length = 0
    for block in blocks:
        is_code = block.units[0].kind == "code"
        if gathered and (
            block.heading != gathered[0].heading
            or (length + len(block.text) > _LONG_PASSAGE and not (is_code and length <= _LONG_PASSAGE))
        ):
            yield _passage(gathered, spans)
            gathered, length = [], 0
        gathered.append(block)
        length += len(block.text)
    if gathered:
        yield _passage(gathered, spans)


def _passage(blocks: list[_Block], spans: Sequence[tuple[int, int]]) -> Passage:
    return Passage(
        heading=blocks[0].heading,
        text="\n\n".join(block.text for block in blocks),
        units=tuple(unit for block in blocks for unit in block.units),
        start=spans[blocks[0].first][0],
        end=spans[blocks[-1].behind - 1][1],
    )
