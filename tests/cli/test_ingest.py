"""`headrace ingest`: files and folders become documents of a server, and each that cannot says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from tests.cli.conftest import Command, Server

Serve: TypeAlias = Callable[..., Server]
FERRY = "# The packet\n\nThe packet to Tarnvik sails at nine.\n"


def write(folder: Path, **files: str | bytes) -> None:
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())


def test_files_and_folders_are_indexed_and_answered_from(command: Command, serve: Serve) -> None:
    server = serve()
    write(command.folder, ferry_DOT_md=FERRY, notes__tides_DOT_txt="Low tide in Orsk is at six.",
          notes__deep__lamp_DOT_md="The lamp of Ulvo burns whale oil.", notes__picture_DOT_png="x",
          notes___DOT_git__a_DOT_md="x")  # fmt: skip
    ran = command.run("ingest", "ferry.md", "notes", "--url", server.url)
    assert (ran.returncode, ran.stderr) == (0, "3 of 3 files are indexed\n")
    assert ran.stdout.splitlines() == [
        "indexed  ferry.md  1 passage",
        "indexed  notes/tides.txt  1 passage",
        "indexed  notes/deep/lamp.md  1 passage",
    ]
    asked = command.run("ask", "When does the packet to Tarnvik sail?", "--model", "offline", "--url", server.url)
    assert "sails at nine. [1]" in asked.stdout
    write(command.folder, ferry_DOT_md=FERRY.replace("nine", "ten"))
    again = command.run("ingest", "./ferry.md", "notes/tides.txt", "-q", "--url", server.url)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    told = json.loads(command.run("ingest", "ferry.md", "--json", "--url", server.url).stdout)
    assert [(each["name"], each["state"]) for each in told["documents"]] == [("ferry.md", "unchanged")]
    assert told["errors"] == []


def test_a_file_that_cannot_be_indexed_says_why_and_stops_no_other(command: Command, serve: Serve) -> None:
    settings = command.settings("[documents]\nlimit_bytes = 1000\n")
    server = serve("--config", settings)
    write(command.folder, latin_DOT_txt=b"caf\xe9 open", empty_DOT_md="", large_DOT_txt="word " * 201,
          ferry_DOT_md=FERRY, bare__a_DOT_bin="x", other__ferry_DOT_md="Another one.")  # fmt: skip
    outside = command.folder.parent / f"{command.folder.name}-outside" / "ferry.md"
    outside.parent.mkdir()
    outside.write_text("Elsewhere.")
    paths = ["latin.txt", "empty.md", "large.txt", "none.md", "bare", str(outside), "ferry.md", "other/ferry.md"]
    ran = command.run("ingest", *paths, "--url", server.url)
    assert ran.returncode == 2
    assert ran.stdout.splitlines() == ["indexed  ferry.md  1 passage", "indexed  other/ferry.md  1 passage"]
    said = ran.stderr.splitlines()
    assert said[:5] == [
        "latin.txt: latin.txt is not text in UTF-8 (byte 3); save it as UTF-8, and add that",
        "empty.md: empty.md is empty; add it once there is something in it",
        "large.txt: it is larger than 1000 bytes, which is the most that is taken (documents.limit_bytes)",
        "none.md: no such file or directory",
        "bare: holds no file that ends in .md, .markdown, .txt, .text",
    ]
    assert said[5] == f"ferry.md: would take the place of {outside}, since both are called ferry.md"
    assert said[6:] == ["2 of 8 files are indexed"]
    ran = command.run("ingest", "latin.txt", "ferry.md", "--json", "--url", server.url)
    told = json.loads(ran.stdout)
    assert ran.returncode == 2
    assert [(each["path"], each["code"]) for each in told["errors"]] == [("latin.txt", "document_unusable")]


def test_no_server_and_no_key_say_what_to_do(command: Command, serve: Serve) -> None:
    write(command.folder, ferry_DOT_md=FERRY)
    nowhere = command.run("ingest", "ferry.md", "--url", "http://127.0.0.1:1")
    assert (nowhere.returncode, nowhere.stdout) == (4, "")
    assert "nothing answers at http://127.0.0.1:1" in nowhere.stderr
    digest = hashlib.sha256(b"hr-key").hexdigest()
    settings = command.settings(f'[server]\nauth = true\n[[keys]]\nowner = "ann"\nhash = "{digest}"\n')
    server = serve("--config", settings)
    refused = command.run("ingest", "ferry.md", "--url", server.url)
    assert refused.returncode == 3
    assert "HEADRACE_API_KEY" in refused.stderr
    taken = command.run("ingest", "ferry.md", "--url", server.url, HEADRACE_API_KEY="hr-key")
    assert (taken.returncode, taken.stdout) == (0, "indexed  ferry.md  1 passage\n")


def test_a_name_with_escape_sequences_does_nothing_to_a_terminal(command: Command, serve: Serve) -> None:
    server = serve()
    (command.folder / "a\x1b[31m.md").write_text(FERRY)
    ran = command.run("ingest", "a\x1b[31m.md", "--url", server.url)
    assert ran.returncode == 2
    assert "holds control characters" in ran.stderr
    assert "\x1b" not in ran.stderr
