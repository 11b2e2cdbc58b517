"""`headrace settings`: every setting with its value and where it came from, and which files of a folder are trusted."""

from __future__ import annotations

from collections.abc import Sequence

import click

from headrace.cli import environment
from headrace.errors import SettingsError
from headrace.settings.listing import Setting, listed
from headrace.wire import json_text


@click.group("settings", invoke_without_command=True)
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: name, value and origin of each.")
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
@click.pass_context
def settings(context: click.Context, origin: bool, as_json: bool, config: tuple[str, ...]) -> None:
    """Show every setting and its value.

    Flag, then HEADRACE_* variable (and .env), then ./headrace.toml, then the user's file, then default.
    """
    if context.invoked_subcommand is not None:
        return
    found = listed(environment.read(config).settings({}))
    if as_json:
        click.echo(json_text.encode({each.name: {"value": each.value, "origin": each.origin} for each in found}))
    else:
        click.echo(text(found, origin=origin))


@settings.command("trust")
@click.option("--forget", is_flag=True, help="Trust them no more.")
def trust(forget: bool) -> None:
    """Trust this folder's headrace.toml and .env as they are now.

    A file that is trusted may decide where keys go and who may come in (base_url, api_key_env, keys, auth …), and a
    trusted .env may hold keys. When it changes, it is a stranger again until it is trusted anew.
    """
    found = environment.candidates()
    if not found:
        raise SettingsError("there is no headrace.toml and no .env here; settings trust is about files of this folder")
    for candidate in found:
        origin = candidate.document.origin
        if forget:
            environment.distrust(candidate)
            click.echo(f"{origin} is not trusted")
        else:
            sets = candidate.sets()  # what cannot be read as settings is refused before it is trusted
            environment.trust(candidate)
            click.echo(f"{origin} is trusted as it is now. It sets {', '.join(sets) or 'nothing that needs trust'}")


def text(found: Sequence[Setting], *, origin: bool) -> str:
    """The settings as lines for people."""
    values = [_value(each.value) for each in found]
    name_width = max(len(each.name) for each in found)
    value_width = max(map(len, values))
    lines = []
    for each, value in zip(found, values, strict=True):
        line = (
            f"{each.name:{name_width}} = {value:{value_width}}  # {each.origin}" if origin else f"{each.name} = {value}"
        )
        lines.append(line)
    return "\n".join(lines)


def _value(value: object) -> str:
    return "(none)" if value is None else json_text.encode(value).decode("utf-8")
