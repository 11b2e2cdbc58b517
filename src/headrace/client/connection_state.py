"""What a client does about one stream, whatever becomes of its connections: a state machine that knows no network.

Pure: inputs in, one action out. Time and chance come in with the inputs. What the shells do with an action is in
`asynchronous.py` and `blocking.py`.

    idle ──Ask──▶ asking ───────────Opened──────────▶ reading ──Finished──▶ ended
      │            │  ▲ │ └─Exists─▶ resuming ─Opened─▶ │ ▲ └ Advanced: goes on
      │     Dropped│  │ │              ▲ │ └ Finished: nothing is left to read
      │            ▼  │ │       Waited │ │ Dropped      │ Dropped
      │          waiting ──────────────┘ ▼              ▼
      │            ▲ └──────────────── waiting ◀────────┘
      └──Join──▶ resuming

    not drawn: from everywhere but the ends, Left ──▶ detached; Refused, or a bound that is reached, ──▶ failed

A stream is asked for again only as long as nobody knows whether the server has it; the id that the client chose keeps
two from becoming of it (`Exists`). Once it has begun it is only ever resumed, after the last event that was read: so
nothing comes twice and nothing is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never

import msgspec

State: TypeAlias = Literal["idle", "asking", "reading", "waiting", "resuming", "ended", "failed", "detached"]

ENDS: frozenset[State] = frozenset({"ended", "failed", "detached"})
"""The states that nothing leads out of."""


class Resuming(msgspec.Struct, frozen=True):
    """How a client comes back after a drop, and when it gives up."""

    attempts: int = 8
    """The most attempts in a row that bring no new event; 1: a drop is final."""
    seconds: float = 30.0
    """The longest it may take to get back into contact; the server is asked to keep the stream going for so long."""
    knocks: int = 3
    """The most attempts where nothing has answered yet at all: more seldom help, and somebody is waiting."""
    first_delay_seconds: float = 0.25
    """The most before the second attempt; it doubles from attempt to attempt, and chance decides how much of it."""
    longest_delay_seconds: float = 5.0
    """The most before any attempt."""


BOUNDS = Resuming()
"""What a client does that was told nothing else."""


# -- inputs


class Ask(msgspec.Struct, frozen=True):
    """A new stream is wanted."""


class Join(msgspec.Struct, frozen=True):
    """A stream that is there already is wanted."""


class Opened(msgspec.Struct, frozen=True):
    """The server answers, and events will come."""


class Advanced(msgspec.Struct, frozen=True):
    """Events were read; the last of them has this offset."""

    offset: int


class Finished(msgspec.Struct, frozen=True):
    """The last event was read, or had been before."""


class Dropped(msgspec.Struct, frozen=True):
    """The connection broke, never was, or the server asks to come back later."""

    now_ns: int
    """On the monotonic clock."""
    chance: float
    """From 0 to just below 1: how much of the delay is waited."""
    answered: bool = True
    """Whether there was a connection: somebody is there."""
    retry_after_seconds: float = 0.0
    """The least that the server wants to be left alone."""


class Waited(msgspec.Struct, frozen=True):
    """The delay is over."""


class Exists(msgspec.Struct, frozen=True):
    """The server says that there is a stream of this id already."""


class Refused(msgspec.Struct, frozen=True):
    """The server will not have it, or does not know the stream, or sends what cannot be read."""


class Left(msgspec.Struct, frozen=True):
    """Nobody here wants to read on; the stream is let alone."""


Input: TypeAlias = Ask | Join | Opened | Advanced | Finished | Dropped | Waited | Exists | Refused | Left

# -- actions


class Post(msgspec.Struct, frozen=True):
    """Ask the server for the stream."""


class Get(msgspec.Struct, frozen=True):
    """Ask the server for the events after this offset."""

    after: int


class Wait(msgspec.Struct, frozen=True):
    """Wait for so many seconds."""

    seconds: float


class Read(msgspec.Struct, frozen=True):
    """Read what the connection holds next."""


class Stop(msgspec.Struct, frozen=True):
    """Close the connection: there is no more to do."""


Action: TypeAlias = Post | Get | Wait | Read | Stop

FOLLOWS: Mapping[State, Mapping[type[Input], frozenset[State]]] = {
    "idle": {Ask: frozenset({"asking"}), Join: frozenset({"resuming"}), Left: frozenset({"detached"})},
    "asking": {
        Opened: frozenset({"reading"}),
        Dropped: frozenset({"waiting", "failed"}),
        Exists: frozenset({"resuming", "failed"}),
        Refused: frozenset({"failed"}),
        Left: frozenset({"detached"}),
    },
    "resuming": {
        Opened: frozenset({"reading"}),
        Finished: frozenset({"ended"}),
        Dropped: frozenset({"waiting", "failed"}),
        Refused: frozenset({"failed"}),
        Left: frozenset({"detached"}),
    },
    "reading": {
        Advanced: frozenset({"reading"}),
        Finished: frozenset({"ended"}),
        Dropped: frozenset({"waiting", "failed"}),
        Refused: frozenset({"failed"}),
        Left: frozenset({"detached"}),
    },
    "waiting": {Waited: frozenset({"asking", "resuming"}), Left: frozenset({"detached"})},
    "ended": {},
    "failed": {},
    "detached": {},
}
"""State and kind of the next input → the states it may lead to. What is missing is not allowed."""


class ConnectionState:
    """One stream as one client has it.

    Args:
        bounds: when to give up.
        after: the offset of the last event that is known already; -1: none is.
    """

    def __init__(self, bounds: Resuming, after: int = -1) -> None:
        self.state: State = "idle"
        self.after = after
        """The offset of the last event that was read."""
        self.begun = False
        """Whether the stream is known to be at the server."""
        self.attempts = 0
        """How many attempts have failed since the last event."""
        self._bounds = bounds
        self._answered = False
        self._away_since_ns: int | None = None

    def feed(self, given: Input) -> Action:
        """Takes the next input; gives what is to be done now.

        Raises:
            ValueError: this input may not come here.
        """
        allowed = FOLLOWS[self.state].get(type(given))
        if allowed is None:
            raise ValueError(f"{type(given).__name__} may not come in the state {self.state!r}")
        state, action = self._next(given)
        assert state in allowed, (self.state, given, state)
        self.state = state
        return action

    def _next(self, given: Input) -> tuple[State, Action]:
        match given:
            case Ask():
                return "asking", Post()
            case Join():
                self.begun = True
                return "resuming", Get(self.after)
            case Opened():
                self.begun = self._answered = True
                self._away_since_ns = None
                return "reading", Read()
            case Advanced():
                if given.offset <= self.after:
                    raise ValueError(f"the event {given.offset} was read before; the last was {self.after}")
                self.after = given.offset
                self.attempts = 0
                return "reading", Read()
            case Finished():
                return "ended", Stop()
            case Dropped():
                return self._dropped(given)
            case Waited():
                return ("resuming", Get(self.after)) if self.begun else ("asking", Post())
            case Exists():
                if self.attempts == 0:
                    return "failed", Stop()  # nobody has asked for it here before: it is another's
                self.begun = self._answered = True
                return "resuming", Get(self.after)
            case Refused():
                return "failed", Stop()
            case Left():
                return "detached", Stop()
            case _:
                assert_never(given)

    def _dropped(self, drop: Dropped) -> tuple[State, Action]:
        bounds = self._bounds
        self._answered = self._answered or drop.answered
        if self._away_since_ns is None:
            self._away_since_ns = drop.now_ns
        left_seconds = bounds.seconds - (drop.now_ns - self._away_since_ns) / 1e9
        most = min(bounds.longest_delay_seconds, bounds.first_delay_seconds * 2.0 ** min(self.attempts, 60))
        self.attempts += 1
        if self.attempts >= (bounds.attempts if self._answered else min(bounds.knocks, bounds.attempts)):
            return "failed", Stop()
        if left_seconds <= 0 or drop.retry_after_seconds > left_seconds:
            return "failed", Stop()
        # Full jitter: readers that one drop has thrown off do not come back all at once.
        return "waiting", Wait(min(left_seconds, max(drop.retry_after_seconds, most * drop.chance)))
