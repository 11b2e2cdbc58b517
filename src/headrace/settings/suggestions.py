"""The name somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """` Did you mean "…"?` with the nearest of `names`, to be put behind a message; empty where none is near."""
    import difflib  # only where something is already wrong

    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f' Did you mean "{by_lower[near[0]]}"?' if near else ""
