"""What a shell is told when somebody presses Tab."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Command

from headrace.cli import COMMANDS, COMPLETION


@pytest.mark.parametrize("shell", COMPLETION)
def test_help_names_the_line_of_each_shell(command: Command, shell: str) -> None:
    told = " ".join(command.run("--help").stdout.split())
    assert f"_HEADRACE_COMPLETE={shell}_source" in told


@pytest.mark.parametrize("shell", ["zsh", "fish"])  # for bash, click starts a bash to ask for its version
def test_the_line_of_a_shell_gives_it_a_script(command: Command, shell: str) -> None:
    told = command.run(_HEADRACE_COMPLETE=f"{shell}_source")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"_HEADRACE_COMPLETE={shell}_complete" in told.stdout


TYPED = [
    ("headrace de", {"demo"}),
    ("headrace ", COMMANDS.keys() - {"run"}),
    ("headrace settings tr", {"trust"}),
    ("headrace models --j", {"--json"}),
]


@pytest.mark.parametrize(("typed", "completions"), TYPED)
def test_commands_and_options_are_completed(command: Command, typed: str, completions: set[str]) -> None:
    place = str(typed.count(" "))
    told = command.run(_HEADRACE_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=place)
    assert (told.returncode, told.stderr) == (0, "")
    assert {line.partition(",")[2] for line in told.stdout.splitlines()} == completions
