"""The answer as styled markdown at a terminal, while it comes.

Finished blocks are printed once into the scrollback and never touched again; the unfinished tail is drawn anew at most
12 times a second. Drawing everything anew for each delta costs 32 ms for 4.4 KB, and takes the scrollback away.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

from headrace.cli.printing import text_of, without_controls
from headrace.clock import Clock
from headrace.events import Event

DRAWINGS_PER_SECOND = 12


class MarkdownOutput:
    """Draws what is said. With `stream` false, all of it at the end."""

    def __init__(self, console: Console, clock: Clock, *, stream: bool) -> None:
        self._console = console
        self._stream = stream
        self._tail = ""
        self._live: Live | None = None
        self._cut_ns = 0
        self._clock = clock
        self._first = True

    def feed(self, records: Sequence[bytes], events: Sequence[Event]) -> None:
        """Draws the text of `events` soon: the drawing is done by the live display, in its own time."""
        text = text_of(events)
        if not text:
            return
        self._tail += without_controls(text)
        if not self._stream:
            return
        # Looking for finished blocks means parsing the tail, so that is done no more often than drawing.
        now = self._clock.monotonic_ns()
        if now - self._cut_ns >= 1e9 / DRAWINGS_PER_SECOND:
            self._cut_ns = now
            finished, rest = split_finished(self._tail)
            if finished:
                self._tail = rest
                self._print(finished)
        if self._live is None:
            self._live = Live(
                _Tail(self), console=self._console, refresh_per_second=DRAWINGS_PER_SECOND, transient=True
            )
            self._live.start()

    def finish(self) -> None:
        """Prints what is left; the live display is gone afterwards."""
        rest, self._tail = self._tail, ""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if rest.strip():
            self._print(rest)

    def close(self) -> None:
        """Prints what the live display shows, which goes away with it: somebody may be reading that."""
        if not self._stream:
            self._tail = ""
        self.finish()

    @property
    def tail(self) -> str:
        """The block that may still grow."""
        return self._tail

    def _print(self, text: str) -> None:
        if not self._first:
            self._console.print()
        self._first = False
        self._console.print(Markdown(text))


class _Tail:
    """The unfinished block as it is at the moment of drawing, its last lines where it is higher than the terminal."""

    def __init__(self, output: MarkdownOutput) -> None:
        self._output = output

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(Markdown(self._output.tail), options, pad=False)
        for line in lines[-max(1, console.size.height - 2) :]:
            yield from line
            yield Segment.line()


def split_finished(text: str) -> tuple[str, str]:
    """The blocks of `text` that no further text can change, and the rest, which begins with the last block.

    A block is finished when another one has begun after it: a list may go on over a blank line, a code block until its
    fence closes, a line of text may yet become a heading.
    """
    starts = [token.map[0] for token in MarkdownIt("commonmark").enable("table").parse(text)
              if token.level == 0 and token.nesting >= 0 and token.map is not None]  # fmt: skip
    if len(starts) < 2:
        return "", text
    lines = text.split("\n")
    cut = len("\n".join(lines[: starts[-1]])) + 1
    return text[:cut], text[cut:]


def markdown_console() -> Console | None:
    """A console on stdout that can be drawn on; `None` where the terminal is too simple, so that text goes out bare."""
    console = Console(file=sys.stdout)
    return console if console.is_terminal and not console.is_dumb_terminal else None
