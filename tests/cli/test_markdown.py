"""The answer as styled markdown at a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from tests.cli.conftest import DEADLINE_SECONDS, HEADRACE, Command, Upstream, delta, finish

from headrace.cli.markdown import MarkdownOutput, split_finished
from headrace.events import TextDelta
from headrace.testing.clock import ManualClock

Upstreams = Callable[..., Upstream]

PIECES = [
    *(
        "A line.",
        "\n",
        "\n\n",
        "\t",
        " ",
        "東京 ",
        "*bold*",
        "# Title\n",
        "---\n",
        "===\n",
        "<div>\n",
        "[x]: http://y\n",
    ),
    *("```python\n", "```\n", "    indented\n", "- item\n", "1. one\n", "> quoted\n"),
    *("| a | b |\n|---|---|\n", "| 1 | 2 |\n"),
]


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(text))


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_cutting_off_finished_blocks_loses_nothing_and_changes_nothing(pieces: list[str]) -> None:
    text, printed, tail = "", "", ""
    for piece in pieces:
        text += piece
        tail += piece
        finished, tail = split_finished(tail)
        printed += finished
    assert printed + tail == text
    if "[x]:" not in text:  # a reference defined in one block means nothing in another, which is a price worth paying
        assert re.sub(r"\s+", "", rendered(printed) + rendered(tail)) == re.sub(r"\s+", "", rendered(text))


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("one line", ""),
        ("one\n\ntwo", "one\n\n"),
        ("- a\n\n- b", ""),
        ("- a\n\nafter", "- a\n\n"),
        ("```\na\n\nb\n", ""),
        ("```\na\n```\n", ""),
        ("```\na\n```\nb", "```\na\n```\n"),
        ("# T\ntext", "# T\n"),
    ],
)
def test_a_block_is_finished_when_another_has_begun(text: str, finished: str) -> None:
    assert split_finished(text) == (finished, text[len(finished) :])


ANSWER = "# Title\n\nSome *styled* text.\n\n```python\nprint(1)\n```\n\n- one\n- two\n\nThe end."


@pytest.mark.parametrize("stream", [True, False])
def test_every_block_is_printed_once(stream: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=20, color_system=None, _environ={})
    clock = ManualClock()
    output = MarkdownOutput(console, clock, stream=stream)
    for character in ANSWER:
        clock.advance(0.05)
        output.feed([], [TextDelta(character)])
    output.finish()
    assert isinstance(console.file, io.StringIO)
    shown = on_screen(console.file.getvalue())
    blocks = [line.strip("┃ ") for line in shown if not set(line) <= set("┏━┓┗┛")]
    assert blocks == ["Title", "Some styled text.", "print(1)", "• one", "• two", "The end."]


class Screen:
    """As much of a terminal as the live display uses: line ends, going up, and clearing a line."""

    def __init__(self) -> None:
        self._rows = [""]
        self._row = 0

    def feed(self, text: str) -> None:
        for part in re.split(r"(\x1b\[[?0-9;]*[a-zA-Z]|\r|\n)", text):
            if part == "\n":
                self._row += 1
                if self._row == len(self._rows):
                    self._rows.append("")
            elif part == "\x1b[1A":
                self._row -= 1
            elif part == "\x1b[2K":
                self._rows[self._row] = ""
            elif not part.startswith("\x1b") and part != "\r":
                self._rows[self._row] += part

    def lines(self) -> list[str]:
        return self._rows


def on_screen(sent: str) -> list[str]:
    """The lines a terminal shows that was sent this."""
    screen = Screen()
    screen.feed(sent)
    return [line.strip() for line in screen.lines() if line.strip()]


def at_a_terminal(
    command: Command, upstream: Upstream, *arguments: str, interrupt_at: bytes = b"", **variables: str
) -> tuple[int, str]:
    """Exit code and what a terminal was sent. Ctrl-C is pressed once `interrupt_at` is on it."""
    settings = command.settings(upstream.toml)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [HEADRACE, "ask", "--config", settings, "-m", "lab/m", "-q", "hi", *arguments],
        cwd=command.folder,
        env=command.environment(**variables),
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break  # the terminal of a process that has ended
        shown += piece
        if interrupt_at and interrupt_at in shown:
            process.send_signal(signal.SIGINT)
            interrupt_at = b""
    notices = process.communicate(timeout=DEADLINE_SECONDS)[1]
    os.close(master)
    assert b"Traceback" not in notices
    return process.returncode, shown.decode().replace("\r\n", "\n")


def test_at_a_terminal_the_answer_is_styled(command: Command, upstreams: Upstreams) -> None:
    code, shown = at_a_terminal(command, upstreams(delta("Some **bold** text."), finish()))
    assert code == 0
    assert "\x1b[1mbold\x1b[0m" in shown
    assert "**" not in shown


def test_a_simple_terminal_gets_bare_text_without_escape_sequences(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("**bold** \x1b]0;mine\x07 text\r\x9b2J"), finish())
    code, shown = at_a_terminal(command, upstream, TERM="dumb")
    assert (code, shown) == (0, "**bold** ]0;mine text2J\n")


def test_what_a_model_writes_cannot_steer_the_terminal(command: Command, upstreams: Upstreams) -> None:
    _, shown = at_a_terminal(command, upstreams(delta("a\x1b]0;mine\x07b \x1b[2Jc"), finish()))
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown


def test_the_tail_is_shown_before_the_upstream_goes_on(command: Command, upstreams: Upstreams) -> None:
    never = threading.Event()
    upstream = upstreams(delta("first words"), never, finish())
    code, shown = at_a_terminal(command, upstream, interrupt_at=b"first words")
    never.set()
    assert code == 130
    assert "first words" in on_screen(shown), "the tail stays"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is given back"


def test_ctrl_c_leaves_the_unfinished_paragraph_to_be_read(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("A whole paragraph.\n\n"), delta("And half of"), hang=True)
    code, shown = at_a_terminal(command, upstream, interrupt_at=b"And half of")
    assert code == 130
    assert on_screen(shown) == ["A whole paragraph.", "And half of"]


def test_ctrl_c_shows_nothing_that_was_held_back() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, _environ={})
    output = MarkdownOutput(console, ManualClock(), stream=False)
    output.feed([], [TextDelta("held back")])
    output.close()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""
