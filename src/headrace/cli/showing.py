"""The form in which a command shows an answer: its options, and the answer shown so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from headrace.cli.answers import Answer
from headrace.cli.exits import DONE
from headrace.cli.following import follow
from headrace.cli.notices import Notices
from headrace.cli.printing import EventOutput, ObjectOutput, Output, Sink, TextOutput
from headrace.clock import SystemClock

C = TypeVar("C", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="One JSON object with the answer, its sources and its usage."),
    click.option("--ndjson", is_flag=True, help="The stream's events, one JSON object a line."),
    click.option(
        "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to FILE, not to stdout."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors."),
)


def shown_as_wanted(command: C) -> C:
    """Gives a command the options that say in which form its answer is shown."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Shown:
    """The form that was asked for.

    Raises:
        click.UsageError: there is no such form.
    """

    def __init__(self, *, as_json: bool, ndjson: bool, output: Path | None, quiet: bool, stream: bool = True) -> None:
        if as_json and ndjson:
            raise click.UsageError("--json and --ndjson exclude each other")
        if output is not None and not output.absolute().parent.is_dir():
            raise click.UsageError(f"--output: there is no folder {output.absolute().parent}")
        self.as_json = as_json
        self.ndjson = ndjson
        self.output = output
        self.quiet = quiet
        self.stream = stream

    def form(self, sink: Sink) -> Output:
        """What writes an answer to `sink`."""
        if self.as_json:
            return ObjectOutput(sink)
        if self.ndjson:
            return EventOutput(sink)
        terminal = self.output is None and sys.stdout.isatty()
        if terminal:
            # rich costs 80 ms, which nobody pays who writes into a pipe.
            from headrace.cli.markdown import MarkdownOutput, markdown_console

            if (console := markdown_console()) is not None:
                return MarkdownOutput(console, SystemClock(), stream=self.stream)
        return TextOutput(sink, stream=self.stream, terminal=terminal)


async def show(answer: Answer, shown: Shown) -> int:
    """Shows the answer to its end; gives the exit code.

    Raises:
        HeadraceError: it broke off before it began.
        click.ClickException: it cannot be written.
    """
    return await show_all([answer], shown)


async def show_all(answers: Iterable[Answer], shown: Shown) -> int:
    """Shows answers one after the other, as text with an empty line between; gives the first exit code that is not 0.

    Raises:
        HeadraceError: one broke off before it began.
        click.ClickException: one cannot be written.
    """
    sink = Sink(sys.stdout.buffer, shown.output)
    codes: list[int] = []
    try:
        for answer in answers:
            if codes and not shown.as_json and not shown.ndjson:
                sink.write(b"\n")
            codes.append(await follow(answer, shown.form(sink), Notices(quiet=shown.quiet)))
        return next((code for code in codes if code), DONE)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"the answer cannot be written: {error.strerror}") from error
    finally:
        sink.close()
