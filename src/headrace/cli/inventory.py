"""Which models and upstreams there are, and how they are: as a running server knows them, or as they would be here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from headrace.client.looking import look
from headrace.errors import HeadraceError
from headrace.runs import Upstream
from headrace.server.discovery import discover, missing_key
from headrace.server.wiring import OFFLINE, open_house
from headrace.settings import Settings

LISTING_SECONDS = 10.0
"""How long an upstream may take to list its models."""

State: TypeAlias = Literal["well", "ready", "unused", "unwell", "key_missing"]
"""How an upstream is, the best first: it answered last time; it always does; it was not asked yet; it did not do its
part last time; its key is not set."""

WORDS: Mapping[State, str] = {
    "well": "well",
    "ready": "ready",
    "unused": "not called until used",
    "unwell": "unwell",
    "key_missing": "key missing",
}
_BEST_FIRST: Sequence[State] = tuple(WORDS)


class UpstreamRow(msgspec.Struct, frozen=True):
    """One upstream."""

    name: str
    state: State
    where: str | None = None
    """Its address, or the variable of its key; `None`: the server does not tell."""
    detail: str | None = None
    """What was found, or what went wrong."""
    models: Sequence[str] | None = None
    """What it calls its models, where it was asked."""


class ModelRow(msgspec.Struct, frozen=True):
    """One model that readers may ask for."""

    name: str
    upstreams: Sequence[str]
    """`upstream/model` in the order they are tried; from a server only the first one's name."""
    state: State
    """That of the best of its upstreams."""


class Inventory(msgspec.Struct, frozen=True):
    """All of it."""

    source: str
    """The URL of the server that said so, or `this process`."""
    models: Sequence[ModelRow]
    upstreams: Sequence[UpstreamRow]


async def of_this_process(settings: Settings, environment: Mapping[str, str], *, ask: bool = False) -> Inventory:
    """What a server with these settings would have. Nothing but an Ollama on loopback is called, unless `ask` is true:
    then every upstream that can be is asked for its models.

    Raises:
        SettingsError: an upstream or a model cannot be what they say.
    """
    discovery = await discover(settings, environment)
    async with open_house(discovery.settings, environment) as house:
        known = house.runs.models
        answers: dict[str, UpstreamRow] = {}
        if ask:
            usable = [
                each
                for name, each in known.upstreams.items()
                if missing_key(f"{name}/", discovery.settings, environment) is None
            ]
            answers = {row.name: row for row in await asyncio.gather(*map(_asked, usable))}
        rows = []
        for found in discovery.rows:
            if found.name == OFFLINE:
                row = UpstreamRow(found.name, "ready", found.where)
            elif found.name not in known.upstreams or missing_key(f"{found.name}/", discovery.settings, environment):
                row = UpstreamRow(found.name, "key_missing", found.where, found.state)
            else:
                row = UpstreamRow(found.name, "unused", found.where, found.state)
            if (answer := answers.get(found.name)) is not None:
                row = msgspec.structs.replace(answer, where=found.where)
            rows.append(row)
        states = {row.name: row.state for row in rows}
        models = [
            ModelRow(
                name,
                [f"{each.upstream.name}/{each.model}" for each in known.named[name]],
                _best([states[each.upstream.name] for each in known.named[name]]),
            )
            for name in known.named
        ]
    return Inventory("this process", models, rows)


async def _asked(upstream: Upstream) -> UpstreamRow:
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            models = await upstream.provider.models()
    except TimeoutError:
        return UpstreamRow(upstream.name, "unwell", detail=f"no answer within {LISTING_SECONDS:g} s")
    except HeadraceError as error:
        return UpstreamRow(upstream.name, "unwell", detail=error.message)
    return UpstreamRow(upstream.name, "well", models=list(models))


class _Model(msgspec.Struct):
    id: str
    owned_by: str = ""


class _Models(msgspec.Struct):
    data: list[_Model]


class _Upstream(msgspec.Struct):
    name: str
    state: Literal["unused", "well", "unwell"] = "unused"
    detail: str | None = None


class _Health(msgspec.Struct):
    service: str
    upstreams: list[_Upstream] = []


async def of_server(url: str, key: str | None) -> Inventory:
    """What the server at `url` says in `/v1/models` and `/health`. No upstream is called for it.

    Raises:
        UpstreamUnreachable: nothing answers there.
        HeadraceError: the server refused, or is no headrace server.
    """
    listed, health = await asyncio.gather(
        look(url, "/v1/models", _Models, key=key), look(url, "/health", _Health, key=key)
    )
    rows = [
        UpstreamRow(
            each.name, "ready" if each.name == OFFLINE and each.state == "unused" else each.state, None, each.detail
        )
        for each in health.upstreams
    ]
    states = {row.name: row.state for row in rows}
    models = [ModelRow(each.id, [each.owned_by], states.get(each.owned_by, "unused")) for each in listed.data]
    return Inventory(url, models, rows)


def _best(states: Sequence[State]) -> State:
    return min(states, key=_BEST_FIRST.index)
