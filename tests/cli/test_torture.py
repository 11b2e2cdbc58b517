"""`headrace torture`, as it is typed."""

from __future__ import annotations

import json
import socket

from tests.cli.conftest import Command

from headrace.testing.torture.judging import VERDICTS


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_without_a_url_a_headrace_of_its_own_is_tortured(command: Command) -> None:
    done = command.run("torture", "--faults", "12", "--seed", "2", "--only", "crlf", "--only", "eof_in_the_middle")
    assert done.returncode == 0, done.stderr
    assert "scripted, not a model" in done.stdout
    assert "6 ok" in done.stdout
    assert "6 explicit error" in done.stdout
    assert "completed 6 of 6 that can be completed" in done.stdout
    assert done.stderr == ""


def test_json_holds_every_result(command: Command) -> None:
    done = command.run("torture", "--faults", "4", "--only", "status_503_empty", "--json")
    facts = json.loads(done.stdout)
    assert (facts["seed"], facts["faults"], facts["completed"], facts["never_allowed"]) == (1, 4, 4, 0)
    assert list(facts["verdicts"]) == list(VERDICTS)
    assert [result["number"] for result in facts["results"]] == [0, 1, 2, 3]
    assert {result["attempts"] for result in facts["results"]} == {2}


def test_a_verdict_that_is_never_allowed_ends_with_exit_code_7(command: Command) -> None:
    # A gateway that gives up after a second is a hang to somebody who waits for half of one.
    arguments = ("--faults", "1", "--only", "stall_in_the_middle", "--timeout", "0.5")
    done = command.run("torture", *arguments)
    assert done.returncode == 7
    assert "!! stall_in_the_middle        1 hang" in done.stdout
    assert "never allowed (!!): 1" in done.stdout


def test_without_a_gateway_it_says_how_to_make_one_ready(command: Command) -> None:
    listen = f"127.0.0.1:{free_port()}"
    done = command.run("torture", "http://127.0.0.1:1/v1", "--listen", listen)
    assert done.returncode == 4
    assert "headrace torture --setup" in done.stderr
    shown = command.run("torture", "--setup", "--listen", listen)
    assert shown.returncode == 0
    assert f'base_url = "http://{listen}/v1"' in shown.stdout
    assert f"api_base: http://{listen}/v1" in shown.stdout


def test_what_cannot_be_meant_is_refused(command: Command) -> None:
    for arguments, said in (
        (["--only", "nonsense"], 'no fault "nonsense"'),
        (["127.0.0.1:4000"], "is no address such as"),
        (["--listen", "9911"], "wants HOST:PORT"),
    ):
        done = command.run("torture", *arguments)
        assert done.returncode == 2, arguments
        assert said in done.stderr


def test_a_taken_port_is_said(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = command.run("torture", "--listen", f"127.0.0.1:{listener.getsockname()[1]}", "--faults", "1")
    assert done.returncode == 2
    assert "Choose: --listen" in done.stderr
