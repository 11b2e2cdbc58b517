"""`headrace doctor`: a machine that is well, one that is not, and one real token of each upstream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.cli.conftest import Command, Server, Upstream, delta, finish

import headrace

Serve = Callable[..., Server]
Upstreams = Callable[..., Upstream]


def examined(command: Command, *arguments: str, **variables: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and each finding by its name; of those of one name the last."""
    told = command.run("doctor", "--json", *arguments, **variables)
    assert told.stderr == ""
    facts = json.loads(told.stdout)
    assert facts["healthy"] is (told.returncode == 0)
    return told.returncode, {each["name"]: each for each in facts["findings"]}


def test_a_fresh_machine_is_well(command: Command) -> None:
    code, found = examined(command)
    assert code == 0
    assert {"headrace", "packages", "settings", "store", "clock", "server", "upstream offline"} <= found.keys()
    assert headrace.__version__ in found["headrace"]["detail"]
    assert "starlette " in found["packages"]["detail"]
    assert found["store"]["state"] == found["clock"]["state"] == "ok"
    assert found["upstream groq"]["state"] == "note"
    assert "nothing is broken" in command.run("doctor").stdout


def test_settings_that_cannot_be_used_are_a_finding_and_not_the_end(command: Command) -> None:
    (command.folder / "headrace.toml").write_text("server.prot = 1")
    code, found = examined(command)
    assert code == 7
    assert found["settings"]["state"] == "broken"
    assert 'Did you mean "server.port"?' in found["settings"]["detail"]
    assert found["store"]["state"] == "ok"


def test_an_upstream_that_cannot_be_is_a_finding(command: Command) -> None:
    code, found = examined(command, "--config", command.settings('[[models]]\nname = "m"\nupstreams = ["nobody/x"]'))
    assert code == 7
    assert "nobody" in found["settings"]["detail"]


def test_a_key_that_waits_for_trust_is_told(command: Command) -> None:
    (command.folder / ".env").write_text("GROQ_API_KEY=gsk-secret\n")
    told = command.run("doctor")
    assert told.returncode == 0
    assert "./.env sets GROQ_API_KEY, which is not used until it is trusted" in told.stdout
    assert "gsk-secret" not in told.stdout


def test_no_upstream_is_asked_without_probe(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("x"), finish())
    code, found = examined(command, "--config", command.settings(upstream.toml))
    assert (code, found["upstream lab"]["state"], upstream.requests) == (0, "ok", [])
    assert not any(name.startswith("probe") for name in found)


def test_probe_asks_each_usable_upstream_for_one_token_and_cancels(command: Command, upstreams: Upstreams) -> None:
    upstream = upstreams(delta("one"), hang=True)
    model = '[[upstreams]]\nname = "openai"\n[[models]]\nname = "m"\nupstreams = ["lab/tiny"]\n'
    code, found = examined(command, "--probe", "--config", command.settings(upstream.toml + model))
    assert code == 0
    assert found["probe lab"]["detail"].startswith("tiny: TTFT ")
    assert found["probe lab"]["ttft_ms"] > 0
    assert found["probe offline"]["state"] == "ok"
    assert "probe openai" not in found, "it has no key"
    (asked,) = upstream.requests
    assert (asked["model"], asked["stream"]) == ("tiny", True)
    assert upstream.closed.wait(5), "nothing more was wanted of it"


BROKEN: list[tuple[bytes, int, str]] = [
    (b'{"error": {"message": "wrong key"}}', 401, "wrong key"),
    (finish(), 200, "without a token"),
]


@pytest.mark.parametrize(("said", "status", "words"), BROKEN)
def test_an_upstream_that_gives_no_token_is_told_with_exit_code_7(
    command: Command, upstreams: Upstreams, said: bytes, status: int, words: str
) -> None:
    upstream = upstreams(said, status=status)
    model = '[[models]]\nname = "m"\nupstreams = ["lab/tiny"]\n'
    code, found = examined(command, "--probe", "--config", command.settings(upstream.toml + model))
    assert code == 7
    assert words in found["probe lab"]["detail"]
    assert found["probe offline"]["state"] == "ok"


def test_where_no_model_is_known_the_upstream_is_asked_for_its_own(command: Command) -> None:
    toml = '[[upstreams]]\nname = "lab"\nbase_url = "http://127.0.0.1:1/v1"\n'
    code, found = examined(command, "--probe", "--config", command.settings(toml))
    assert code == 7
    assert "no connection to lab" in found["probe lab"]["detail"]
