"""`headrace watch`, `ps`, `cancel`, `replay` and `ask --resume`: the streams of a server, from a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import pytest
from tests.cli.conftest import DEADLINE_SECONDS, Command, Server, Upstream, delta, finish

from headrace import Client
from headrace.client import Stream

Upstreams: TypeAlias = Callable[..., Upstream]
Serve: TypeAlias = Callable[..., Server]
UNKNOWN = "0123456789abcdef0123456789abcdef"


@contextmanager
def started(server: Server, model: str = "offline") -> Iterator[Stream]:
    """A stream that goes on when the block is left."""
    with (
        Client(server.url) as client,
        client.stream("What is an offset?", model=model, on_exit="detach") as stream,
    ):
        yield stream


def ended(server: Server) -> Stream:
    """A stream that has ended."""
    with started(server) as stream:
        for _ in stream:
            pass
    return stream


def read_until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    assert process.stdout is not None
    read = b""
    while not read.endswith(text):
        piece = process.stdout.read(1)
        assert piece, (read, process.communicate())
        read += piece
    return read


@pytest.mark.parametrize("words", [["watch"], ["replay"], ["ask", "--resume"]])
def test_a_stream_is_read_from_its_beginning_to_its_end(command: Command, serve: Serve, words: list[str]) -> None:
    server = serve()
    stream = ended(server)
    shown = command.run(*words, stream.id, "--url", server.url)
    assert (shown.returncode, shown.stdout.rstrip("\n")) == (0, stream.final.text.rstrip("\n"))
    assert "tokens" in shown.stderr
    quiet = command.run(*words, stream.id, "-q", HEADRACE_URL=server.url)
    assert (quiet.stdout, quiet.stderr) == (shown.stdout, "")
    whole = json.loads(command.run(*words, stream.id, "--json", "--url", server.url).stdout)
    assert (whole["content"], whole["stream_id"]) == (stream.final.text, stream.id)
    kinds = [json.loads(line)["type"] for line in
             command.run(*words, stream.id, "--ndjson", "--url", server.url).stdout.splitlines()]  # fmt: skip
    assert (kinds[0], kinds[-2:]) == ("start", ["done", "metadata"])


def test_ctrl_c_in_watch_only_leaves_and_tells_how_to_read_on(
    command: Command, serve: Serve, upstreams: Upstreams
) -> None:
    go_on = threading.Event()
    upstream = upstreams(delta("Once"), delta(" upon"), go_on, delta(" a time."), finish())
    server = serve("--config", command.settings(upstream.toml))
    with started(server, "lab/m") as stream:
        assert next(stream.text) == "Once"
        watched = command.start("watch", stream.id, "--url", server.url)
        assert read_until(watched, b" upon") == b"Once upon"
        watched.send_signal(signal.SIGINT)
        _, said = watched.communicate(timeout=DEADLINE_SECONDS)
        assert watched.returncode == 130
        (line,) = (line for line in said.decode().splitlines() if line.startswith("to read on: headrace watch"))
        assert not upstream.closed.is_set(), "the stream goes on"
        go_on.set()
        rest = command.run(*line.removeprefix("to read on: headrace ").split())
        assert (rest.returncode, rest.stdout) == (0, " a time.\n")


def test_ctrl_c_in_ask_resume_cancels_as_it_does_in_ask(command: Command, serve: Serve, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("Once"), hang=True)
    server = serve("--config", command.settings(upstream.toml))
    with started(server, "lab/m") as stream:
        asked = command.start("ask", "--resume", stream.id, "--url", server.url)
        read_until(asked, b"Once")
        asked.send_signal(signal.SIGINT)
        asked.communicate(timeout=DEADLINE_SECONDS)
        assert asked.returncode == 130
        assert upstream.closed.wait(DEADLINE_SECONDS)


def test_a_stream_that_did_not_end_well_is_shown_and_its_exit_code_says_so(
    command: Command, serve: Serve, upstreams: Upstreams
) -> None:
    upstream = upstreams(delta("half an answer"), hang=True)
    server = serve("--config", command.settings(upstream.toml))
    with started(server, "lab/m") as stream:
        assert next(stream.text) == "half an answer"
        cancelled = command.run("cancel", stream.id, "--url", server.url)
        assert (cancelled.returncode, cancelled.stdout, cancelled.stderr) == (0, "", "cancelled\n")
        assert upstream.closed.wait(DEADLINE_SECONDS)
    shown = command.run("watch", stream.id, "--url", server.url)
    assert (shown.returncode, shown.stdout) == (6, "half an answer\n")
    again = command.run("cancel", stream.id, "--json", "--url", server.url)
    assert json.loads(again.stdout) == {"id": stream.id, "cancelled": True}


def test_cancelling_what_has_ended_changes_nothing_and_says_so(command: Command, serve: Serve) -> None:
    server = serve()
    stream = ended(server)
    cancelled = command.run("cancel", stream.id, "--url", server.url)
    assert (cancelled.returncode, cancelled.stderr) == (0, "it had ended by itself before\n")


def test_ps_lists_what_is_in_progress_newest_first(command: Command, serve: Serve, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("Once"), hang=True)
    server = serve("--config", command.settings(upstream.toml))
    nothing = command.run("ps", "--url", server.url)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "no stream is in progress\n")
    over = ended(server)
    with started(server, "lab/one") as first, started(server, "lab/two") as second:
        assert next(first.text) == next(second.text) == "Once"
        listed = command.run("ps", "--url", server.url).stdout.splitlines()
        assert listed[0].split() == ["id", "model", "state", "events", "readers", "since"]
        assert [line.split()[:3] for line in listed[1:]] == [
            [second.id, "lab/two", "running"],
            [first.id, "lab/one", "running"],
        ]
        told = json.loads(command.run("ps", "--json", "--all", "--url", server.url).stdout)["streams"]
        assert [(each["id"], each["ending"]) for each in told] == [
            (second.id, None),
            (first.id, None),
            (over.id, "stop"),
        ]
        for stream in (first, second):
            stream.cancel()


@pytest.mark.parametrize("words", [["watch", UNKNOWN], ["replay", UNKNOWN], ["cancel", UNKNOWN], ["ps"]])
def test_no_server_and_no_stream_are_told_with_their_exit_codes(
    command: Command, serve: Serve, words: list[str]
) -> None:
    nobody = command.run(*words, "--url", "http://127.0.0.1:1")
    assert nobody.returncode == 4
    assert "Start one: headrace serve --port 1" in nobody.stderr
    if words != ["ps"]:
        unknown = command.run(*words, "--url", serve().url)
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert "stream" in unknown.stderr


def test_a_file_of_events_is_replayed_without_any_server(command: Command) -> None:
    recorded = command.run("ask", "--ndjson", "What is an offset?")
    (command.folder / "recorded.ndjson").write_text(recorded.stdout, encoding="utf-8")
    shown = command.run("replay", "recorded.ndjson")
    assert (shown.returncode, shown.stdout) == (0, command.run("ask", "-q", "What is an offset?").stdout)
    assert command.run("replay", "--ndjson", "recorded.ndjson").stdout == recorded.stdout


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("<html>\n", 2, "line 1: no event of a stream"),
        ("[" * 20_000, 2, "line 1: no event of a stream"),
        ('{"type":"token","content":"half"}\n', 6, "its end is missing"),
        ("", 1, "there is nothing to read"),
    ],
)
def test_a_file_that_is_no_whole_record_is_told_apart(command: Command, text: str, code: int, said: str) -> None:
    (command.folder / "recorded").write_text(text, encoding="utf-8")
    shown = command.run("replay", "recorded")
    assert shown.returncode == code
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_file_that_is_missing_is_not_looked_for_at_a_server(command: Command) -> None:
    shown = command.run("replay", "folder/nothing.ndjson")
    assert (shown.returncode, "there is no file folder/nothing.ndjson" in shown.stderr) == (2, True)


def test_watching_behind_an_offset_cannot_tell_the_whole(command: Command) -> None:
    assert "leave --after out" in command.run("watch", UNKNOWN, "--after", "3", "--json").stderr
    assert command.run("ask", "--resume", UNKNOWN, "and a question").returncode == 2


def test_a_shell_completes_the_ids_of_streams_and_says_nothing_where_there_is_no_server(
    command: Command, serve: Serve
) -> None:
    server = serve()
    stream = ended(server)

    def completed(words: str, url: str) -> tuple[list[str], str]:
        told = command.run(
            _HEADRACE_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(words.count(" ")),
            HEADRACE_URL=url,
        )
        return [line.partition(",")[2] for line in told.stdout.splitlines() if line], told.stderr

    for words in ("headrace watch ", f"headrace cancel {stream.id[:4]}", "headrace replay ", "headrace ask --resume "):
        assert completed(words, server.url) == ([stream.id], "")
    assert completed("headrace watch zz", server.url) == ([], "")
    assert completed("headrace watch ", "http://127.0.0.1:1") == ([], "")
