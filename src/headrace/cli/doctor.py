"""`headrace doctor`: looks this machine over, and says what is broken and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import requires
from typing import TYPE_CHECKING

import click

from headrace.cli import environment
from headrace.cli.answers import server_here
from headrace.cli.exits import CHECK, DONE
from headrace.clock import Clock
from headrace.errors import SettingsError, StoreInUse
from headrace.settings import Settings, StoreSettings
from headrace.wire import json_text

if TYPE_CHECKING:
    from headrace.cli.examination import Finding

_MARKS = {"ok": "ok", "note": "note", "broken": "BROKEN"}


@click.command("doctor")
@click.option("--probe", is_flag=True, help="Ask every upstream that can be for one real token; may cost money.")
@click.option("--json", "as_json", is_flag=True, help="The same facts as one JSON object.")
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
def doctor(probe: bool, as_json: bool, config: tuple[str, ...]) -> int:
    """Check this machine: versions, settings, store, clock, upstreams.

    Nothing but an Ollama on this machine is called, unless --probe is given. Exit code 7 where something is broken.
    """
    found = asyncio.run(_examine(config, probe=probe))
    broken = sum(each.state == "broken" for each in found)
    if as_json:
        click.echo(json_text.encode({"healthy": not broken, "findings": found}))
    else:
        click.echo(text(found))
    return CHECK if broken else DONE


async def _examine(config: Sequence[str], *, probe: bool) -> list[Finding]:
    from headrace.cli import examination, inventory
    from headrace.cli.examination import Finding
    from headrace.clock import SystemClock
    from headrace.providers.catalogue import SERVICES
    from headrace.server.discovery import discover
    from headrace.server.wiring import open_house

    clock = SystemClock()
    found = examination.versions(requires("headrace") or ())
    settings, variables = Settings(), {}
    try:
        surroundings = environment.read(config)
        resolved = surroundings.settings({})
        settings, variables = resolved.settings, dict(surroundings.with_keys(resolved.settings))
        found.append(examination.settings(resolved, surroundings.documents, str(environment.user_file())))
        keys = [each.api_key_env for each in SERVICES if each.api_key_env]
        for name in environment.unused_keys(surroundings, keys):
            words = f"./.env sets {name}, which is not used until it is trusted: headrace settings trust"
            found.append(Finding("settings", "note", words))
    except SettingsError as error:
        found.append(Finding("settings", "broken", error.message))
    try:
        rows = (await inventory.of_this_process(settings, variables)).upstreams
        discovered = (await discover(settings, variables)).settings
    except SettingsError as error:
        found.append(Finding("settings", "broken", error.message))
        rows, discovered = [], Settings()
    before_ns = clock.monotonic_ns()
    async with open_house(discovered, variables) as house:
        found.append(await _store(settings.store, house.runs.identifiers.new(), clock))
        found.append(examination.clock(clock.unix_ns(), before_ns, clock.monotonic_ns()))
        here = await server_here()
        found.append(Finding("server", "ok", "none on the usual port" if here is None else f"one answers at {here}"))
        found += examination.upstreams(rows)
        if probe:
            found += await examination.probe(house, rows)
    return found


async def _store(settings: StoreSettings, stream_id: str, clock: Clock) -> Finding:
    from headrace.cli import examination
    from headrace.cli.examination import Finding
    from headrace.server.wiring import open_store, store_path

    where = settings.kind if settings.kind == "memory" else f"{settings.kind} {store_path(settings)}"
    try:
        store = open_store(settings, clock)
    except StoreInUse as error:
        return Finding("store", "ok", f"{where}: process {error.holder} keeps its streams there; it was not tried")
    except SettingsError as error:
        return Finding("store", "broken", error.message)
    try:
        return await examination.store(store, where, stream_id, clock)
    finally:
        await store.close()


def text(found: Sequence[Finding]) -> str:
    """The findings as lines for people."""
    width = max(len(each.name) for each in found)
    lines = [f"{_MARKS[each.state]:6}  {each.name:{width}}  {each.detail}" for each in found]
    broken = sum(each.state == "broken" for each in found)
    return "\n".join([*lines, f"{broken} broken" if broken else "nothing is broken"])
