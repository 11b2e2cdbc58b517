"""What of a request an upstream has no word for: named to whoever asked, since it makes another answer than was wished.

Pure. May import floors 0 to 2. Each provider says which fields it carries; what says nothing about the answer is no
matter to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.requests import GenerationRequest

OF_NO_MATTER = frozenset({"user", "metadata", "stream_options", "store", "service_tier", "safety_identifier"})
"""Fields that say nothing about the answer."""


def foreign_names(request: GenerationRequest, *, family: str = "") -> list[str]:
    """The names of the fields that belong to other families of APIs than `family`; those in an object with its name."""
    names = []
    for whose, fields in request.foreign.items():
        if whose != family:
            for name, raw in fields.items():
                names += [f"{name}.{inner}" for inner in _keys(raw)] or [name]
    return names


def names_beyond(request: GenerationRequest, carried: Iterable[str]) -> list[str]:
    """The names of the request's fields that are not among the carried ones, and matter."""
    return sorted(request.fields.keys() - OF_NO_MATTER.union(carried))


def _keys(raw: msgspec.Raw) -> list[str]:
    try:
        return list(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
    except msgspec.DecodeError:
        return []  # no object
