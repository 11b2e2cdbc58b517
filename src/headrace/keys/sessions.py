"""Logins of pages: a cookie in place of a key, since an `EventSource` sends no header, and a script shall hold no key.

The cookie's value is a secret of its own, of which the SHA-256 is kept, in memory: a restart ends all logins.
"""

from __future__ import annotations

from hashlib import sha256

from headrace.clock import Clock
from headrace.identifiers import new_session
from headrace.keys.keyring import Key

SESSION_SECONDS = 12 * 3600
"""How long a login lasts: a working day. The time is not extended by use."""
MOST_SESSIONS = 10_000
"""How many are remembered; with one more, the oldest ends."""


class Sessions:
    """The logins of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # In the order in which they were opened, which is the one in which they end.
        self._open: dict[bytes, tuple[Key, int]] = {}

    def open(self, key: Key) -> str:
        """A new login with this key: the value of its cookie, which is kept nowhere here."""
        now = self._clock.monotonic_ns()
        while self._open:
            oldest = next(iter(self._open))
            if len(self._open) < MOST_SESSIONS and self._open[oldest][1] > now:
                break
            del self._open[oldest]
        session = new_session()
        self._open[_digest(session)] = (key, now + SESSION_SECONDS * 1_000_000_000)
        return session

    def find(self, session: str) -> Key | None:
        """The key that logged in; `None`: nobody did, or it is over, or the key was revoked."""
        found = self._open.get(_digest(session))
        if found is None or found[1] <= self._clock.monotonic_ns() or found[0].revoked:
            return None
        return found[0]

    def close(self, session: str) -> None:
        """Ends a login; one that is over stays so."""
        self._open.pop(_digest(session), None)


def _digest(session: str) -> bytes:
    # What is looked up is the hash of what was sent, so the time it takes says nothing of the secrets that are known.
    return sha256(session.encode("utf-8", "surrogateescape")).digest()
