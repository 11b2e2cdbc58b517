"""The file that `headrace keys` keeps keys in: what is in it, who may write it, and how a server sees it change."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from headrace.errors import SettingsError
from headrace.keys.database import SHOWN_CHARACTERS, KeyDatabase, hash_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "share" / "keys.db"


def test_a_key_is_told_once_and_its_hash_and_beginning_are_kept(path: Path) -> None:
    key, kept = KeyDatabase(path).create("ann", 17, max_streams=2, requests_per_minute=60)
    assert len(key) == 46
    assert key.startswith("hr_")
    assert key[3:].isalnum()
    assert kept.id == key[:SHOWN_CHARACTERS]
    assert (kept.created_ns, kept.settings.owner, kept.settings.hash) == (17, "ann", hash_of(key))
    assert (kept.settings.max_streams, kept.settings.max_readers, kept.settings.requests_per_minute) == (2, None, 60)
    assert KeyDatabase(path).all() == [kept]


def test_no_byte_of_the_files_holds_more_of_a_key_than_lists_show(path: Path) -> None:
    database = KeyDatabase(path)
    keys = [database.create("ann", 1)[0] for _ in range(3)]
    database.revoke(keys[1])
    for written in path.parent.iterdir():
        content = written.read_bytes()
        assert keys[0][:SHOWN_CHARACTERS].encode() in content
        for key in keys:
            assert key[: SHOWN_CHARACTERS + 1].encode() not in content
            assert key[SHOWN_CHARACTERS:].encode() not in content


def test_two_keys_are_never_the_same(path: Path) -> None:
    assert len({KeyDatabase(path).create("ann", 1)[0] for _ in range(20)}) == 20


def test_file_and_folder_are_their_users_own(path: Path) -> None:
    KeyDatabase(path).create("ann", 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_believed(path: Path, mode: int) -> None:
    KeyDatabase(path).create("ann", 1)
    path.chmod(mode)
    for use in (KeyDatabase(path).all, KeyDatabase(path).changed, lambda: KeyDatabase(path).create("bob", 2)):
        with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
            use()


def test_a_key_is_revoked_by_its_beginning_or_by_all_of_it(path: Path) -> None:
    database = KeyDatabase(path)
    kept = [database.create(owner, number) for number, owner in enumerate(("ann", "bob", "cid"))]
    assert database.revoke(kept[0][1].id) == kept[0][1]
    assert database.revoke(kept[1][0]) == kept[1][1]
    assert database.all() == [kept[2][1]]


@pytest.mark.parametrize("named", ["hr_nothing_like_it", "", "hr_", "hr_a", "x"])
def test_what_begins_no_key_or_too_many_revokes_nothing(path: Path, named: str) -> None:
    database = KeyDatabase(path)
    database.create("ann", 1)
    with pytest.raises(SettingsError, match="no key begins"):
        database.revoke(named)
    assert len(database.all()) == 1


def test_without_a_file_there_are_no_keys_and_none_is_made(path: Path) -> None:
    assert KeyDatabase(path).all() == []
    assert KeyDatabase(path).changed() is None
    assert not path.exists()


def test_a_server_sees_what_another_process_writes_and_nothing_where_nobody_wrote(path: Path) -> None:
    writer, watcher = KeyDatabase(path), KeyDatabase(path)
    assert watcher.changed() is None
    _, first = writer.create("ann", 1)
    assert watcher.changed() == [first]
    assert watcher.changed() is None
    _, second = writer.create("bob", 2)
    assert watcher.changed() == [first, second]
    writer.revoke(first.id)
    assert watcher.changed() == [second]
    assert watcher.changed() is None
    path.unlink()
    assert watcher.changed() == []
    assert watcher.changed() is None
    _, third = writer.create("cid", 3)
    assert watcher.changed() == [third]
    watcher.close()


def test_a_look_never_waits_for_a_writer(path: Path) -> None:
    KeyDatabase(path).create("ann", 1)
    watcher = KeyDatabase(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("begin exclusive")
        with pytest.raises(SettingsError, match="locked"):
            watcher.changed()
        writer.execute("rollback")
    seen = watcher.changed()
    assert seen is not None
    assert len(seen) == 1
    watcher.close()


def test_a_file_of_a_newer_headrace_is_left_alone(path: Path) -> None:
    KeyDatabase(path).create("ann", 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma user_version = 7")
    with pytest.raises(SettingsError, match="newer headrace"):
        KeyDatabase(path).create("bob", 2)


def test_what_is_no_database_is_named_and_not_written(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"what is this" * 100)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"keys\.db cannot be reached"):
        KeyDatabase(path).create("ann", 1)
    assert path.read_bytes() == b"what is this" * 100
