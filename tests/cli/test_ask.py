"""`headrace ask` as people and scripts run it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import DEADLINE_SECONDS, HEADRACE, Command, Server, Upstream, delta, finish

from headrace.cli.printing import Sink, TextOutput
from headrace.events import TextDelta

Serve = Callable[..., Server]
Upstreams = Callable[..., Upstream]
QUESTION = "What is an offset?"


def lab(command: Command, upstream: Upstream, *more: str) -> list[str]:
    """The arguments that ask this upstream, in process."""
    return ["ask", "--config", command.settings(upstream.toml), "-m", "lab/m", *more]


def test_without_any_settings_the_offline_provider_answers(command: Command) -> None:
    asked = command.run("ask", QUESTION)
    assert asked.returncode == 0
    assert "offset" in asked.stdout.lower()
    assert "(counted)" in asked.stderr


def test_run_is_another_word_for_ask(command: Command) -> None:
    assert command.run("run", "-q", QUESTION).stdout == command.run("ask", "-q", QUESTION).stdout


@pytest.mark.parametrize("way", ["in process", "from a server"])
def test_every_delta_is_flushed_before_the_upstream_sends_the_next(
    command: Command, upstreams: Upstreams, serve: Serve, way: str
) -> None:
    read = [threading.Event() for _ in range(3)]
    upstream = upstreams(delta("one "), read[0], delta("two "), read[1], delta("three"), read[2], finish())
    arguments = lab(command, upstream, QUESTION)
    if way == "from a server":
        server = serve("--config", "settings.toml")
        arguments = ["ask", "--url", server.url, "-m", "lab/m", QUESTION]
    process = command.start(*arguments)
    assert process.stdout is not None
    for text, gate in zip((b"one ", b"two ", b"three"), read, strict=True):
        # Were a delta held back for the next, this read would wait for ever, and the upstream with it.
        assert os.read(process.stdout.fileno(), 100) == text
        gate.set()
    rest, notices = process.communicate(timeout=DEADLINE_SECONDS)
    assert (rest, process.returncode) == (b"\n", 0)
    assert b"2 tokens (reported)" in notices


DEFAULTS: list[tuple[list[str], dict[str, str], str, bool]] = [
    ([], {}, "", True),
    (["--no-stream"], {}, "", False),
    ([], {"HEADRACE_STREAMING": "false"}, "", False),
    ([], {"GROQ_STREAMING": "false"}, "", False),
    ([], {"HEADRACE_STREAMING": "true", "GROQ_STREAMING": "false"}, "", True),
    (["--stream"], {"HEADRACE_STREAMING": "false"}, "", True),
    ([], {}, "HEADRACE_STREAMING=false\n", False),
    ([], {"HEADRACE_STREAMING": "true"}, "HEADRACE_STREAMING=false\n", True),
]


@pytest.mark.parametrize(("flags", "variables", "dotenv", "streams"), DEFAULTS)
def test_t7_flag_then_variable_then_dotenv_then_streaming(
    command: Command, upstreams: Upstreams, flags: list[str], variables: dict[str, str], dotenv: str, streams: bool
) -> None:
    first_read = threading.Event()
    upstream = upstreams(delta("one "), first_read, delta("two"), finish())
    (command.folder / ".env").write_text(dotenv)
    process = command.start(*lab(command, upstream, QUESTION, *flags), variables=variables)
    assert process.stdout is not None
    if not streams:
        first_read.set()  # nobody will read the first before the last is there
    read = os.read(process.stdout.fileno(), 100)
    first_read.set()
    assert read == (b"one " if streams else b"one two\n")
    assert read + process.communicate(timeout=DEADLINE_SECONDS)[0] == b"one two\n"


def test_t7_a_default_that_is_neither_true_nor_false_is_refused(command: Command) -> None:
    asked = command.run("ask", QUESTION, GROQ_STREAMING="perhaps")
    assert (asked.returncode, asked.stderr) == (2, 'GROQ_STREAMING is "perhaps": wants true or false\n')


def asked_messages(upstream: Upstream) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in upstream.requests[0]["messages"]]


def test_a_pipe_on_stdin_is_context(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("ok"), finish())
    command.run(*lab(command, upstream, "review", "this"), stdin="+ a line\n")
    assert asked_messages(upstream) == [("user", "review this\n\n+ a line\n")]


def test_a_file_on_stdin_is_context_and_may_be_the_whole_question(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("ok"), finish())
    (command.folder / "question.txt").write_text("What is 東京?")
    with (command.folder / "question.txt").open("rb") as file:
        process = command.start(*lab(command, upstream), stdin=file.fileno())
        process.communicate(timeout=DEADLINE_SECONDS)
    assert asked_messages(upstream) == [("user", "What is 東京?")]


def test_an_empty_pipe_adds_nothing(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("ok"), finish())
    command.run(*lab(command, upstream, "--system", "Be brief.", "hi"), stdin="")
    assert asked_messages(upstream) == [("system", "Be brief."), ("user", "hi")]


def test_a_silent_pipe_is_explained_after_a_second(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("ok"), finish())
    process = command.start(*lab(command, upstream, "hi"), stdin=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stdin is not None
    assert process.stderr.readline() == b"waiting for context on stdin; </dev/null goes without it\n"
    process.stdin.write(b"late")
    assert process.communicate(timeout=DEADLINE_SECONDS)[0] == b"ok\n"
    assert asked_messages(upstream) == [("user", "hi\n\nlate")]


def test_context_that_is_no_text_is_refused(command: Command) -> None:
    process = command.start("ask", QUESTION, stdin=subprocess.PIPE)
    notices = process.communicate(b"\xff\xfe\x00", timeout=DEADLINE_SECONDS)[1]
    assert (process.returncode, notices) == (2, b"the context on stdin is not UTF-8 text (byte 0)\n")


def test_no_question_at_all_is_refused(command: Command) -> None:
    asked = command.run("ask")
    assert asked.returncode == 2
    assert "ask what?" in asked.stderr


@pytest.mark.parametrize("way", ["in process", "from a server"])
def test_json_is_one_object_with_the_whole_answer(
    command: Command, upstreams: Upstreams, serve: Serve, way: str
) -> None:
    upstream = upstreams(delta("Tokyo is 東京."), finish())
    arguments = lab(command, upstream, QUESTION, "--json")
    if way == "from a server":
        arguments = ["ask", "--url", serve("--config", "settings.toml").url, "-m", "lab/m", QUESTION, "--json"]
    asked = command.run(*arguments)
    (line,) = asked.stdout.splitlines()
    answer = json.loads(line)
    assert (answer["content"], answer["model"], answer["finish_reason"]) == ("Tokyo is 東京.", "lab/m", "stop")
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["source"]) == (7, "reported")
    assert answer["metadata"]["duration_ms"] > 0
    assert "error" not in answer


@pytest.mark.parametrize("way", ["in process", "from a server"])
def test_ndjson_is_the_streams_events(command: Command, upstreams: Upstreams, serve: Serve, way: str) -> None:
    upstream = upstreams(delta("a\n") + delta("b"), finish())
    arguments = lab(command, upstream, QUESTION, "--ndjson")
    if way == "from a server":
        arguments = ["ask", "--url", serve("--config", "settings.toml").url, "-m", "lab/m", QUESTION, "--ndjson"]
    events = [json.loads(line) for line in command.run(*arguments).stdout.splitlines()]
    assert [event["type"] for event in events] == ["start", "token", "token", "done", "metadata"]
    assert [event["content"] for event in events[1:4]] == ["a\n", "b", "a\nb"]


def test_json_and_ndjson_exclude_each_other(command: Command) -> None:
    assert command.run("ask", "--json", "--ndjson", QUESTION).returncode == 2


def test_the_answer_can_go_to_a_file(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("to a file"), finish())
    asked = command.run(*lab(command, upstream, QUESTION, "-o", "answer.txt", "-q"))
    assert (asked.stdout, asked.stderr) == ("", "")
    assert (command.folder / "answer.txt").read_text() == "to a file\n"


@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
@pytest.mark.parametrize(("said", "stdout"), [("a", "a\n"), ("a\n", "a\n"), ("a\n\n", "a\n\n")])
def test_the_answer_ends_its_last_line_once(
    command: Command, upstreams: Upstreams, said: str, stdout: str, flags: list[str]
) -> None:
    assert command.run(*lab(command, upstreams(delta(said), finish()), QUESTION, *flags)).stdout == stdout


def test_ctrl_c_before_anything_was_written_empties_no_file(command: Command) -> None:
    (command.folder / "answer.txt").write_text("an older answer")
    form = TextOutput(Sink(io.BytesIO(), command.folder / "answer.txt"), stream=False, terminal=False)
    form.feed([], [TextDelta("held back")])
    form.close()
    assert (command.folder / "answer.txt").read_text() == "an older answer"


def test_a_failure_before_the_answer_empties_no_file(command: Command, upstreams: Upstreams) -> None:
    (command.folder / "answer.txt").write_text("an older answer")
    upstream = upstreams(b'{"error": {"message": "no"}}', status=400)
    asked = command.run(*lab(command, upstream, QUESTION, "-o", "answer.txt"))
    assert asked.returncode == 1
    assert (command.folder / "answer.txt").read_text() == "an older answer"


def test_a_folder_that_is_missing_is_told_before_anything_is_asked(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("lost"), finish())
    asked = command.run(*lab(command, upstream, QUESTION, "-o", "nowhere/answer.txt"))
    assert asked.returncode == 2
    assert "there is no folder" in asked.stderr
    assert upstream.requests == []


def test_quiet_says_nothing_but_errors(command: Command, upstreams: Upstreams) -> None:
    assert command.run(*lab(command, upstreams(delta("x"), finish()), QUESTION, "-q")).stderr == ""
    broken = command.run(*lab(command, upstreams(b'{"error": {"message": "it is ill"}}', status=400), QUESTION, "-q"))
    assert "it is ill" in broken.stderr


def test_sources_come_after_the_answer_on_stderr(command: Command) -> None:
    events = [json.loads(line) for line in command.run("ask", QUESTION, "--ndjson").stdout.splitlines()]
    sources = [source for event in events if event["type"] == "sources" for source in event["sources"]]
    assert sources
    lines = command.run("ask", QUESTION).stderr.splitlines()
    expected = [f"[{source['n']}] {source['title']}" for source in sources]
    assert lines[-1 - len(expected) : -1] == expected


@pytest.mark.parametrize(("service", "name"), [("groq", "max_completion_tokens"), ("lab", "max_tokens")])
def test_t3_max_tokens_reaches_each_upstream_under_the_name_it_understands(
    command: Command, upstreams: Upstreams, service: str, name: str
) -> None:
    upstream = upstreams(delta("x"), finish())
    toml = upstream.toml.replace("lab", service) + (f'max_tokens_field = "{name}"\n' if service == "groq" else "")
    command.run("ask", "--config", command.settings(toml), "-m", f"{service}/m", "--max-tokens", "9", QUESTION)
    assert {key: value for key, value in upstream.requests[0].items() if key.startswith("max")} == {name: 9}


@pytest.mark.parametrize("way", ["in process", "from a server"])
def test_t6_the_timeout_ends_an_upstream_that_never_finishes(
    command: Command, upstreams: Upstreams, serve: Serve, way: str
) -> None:
    upstream = upstreams(delta("half"), hang=True)
    arguments = lab(command, upstream, QUESTION, "--timeout", "0.5")
    if way == "from a server":
        url = serve("--config", "settings.toml").url
        arguments = ["ask", "--url", url, "-m", "lab/m", QUESTION, "--timeout", "0.5"]
    asked = command.run(*arguments)
    assert (asked.returncode, asked.stdout) == (6, "half\n")
    assert "within 0.5 s (timeouts.total)" in asked.stderr
    assert upstream.closed.wait(DEADLINE_SECONDS)


@pytest.mark.parametrize("way", ["in process", "from a server"])
def test_ctrl_c_cancels_up_to_the_upstream(command: Command, upstreams: Upstreams, serve: Serve, way: str) -> None:
    upstream = upstreams(delta("half"), hang=True)
    arguments = lab(command, upstream, QUESTION)
    if way == "from a server":
        server = serve("--config", "settings.toml")
        arguments = ["ask", "--url", server.url, "-m", "lab/m", QUESTION]
    process = command.start(*arguments)
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 100) == b"half"
    process.send_signal(signal.SIGINT)
    rest, notices = process.communicate(timeout=DEADLINE_SECONDS)
    assert (rest, process.returncode) == (b"\n", 130)
    assert b"Traceback" not in notices
    assert upstream.closed.wait(DEADLINE_SECONDS)


def test_ctrl_c_reaches_what_is_tested_where_the_tests_themselves_ignore_it() -> None:
    test = f"{__file__}::test_ctrl_c_cancels_up_to_the_upstream"
    line = f"trap '' INT; exec '{sys.executable}' -m pytest -q -p no:cacheprovider '{test}' -k process"
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=2 * DEADLINE_SECONDS)
    assert "1 passed" in ran.stdout, ran.stdout


@pytest.mark.parametrize("form", [[], ["--ndjson"]])
def test_a_reader_of_stdout_that_leaves_ends_it_quietly(
    command: Command, upstreams: Upstreams, form: list[str]
) -> None:
    left = threading.Event()
    upstream = upstreams(delta("one"), left, delta("two"), hang=True)
    process = command.start(*lab(command, upstream, QUESTION, *form))
    assert process.stdout is not None
    assert process.stderr is not None
    assert os.read(process.stdout.fileno(), 10_000)
    process.stdout.close()
    left.set()
    assert process.wait(DEADLINE_SECONDS) == 141, process.stderr.read()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert upstream.closed.wait(DEADLINE_SECONDS)


ENDINGS: list[tuple[list[bytes], int, int, str, str]] = [
    ([delta("a"), finish("length")], 200, 6, "a\n", ""),
    ([delta("a"), finish("content_filter")], 200, 6, "a\n", ""),
    ([delta("a")], 200, 6, "a\n", "without a finish reason"),
    ([b'{"error": {"message": "too much at once"}}'], 429, 5, "", "too much at once"),
    ([b'{"error": {"message": "that key is wrong"}}'], 401, 3, "", "that key is wrong"),
    ([b'{"error": {"message": "I am ill"}}'], 500, 1, "", "I am ill"),
]


@pytest.mark.parametrize("way", ["in process", "from a server"])
@pytest.mark.parametrize(("pieces", "status", "code", "text", "said"), ENDINGS)
def test_the_exit_code_says_how_it_ended(
    command: Command,
    upstreams: Upstreams,
    serve: Serve,
    way: str,
    pieces: list[bytes],
    status: int,
    code: int,
    text: str,
    said: str,
) -> None:
    upstream = upstreams(*pieces, status=status)
    arguments = lab(command, upstream, QUESTION)
    if way == "from a server":
        arguments = ["ask", "--url", serve("--config", "settings.toml").url, "-m", "lab/m", QUESTION]
    asked = command.run(*arguments)
    assert (asked.returncode, asked.stdout) == (code, text)
    assert said in asked.stderr
    assert "Traceback" not in asked.stderr


def test_a_failure_is_in_the_json_too(command: Command, upstreams: Upstreams) -> None:
    asked = command.run(*lab(command, upstreams(delta("half")), QUESTION, "--json"))
    answer = json.loads(asked.stdout)
    assert asked.returncode == 6
    assert (answer["content"], answer["finish_reason"]) == ("half", "incomplete")
    assert answer["error"]["code"] == "upstream_truncated"


def test_an_unknown_model_is_refused_with_the_one_that_was_meant(command: Command) -> None:
    asked = command.run("ask", "-m", "ofline", QUESTION)
    assert asked.returncode == 2
    assert 'no model "ofline". Did you mean "offline"?' in asked.stderr


@pytest.mark.parametrize("model", ["groq/llama-3.1-8b-instant", "fast"])
def test_a_missing_key_is_named(command: Command, model: str) -> None:
    command.settings(
        '[[models]]\nname = "fast"\nupstreams = ["groq/llama-3.1-8b-instant"]\n[[upstreams]]\nname = "groq"'
    )
    asked = command.run("ask", "--config", "settings.toml", "-m", model, QUESTION)
    assert (asked.returncode, asked.stdout) == (3, "")
    assert asked.stderr == "groq needs GROQ_API_KEY, which is not set. Set it, or: headrace keys set groq\n"


def test_a_key_that_the_server_lacks_is_named(command: Command, serve: Serve) -> None:
    url = serve().url
    asked = command.run("ask", "--url", url, "-m", "groq/llama-3.1-8b-instant", QUESTION)
    assert (asked.returncode, asked.stdout) == (3, "")
    assert asked.stderr == "groq needs GROQ_API_KEY, which is not set. Set it, or: headrace keys set groq\n"
    # A service that answers without a key is merely not there.
    assert command.run("ask", "--url", url, "-m", "lmstudio/m", QUESTION).returncode == 2


def test_a_key_goes_to_its_upstream_and_nowhere_else(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("x"), finish())
    toml = upstream.toml + 'api_key_env = "LAB_KEY"\n'
    asked = command.run("ask", "--config", command.settings(toml), "-m", "lab/m", QUESTION, LAB_KEY="sk-lab-1")
    assert upstream.headers[0]["authorization"] == "Bearer sk-lab-1"
    assert "sk-lab-1" not in asked.stdout + asked.stderr


def test_no_server_is_told_with_the_command_that_starts_one(command: Command) -> None:
    asked = command.run("ask", "--url", "http://127.0.0.1:1", QUESTION)
    assert asked.returncode == 4
    assert asked.stderr == (
        "nothing answers at http://127.0.0.1:1 (connection refused). Start one: headrace serve --port 1\n"
    )


@pytest.mark.parametrize("address", ["foo", "localhost:8000", "ftp://host", "http://", "http://host:port", "http://[1"])
def test_what_is_no_address_is_refused_with_an_example(command: Command, address: str) -> None:
    for arguments, variables, example in (
        (["--url", address], {}, "--url http://127.0.0.1:8000"),
        ([], {"HEADRACE_URL": address}, "HEADRACE_URL=http://127.0.0.1:8000"),
    ):
        asked = command.run("ask", QUESTION, *arguments, **variables)
        assert asked.returncode == 2
        assert f'"{address}" is no address of a server. As in: {example}\n' in asked.stderr


def test_something_else_than_a_headrace_server_is_told_apart(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("x"), finish())
    asked = command.run("ask", "--url", f"http://127.0.0.1:{upstream.port}", QUESTION)
    assert asked.returncode != 0
    assert "Traceback" not in asked.stderr


def test_the_variable_names_the_server_and_the_flag_outranks_it(command: Command) -> None:
    assert command.run("ask", QUESTION, HEADRACE_URL="http://127.0.0.1:1").returncode == 4
    asked = command.run("ask", "--url", "http://127.0.0.1:2", QUESTION, HEADRACE_URL="http://127.0.0.1:1")
    assert "127.0.0.1:2" in asked.stderr


def test_a_server_with_keys_is_asked_with_the_key_of_the_variable(command: Command, serve: Serve) -> None:
    digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # SHA-256 of "key"
    server = serve("--auth", "--config", command.settings(f'[[keys]]\nowner = "me"\nhash = "{digest}"'))
    assert command.run("ask", "--url", server.url, QUESTION, HEADRACE_API_KEY="key").returncode == 0
    refused = command.run("ask", "--url", server.url, QUESTION)
    assert refused.returncode == 3
    assert "Traceback" not in refused.stderr


def test_a_dotenv_of_the_working_directory_may_not_say_where_questions_go(command: Command) -> None:
    (command.folder / ".env").write_text("HEADRACE_URL=http://evil.example\n")
    asked = command.run("ask", QUESTION)
    assert asked.returncode == 2
    assert asked.stderr.startswith("./.env sets HEADRACE_URL")
    named = command.run("ask", "--config", ".env", QUESTION, HEADRACE_URL="http://127.0.0.1:1")
    assert named.returncode == 4


def test_the_command_ends_quietly_where_nobody_reads_stderr(command: Command) -> None:
    line = f'"{HEADRACE}" ask "{QUESTION}" 2>&- | head -c 1 >/dev/null'
    assert subprocess.run(["sh", "-c", line], cwd=command.folder, env=command.environment()).returncode == 0


def test_no_file_is_left_behind(command: Command, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    command.run("ask", QUESTION)
    assert set(tmp_path.iterdir()) == before
