"""Listening where strangers are."""

from __future__ import annotations

import hashlib

import pytest

from headrace.errors import SettingsError
from headrace.settings import KeySettings, ServerSettings, Settings, check_exposure


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


def test_l53_auth_without_any_key_is_refused_with_the_command_that_makes_one() -> None:
    with pytest.raises(SettingsError) as refused:
        check_exposure(settings("127.0.0.1", auth=True))
    assert refused.value.message == (
        "--auth needs at least one key, and there is none. Make one: headrace keys create me"
    )
    check_exposure(settings("127.0.0.1", auth=True, keys=(KEY,)))
    check_exposure(settings("127.0.0.1", auth=True), keys_kept=1)
