"""`headrace keys`: the keys that readers come with, made and revoked, and those that upstreams are asked with."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from headrace.cli import environment
from headrace.cli.exits import say
from headrace.clock import SystemClock, utc_timestamp
from headrace.keys.database import KeptKey, KeyDatabase
from headrace.settings import KeySettings
from headrace.wire import json_text

LIMITS = ("max_streams", "max_readers", "requests_per_minute")


@click.group("keys")
def keys() -> None:
    """Make, list and revoke the keys of readers, and set those of upstreams.

    A server that runs with --auth needs no restart to let a new key in, or to end what a revoked one began.
    """


@keys.command("create")
@click.argument("owner")
@click.option("--max-streams", type=click.IntRange(1), metavar="N", help="The most streams in progress at once.")
@click.option("--max-readers", type=click.IntRange(1), metavar="N", help="The most answers read at once.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="The most requests in any minute.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the key in it.")
def create(
    owner: str, max_streams: int | None, max_readers: int | None, requests_per_minute: int | None, as_json: bool
) -> None:
    """Make a key for OWNER and print it, once: only its hash is kept.

    Whoever has it reads and cancels the streams of OWNER, and of nobody else. One owner may have several keys.
    """
    check_name(owner)
    database = KeyDatabase(environment.keys_file())
    key, kept = database.create(
        owner,
        SystemClock().unix_ns(),
        max_streams=max_streams,
        max_readers=max_readers,
        requests_per_minute=requests_per_minute,
    )
    if as_json:
        click.echo(json_text.encode({"key": key, **described(kept)}))
        return
    say(f"the key of {owner}, shown once; to take it back: headrace keys revoke {kept.id}")
    click.echo(key)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a key, in a list.")
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
def show(as_json: bool, config: tuple[str, ...]) -> None:
    """List the keys of readers: how each begins, its owner, when it was made, its limits. Never a key.

    Keys of the settings are listed too; they are taken back by taking them out of their file.
    """
    settings = environment.read(config).settings({}).settings
    kept = KeyDatabase(environment.keys_file()).all()
    rows = [described(each) for each in kept] + [described_setting(each) for each in settings.keys]
    if as_json:
        click.echo(json_text.encode(rows))
    elif rows:
        click.echo(text(rows))
    else:
        say("there is no key. Make one: headrace keys create me")


@keys.command("revoke")
@click.argument("key")
def revoke(key: str) -> None:
    """Take a key back. KEY is how it begins, as `headrace keys list` shows it.

    A running server cancels the answers that are being made for it, and closes its readers, within a second.
    """
    revoked = KeyDatabase(environment.keys_file()).revoke(key)
    click.echo(f"{revoked.id}… of {revoked.settings.owner} is revoked")


@keys.command("set")
@click.argument("upstream")
@click.option("--forget", is_flag=True, help="Keep it no more.")
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
def set_key(upstream: str, forget: bool, config: tuple[str, ...]) -> None:
    """Keep the key that UPSTREAM is asked with, such as groq or openai.

    The key is asked for without being shown, or read from stdin. It is kept in a file that nobody else can read, and
    used where the variable of the upstream is not set. A server that is running uses it when it is started again.
    """
    from headrace.cli import upstream_keys

    variable = upstream_keys.variable_of(upstream, environment.read(config).settings({}).settings)
    if forget:
        upstream_keys.keep(variable, None)
        click.echo(f"the key of {upstream} is forgotten")
        return
    if sys.stdin.isatty():
        text = click.prompt(f"key of {upstream}", hide_input=True, err=True)
    else:
        text = sys.stdin.read(upstream_keys.MOST_BYTES)
    upstream_keys.keep(variable, upstream_keys.checked(text, "what was given"))
    click.echo(f"the key of {upstream} is kept in {upstream_keys.file_of_keys()}, and used where {variable} is not set")


def check_name(owner: str) -> None:
    """Returns where `owner` may be one.

    Raises:
        UsageError: it holds a space or a slash, or nothing.
    """
    if not owner or any(character.isspace() or character == "/" for character in owner) or not owner.isprintable():
        raise click.UsageError("an owner is a name without spaces and slashes, as in: headrace keys create ann")


def described(kept: KeptKey) -> dict[str, object]:
    """A key as lists show it."""
    return {
        "id": kept.id,
        "owner": kept.settings.owner,
        "created_at": utc_timestamp(kept.created_ns),
        **limits_of(kept.settings),
    }


def described_setting(settings: KeySettings) -> dict[str, object]:
    """A key of the settings, whose beginning nobody knows."""
    return {"id": f"sha256:{settings.hash[:8]}", "owner": settings.owner, "created_at": None, **limits_of(settings)}


def limits_of(settings: KeySettings) -> dict[str, object]:
    """The limits that a key has."""
    return {name: getattr(settings, name) for name in LIMITS}


def text(rows: Sequence[dict[str, object]]) -> str:
    """The keys as lines for people."""
    cells = [["begins", "owner", "made", "limits"]]
    for row in rows:
        limits = [f"{row[name]} {name.removeprefix('max_').replace('_', ' ')}" for name in LIMITS if row[name]]
        made = str(row["created_at"] or "in the settings").partition(".")[0].replace("T", " ")
        cells.append([str(row["id"]), str(row["owner"]), made, ", ".join(limits) or "none"])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)
