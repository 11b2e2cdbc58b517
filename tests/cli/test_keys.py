"""`headrace keys`: the keys of readers."""

from __future__ import annotations

import hashlib
import json
import os
import pty
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
    wanted = f"{server.url} asks for a key. Set HEADRACE_API_KEY, and name the server: --url {server.url}\n"
    assert ask() == (3, "", wanted)
    refused = f"{server.url} does not take what is in HEADRACE_API_KEY: the key is not one of this server's\n"
    assert ask(HEADRACE_API_KEY="wrong") == (3, "", refused)
    assert ask(HEADRACE_API_KEY=scarce)[0] == 0
    code, _, told = ask(HEADRACE_API_KEY=scarce)
    assert code == 5, told
    assert "requests_per_minute" in told
    for arguments in (("models",), ("models", "--json")):
        listed = command.run(*arguments, "--url", server.url, HEADRACE_API_KEY=key)
        assert (listed.returncode, "lab" in listed.stdout) == (0, True)
        without = command.run(*arguments, "--url", server.url)
        assert (without.returncode, without.stderr) == (3, wanted)


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


# -- the keys of upstreams


SECRET = "sk-kept-0123456789"
KEPT = ".local/share/headrace/upstream-keys.json"


def asks(command: Command, lab: Upstream, **variables: str) -> tuple[int, str]:
    """The exit code of a question to `lab`, and the key it came with."""
    toml = f'[[upstreams]]\nname = "lab"\nbase_url = "http://127.0.0.1:{lab.port}/v1"\napi_key_env = "LAB_API_KEY"\n'
    config = command.settings(toml)
    before = len(lab.headers)
    asked = command.run("ask", "-q", "-m", "lab/m", "hi", "--config", config, **variables)
    assert SECRET not in asked.stdout + asked.stderr
    return asked.returncode, lab.headers[-1]["authorization"] if len(lab.headers) > before else asked.stderr


def test_the_message_of_a_missing_key_is_true(command: Command, upstreams: Callable[..., Upstream]) -> None:
    lab = upstreams(delta("hello"), finish())
    told = "lab needs LAB_API_KEY, which is not set. Set it, or: headrace keys set lab\n"
    assert asks(command, lab) == (3, told)
    kept = command.run("keys", "set", "lab", "--config", "settings.toml", stdin=f"{SECRET}\n")
    assert kept.returncode == 0, kept.stderr
    assert SECRET not in kept.stdout + kept.stderr
    assert stat.S_IMODE((command.folder / KEPT).stat().st_mode) == 0o600
    assert asks(command, lab) == (0, f"Bearer {SECRET}")
    assert asks(command, lab, LAB_API_KEY="sk-of-the-environment")[1] == "Bearer sk-of-the-environment"
    assert command.run("keys", "set", "lab", "--forget", "--config", "settings.toml").returncode == 0
    assert asks(command, lab) == (3, told)


def test_a_variable_may_name_a_file_that_holds_the_key(command: Command, upstreams: Callable[..., Upstream]) -> None:
    lab = upstreams(delta("hello"), finish())
    (command.folder / "secret").write_text(f"{SECRET}\n")
    assert asks(command, lab, LAB_API_KEY_FILE="secret") == (0, f"Bearer {SECRET}")
    assert asks(command, lab, LAB_API_KEY_FILE="secret", LAB_API_KEY="sk-first")[1] == "Bearer sk-first"
    code, told = asks(command, lab, LAB_API_KEY_FILE="nowhere")
    assert (code, told) == (2, "LAB_API_KEY_FILE names nowhere, which cannot be read: No such file or directory\n")
    (command.folder / "secret").write_text("two words of " + SECRET)
    code, told = asks(command, lab, LAB_API_KEY_FILE="secret")
    assert code == 2
    assert told.startswith("secret, which LAB_API_KEY_FILE names, holds no key")


def test_the_key_for_a_server_may_be_in_a_file_too(
    command: Command, serve: Callable[..., Server], upstreams: Callable[..., Upstream]
) -> None:
    lab = upstreams(delta("hello"), finish())
    (command.folder / "key").write_text(created(command, "ann"))
    server = serve("--auth", "--config", command.settings(lab.toml))
    asked = command.run("ask", "-q", "-m", "lab/m", "hi", HEADRACE_URL=server.url, HEADRACE_API_KEY_FILE="key")
    assert (asked.returncode, asked.stdout) == (0, "hello\n")


def test_a_service_that_everybody_knows_is_found_with_a_key_that_is_kept(
    command: Command, serve: Callable[..., Server]
) -> None:
    assert command.run("keys", "set", "groq", stdin=SECRET).returncode == 0
    found = {"event": "upstream", "name": "groq", "where": "GROQ_API_KEY set", "state": "not called until used"}
    assert found in serve().lines


@pytest.mark.parametrize(
    ("upstream", "key", "told"),
    [
        ("nobody", SECRET, "no upstream 'nobody' that has a key. There are: groq, openai"),
        ("groq", "", "what was given holds no key"),
        ("groq", f"{SECRET}\nand more", "what was given holds no key"),
        ("groq", f"{SECRET} ü", "what was given holds no key"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_not_repeated(command: Command, upstream: str, key: str, told: str) -> None:
    refused = command.run("keys", "set", upstream, stdin=key)
    assert refused.returncode == 2
    assert refused.stderr.startswith(told)
    assert SECRET not in refused.stderr
    assert not (command.folder / KEPT).exists()


def test_a_file_of_keys_that_others_may_read_is_refused(command: Command) -> None:
    assert command.run("keys", "set", "groq", stdin=SECRET).returncode == 0
    (command.folder / KEPT).chmod(0o644)
    refused = command.run("ask", "-m", "groq/m", "hi")
    assert refused.returncode == 2
    assert refused.stderr.endswith(f"chmod 600 {command.folder / KEPT}\n")
    (command.folder / KEPT).chmod(0o600)
    (command.folder / KEPT).write_text(f'{{"keys": {SECRET}}}')
    refused = command.run("ask", "-m", "groq/m", "hi")
    assert refused.returncode == 2
    assert "set your keys again" in refused.stderr
    assert SECRET not in refused.stderr


def test_at_a_terminal_the_key_is_asked_for_and_not_shown(command: Command) -> None:
    terminal, inside = pty.openpty()
    process = command.start("keys", "set", "groq", stdin=inside)
    os.close(inside)
    assert process.stderr is not None
    assert process.stderr.read(12) == b"key of groq:"
    os.write(terminal, f"{SECRET}\n".encode())
    stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    os.close(terminal)
    assert process.returncode == 0
    assert SECRET.encode() not in stdout + stderr
    assert SECRET in (command.folder / KEPT).read_text()
