"""The environment and the files of settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.cli import environment
from headrace.cli.dotenv import parse
from headrace.errors import SettingsError

LINES = [
    ("A=1", {"A": "1"}),
    ("export A=1\n  B = two words \n", {"A": "1", "B": "two words"}),
    ("# A=1\n\nB=2 # why\n", {"B": "2"}),
    ("A=a#b", {"A": "a#b"}),
    ("A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
    ("A='$x # \\n'", {"A": "$x # \\n"}),
    ('A="a\\nb \\"c\\" \\\\ $x" # d', {"A": 'a\nb "c" \\ $x'}),
    ("A=1\nA=2", {"A": "2"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("\ufeffA=1", {"A": "1"}),
    ("no equals sign\n1A=2\n=3\nA B=4", {}),
    ("KEY=sk-+/=", {"KEY": "sk-+/="}),
]


@pytest.mark.parametrize(("text", "variables"), LINES, ids=[text for text, _ in LINES])
def test_a_dotenv_is_read_as_other_tools_read_it(text: str, variables: dict[str, str]) -> None:
    assert parse(text) == variables


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home of their own, without any variable of ours."""
    for name in list(os.environ):
        if name.startswith("HEADRACE_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return here


def test_the_users_own_file_is_read_and_trusted(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "config" / "headrace" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("server.auth = true\nserver.port = 5")
    (folder / "headrace.toml").write_text("server.port = 4")
    resolved = environment.read().settings({})
    assert (resolved.settings.server.auth, resolved.settings.server.port) == (True, 4)
    assert resolved.origin("server.auth") == "~/config/headrace/config.toml"
    assert resolved.origin("server.port") == "./headrace.toml"


def test_a_file_that_is_named_is_trusted_and_stands_for_the_one_found_here(folder: Path) -> None:
    (folder / "headrace.toml").write_text("server.port = 4\nserver.body_limit_bytes = 44")
    (folder / "other.toml").write_text("server.auth = true")
    (folder / "last.toml").write_text("server.port = 6")
    settings = environment.read(["other.toml"]).settings({}).settings
    assert (settings.server.auth, settings.server.port) == (True, 8000)
    assert environment.read(["headrace.toml", "last.toml"]).settings({}).settings.server.port == 6
    assert environment.read(["last.toml", "headrace.toml"]).settings({}).settings.server.port == 4


def test_keys_come_from_the_process_then_from_a_dotenv_that_was_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("GROQ_API_KEY=from-file\nOPENAI_API_KEY=from-file")
    monkeypatch.setenv("OPENAI_API_KEY", "from-process")
    found = environment.read()
    assert "GROQ_API_KEY" not in found.environment
    assert environment.unused_keys(found, ["GROQ_API_KEY", "OPENAI_API_KEY", "XAI_API_KEY"]) == ["GROQ_API_KEY"]
    named = environment.read([".env"])
    assert (named.environment["GROQ_API_KEY"], named.environment["OPENAI_API_KEY"]) == ("from-file", "from-process")
    assert environment.unused_keys(named, ["GROQ_API_KEY"]) == []


def test_a_value_of_a_named_dotenv_is_below_the_process_and_above_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "my.env").write_text("HEADRACE_PORT=3\nHEADRACE_HOST=::1")
    (folder / "headrace.toml").write_text("server.port = 4")
    monkeypatch.setenv("HEADRACE_HOST", "127.0.0.2")
    resolved = environment.read(["my.env"]).settings({})
    assert (resolved.settings.server.host, resolved.settings.server.port) == ("127.0.0.2", 3)
    assert resolved.origin("server.port") == "my.env"


def test_a_folder_called_dotenv_is_somebodys_virtual_environment(folder: Path) -> None:
    (folder / ".env").mkdir()
    assert environment.read().documents == ()


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "headrace.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"\./headrace\.toml cannot be read: it is not UTF-8"):
        environment.read()
