"""Every setting with its value and where that came from, one by one: what `headrace settings` shows.

Pure: the resolved tree in, rows out.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headrace.settings.reading import LISTS, text_of
from headrace.settings.resolving import Resolved
from headrace.settings.variables import Path

SHOWN_OF_A_HASH = 8
"""How much of a key's hash is shown: enough to tell two apart."""


class Setting(msgspec.Struct, frozen=True):
    """One setting."""

    name: str
    """As it is written in TOML, an entry of a list by its name: `upstreams.groq.base_url`."""
    value: object
    """What JSON has a word for; `None`: left to whoever uses it."""
    origin: str
    """A flag, a file, `environment`, or `default`."""


def listed(resolved: Resolved) -> list[Setting]:
    """Every setting there is, in the order of the tree."""
    return [Setting(_shown(path), value, _origin(resolved, path)) for path, value in _leaves(resolved.settings, ())]


def _leaves(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            # The name of an entry is in its path already.
            if not (len(path) == 2 and path[0] in LISTS and LISTS[path[0]][1] == field):
                yield from _leaves(getattr(value, field), (*path, field))
    elif path and path[0] in LISTS and len(path) == 1 and isinstance(value, tuple):
        for entry in value:
            yield from _leaves(entry, (*path, str(getattr(entry, LISTS[path[0]][1]))))
    elif path == ("assistants",) and isinstance(value, dict):
        for name, entry in value.items():
            yield from _leaves(entry, (*path, str(name)))
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _shown(path: Path) -> str:
    if path[0] == "keys":
        return text_of((path[0], path[1][:SHOWN_OF_A_HASH] + "…", *path[2:]))
    return text_of(path)


def _origin(resolved: Resolved, path: Path) -> str:
    origin = resolved.origin(text_of(path))
    # The timers that an upstream leaves out are those of [timeouts], wherever these come from.
    if origin == "default" and path[0] == "upstreams" and path[2:3] == ("timeouts",):
        return resolved.origin(text_of(path[2:]))
    return origin
