"""All keys that a server knows: those of its settings, and those that `headrace keys` makes and revokes meanwhile.

A key is found by its SHA-256. What is compared says nothing of the key itself, and the comparison takes the same time
however near a guess was.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from hashlib import sha256

from headrace.clock import Clock
from headrace.errors import RateLimited, SettingsError, Unauthorized
from headrace.interfaces import Stream
from headrace.keys.database import KeptKey, KeyDatabase
from headrace.keys.quota import RequestQuota
from headrace.settings import KeySettings

logger = logging.getLogger("headrace.keys")

# Keys are looked up by the first bytes of their hash and compared by all of it.
LOOKED_UP_BYTES = 4
SHOWN_OF_A_HASH = 8
"""How much of its hash names a key of the settings, whose beginning is not known."""
RETRY_SECONDS = 1.0
"""When to come back where too much goes on at once: nobody knows when some of it will end."""

REVOKED = "the key was revoked; what was said before stands"


class Key:
    """One key while the server runs: whose it is, what it may use, and what it uses now."""

    __slots__ = ("_clock", "digest", "id", "owner", "quota", "readers", "revoked", "settings", "streams", "waiting")

    def __init__(self, id: str, settings: KeySettings, clock: Clock) -> None:
        self.id = id
        self.owner = settings.owner
        self.digest = bytes.fromhex(settings.hash)
        self.settings = settings
        self.revoked = False
        self.streams: dict[tuple[str, str], Stream] = {}
        """Those it has started that are in progress."""
        most = settings.requests_per_minute
        self.quota = None if most is None else RequestQuota(most, clock)
        """How many requests it may send; `None`: any number."""
        self.readers = 0
        """How many answers are being sent to it now."""
        self.waiting: set[Callable[[], None]] = set()
        """What is called when it is revoked, by whoever waits for something on its behalf."""
        self._clock = clock

    def check_start(self) -> None:
        """Returns where one more stream may be started, and read.

        Raises:
            Unauthorized: the key was revoked since the request came.
            RateLimited: as many are in progress, or are being read, as it may have.
        """
        self.check()
        most = self.settings.max_streams
        if most is not None and len(self.streams) >= most:
            raise self._too_many(f"this key has {most} streams in progress, as many as it may (max_streams)", most)
        self._check_readers()

    def check(self) -> None:
        """Returns where the key is still good.

        Raises:
            Unauthorized: it was revoked.
        """
        if self.revoked:
            raise Unauthorized(REVOKED)

    def attach(self) -> None:
        """Counts one more answer that is being sent, until `detach`.

        Raises:
            Unauthorized, RateLimited: as `check_start`, but for streams in progress.
        """
        self.check()
        self._check_readers()
        self.readers += 1

    def detach(self) -> None:
        """Counts one less."""
        self.readers -= 1

    def _check_readers(self) -> None:
        most = self.settings.max_readers
        if most is not None and self.readers >= most:
            raise self._too_many(f"this key has {most} readers, as many as it may (max_readers)", most)

    def _too_many(self, words: str, most: int) -> RateLimited:
        reset = self._clock.unix_ns() // 1_000_000_000 + round(RETRY_SECONDS)
        return RateLimited(
            f"{words}; let one end, or try again shortly",
            limit=most,
            reset_unix_seconds=reset,
            retry_after_seconds=RETRY_SECONDS,
        )


class Keyring:
    """The keys.

    Args:
        settings: the keys of the settings, which stay.
        database: those that come and go; `None`: there are none.
        clock: for what is refused until later.

    Raises:
        SettingsError: the database cannot be read.
    """

    def __init__(self, settings: Sequence[KeySettings], database: KeyDatabase | None, clock: Clock) -> None:
        self._clock = clock
        self._database = database
        self._fixed = [Key(f"{each.hash[:SHOWN_OF_A_HASH]}…", each, clock) for each in settings]
        self._kept: dict[str, Key] = {}
        self._by_digest: dict[bytes, list[Key]] = {}
        self._of_streams: dict[tuple[str, str], Key] = {}
        self._unreadable = False
        # The first look waits for whoever writes now; later ones come again soon.
        self._take([] if database is None else database.all())

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._fixed) + len(self._kept)

    def find(self, key: str) -> Key | None:
        """The key with this text, wherever it was sent; `None`: it is none of ours."""
        digest = sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for each in self._by_digest.get(digest[:LOOKED_UP_BYTES], ()):
            if hmac.compare_digest(digest, each.digest):
                found = each
        return found

    def refresh(self) -> list[Key]:
        """Takes in what `headrace keys` has done meanwhile. Gives the keys that were revoked. Called twice a second."""
        if self._database is None:
            return []
        try:
            kept = self._database.changed()
        except SettingsError as error:
            # Somebody may be writing: the next look is soon. What was known stays known.
            if not self._unreadable:
                logger.warning("%s; keys stay as they were until it can be", error.message)
            self._unreadable = True
            return []
        self._unreadable = False
        return [] if kept is None else self._take(kept)

    def started(self, key: Key, stream: Stream) -> None:
        """A stream was started with this key."""
        place = (stream.owner, stream.id)
        key.streams[place] = stream
        self._of_streams[place] = key

    def ended(self, stream: Stream) -> None:
        """A stream has ended; keys that started none are not concerned."""
        place = (stream.owner, stream.id)
        key = self._of_streams.pop(place, None)
        if key is not None:
            del key.streams[place]

    def close(self) -> None:
        """Lets go of the database."""
        if self._database is not None:
            self._database.close()

    def _take(self, kept: Sequence[KeptKey]) -> list[Key]:
        before, self._kept = self._kept, {}
        for each in kept:
            known = before.pop(each.id, None)
            if known is None or known.settings != each.settings:
                if known is not None:
                    before[each.id] = known  # the same beginning, and another key
                known = Key(each.id, each.settings, self._clock)
            self._kept[each.id] = known
        self._by_digest = {}
        for key in (*self._fixed, *self._kept.values()):
            self._by_digest.setdefault(key.digest[:LOOKED_UP_BYTES], []).append(key)
        for revoked in before.values():
            revoked.revoked = True
        return list(before.values())
