"""The one place where the environment and the files of settings are read.

What they say is handed on as data: to `headrace.settings.resolve`, and to whoever needs a key by its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from headrace.cli.dotenv import parse
from headrace.errors import SettingsError
from headrace.settings import Document, Resolved, Settings, resolve
from headrace.settings import trust as trusts
from headrace.settings.reading import from_document
from headrace.settings.variables import truth

# What a `.env` found in the working directory may not set: where questions and keys go.
_STEERING = ("HEADRACE_URL", "HEADRACE_API_KEY", "HEADRACE_API_KEY_FILE")

FOUND_HERE = ((Path(".env"), "./.env"), (Path("headrace.toml"), "./headrace.toml"))
"""The files that are looked for in the working directory, the higher one first."""


class Surroundings(msgspec.Struct, frozen=True):
    """What the environment and the files say."""

    process: Mapping[str, str]
    """The variables of the process alone."""
    environment: Mapping[str, str]
    """The same, above those of files that were named."""
    found: Mapping[str, str]
    """Those of a `.env` that was found and is not trusted; may choose, but not steer (`headrace.settings.trust`)."""
    documents: tuple[Document, ...]
    """The files, the higher one first."""

    def settings(self, flags: Mapping[str, object]) -> Resolved:
        """The settings that all of this and `flags` make together.

        Raises:
            SettingsError: an unknown key, a value of the wrong type, or a choice an untrusted file may not make.
        """
        return resolve(flags, self.process, self.documents)

    def with_keys(self, settings: Settings) -> Mapping[str, str]:
        """The environment, and in it the keys of upstreams that are kept in files (`headrace.cli.upstream_keys`).

        Raises:
            SettingsError: a file cannot be read, or may be read by others.
        """
        from headrace.cli.upstream_keys import with_keys

        return with_keys(self.environment, settings)

    def readers_key(self) -> str | None:
        """The key to show to a server: in HEADRACE_API_KEY, or in the file that HEADRACE_API_KEY_FILE names.

        Raises:
            SettingsError: that file cannot be read.
        """
        from headrace.cli.upstream_keys import from_file

        name = "HEADRACE_API_KEY"
        return self.environment.get(name, "").strip() or from_file(self.environment, name) or None

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
    forms = {document.form for document in documents}
    for path, origin in FOUND_HERE:
        here = None if _form(path) in forms else _document(path, origin, found=True)
        if here is None:
            continue
        documents.append(here)
        if here.form == "env":
            variables = {key: str(value) for key, value in here.values.items()}
            if here.trusted:
                environment = {**variables, **environment}
            else:
                found = variables
                _refuse_steering(variables, here.changed)
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


class Candidate(msgspec.Struct, frozen=True):
    """A file of the working directory that may be trusted, or is."""

    path: Path
    content: bytes
    document: Document

    def sets(self) -> list[str]:
        """What it sets that asks for trust: settings, and of a `.env` every variable; never a value."""
        if self.document.form == "env":
            return list(self.document.values)
        return trusts.steering(from_document(self.document.values, self.document.origin))


def candidates() -> list[Candidate]:
    """The files of the working directory that settings are taken from.

    Raises:
        SettingsError: one cannot be read.
    """
    found = []
    for path, origin in FOUND_HERE:
        content = _content(path, origin) if path.is_file() else None
        if content is not None:
            found.append(Candidate(path, content, _parsed(path, origin, content, _trust_in(path, content))))
    return found


def trust(candidate: Candidate) -> None:
    """Records that the file is trusted as it was when it was read.

    Raises:
        SettingsError: the record cannot be written.
    """
    _write_record(trusts.trusting(_record(), _place(candidate.path), candidate.content))


def distrust(candidate: Candidate) -> None:
    """Takes the file out of the record; one that is not in it stays out.

    Raises:
        SettingsError: the record cannot be written.
    """
    _write_record(trusts.not_trusting(_record(), _place(candidate.path)))


def trust_file() -> Path:
    """Where the record of trusted files is: in the user's own data folder."""
    from platformdirs import user_data_path

    return user_data_path("headrace") / "trusted.json"


def keys_file() -> Path:
    """Where `headrace keys` keeps the keys of readers: in the user's own data folder."""
    from platformdirs import user_data_path

    return user_data_path("headrace") / "keys.db"


def _record() -> trusts.Record:
    path = trust_file()
    try:
        return trusts.read_record(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what headrace wrote there"
        raise SettingsError(
            f"{_with_tilde(path)} cannot be read: {reason}. Remove it, then trust again what you trust"
        ) from error


def _write_record(record: trusts.Record) -> None:
    path = trust_file()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(trusts.write_record(record))
        unfinished.replace(path)
    except OSError as error:
        raise SettingsError(f"{_with_tilde(path)} cannot be written: {error.strerror}") from error


def _place(path: Path) -> str:
    return str(path.resolve())


def _form(path: Path) -> Literal["toml", "env"]:
    return "env" if path.name.endswith(".env") else "toml"


def _trust_in(path: Path, content: bytes) -> trusts.Trust:
    return trusts.trust_in(_record(), _place(path), content)


def _document(path: Path, origin: str, *, found: bool = False) -> Document | None:
    """The file as a document; `None` where there is none. One that was `found` is trusted as far as the record says."""
    if found and not path.is_file():
        return None  # a folder, most likely: some people call their virtual environment .env
    content = _content(path, origin)
    if content is None:
        return None
    return _parsed(path, origin, content, _trust_in(path, content) if found else "trusted")


def _content(path: Path, origin: str) -> bytes | None:
    """The file's bytes, read once: what is obeyed is what was judged."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"{origin} cannot be read: {error.strerror}") from error


def _parsed(path: Path, origin: str, content: bytes, trust: trusts.Trust) -> Document:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{origin} cannot be read: it is not UTF-8") from error
    trusted, changed = trust == "trusted", trust == "changed"
    if _form(path) == "env":
        return Document(origin, parse(text), trusted, "env", changed)
    import tomllib

    try:
        return Document(origin, tomllib.loads(text), trusted, "toml", changed)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{origin} is not TOML: {error}") from error


def _refuse_steering(found: Mapping[str, str], changed: bool) -> None:
    for name in _STEERING:
        if found.get(name):
            raise SettingsError(
                f"./.env sets {name}, which decides where questions or keys go; {trusts.why_not('./.env', changed)}"
            )


def _with_tilde(path: Path) -> str:
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
