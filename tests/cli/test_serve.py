"""`headrace serve` as people and scripts run it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.cli.conftest import DEADLINE_SECONDS, HEADRACE, Command, Server

import headrace

Serve = Callable[..., Server]


def test_off_a_terminal_it_says_one_json_object_a_line_and_ready_first(serve: Serve) -> None:
    server = serve()
    assert [line["event"] for line in server.lines] == [
        "ready", "upstream", "upstream", "upstream", "store", "auth", "settings", "try",
    ]  # fmt: skip
    assert server.lines[0] == {
        "event": "ready",
        "url": server.url,
        "pid": server.process.pid,
        "version": headrace.__version__,
    }
    with urllib.request.urlopen(f"{server.url}/health", timeout=DEADLINE_SECONDS) as answer:
        assert json.load(answer)["service"] == "headrace"


def test_the_try_line_streams_an_answer_when_pasted(serve: Serve) -> None:
    line = serve().lines[-1]["try"]
    pasted = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert pasted.returncode == 0, pasted.stderr
    frames = [frame.removeprefix("data: ") for frame in pasted.stdout.split("\n\n") if frame]
    assert frames[-1] == "[DONE]"
    deltas = [json.loads(frame)["choices"][0]["delta"].get("content", "") for frame in frames[:-1]]
    assert len([delta for delta in deltas if delta]) > 1
    assert "[1]" in "".join(deltas), "an answer of the documents names its sources"


def test_the_try_line_works_with_auth_on_and_holds_no_key(command: Command, serve: Serve) -> None:
    digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # SHA-256 of "key"
    server = serve("--auth", "--config", command.settings(f'[[keys]]\nowner = "me"\nhash = "{digest}"'))
    line = server.lines[-1]["try"]
    environment = {**command.environment(), "HEADRACE_API_KEY": "key"}
    pasted = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, timeout=DEADLINE_SECONDS)
    assert pasted.stdout.endswith(b"data: [DONE]\n\n")
    assert digest not in json.dumps(server.lines)


def start_screen(command: Command, *arguments: str, **variables: str) -> tuple[list[str], str]:
    """What it prints at a terminal, line by line, and the address that is in it."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [HEADRACE, "serve", "--port", "0", *arguments],
        cwd=command.folder,
        env=command.environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    printed = b""
    try:
        while b"\ntry " not in printed or not printed.endswith(b"\n"):
            printed += os.read(master, 65536)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_SECONDS)
        os.close(master)
    lines = printed.decode().replace("\r\n", "\n").splitlines()
    return lines, lines[0].split()[2]


def test_at_a_terminal_it_says_what_it_found_and_what_to_type_next(command: Command) -> None:
    lines, url = start_screen(command, GROQ_API_KEY="gsk-secret")
    assert lines == [
        f"headrace {headrace.__version__}   {url}   chat /chat   API /v1   health /health",
        "upstreams  offline  built in                ready",
        "           groq     GROQ_API_KEY set        not called until used",
        "           openai   OPENAI_API_KEY not set  set it, or: headrace keys set openai",
        "store      sqlite   ~/.local/share/headrace/headrace.db   ended streams can be read again for 24 h",
        "auth       off, this machine only. To listen elsewhere: headrace serve --host 0.0.0.0 --auth",
        f"try        curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' -d "
        '\'{"model":"offline","stream":true,'
        '"messages":[{"role":"user","content":"How does headrace resume a stream?"}]}\'',
    ]


def test_the_files_that_settings_came_from_are_named(command: Command) -> None:
    (command.folder / "headrace.toml").write_text("logging.level = 'error'")
    assert "settings   ./headrace.toml" in start_screen(command)[0]


