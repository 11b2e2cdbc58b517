"""What `headrace doctor` looks at, one finding each: the machine, the settings, the store, the clock, the upstreams."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence
from contextlib import aclosing
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, TypeAlias

import msgspec

import headrace
from headrace.cli.inventory import LISTING_SECONDS, WORDS, UpstreamRow
from headrace.clock import Clock, utc_timestamp
from headrace.errors import HeadraceError
from headrace.events import CONTENT, Ended, Started
from headrace.interfaces import StreamStore
from headrace.requests import GenerationRequest, Message
from headrace.server.house import House
from headrace.settings import Document, Resolved

State: TypeAlias = Literal["ok", "note", "broken"]

MOST_TOKENS = 16
"""The most an upstream is asked for: it is cancelled after the first, but some think before they speak."""
KEEPING_SECONDS = 5.0
_QUESTION = "What is an offset?"

# Most services list more than what chats, in an order of their own; these words are in the names of what does not.
_NOT_FOR_CHAT = ("audio", "dall-e", "embed", "guard", "image", "moderation", "realtime", "rerank", "tts", "whisper")

# What this version was written after; a clock that says less was never set. A certificate is not valid to it, and the
# times of streams are wrong.
_BUILT_NS = 1_763_000_000_000_000_000
_FAR_NS = 4_102_444_800_000_000_000  # the year 2100


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at."""

    name: str
    state: State
    detail: str
    ttft_ms: float | None = None
    """Of an upstream that was asked for a token: how long it took."""


def versions(requirements: Sequence[str]) -> list[Finding]:
    """headrace, Python, the system, and the packages of `requirements` (PEP 508)."""
    found = [
        Finding("headrace", "ok", f"{headrace.__version__}, Python {platform.python_version()}, {platform.platform()}")
    ]
    there: list[str] = []
    missing: list[str] = []
    for requirement in requirements:
        wanted, _, marker = requirement.partition(";")
        name = wanted.partition("[")[0]
        for end in "<>=!~ ":
            name = name.partition(end)[0]
        if "extra" in marker or ("win32" in marker and platform.system() == "Windows"):
            continue
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        words = f"not installed: {', '.join(missing)}. Install headrace again: pip install --force-reinstall headrace"
        return [*found, Finding("packages", "broken", words)]
    return [*found, Finding("packages", "ok", ", ".join(there))]


def settings(resolved: Resolved, documents: Sequence[Document], own: str) -> Finding:
    """The files of settings that were found, and where values came from; `own`: where the user's file would be."""
    origins = sorted(set(resolved.origins.values()))
    names = [f"{each.origin} ({'trusted' if each.trusted else 'not trusted'})" for each in documents]
    words = ", ".join(dict.fromkeys(names)) or f"no file; yours would be {own}"
    count = len(resolved.origins)
    values = (
        f"{count} value{'' if count == 1 else 's'} set, from {', '.join(origins)}" if count else "all at their default"
    )
    return Finding("settings", "ok", f"{words}; {values}")


async def store(store: StreamStore, where: str, stream_id: str, clock: Clock) -> Finding:
    """Whether a stream can be kept in a store, read back and forgotten."""
    owner = "headrace doctor"
    written = (Started(stream_id, "none", clock.unix_ns()), Ended("stop"))
    kept = asyncio.Event()
    try:
        stream = store.create(stream_id, owner, GenerationRequest(model="none", messages=()))
        stream.attach(kept.set)
        stream.append(written)
        async with asyncio.timeout(KEEPING_SECONDS):
            while stream.ended is None:
                await kept.wait()
                kept.clear()
        stream.detach(kept.set)
        read = tuple(store.open(stream_id, owner).read(0, len(written)))
        store.delete(stream_id, owner)
    except HeadraceError as error:
        return Finding("store", "broken", f"{where}: {error.message}")
    except TimeoutError:
        return Finding("store", "broken", f"{where}: a stream was not kept within {KEEPING_SECONDS:g} s")
    if read != written:
        return Finding("store", "broken", f"{where}: what was read back is not what was written")
    return Finding("store", "ok", f"{where}: a stream was kept, read back and forgotten")


def clock(unix_ns: int, before_ns: int, after_ns: int) -> Finding:
    """Whether the clocks can be believed: the wall's time, and two readings of the monotonic one."""
    now = utc_timestamp(unix_ns) if 0 <= unix_ns < _FAR_NS else f"{unix_ns} ns since 1970"
    if not _BUILT_NS < unix_ns < _FAR_NS:
        return Finding(
            "clock", "broken", f"it says {now}, which cannot be: certificates and times will be wrong. Set it"
        )
    if after_ns < before_ns:
        return Finding("clock", "broken", "the monotonic clock went back: timers cannot be trusted on this machine")
    return Finding("clock", "ok", now)


def upstreams(rows: Sequence[UpstreamRow]) -> list[Finding]:
    """What was found, none of it called."""
    return [
        Finding(
            f"upstream {row.name}",
            "note" if row.state == "key_missing" else "ok",
            f"{row.where}: {row.detail or WORDS[row.state]}",
        )
        for row in rows
    ]


async def probe(house: House, rows: Sequence[UpstreamRow]) -> list[Finding]:
    """One real token of every upstream whose key is there, each through a run; all at once."""
    usable = [row.name for row in rows if row.state != "key_missing" and row.name in house.runs.models.upstreams]
    return list(await asyncio.gather(*(_probe(house, name) for name in usable)))


async def _probe(house: House, upstream: str) -> Finding:
    name = f"probe {upstream}"
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            model = await _model_of(house, upstream)
    except TimeoutError:
        return Finding(name, "broken", f"it did not list its models within {LISTING_SECONDS:g} s")
    except HeadraceError as error:
        return Finding(name, "broken", error.message)
    if model is None:
        return Finding(name, "broken", "it lists no models, and no entry of [[models]] names one of it")
    return await _token(house, upstream, model, name)


async def _model_of(house: House, upstream: str) -> str | None:
    """A model to ask it for: one of the settings, else one that it names itself."""
    models = house.runs.models
    for candidates in models.named.values():
        for each in candidates:
            if each.upstream.name == upstream and each.model != "*":
                return each.model
    listed = await models.upstreams[upstream].provider.models()
    chatting = [name for name in listed if not any(word in name.lower() for word in _NOT_FOR_CHAT)]
    return next(iter([*chatting, *listed]), None)


async def _token(house: House, upstream: str, model: str, name: str) -> Finding:
    """Asks for one token. How long that may take is what the settings allow: a cold model is not cut off."""
    request = GenerationRequest(
        f"{upstream}/{model}", (Message("user", _QUESTION),), stream=True, max_tokens=MOST_TOKENS
    )
    stream = await house.start(request)
    try:
        async with aclosing(stream.follow()) as pieces:
            async for _, events in pieces:
                if any(isinstance(event, CONTENT) for event in events):
                    house.cancel(stream)
    finally:
        house.cancel(stream)
    ended = stream.ended
    assert ended is not None
    ttft_ns = None if ended.timing is None else ended.timing.time_to_first_token_ns
    if ttft_ns is not None:
        return Finding(name, "ok", f"{model}: TTFT {ttft_ns / 1e6:.0f} ms", round(ttft_ns / 1e6, 1))
    why = f"it ended ({ended.ending}) without a token" if ended.failure is None else ended.failure.message
    return Finding(name, "broken", f"{model}: {why}")
