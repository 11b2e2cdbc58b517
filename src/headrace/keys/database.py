"""The keys that `headrace keys` makes: one small file of SQLite, which the command writes and a running server reads.

Owner, SHA-256, limits and the first characters of a key are kept, never the key. The file is its user's own (0600).
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from headrace.errors import SettingsError
from headrace.identifiers import new_key
from headrace.settings import KeySettings

SHAPE = 1
"""The shape of the tables, kept as `user_version`."""
SHOWN_CHARACTERS = 11
"""How much of a key is its name in lists: `hr_` and 8 more of its 43 random characters."""
LEAST_NAMED = 5
"""How much of that name at least says which key is meant."""
WAIT_SECONDS = 5.0

_TABLE = """
create table if not exists keys (
    id text primary key,
    owner text not null,
    hash text not null unique,
    created_ns integer not null,
    max_streams integer,
    max_readers integer,
    requests_per_minute integer
)
"""
_COLUMNS = "id, owner, hash, created_ns, max_streams, max_readers, requests_per_minute"


class KeptKey(msgspec.Struct, frozen=True):
    """One key as it is kept."""

    id: str
    """Its first characters."""
    created_ns: int
    """When it was made, in nanoseconds since 1970 UTC."""
    settings: KeySettings
    """Its owner, its hash and its limits."""


class KeyDatabase:
    """The file of keys at `path`, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # For looking again: a connection is told when another one has changed the file.
        self._watching: sqlite3.Connection | None = None
        self._seen: tuple[int, ...] | None = None

    def create(
        self,
        owner: str,
        created_ns: int,
        *,
        max_streams: int | None = None,
        max_readers: int | None = None,
        requests_per_minute: int | None = None,
    ) -> tuple[str, KeptKey]:
        """A new key, which is told here and never again, and what is kept of it. Its limits are those of `[[keys]]`.

        Raises:
            SettingsError: the file cannot be written.
        """
        with self._writing() as connection:
            while True:
                key = new_key()
                settings = KeySettings(owner, hash_of(key), max_streams, max_readers, requests_per_minute)
                kept = KeptKey(key[:SHOWN_CHARACTERS], created_ns, settings)
                values = (kept.id, owner, settings.hash, created_ns, max_streams, max_readers, requests_per_minute)
                try:
                    connection.execute(f"insert into keys ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?)", values)
                except sqlite3.IntegrityError:
                    continue  # another one begins in the same way: one in 10^14
                return key, kept

    def revoke(self, named: str) -> KeptKey:
        """Takes back the key that `named`, its first characters or all of them, means. Gives what was kept of it.

        Raises:
            SettingsError: none begins so, or several do.
        """
        wanted = named[:SHOWN_CHARACTERS]
        found = [each for each in self.all() if each.id.startswith(wanted) and len(wanted) >= LEAST_NAMED]
        if len(found) != 1:
            problem = "several keys begin" if found else "no key begins"
            raise SettingsError(f'{problem} with "{wanted}". All: headrace keys list')
        with self._writing() as connection:
            connection.execute("delete from keys where id = ?", (found[0].id,))
        return found[0]

    def all(self) -> list[KeptKey]:
        """Every key, oldest first; none where there is no file.

        Raises:
            SettingsError: the file cannot be read.
        """
        if not self._path.exists():
            return []
        with self._told(), closing(self._open(WAIT_SECONDS)) as connection:
            return _read(connection)

    def changed(self) -> list[KeptKey] | None:
        """Every key where they may be others than when this was last asked, else `None`. Quick, and never waits.

        Raises:
            SettingsError: the file cannot be read now.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            gone = self._seen is not None
            self.close()
            return [] if gone else None
        with self._told():
            identity = (status.st_dev, status.st_ino)
            if self._watching is None or self._seen is None or self._seen[:2] != identity:
                self.close()
                self._watching = self._open(0)
            # Counts what other connections have written to this file (https://sqlite.org/pragma.html#pragma_data_version).
            (version,) = self._watching.execute("pragma data_version").fetchone()
            if self._seen == (*identity, version):
                return None
            keys = _read(self._watching)
            self._seen = (*identity, version)
            return keys

    def close(self) -> None:
        """Lets go of the file."""
        if self._watching is not None:
            self._watching.close()
        self._watching = self._seen = None

    def _open(self, wait_seconds: float) -> sqlite3.Connection:
        mode = stat.S_IMODE(self._path.stat().st_mode)
        if os.name == "posix" and mode & 0o022:
            raise SettingsError(
                f"{self._path} may be written by others (mode {mode:o}), so anyone could let themselves in;"
                f" after a look at headrace keys list: chmod 600 {self._path}"
            )
        connection = sqlite3.connect(self._path, timeout=wait_seconds, isolation_level=None)
        try:
            (shape,) = connection.execute("pragma user_version").fetchone()
            if shape > SHAPE:
                raise SettingsError(f"{self._path} was written by a newer headrace; upgrade this one")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made here and not by SQLite, which would leave it readable to whom the umask does.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(self._open(WAIT_SECONDS)) as connection:
                connection.execute("begin immediate")
                connection.execute(_TABLE)
                connection.execute(f"pragma user_version = {SHAPE}")
                yield connection
                connection.execute("commit")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise SettingsError(f"the keys in {self._path} cannot be reached: {reason}") from error


def hash_of(key: str) -> str:
    """What is kept of a key: its SHA-256 in hexadecimal digits."""
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _read(connection: sqlite3.Connection) -> list[KeptKey]:
    (tables,) = connection.execute("select count(*) from sqlite_master where name = 'keys'").fetchone()
    if not tables:
        return []  # made, and not yet written
    rows = connection.execute(f"select {_COLUMNS} from keys order by created_ns, id").fetchall()
    return [
        KeptKey(id, created_ns, KeySettings(owner, hash, max_streams, max_readers, requests_per_minute))
        for id, owner, hash, created_ns, max_streams, max_readers, requests_per_minute in rows
    ]