def test_an_ollama_on_this_machine_is_found_and_named(command: Command, serve: Serve) -> None:
    asked: list[str] = []

    class Ollama(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b'{"models": [{"name": "gemma3:12b"}, {"name": "qwen3"}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    ollama = HTTPServer(("127.0.0.1", 0), Ollama)
    threading.Thread(target=ollama.serve_forever, daemon=True).start()
    try:
        address = f"127.0.0.1:{ollama.server_port}"
        lines = serve(OLLAMA_HOST=address).lines
    finally:
        ollama.shutdown()
        ollama.server_close()
    assert {"event": "upstream", "name": "ollama", "where": address, "state": "found, 2 models"} in lines
    assert asked == ["/api/tags"], "nothing is called but what tells that it is there"


def test_a_ready_file_appears_whole_when_connections_are_accepted(command: Command, serve: Serve) -> None:
    server = serve("--ready-file", "ready.json")
    told = json.loads((command.folder / "ready.json").read_text())
    assert told == {"url": server.url, "pid": server.process.pid}
    assert [path.name for path in command.folder.iterdir() if "ready" in path.name] == ["ready.json"]


def test_a_ready_descriptor_is_told_and_closed(command: Command) -> None:
    reading, writing = os.pipe()
    process = command.start("serve", "--port", "0", "--ready-fd", str(writing), pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb") as told:
        line = json.loads(told.read())  # to its end: the server has closed it
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert line["pid"] == process.pid


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_stops_quietly(serve: Serve, signal_number: signal.Signals) -> None:
    server = serve()
    server.process.send_signal(signal_number)
    _, notices = server.process.communicate(timeout=DEADLINE_SECONDS)
    assert server.process.returncode == 0
    assert b"Traceback" not in notices


def refused(command: Command, *arguments: str, **variables: str) -> tuple[int, str]:
    told = command.run("serve", *arguments, **variables)
    assert told.stdout == ""
    assert "Traceback" not in told.stderr
    assert len(told.stderr.splitlines()) <= 3, "what happened, why, and the command that puts it right"
    return told.returncode, told.stderr.rstrip("\n")


def test_a_taken_port_is_refused_with_two_ways_out(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(command, "--port", str(port)) == (
            2,
            f"port {port} on 127.0.0.1 is in use. Choose one: --port {port + 1}, or let the system choose: --port 0",
        )


def test_l53_an_open_address_without_keys_is_refused(command: Command) -> None:
    for arguments, variables in ((["--host", "0.0.0.0"], {}), ([], {"HEADRACE_HOST": "0.0.0.0"})):
        assert refused(command, *arguments, **variables) == (
            2,
            "will not listen on 0.0.0.0 without keys: every stream would be readable by the network."
            " Add --auth, or stay on this machine: --host 127.0.0.1",
        )


def test_l53_auth_without_keys_is_refused_with_the_command_that_makes_one(command: Command) -> None:
    code, message = refused(command, "--auth")
    assert code == 2
    assert command.run(*message.rpartition(": headrace ")[2].split()).returncode == 0
    # Past the keys: now it is the port it stumbles over, which is as far as a test without a server gets.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "is in use" in refused(command, "--auth", "--port", port)[1]


FILES = [
    (
        "[nonsense]\nx = 1",
        'no setting "nonsense" (./headrace.toml). The sections are server, store, documents, timeouts, '
        "upstreams, models, assistants, keys, logging.",
    ),
    ("[server]\nprot = 1", 'no setting "server.prot" (./headrace.toml). Did you mean "server.port"?'),
    ("[server\nport = 1", "./headrace.toml is not TOML"),
    (
        '[[upstreams]]\nname = "mine"\nbase_url = "http://127.0.0.1:1/v1"',
        "./headrace.toml sets upstreams.mine.base_url",
    ),
    ('[[upstreams]]\nname = "mine"', 'the upstream "mine" lacks base_url'),
    ('[[models]]\nname = "fast"\nupstreams = ["nobody/x"]', "nobody"),
    ('[[upstreams]]\nname = "groq"\nprovider = "nothing"', "nothing"),
]


@pytest.mark.parametrize(("text", "message"), FILES, ids=[text for text, _ in FILES])
def test_l52_settings_that_cannot_be_used_stop_the_start(command: Command, text: str, message: str) -> None:
    (command.folder / "headrace.toml").write_text(text)
    code, said = refused(command, "--port", "0")
    assert code == 2
    assert message in said


USAGE = [
    (["--config", "nowhere.toml"], "no file nowhere.toml (--config)"),
    (["--port", "70000"], "server.port in --port is 70000: wants a whole number from 0 to 65535"),
    (["--log-level", "loud"], "logging.level in --log-level"),
    (["--ready-file", "nowhere/ready"], "--ready-file: there is no folder"),
    (["--ready-fd", "99"], "--ready-fd: 99 is not open"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_what_cannot_be_is_refused_before_anything_is_opened(
    command: Command, arguments: list[str], message: str
) -> None:
    told = command.run("serve", "--port", "0", *arguments)
    assert told.returncode == 2
    assert message in told.stderr
    assert "Traceback" not in told.stderr


def test_a_key_in_a_dotenv_found_here_is_not_used_and_that_is_told(command: Command, serve: Serve) -> None:
    (command.folder / ".env").write_text("GROQ_API_KEY=gsk-of-somebody\n")
    server = serve()
    assert {
        "event": "upstream",
        "name": "groq",
        "where": "GROQ_API_KEY not set",
        "state": "set it, or: headrace keys set groq",
    } in (server.lines)
    server.process.send_signal(signal.SIGTERM)
    notices = server.process.communicate(timeout=DEADLINE_SECONDS)[1].decode()
    assert notices.startswith("./.env sets GROQ_API_KEY, which is not used")
    assert "gsk-of-somebody" not in notices
    named = serve("--config", ".env")
    assert "GROQ_API_KEY set" in [line.get("where") for line in named.lines]


def test_t4_every_request_is_logged_with_its_figures(command: Command, serve: Serve) -> None:
    server = serve("--log-format", "json")
    assert command.run("ask", "--url", server.url, "-q", "What is an offset?").returncode == 0
    server.process.send_signal(signal.SIGTERM)
    lines = [json.loads(line) for line in server.process.communicate(timeout=DEADLINE_SECONDS)[1].splitlines()]
    (answered,) = [line for line in lines if line["logger"] == "headrace.requests"]
    assert (answered["model"], answered["mode"], answered["ending"]) == ("offline", "stream", "stop")
    assert answered["completion_tokens"] > 0
    assert answered["duration_ms"] >= answered["ttft_ms"] > 0
    assert "offset" not in json.dumps(answered), "what was asked is nobody's business in a log"


def test_the_log_level_of_the_settings_is_kept(command: Command, serve: Serve) -> None:
    server = serve("--log-level", "error")
    command.run("ask", "--url", server.url, "-q", "What is an offset?")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.communicate(timeout=DEADLINE_SECONDS)[1] == b""


def test_a_server_on_the_usual_port_is_found_by_what_it_says(serve: Serve) -> None:
    import asyncio

    from headrace.cli.answers import server_here

    server = serve()
    port = int(server.url.rpartition(":")[2])
    assert asyncio.run(server_here(("127.0.0.1", port))) == server.url
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asyncio.run(server_here(("127.0.0.1", silent.getsockname()[1]))) is None
    assert asyncio.run(server_here(("127.0.0.1", 1))) is None


def test_help_lists_every_exit_code(command: Command) -> None:
    from headrace.cli.exits import EXIT_CODES

    told = command.run("--help")
    assert told.returncode == 0
    for code, meaning in EXIT_CODES.items():
        assert f"  {code}" in told.stdout
        assert meaning.split(":")[0] in told.stdout


def test_the_server_outlives_whoever_read_its_start_screen(command: Command, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [HEADRACE, "serve", "--port", "0", "--ready-file", "ready.json"],
        cwd=command.folder,
        env=command.environment(),
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (command.folder / "ready.json").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)  # what is waited for is the file
    url = json.loads((command.folder / "ready.json").read_text())["url"]
    with urllib.request.urlopen(f"{url}/health/ready", timeout=DEADLINE_SECONDS) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_SECONDS)
