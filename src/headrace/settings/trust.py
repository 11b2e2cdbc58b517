"""What a file that merely lies in the working directory may not decide, unless somebody has said that they trust it.

A cloned repository must not steer somebody's key: where requests go, which variable is sent as a key, who may come in.
A file named with `--config` was chosen by a person and is trusted, and so is the user's own. One that was merely found
is trusted once it stands in the user's record of trust, by its place and the hash of its content: when either changes,
it is a stranger again. Pure; the record is read and written by whoever reads the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from headrace.errors import SettingsError
from headrace.settings.reading import text_of
from headrace.settings.variables import Path
from headrace.wire import json_text

_OF_AN_UPSTREAM = frozenset({"base_url", "api_key_env"})
_OF_THE_SERVER = frozenset({"auth", "allowed_hosts", "allowed_origins"})

Trust: TypeAlias = Literal["trusted", "changed", "unknown"]
"""What is thought of a file: trusted as it is, trusted as it was before it changed, or never heard of."""

Record: TypeAlias = Mapping[str, str]
"""The absolute path of each trusted file, and the SHA-256 of its content."""


def check_trust(paths: Iterable[Path], origin: str, *, changed: bool = False) -> None:
    """Returns where a file of the working directory sets nothing that steers a key.

    `changed`: the file was trusted before it changed.

    Raises:
        SettingsError: it does; the message names the setting and says how to trust the file.
    """
    if names := steering(paths):
        raise SettingsError(
            f"{origin} sets {names[0]}, which decides where a key goes or who may come in; {why_not(origin, changed)}"
        )


def why_not(origin: str, changed: bool) -> str:
    """Why the file may not do so, and how it may."""
    if changed:
        why = "it has changed since you trusted it. If you trust it still:"
    else:
        why = "a file found in the working directory may not. If you trust it:"
    return f"{why} headrace settings trust, or for once: --config {origin}"


def steering(paths: Iterable[Path]) -> list[str]:
    """The names of those settings that steer a key or let somebody in, each once."""
    named = ("[[keys]]" if path[0] == "keys" else text_of(path) for path in paths if _steers(path))
    return list(dict.fromkeys(named))


def trust_in(record: Record, place: str, content: bytes) -> Trust:
    """What the record says of the file at the absolute path `place` with this content."""
    known = record.get(place)
    if known is None:
        return "unknown"
    return "trusted" if known == hashlib.sha256(content).hexdigest() else "changed"


def trusting(record: Record, place: str, content: bytes) -> Record:
    """The record with this file, as it is now, trusted."""
    return {**record, place: hashlib.sha256(content).hexdigest()}


def not_trusting(record: Record, place: str) -> Record:
    """The record without that file."""
    return {known: digest for known, digest in record.items() if known != place}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    trusted: dict[str, str]
    """Absolute paths, and the SHA-256 of what is there."""


def read_record(data: bytes) -> Record:
    """The record in a file that `write_record` wrote.

    Raises:
        ValueError: it is none.
    """
    return msgspec.json.decode(data, type=_File).trusted


def write_record(record: Record) -> bytes:
    """The record as the bytes of a file."""
    return json_text.encode(_File(dict(sorted(record.items())))) + b"\n"


def _steers(path: Path) -> bool:
    match path:
        case ("keys", *_):
            return True
        case ("upstreams", _, field, *_):
            return field in _OF_AN_UPSTREAM
        case ("server", field):
            return field in _OF_THE_SERVER
        case _:
            return False
