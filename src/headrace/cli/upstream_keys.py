"""The keys of upstreams: in a variable, in a file that a variable names, or kept by `headrace keys set`.

A key is in the variable that its upstream names, such as GROQ_API_KEY. Where that is not set, GROQ_API_KEY_FILE may
name a file that holds it, as containers have it; and where neither is, it may be in the user's own file of keys, which
nobody else can read (0600). All three are handed on as one environment: nothing further on knows of more than one way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from headrace.errors import SettingsError
from headrace.providers.catalogue import SERVICES, service_named
from headrace.settings import Settings
from headrace.wire import json_text

MOST_BYTES = 64 * 1024
"""More than any key, and than a file of them."""


def with_keys(environment: Mapping[str, str], settings: Settings) -> Mapping[str, str]:
    """`environment`, and in it every upstream's key that is kept in a file.

    Raises:
        SettingsError: a file cannot be read, or may be read by others.
    """
    kept = _kept()
    found = dict(environment)
    for name in variables(settings):
        key = from_file(environment, name) or kept.get(name, "")
        if key and not environment.get(name, "").strip():
            found[name] = key
    return found


def from_file(environment: Mapping[str, str], name: str) -> str:
    """The key in the file that the variable `name` with `_FILE` behind it names; empty where there is none.

    Raises:
        SettingsError: it cannot be read, or holds no key.
    """
    place = environment.get(f"{name}_FILE", "")
    if not place or environment.get(name, "").strip():
        return ""
    try:
        with open(place, "rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{name}_FILE names {place}, which cannot be read: {reason}") from error
    return checked(text, f"{place}, which {name}_FILE names,")


def variables(settings: Settings) -> list[str]:
    """The variables that hold keys of upstreams: those of the settings, and of the services everybody knows."""
    names = [each.api_key_env for each in settings.upstreams] + [each.api_key_env for each in SERVICES]
    return [name for name in dict.fromkeys(names) if name is not None]


def variable_of(upstream: str, settings: Settings) -> str:
    """The variable of an upstream's key.

    Raises:
        SettingsError: there is no such upstream, or it has no key.
    """
    for each in settings.upstreams:
        if each.name == upstream:
            service = service_named(upstream)
            known = each.api_key_env or (None if service is None else service.api_key_env)
            if known is None:
                raise SettingsError(
                    f"the upstream {upstream!r} has no key; where it needs one, name a variable for it in the"
                    f' settings: api_key_env = "{upstream.upper().replace("-", "_")}_API_KEY"'
                )
            return known
    service = service_named(upstream)
    if service is None or service.api_key_env is None:
        names = [each.name for each in settings.upstreams if each.api_key_env is not None]
        names += [each.name for each in SERVICES if each.api_key_env is not None]
        raise SettingsError(f"no upstream {upstream!r} that has a key. There are: {', '.join(dict.fromkeys(names))}")
    return service.api_key_env


def checked(text: str, what: str) -> str:
    """The key in `text`, without the line's end behind it.

    Raises:
        SettingsError: it is none. The message does not repeat it.
    """
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"{what} holds no key: one line of letters, digits and signs is wanted")
    return key


def keep(variable: str, key: str | None) -> None:
    """Keeps a key for the upstreams that name this variable; `None`: forgets it.

    Raises:
        SettingsError: the file cannot be written.
    """
    keys = {name: known for name, known in _kept().items() if name != variable}
    if key is not None:
        keys[variable] = key
    path = file_of_keys()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(json_text.encode(_File(keys)) + b"\n")
        unfinished.replace(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def file_of_keys() -> Path:
    """Where `headrace keys set` keeps them: in the user's own data folder."""
    from platformdirs import user_data_path

    return user_data_path("headrace") / "upstream-keys.json"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, str]
    """Variables, and the keys that stand for them."""


def _kept() -> Mapping[str, str]:
    path = file_of_keys()
    try:
        content = path.read_bytes()
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if os.name == "posix" and mode & 0o077:
        raise SettingsError(f"{path} holds keys and may be read by others (mode {mode:o}): chmod 600 {path}")
    try:
        return msgspec.json.decode(content, type=_File).keys
    except (ValueError, RecursionError):
        # Without the reason, which may repeat a piece of a key.
        raise SettingsError(f"{path} is not what headrace wrote there; remove it, and set your keys again") from None
