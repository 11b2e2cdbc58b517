r"""A `.env` file as variables: `NAME=value` lines, as shells and other tools write them.

Pure. `export` before a name, blank lines, `#` comments and quotes are understood: nothing is replaced within single
quotes, and only `\n`, `\t`, `\"` and `\\` within double ones. Variables inside values are not expanded. Lines that
say nothing in this form belong to other tools and are passed over.
"""

from __future__ import annotations

import re

_LINE = re.compile(
    r"""
    \s* (?:export\s+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) \s* = [ \t]*
    (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>.*?) )
    \s* (?:(?<=\s)\#.*)? $
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def parse(text: str) -> dict[str, str]:
    """The variables of a `.env` file; of a name that comes twice, the later."""
    variables: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        found = _LINE.match(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        if (quoted := found["double"]) is not None:
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), quoted)
        else:
            value = found["single"] if found["single"] is not None else found["bare"]
        variables[found["name"]] = value
    return variables
