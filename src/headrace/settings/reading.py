"""One file or one environment as settings: each value under its path, checked, with words for what is wrong.

An entry of a list of tables is known by its name (a key by its hash), so that the entries of two files meet.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypeGuard, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from headrace.errors import SettingsError
from headrace.settings.suggestions import did_you_mean
from headrace.settings.tree import KeySettings, ModelSettings, Settings, UpstreamSettings
from headrace.settings.variables import COMMAND_LINE_VARIABLES, OTHER_NAMES, VARIABLES, Path, is_orchestrators, truth

Values: TypeAlias = dict[Path, object]

LISTS: Mapping[str, tuple[type[msgspec.Struct], str]] = {
    "upstreams": (UpstreamSettings, "name"),
    "models": (ModelSettings, "name"),
    "keys": (KeySettings, "hash"),
}
"""The lists of tables: what an entry is, and which field tells it from the others."""

_BARE = re.compile(r"[A-Za-z0-9_-]+(\[\d+\])?\Z")


def from_document(values: Mapping[str, object], origin: str) -> Values:
    """What a file says.

    Raises:
        SettingsError: it holds an unknown key or a value of the wrong type; the message names key and origin.
    """
    found: Values = {}
    for section, value in values.items():
        field = _field(Settings, section, (), origin)
        if section in LISTS:
            found.update(_entries(section, value, origin))
        elif section == "assistants":
            for name, table in _table(value, (section,), origin).items():
                found.update(_leaves(get_args(field.type)[1], table, (section, name), origin))
        else:
            found.update(_leaves(field.type, value, (section,), origin))
    return found


def from_environment(variables: Mapping[str, str], origin: str) -> Values:
    """What variables say. Those that are none of ours are passed over.

    Raises:
        SettingsError: a variable that begins with HEADRACE_ is unknown, or a value cannot be read.
    """
    found: Values = {}
    for name, path in (*OTHER_NAMES.items(), *VARIABLES.items()):
        text = variables.get(name, "")
        if text and not is_orchestrators(name, text):
            field = leaf_field(path)
            found[path] = _converted(_from_text(text, field.type), field.type, name, origin)
    for name, text in variables.items():
        known = name in VARIABLES or name in COMMAND_LINE_VARIABLES or is_orchestrators(name, text)
        if name.startswith("HEADRACE_") and not known:
            meant = did_you_mean(name, (*VARIABLES, *COMMAND_LINE_VARIABLES))
            raise SettingsError(f'no setting "{name}" ({origin}).{meant}')
    return found


def leaf_field(path: Path) -> FieldInfo:
    """The field at the end of `path`, which is one that a variable or a flag can set."""
    kind: object = Settings
    field: FieldInfo | None = None
    for step in path:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            continue
        field = _field(kind, step, (), "")
        kind = field.type
    assert field is not None, path
    return field


def text_of(path: Path) -> str:
    """A path as it is written in TOML: `upstreams.groq.base_url`."""
    return ".".join(step if _BARE.match(step) else f'"{step}"' for step in path)


def checked(value: object, kind: object, path: Path, origin: str) -> object:
    """`value` as the type of its setting.

    Raises:
        SettingsError: it is of another type, or out of range.
    """
    return _converted(value, kind, text_of(path), origin)


def _entries(section: str, value: object, origin: str) -> Values:
    struct, identity = LISTS[section]
    if not isinstance(value, list):
        raise SettingsError(f"{section} in {origin} is a list of tables: write [[{section}]]")
    found: Values = {}
    seen: set[object] = set()
    for number, entry in enumerate(value, start=1):
        place = (f"{section}[{number}]",)
        table = _table(entry, place, origin)
        for field in fields(struct):
            if field.required and field.name not in table:
                wanted = words(field.type)
                raise SettingsError(f"{text_of(place)} in {origin} lacks {field.name}: it wants {wanted}")
        name = _converted(
            table[identity], _field(struct, identity, place, origin).type, f"{place[0]}.{identity}", origin
        )
        if name in seen:
            raise SettingsError(f"{section} in {origin} holds two entries with the same {identity}; leave one out")
        seen.add(name)
        # A key's hash tells nobody anything: messages about keys say the entry's number instead.
        shown = place if section == "keys" else (section, str(name))
        for path, leaf in _leaves(struct, table, shown, origin).items():
            found[(section, str(name), *path[len(shown) :])] = leaf
    return found


def _leaves(kind: object, value: object, path: Path, origin: str) -> Values:
    found: Values = {}
    for key, inner in _table(value, path, origin).items():
        field = _field(kind, key, path, origin)
        if _is_struct(field.type):
            found.update(_leaves(field.type, inner, (*path, key), origin))
        else:
            found[(*path, key)] = checked(inner, field.type, (*path, key), origin)
    return found


def _table(value: object, path: Path, origin: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{text_of(path)} in {origin} is a table: write [{text_of(path)}]")
    return value


def _field(kind: object, key: str, path: Path, origin: str) -> FieldInfo:
    assert _is_struct(kind), kind
    known = {field.name: field for field in fields(kind)}
    if key not in known:
        names = {text_of((*path, name)): name for name in known}
        meant = did_you_mean(text_of((*path, key)), names)
        if not meant and not path:
            meant = f" The sections are {', '.join(known)}."
        raise SettingsError(f'no setting "{text_of((*path, key))}" ({origin}).{meant}')
    return known[key]


def _is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _from_text(text: str, kind: object) -> object:
    """`text` as what it looks like for this type; left as it is where it looks like nothing, so that it is refused."""
    kind = _plain(kind)
    try:
        if kind is bool:
            said = truth(text)
            return text if said is None else said
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except ValueError:
        return text
    if get_origin(kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _converted(value: object, kind: object, name: str, origin: str) -> object:
    try:
        converted: object = msgspec.convert(value, type=kind)
    except msgspec.ValidationError:
        converted = None
    # No setting is negative, and TOML can write `inf` and `nan`.
    if converted is None or (isinstance(converted, float) and not 0 <= converted < math.inf):
        # Where a key was wanted by name or by hash, what stands there may be the key itself.
        shown = "" if name.endswith(("hash", "api_key_env")) else f" is {_shown(value)}:"
        raise SettingsError(f"{name} in {origin}{shown} wants {words(kind)}")
    return converted


def _shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…"'
        case int() | float():
            return str(value)
        case list():
            return "a list"
        case Mapping():
            return "a table"
        case _:
            return f"a {type(value).__name__}"


def _plain(kind: object) -> object:
    """The type without `None` and without its bounds."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def words(kind: object) -> str:
    """What a value of this type is, in words for a person who wrote another."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Annotated:
        for meta in get_args(kind)[1:]:
            if meta.description:
                return str(meta.description)
            if meta.ge is not None:
                return f"a whole number from {meta.ge} on"
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list of {words(get_args(kind)[0])}" if get_args(kind)[0] is not str else "a list of texts"
    assert isinstance(kind, type), kind
    names: dict[type, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number from 0 on",
        str: "a text",
    }
    return names[kind]
