"""`headrace keys`: the keys of readers."""

from __future__ import annotations

import hashlib
import json
import stat
import time
from collections.abc import Callable

import pytest
from tests.cli.conftest import DEADLINE_SECONDS, Command, Server, Upstream, delta, finish


def created(command: Command, *arguments: str) -> str:
    made = command.run("keys", "create", *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_create_prints_the_key_alone_on_stdout_and_says_on_stderr_that_it_is_shown_once(command: Command) -> None:
    made = command.run("keys", "create", "ann")
    assert made.returncode == 0
    assert made.stdout.startswith("hr_")
    assert len(made.stdout) == 47
    assert made.stderr == (f"the key of ann, shown once; to take it back: headrace keys revoke {made.stdout[:11]}\n")
    kept = command.folder / ".local/share/headrace/keys.db"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert made.stdout.strip().encode() not in kept.read_bytes()


def test_list_shows_how_keys_begin_and_what_they_may_and_never_a_key(command: Command) -> None:
    first = created(command, "ann", "--max-streams", "2", "--requests-per-minute", "60")
    second = created(command, "bob")
    fixed = hashlib.sha256(b"fixed").hexdigest()
    config = command.settings(f'[[keys]]\nowner = "cid"\nhash = "{fixed}"\nmax_readers = 3\n')
    shown = command.run("keys", "list", "--config", config)
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["begins", "owner", "made", "limits"]
    assert [line.split()[:2] for line in lines] == [
        [first[:11], "ann"],
        [second[:11], "bob"],
        [f"sha256:{fixed[:8]}", "cid"],
    ]
    assert lines[0].endswith("2 streams, 60 requests per minute")
    assert lines[1].endswith("none")
    assert lines[2].endswith("3 readers")
    assert "in the settings" in lines[2]
    as_json = json.loads(command.run("keys", "list", "--json").stdout)
    assert [each["id"] for each in as_json] == [first[:11], second[:11]]
    assert as_json[0]["max_streams"] == 2
    for output in (shown.stdout, json.dumps(as_json)):
        assert first not in output
        assert fixed not in output


def test_create_as_json_holds_the_key_and_all_there_is_to_know(command: Command) -> None:
    made = command.run("keys", "create", "ann", "--max-readers", "5", "--json")
    known = json.loads(made.stdout)
    assert known["key"].startswith(known["id"])
    assert (known["owner"], known["max_readers"], known["max_streams"]) == ("ann", 5, None)
    assert known["created_at"].startswith(time.strftime("%Y-%m-%dT", time.gmtime()))


def test_revoke_takes_back_what_is_named_and_refuses_what_is_not_there(command: Command) -> None:
    key = created(command, "ann")
    revoked = command.run("keys", "revoke", key[:11])
    assert (revoked.returncode, revoked.stdout) == (0, f"{key[:11]}… of ann is revoked\n")
    again = command.run("keys", "revoke", key)
    assert (again.returncode, again.stderr) == (
        2,
        f'no key begins with "{key[:11]}". All: headrace keys list\n',
    )
    assert command.run("keys", "list").stderr == "there is no key. Make one: headrace keys create me\n"


@pytest.mark.parametrize("owner", ["a b", "a/b", "", "\t", "a\nb"])
def test_an_owner_is_a_name_without_spaces_and_slashes(command: Command, owner: str) -> None:
    refused = command.run("keys", "create", owner)
    assert refused.returncode == 2
    assert "as in: headrace keys create ann" in refused.stderr


def test_ask_comes_in_with_a_key_is_told_3_without_one_and_5_over_its_limit(
    command: Command, serve: Callable[..., Server], upstreams: Callable[..., Upstream]
) -> None:
    lab = upstreams(delta("hello"), finish())
    key = created(command, "ann")
    scarce = created(command, "bob", "--requests-per-minute", "1")
    server = serve("--auth", "--config", command.settings(lab.toml))
    assert {"event": "auth", "on": True, "keys": 2} in server.lines

    def ask(**variables: str) -> tuple[int, str, str]:
        asked = command.run("ask", "-q", "-m", "lab/m", "hi", HEADRACE_URL=server.url, **variables)
        return asked.returncode, asked.stdout, asked.stderr

    assert ask(HEADRACE_API_KEY=key) == (0, "hello\n", "")
    assert ask()[0] == 3
    assert ask(HEADRACE_API_KEY="wrong") == (3, "", "the key is not one of this server's\n")
    assert ask(HEADRACE_API_KEY=scarce)[0] == 0
    code, _, told = ask(HEADRACE_API_KEY=scarce)
    assert code == 5
    assert "requests_per_minute" in told
    for arguments in (("models",), ("models", "--json")):
        listed = command.run(*arguments, "--url", server.url, HEADRACE_API_KEY=key)
        assert (listed.returncode, "lab" in listed.stdout) == (0, True)
        assert command.run(*arguments, "--url", server.url).returncode == 3


def test_a_key_revoked_in_the_middle_of_an_answer_ends_ask(
    command: Command, serve: Callable[..., Server], upstreams: Callable[..., Upstream]
) -> None:
    lab = upstreams(delta("hello"), hang=True)
    key = created(command, "ann")
    server = serve("--auth", "--config", command.settings(lab.toml))
    asked = command.start("ask", "-m", "lab/m", "hi", variables={"HEADRACE_URL": server.url, "HEADRACE_API_KEY": key})
    assert asked.stdout is not None
    assert asked.stdout.read(5) == b"hello"
    assert command.run("keys", "revoke", key[:11]).returncode == 0
    _, told = asked.communicate(timeout=DEADLINE_SECONDS)
    assert asked.returncode == 6
    assert b"revoked" in told
    assert lab.closed.wait(DEADLINE_SECONDS)
