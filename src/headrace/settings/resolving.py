"""Flags, variables and files as one tree of settings: the higher one first, and where each value came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from headrace.settings.reading import LISTS, Values, checked, from_document, from_environment, leaf_field, text_of
from headrace.settings.tree import DEFAULT_TIMEOUTS, Settings
from headrace.settings.trust import check_trust
from headrace.settings.variables import Path, flag_name


class Document(msgspec.Struct, frozen=True):
    """A file somebody has read and parsed."""

    origin: str
    """What the file is called in messages, such as `./headrace.toml`."""
    values: Mapping[str, object]
    """The parsed TOML; for a `.env` its variables."""
    trusted: bool = True
    """False for what was merely found in the working directory."""
    form: Literal["toml", "env"] = "toml"
    changed: bool = False
    """Not trusted, because it has changed since it was."""


class Resolved(msgspec.Struct, frozen=True):
    """The settings, and where each value came from."""

    settings: Settings
    origins: Mapping[str, str]
    """For each setting that is not at its default, under its name such as `server.port`, where it was set."""

    def origin(self, name: str) -> str:
        """Where a setting's value came from; `default` where nobody set it."""
        return self.origins.get(name, "default")


def resolve(flags: Mapping[str, object], environment: Mapping[str, str], documents: Sequence[Document]) -> Resolved:
    """The settings that all of these make together: flag > variable > `.env` > files > default.

    `flags` are values under names such as `server.port`; `None` means that the flag was not given. Of `documents` the
    earlier wins over the later; those of variables (`.env`) come before those of TOML, whatever their place.

    Raises:
        SettingsError: an unknown key, a value of the wrong type, or a choice an untrusted file may not make.
    """
    layers = [(origin, path, value) for path, (origin, value) in _flags(flags).items()]
    layers += [("environment", path, value) for path, value in from_environment(environment, "the environment").items()]
    for form in ("env", "toml"):
        for document in documents:
            if document.form == form:
                values = _read(document)
                if not document.trusted:
                    check_trust(values, document.origin, changed=document.changed)
                layers += [(document.origin, path, value) for path, value in values.items()]

    chosen: dict[Path, object] = {}
    origins: dict[str, str] = {}
    for origin, path, value in layers:
        if path not in chosen:
            chosen[path] = value
            origins[text_of(path)] = origin
    return Resolved(_tree(chosen), origins)


def _flags(flags: Mapping[str, object]) -> dict[Path, tuple[str, object]]:
    given = {tuple(name.split(".")): value for name, value in flags.items() if value is not None}
    return {
        path: (flag, checked(value, leaf_field(path).type, path, flag))
        for path, value in given.items()
        for flag in [flag_name(path)]
    }


def _read(document: Document) -> Values:
    if document.form == "env":
        variables = {name: value for name, value in document.values.items() if isinstance(value, str)}
        return from_environment(variables, document.origin)
    return from_document(document.values, document.origin)


def _tree(chosen: Mapping[Path, object]) -> Settings:
    nested: dict[str, object] = {"assistants": {"basic": {}}}
    for path, value in chosen.items():
        table = nested
        for step in path[:-1]:
            inner = table.setdefault(step, {})
            assert isinstance(inner, dict), path
            table = inner
        table[path[-1]] = value
    for section in LISTS:
        entries = nested.get(section, {})
        assert isinstance(entries, dict), section
        nested[section] = list(entries.values())
    settings = msgspec.convert(nested, type=Settings)
    timeouts = settings.timeouts.over(DEFAULT_TIMEOUTS)
    upstreams = tuple(
        msgspec.structs.replace(upstream, timeouts=upstream.timeouts.over(timeouts)) for upstream in settings.upstreams
    )
    return msgspec.structs.replace(settings, timeouts=timeouts, upstreams=upstreams)
