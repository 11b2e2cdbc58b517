"""What `serve` says when it is ready: for people as a few lines, for programs as one JSON object a line.

Pure: facts in, lines out.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

import headrace
from headrace.server.discovery import Found
from headrace.server.wiring import store_path
from headrace.settings import Settings
from headrace.wire import json_text


class Ready(msgspec.Struct, frozen=True):
    """The facts of a server that accepts connections."""

    url: str
    pid: int
    settings: Settings
    upstreams: Sequence[Found]
    origins: Sequence[str]
    """The files that settings came from."""
    keys_kept: int = 0
    """How many keys `headrace keys` keeps, besides those of the settings."""


def text(ready: Ready) -> str:
    """The start screen: the address, what was found, and what to type next."""
    settings = ready.settings
    name = max(len(found.name) for found in ready.upstreams)
    where = max(len(found.where) for found in ready.upstreams)
    lines = [f"headrace {headrace.__version__}   {ready.url}   chat /chat   API /v1   health /health"]
    for number, found in enumerate(ready.upstreams):
        label = "upstreams" if number == 0 else ""
        lines.append(f"{label:10} {found.name:{name}}  {found.where:{where}}  {found.state}")
    lines.append(f"{'store':10} {_store(settings)}")
    lines.append(f"{'auth':10} {_auth(ready)}")
    if ready.origins:
        lines.append(f"{'settings':10} {', '.join(ready.origins)}")
    lines.append(f"{'try':10} {try_line(ready)}")
    return "\n".join(lines)


def json_lines(ready: Ready) -> list[bytes]:
    """The same facts, one event a line; that the server is ready comes first of all."""
    settings = ready.settings
    upstreams: list[dict[str, object]] = [
        {"event": "upstream", "name": found.name, "where": found.where, "state": found.state}
        for found in ready.upstreams
    ]
    events: list[dict[str, object]] = [
        {"event": "ready", "url": ready.url, "pid": ready.pid, "version": headrace.__version__},
        *upstreams,
        _store_event(settings),
        {"event": "auth", "on": settings.server.auth, "keys": ready.keys_kept + len(settings.keys)},
        {"event": "settings", "files": list(ready.origins)},
        {"event": "try", "try": try_line(ready)},
    ]
    return [json_text.encode(event) for event in events]


def ready_line(ready: Ready) -> bytes:
    """What scripts are told that wait for the server (`--ready-file`, `--ready-fd`)."""
    return json_text.encode({"url": ready.url, "pid": ready.pid}) + b"\n"


def try_line(ready: Ready) -> str:
    """A command that streams an answer, whole, to be pasted into a shell. With auth on, the key is in a variable."""
    body = {
        "model": "offline",
        "stream": True,
        "messages": [{"role": "user", "content": "How does headrace resume a stream?"}],
    }
    # An address for everyone is no address to call.
    url = ready.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    # curl takes [::1] for a pattern unless it is told not to.
    words = ["curl", "-gN" if "[" in url else "-N", f"{url}/v1/chat/completions"]
    words += ["-H", "Content-Type: application/json", "-d", json_text.encode(body).decode("utf-8")]
    line = shlex.join(words)
    return f'{line} -H "Authorization: Bearer $HEADRACE_API_KEY"' if ready.settings.server.auth else line


def _store(settings: Settings) -> str:
    kept = f"ended streams can be read again for {settings.store.retention_hours:g} h"
    if settings.store.kind == "memory":
        return f"memory   {kept}, and are gone when this process ends"
    path = str(store_path(settings.store))
    home = str(Path.home())
    return f"sqlite   {'~' + path[len(home) :] if path.startswith(home + os.sep) else path}   {kept}"


def _store_event(settings: Settings) -> dict[str, object]:
    store = settings.store
    path = {"path": str(store_path(store))} if store.kind == "sqlite" else {}
    return {"event": "store", "kind": store.kind, **path, "retention_hours": store.retention_hours}


def _auth(ready: Ready) -> str:
    if ready.settings.server.auth:
        count = ready.keys_kept + len(ready.settings.keys)
        return f"on, {count} key{'' if count == 1 else 's'}"
    return "off, this machine only. To listen elsewhere: headrace serve --host 0.0.0.0 --auth"
