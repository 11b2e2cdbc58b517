"""`headrace settings`: what is set, where from, and whom it is trusted from."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable

import pytest
from tests.cli.conftest import Command, Upstream, delta, finish

Upstreams = Callable[..., Upstream]


def test_every_setting_is_shown_with_its_value(command: Command) -> None:
    told = command.run("settings")
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert "server.port = 8000" in lines
    assert 'logging.level = "info"' in lines
    assert "assistants.basic.model = (none)" in lines


def test_l52_the_origin_of_each_value_is_shown(command: Command) -> None:
    (command.folder / "headrace.toml").write_text("server.port = 81\nserver.drain_seconds = 5.0")
    (command.folder / ".env").write_text("HEADRACE_MAX_STREAMS=7\nHEADRACE_PORT=82\n")
    own = command.folder / ".config" / "headrace" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("server.auth = true")
    told = json.loads(command.run("settings", "--json", HEADRACE_PORT="83").stdout)
    assert told["server.port"] == {"value": 83, "origin": "environment"}
    assert told["server.max_streams"] == {"value": 7, "origin": "./.env"}
    assert told["server.drain_seconds"] == {"value": 5.0, "origin": "./headrace.toml"}
    assert told["server.auth"] == {"value": True, "origin": "~/.config/headrace/config.toml"}
    assert told["store.kind"] == {"value": "sqlite", "origin": "default"}
    lines = command.run("settings", "--origin").stdout.splitlines()
    (port,) = [line for line in lines if line.startswith("server.port ")]
    assert port.split() == ["server.port", "=", "82", "#", "./.env"]


def lab(command: Command, upstream: Upstream) -> None:
    """The settings file of a cloned repository."""
    (command.folder / "headrace.toml").write_text(f'{upstream.toml}api_key_env = "LAB_KEY"\n')


def test_a_file_of_the_folder_steers_from_when_it_is_trusted_until_it_changes(
    command: Command, upstreams: Upstreams
) -> None:
    upstream = upstreams(delta("yes"), finish())
    lab(command, upstream)
    ask = ["ask", "-q", "-m", "lab/m", "hi"]
    refused = command.run(*ask, LAB_KEY="sk-lab")
    assert refused.returncode == 2
    assert refused.stderr.startswith("./headrace.toml sets upstreams.lab.base_url")
    assert "headrace settings trust" in refused.stderr
    assert upstream.requests == []

    trusted = command.run("settings", "trust")
    assert (trusted.returncode, trusted.stderr) == (0, "")
    assert "It sets upstreams.lab.base_url, upstreams.lab.api_key_env" in trusted.stdout
    assert command.run(*ask, LAB_KEY="sk-lab").stdout == "yes\n"
    assert upstream.headers[0]["authorization"] == "Bearer sk-lab"

    with (command.folder / "headrace.toml").open("a") as file:
        file.write("# one more line\n")
    again = command.run(*ask, LAB_KEY="sk-lab")
    assert again.returncode == 2
    assert "has changed since you trusted it" in again.stderr
    command.run("settings", "trust")
    assert command.run(*ask, LAB_KEY="sk-lab").returncode == 0
    assert command.run("settings", "trust", "--forget").stdout == "./headrace.toml is not trusted\n"
    assert command.run(*ask, LAB_KEY="sk-lab").returncode == 2
    assert len(upstream.requests) == 2


def test_a_trusted_dotenv_may_hold_a_key_and_an_address(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("yes"), finish())
    lab(command, upstream)
    (command.folder / ".env").write_text("LAB_KEY=sk-from-file\n")
    told = command.run("settings", "trust")
    assert "./.env is trusted as it is now. It sets LAB_KEY" in told.stdout
    assert "sk-from-file" not in told.stdout
    assert command.run("ask", "-q", "-m", "lab/m", "hi").stdout == "yes\n"
    assert upstream.headers[0]["authorization"] == "Bearer sk-from-file"
    # A variable of the process is above it, as ever.
    command.run("ask", "-q", "-m", "lab/m", "hi", LAB_KEY="sk-of-process")
    assert upstream.headers[1]["authorization"] == "Bearer sk-of-process"


def test_a_dotenv_may_not_say_where_questions_go_until_it_is_trusted(command: Command) -> None:
    (command.folder / ".env").write_text("HEADRACE_URL=http://127.0.0.1:1\n")
    refused = command.run("ask", "hi")
    assert refused.returncode == 2
    assert refused.stderr.startswith("./.env sets HEADRACE_URL")
    command.run("settings", "trust")
    assert command.run("ask", "hi").returncode == 4, "now it is asked, and nobody is there"


def test_trust_does_not_travel_with_a_copy(command: Command, upstreams: Upstreams) -> None:
    lab(command, upstreams(delta("x"), finish()))
    command.run("settings", "trust")
    elsewhere = command.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "headrace.toml").write_bytes((command.folder / "headrace.toml").read_bytes())
    there = Command(elsewhere, {"HOME": str(command.folder)})
    assert there.run("settings").returncode == 2
    assert command.run("settings").returncode == 0


def test_the_record_of_trust_is_the_users_alone(command: Command) -> None:
    (command.folder / "headrace.toml").write_text("server.port = 81")
    command.run("settings", "trust", XDG_DATA_HOME=str(command.folder / "data"))
    record = command.folder / "data" / "headrace" / "trusted.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.parent.stat().st_mode) == 0o700


def test_a_spoilt_record_trusts_nothing_and_says_so(command: Command, upstreams: Upstreams) -> None:
    lab(command, upstreams(delta("x"), finish()))
    record = command.folder / ".local" / "share" / "headrace" / "trusted.json"
    record.parent.mkdir(parents=True)
    record.write_text("all of it")
    told = command.run("settings")
    assert told.returncode == 2
    assert "trusted.json cannot be read" in told.stderr
    assert "Remove it" in told.stderr


def test_there_has_to_be_something_to_trust(command: Command) -> None:
    told = command.run("settings", "trust")
    assert told.returncode == 2
    assert "there is no headrace.toml and no .env here" in told.stderr


@pytest.mark.parametrize("text", ["server.port = ", "server.prot = 1"])
def test_what_cannot_be_read_as_settings_is_not_trusted(command: Command, text: str) -> None:
    (command.folder / "headrace.toml").write_text(text)
    assert command.run("settings", "trust").returncode == 2
    assert not (command.folder / ".local").exists()
