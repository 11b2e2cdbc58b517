"""The one place where the environment and the files of settings are read.

What they say is handed on as data: to `headrace.settings.resolve`, and to whoever needs a key by its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from headrace.cli.dotenv import parse
from headrace.errors import SettingsError
from headrace.settings import Document, Resolved, resolve
from headrace.settings.variables import truth

# What a `.env` found in the working directory may not set: where questions and keys go.
_STEERING = ("HEADRACE_URL", "HEADRACE_API_KEY")


class Surroundings(msgspec.Struct, frozen=True):
    """What the environment and the files say."""

    process: Mapping[str, str]
    """The variables of the process alone."""
    environment: Mapping[str, str]
    """The same, above those of files that were named."""
    found: Mapping[str, str]
    """The variables of a `.env` that was merely found; may choose, but not steer (`headrace.settings.trust`)."""
    documents: tuple[Document, ...]
    """The files, the higher one first."""

    def settings(self, flags: Mapping[str, object]) -> Resolved:
        """The settings that all of this and `flags` make together.

        Raises:
            SettingsError: an unknown key, a value of the wrong type, or a choice an untrusted file may not make.
        """
        return resolve(flags, self.process, self.documents)

    def streaming(self) -> bool:
        """Whether answers are streamed where no flag says: HEADRACE_STREAMING, then GROQ_STREAMING, then yes (T7).

        Raises:
            SettingsError: one of them is neither true nor false.
        """
        for name in ("HEADRACE_STREAMING", "GROQ_STREAMING"):
            for variables in (self.environment, self.found):
                if text := variables.get(name, ""):
                    said = truth(text)
                    if said is None:
                        raise SettingsError(f'{name} is "{text}": wants true or false')
                    return said
        return True


def read(named: Sequence[str] = ()) -> Surroundings:
    """What there is: the environment, a `.env` and `headrace.toml` here, and the user's file.

    Files that are `named` (with `--config`) are trusted, and taken instead of those found here; the later one named
    wins. A name that ends in `.env` is a file of variables.

    Raises:
        SettingsError: a file cannot be read or is not what it should be.
    """
    documents: list[Document] = []
    environment = dict(os.environ)
    for name in reversed(named):
        document = _document(Path(name), name)
        if document is None:
            raise SettingsError(f"no file {name} (--config)")
        if document.form == "env":
            environment = {**{key: str(value) for key, value in document.values.items()}, **environment}
        documents.append(document)

    found: dict[str, str] = {}
    if not any(document.form == "env" for document in documents):
        here = _document(Path(".env"), "./.env", trusted=False)
        if here is not None:
            documents.append(here)
            found = {key: str(value) for key, value in here.values.items()}
            _refuse_steering(found)
    if not any(document.form == "toml" for document in documents):
        here = _document(Path("headrace.toml"), "./headrace.toml", trusted=False)
        if here is not None:
            documents.append(here)
    own = user_file()
    if (users := _document(own, _with_tilde(own))) is not None:
        documents.append(users)
    return Surroundings(dict(os.environ), environment, found, tuple(documents))


def user_file() -> Path:
    """Where the user's own settings are: `$XDG_CONFIG_HOME/headrace/config.toml` or what the system has for that."""
    from platformdirs import user_config_path

    return user_config_path("headrace") / "config.toml"


def unused_keys(surroundings: Surroundings, names: Sequence[str]) -> list[str]:
    """Those of the key variables `names` that a found `.env` sets and nobody else: they are not used."""
    return [name for name in names if surroundings.found.get(name) and not surroundings.environment.get(name)]


def _document(path: Path, origin: str, *, trusted: bool = True) -> Document | None:
    if not trusted and not path.is_file():
        return None  # a folder, most likely: some people call their virtual environment .env
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{origin} cannot be read: {reason}") from error
    if path.name.endswith(".env"):
        return Document(origin, parse(text), trusted, "env")
    import tomllib

    try:
        return Document(origin, tomllib.loads(text), trusted)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{origin} is not TOML: {error}") from error


def _refuse_steering(found: Mapping[str, str]) -> None:
    for name in _STEERING:
        if found.get(name):
            raise SettingsError(
                f"./.env sets {name}, which decides where questions or keys go; a file found in the working directory"
                " may not. If you trust it, name it: --config ./.env"
            )


def _with_tilde(path: Path) -> str:
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
