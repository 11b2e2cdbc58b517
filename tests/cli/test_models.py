"""`headrace models`: what may be asked for, and how the upstreams are."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from tests.cli.conftest import Command, Server, Upstream, delta, finish

Serve = Callable[..., Server]
Upstreams = Callable[..., Upstream]

SETTINGS = """
[[upstreams]]
name = "down"
base_url = "http://127.0.0.1:1/v1"
[[upstreams]]
name = "openai"
[[models]]
name = "fast"
upstreams = ["openai/gpt", "down/x"]
[[models]]
name = "locked"
upstreams = ["openai/gpt"]
"""


class Elsewhere(BaseHTTPRequestHandler):
    """A web server that lists models, and is not headrace."""

    asked: list[str] = []  # noqa: RUF012 - one server at a time, which the fixture empties

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers.get('Authorization')}")
        body = b'{"data": [{"id": "tiny"}, {"id": "huge"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of such a server."""
    Elsewhere.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def listed(command: Command, *arguments: str, **variables: str) -> dict[str, Any]:
    told = command.run("models", "--json", *arguments, **variables)
    assert (told.returncode, told.stderr) == (0, "")
    facts: dict[str, Any] = json.loads(told.stdout)
    return facts


def states(facts: dict[str, Any], what: str) -> dict[str, str]:
    return {row["name"]: row["state"] for row in facts[what]}


def test_without_settings_there_is_the_offline_model(command: Command) -> None:
    facts = listed(command)
    assert facts["source"] == "this process"
    assert facts["models"] == [{"name": "offline", "upstreams": ["offline/offline"], "state": "ready"}]
    assert states(facts, "upstreams") == {"offline": "ready", "groq": "key_missing", "openai": "key_missing"}


def test_a_model_is_as_well_as_the_best_of_its_upstreams(command: Command) -> None:
    facts = listed(command, "--config", command.settings(SETTINGS))
    assert [(row["name"], row["upstreams"]) for row in facts["models"]] == [
        ("fast", ["openai/gpt", "down/x"]),
        ("locked", ["openai/gpt"]),
        ("offline", ["offline/offline"]),
    ]
    assert states(facts, "models") == {"fast": "unused", "locked": "key_missing", "offline": "ready"}


def test_a_key_is_named_and_never_shown(command: Command) -> None:
    told = command.run("models", "--json", GROQ_API_KEY="gsk-secret")
    assert "gsk-secret" not in told.stdout + told.stderr
    assert states(json.loads(told.stdout), "upstreams")["groq"] == "unused"


def test_no_upstream_is_called_unless_all_is_asked_for(command: Command, elsewhere: str) -> None:
    settings = f'[[upstreams]]\nname = "lab"\nbase_url = "{elsewhere}/v1"\napi_key_env = "LAB_KEY"\n' + SETTINGS
    config = command.settings(settings)
    assert states(listed(command, "--config", config, LAB_KEY="sk-lab"), "upstreams")["lab"] == "unused"
    assert Elsewhere.asked == []
    facts = listed(command, "--config", config, "--all", LAB_KEY="sk-lab")
    assert Elsewhere.asked == ["/v1/models Bearer sk-lab"]
    rows = {row["name"]: row for row in facts["upstreams"]}
    assert (rows["lab"]["state"], rows["lab"]["models"]) == ("well", ["tiny", "huge"])
    assert rows["down"]["state"] == "unwell"
    assert "127.0.0.1:1" in rows["down"]["detail"]
    assert rows["openai"]["state"] == "key_missing", "without a key it is not asked"
    assert states(facts, "models")["fast"] == "unwell"
    told = command.run("models", "--config", config, "--all", LAB_KEY="sk-lab")
    assert "lab/tiny" in told.stdout
    assert "unwell: " in told.stdout


def test_a_running_server_says_how_its_upstreams_are(command: Command, serve: Serve, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("yes"), finish())
    command.settings(upstream.toml + SETTINGS.replace("openai/gpt", "lab/m"))
    server = serve("--config", "settings.toml")
    before = listed(command, "--url", server.url)
    assert before["source"] == server.url
    assert states(before, "upstreams") == {"offline": "ready", "lab": "unused", "down": "unused", "openai": "unused"}
    assert command.run("ask", "-q", "--url", server.url, "-m", "fast", "hi").stdout == "yes\n"
    command.run("ask", "-q", "--url", server.url, "-m", "down/x", "hi")
    after = listed(command, HEADRACE_URL=server.url)
    assert states(after, "upstreams")["lab"] == "well"
    assert states(after, "upstreams")["down"] == "unwell"
    assert states(after, "models")["fast"] == "well"
    told = command.run("models", "--url", server.url).stdout
    assert f"source     {server.url}" in told
    assert "unwell: " in told


def test_a_server_that_wants_a_key_is_given_that_of_the_environment(command: Command, serve: Serve) -> None:
    import hashlib

    digest = hashlib.sha256(b"sk-alice").hexdigest()
    command.settings(f'[[keys]]\nowner = "alice"\nhash = "{digest}"\n')
    server = serve("--config", "settings.toml", "--auth")
    assert command.run("models", "--url", server.url).returncode == 3
    assert command.run("models", "--url", server.url, HEADRACE_API_KEY="sk-alice").returncode == 0


def test_where_no_server_is_that_is_said(command: Command) -> None:
    told = command.run("models", "--url", "http://127.0.0.1:1")
    assert told.returncode == 4
    assert "nothing answers at http://127.0.0.1:1" in told.stderr
    assert "headrace serve" in told.stderr


def test_what_is_no_address_is_refused_with_an_example(command: Command) -> None:
    for arguments, variables in ((["--url", "foo"], {}), ([], {"HEADRACE_URL": "foo"})):
        told = command.run("models", *arguments, **variables)
        assert told.returncode == 2
        assert '"foo" is no address of a server. As in: ' in told.stderr


def test_what_is_no_headrace_server_is_told_apart(command: Command, elsewhere: str) -> None:
    told = command.run("models", "--url", elsewhere)
    assert told.returncode == 1
    assert "no headrace server" in told.stderr


def test_all_and_a_server_exclude_each_other(command: Command) -> None:
    assert command.run("models", "--all", "--url", "http://127.0.0.1:1").returncode == 2
