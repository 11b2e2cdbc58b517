"""Logins: a cookie stands for a key, for a while."""

from __future__ import annotations

import gc

from headrace.keys.keyring import Key
from headrace.keys.sessions import MOST_SESSIONS, SESSION_SECONDS, Sessions
from headrace.settings import KeySettings
from headrace.testing.clock import ManualClock


def made() -> tuple[Sessions, Key, ManualClock]:
    clock = ManualClock()
    return Sessions(clock), Key("hr_12345678", KeySettings("ann", "ab" * 32), clock), clock


def test_a_login_stands_for_its_key_until_it_is_closed() -> None:
    sessions, key, _ = made()
    first, second = sessions.open(key), sessions.open(key)
    assert first != second
    assert sessions.find(first) is key
    sessions.close(first)
    sessions.close(first)
    assert sessions.find(first) is None
    assert sessions.find(second) is key


def test_a_login_is_over_after_its_time_and_forgotten_with_the_next_one() -> None:
    sessions, key, clock = made()
    session = sessions.open(key)
    clock.advance(SESSION_SECONDS - 1)
    assert sessions.find(session) is key
    clock.advance(1)
    assert sessions.find(session) is None
    sessions.open(key)
    assert len(sessions._open) == 1


def test_revoking_a_key_ends_its_logins() -> None:
    sessions, key, _ = made()
    session = sessions.open(key)
    key.revoked = True
    assert sessions.find(session) is None


def test_so_many_logins_are_remembered_and_no_more() -> None:
    sessions, key, _ = made()
    oldest = sessions.open(key)
    for _ in range(MOST_SESSIONS):
        sessions.open(key)
    assert sessions.find(oldest) is None
    assert len(sessions._open) == MOST_SESSIONS


def test_the_secret_of_a_login_is_kept_nowhere() -> None:
    sessions, key, _ = made()
    session = sessions.open(key)
    assert not [
        each for each in gc.get_objects() if isinstance(each, dict) and session in each and each is not locals()
    ]
