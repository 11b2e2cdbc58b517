"""Words typed by people: the `headrace` command.

Floor 6. May import every floor; click at the top, and anything dear only where it is used, because imports decide how
a command feels. Each command is a file of its own, imported when it is typed.
"""

from __future__ import annotations

import sys
from typing import Any

import click

import headrace
from headrace.cli.exits import EXIT_CODES, ending, told_apart

COMMANDS = {
    "ask": ("headrace.cli.ask", "ask"),
    "run": ("headrace.cli.ask", "ask"),
    "serve": ("headrace.cli.serve", "serve"),
    "demo": ("headrace.cli.demo", "demo"),
    "watch": ("headrace.cli.watch", "watch"),
    "ps": ("headrace.cli.ps", "ps"),
    "cancel": ("headrace.cli.cancel", "cancel"),
    "replay": ("headrace.cli.replay", "replay"),
    "ingest": ("headrace.cli.ingest", "ingest"),
    "torture": ("headrace.cli.torture", "torture"),
    "models": ("headrace.cli.models", "models"),
    "keys": ("headrace.cli.keys", "keys"),
    "doctor": ("headrace.cli.doctor", "doctor"),
    "settings": ("headrace.cli.settings", "settings"),
}
"""Every command: the file it is in and its name there. `run` is another word for `ask`."""

COMPLETION = {
    "bash": 'eval "$(_HEADRACE_COMPLETE=bash_source headrace)"  in ~/.bashrc',
    "zsh": 'eval "$(_HEADRACE_COMPLETE=zsh_source headrace)"  in ~/.zshrc',
    "fish": "_HEADRACE_COMPLETE=fish_source headrace | source  in ~/.config/fish/config.fish",
}
"""For each shell, the line that makes it complete what is typed, and where it belongs."""


class _Commands(click.Group):
    """The commands, each imported when it is needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [name for name in COMMANDS if name != "run"]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        import importlib

        module, attribute = COMMANDS[name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with told_apart():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with told_apart():
            return super().invoke(ctx)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])
        with formatter.section("Completion"):
            formatter.write_dl(list(COMPLETION.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(headrace.__version__, message="headrace %(version)s")
def group() -> None:
    """Every token of a language model's answer, from any upstream to any number of readers.

    Settings: flag, then HEADRACE_* variable (and .env), then ./headrace.toml, then the user's file, then default.
    """


def main() -> None:
    """Runs what was typed, and ends the process with the exit code of the table in `headrace.cli.exits`."""
    sys.exit(ending(lambda: group.main(prog_name="headrace", standalone_mode=False)))
