"""How long a client waits for a connection, a sign of life, a cancel; and how many connections it may have.

May import httpx2 and the clock.
"""

from __future__ import annotations

import httpx2

from headrace.clock import SystemClock

CONNECT_SECONDS = 5.0
TELLING_SECONDS = 2.0
TELLING_ATTEMPTS = 3
"""Without a pause: to cancel twice is the same as once, and somebody pays for every token until then."""

LOOK_SECONDS = 10.0

HEARTBEAT_SECONDS = 15.0
"""The server's own default."""

HEARTBEATS_MISSED = 4
"""So many in a row: the server, or the way to it, is gone."""

LEAST_SILENCE_SECONDS = 2.0
"""Heartbeats are looked after once a second, however many of them are asked for."""

CLOCK = SystemClock()

LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
"""As many streams at once as somebody wants to read; each is a connection."""


def timeouts(heartbeat_seconds: float) -> httpx2.Timeout:
    """What each read, write and connection may take; no limit to silence where no heartbeats are asked for."""
    silence = max(HEARTBEATS_MISSED * heartbeat_seconds, LEAST_SILENCE_SECONDS) if heartbeat_seconds else None
    return httpx2.Timeout(silence, connect=CONNECT_SECONDS, pool=None)
