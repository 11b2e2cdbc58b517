"""What a file that merely lies in the working directory may not decide.

A cloned repository must not steer somebody's key: where requests go, which variable is sent as a key, who may come in.
A file named with `--config` was chosen by a person and is trusted, and so is the user's own.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.errors import SettingsError
from headrace.settings.reading import text_of
from headrace.settings.variables import Path

_OF_AN_UPSTREAM = frozenset({"base_url", "api_key_env"})
_OF_THE_SERVER = frozenset({"auth", "allowed_hosts", "allowed_origins"})


def check_trust(paths: Iterable[Path], origin: str) -> None:
    """Returns where a file of the working directory sets nothing that steers a key.

    Raises:
        SettingsError: it does; the message names the setting and says how to trust the file.
    """
    for path in paths:
        if _steers(path):
            name = "[[keys]]" if path[0] == "keys" else text_of(path)
            raise SettingsError(
                f"{origin} sets {name}, which decides where a key goes or who may come in; a file found in the working"
                f" directory may not. If you trust it, name it: --config {origin}"
            )


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
