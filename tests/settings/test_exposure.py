"""Listening where strangers are."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest

from headrace.errors import SettingsError
from headrace.settings import Document, KeySettings, ServerSettings, Settings, check_exposure, resolve
from headrace.settings.exposure import MAKE_A_KEY


def settings(host: str, *, auth: bool = False, keys: tuple[KeySettings, ...] = ()) -> Settings:
    return Settings(server=ServerSettings(host=host, auth=auth), keys=keys)


KEY = KeySettings(owner="me", hash=hashlib.sha256(b"key").hexdigest())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_keys(host: str) -> None:
    check_exposure(settings(host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", ""])
def test_l53_an_open_address_without_keys_is_refused(host: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_exposure(settings(host))
    assert refused.value.message == (
        f"will not listen on {host} without keys: every stream would be readable by the network."
        " Add --auth, or stay on this machine: --host 127.0.0.1"
    )
    # Keys that nobody asks for protect nothing.
    with pytest.raises(SettingsError, match="will not listen"):
        check_exposure(settings(host, keys=(KEY,)))
    check_exposure(settings(host, auth=True, keys=(KEY,)))


def test_l53_auth_without_any_key_is_refused_with_the_line_that_makes_one() -> None:
    with pytest.raises(SettingsError) as refused:
        check_exposure(settings("127.0.0.1", auth=True))
    assert MAKE_A_KEY in refused.value.message
    assert len(refused.value.message.splitlines()) <= 3


def test_the_line_that_makes_a_key_works_when_pasted(tmp_path: Path) -> None:
    pasted = subprocess.run(["sh", "-c", MAKE_A_KEY], cwd=tmp_path, capture_output=True, text=True, check=True)
    key = pasted.stdout.removeprefix("your key, shown once: ").strip()
    assert len(key) == len("hr_") + 32
    document = Document("keys.toml", tomllib.loads((tmp_path / "keys.toml").read_text()))
    made = resolve({"server.auth": True}, {}, [document]).settings
    assert made.keys == (KeySettings(owner="me", hash=hashlib.sha256(key.encode()).hexdigest()),)
    check_exposure(made)
