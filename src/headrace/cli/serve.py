"""`headrace serve`: the server, and what it says when it is ready."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from headrace.cli.exits import say


@click.command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, metavar="PORT", help="Port to listen on; 0: one the system chooses.  [default: 8000]")
@click.option("--auth/--no-auth", default=None, help="Whether readers have to give a key.  [default: no]")
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]")
@click.option("--log-format", metavar="FORMAT", help="text or json.  [default: text at a terminal]")
@click.option("--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Written once ready: url and pid.")
@click.option("--ready-fd", type=int, metavar="FD", help="The same, to a file descriptor that is open.")
def serve(
    host: str | None,
    port: int | None,
    auth: bool | None,
    config: tuple[str, ...],
    log_level: str | None,
    log_format: str | None,
    ready_file: Path | None,
    ready_fd: int | None,
) -> int:
    """Serve models over HTTP: API at /v1, typed events at /chat/basic."""
    import asyncio

    from headrace.cli import environment, logs, start_screen
    from headrace.providers.catalogue import SERVICES
    from headrace.server.discovery import discover
    from headrace.server.serving import keys_kept
    from headrace.server.serving import serve as serve_until_told
    from headrace.settings import check_exposure

    _check_ready(ready_file, ready_fd)
    surroundings = environment.read(config)
    resolved = surroundings.settings(
        {
            "server.host": host,
            "server.port": port,
            "server.auth": auth,
            "logging.level": log_level,
            "logging.format": log_format,
        }
    )
    kept = keys_kept(resolved.settings, environment.keys_file())
    check_exposure(resolved.settings, kept)
    logs.set_up(resolved.settings.logging, at_terminal=sys.stderr.isatty())
    variables = surroundings.with_keys(resolved.settings)
    discovery = asyncio.run(discover(resolved.settings, variables))
    for name in environment.unused_keys(surroundings, [each.api_key_env for each in SERVICES if each.api_key_env]):
        say(f"./.env sets {name}, which is not used: a file found in the working directory may not set keys."
            " If you trust it: headrace settings trust")  # fmt: skip

    def on_ready(url: str, port: int) -> None:
        files = tuple(dict.fromkeys(document.origin for document in surroundings.documents))
        ready = start_screen.Ready(url, os.getpid(), discovery.settings, discovery.rows, files, kept)
        _tell_scripts(start_screen.ready_line(ready), ready_file, ready_fd)
        try:
            if sys.stdout.isatty():
                click.echo(start_screen.text(ready))
            else:
                click.echo(b"\n".join(start_screen.json_lines(ready)))
        except OSError:
            pass  # whoever read stdout left; readers of streams are still served

    return serve_until_told(discovery.settings, variables, on_ready, keys=environment.keys_file())


def _check_ready(ready_file: Path | None, ready_fd: int | None) -> None:
    if ready_file is not None and not ready_file.absolute().parent.is_dir():
        raise click.UsageError(f"--ready-file: there is no folder {ready_file.absolute().parent}")
    if ready_fd is not None:
        try:
            os.fstat(ready_fd)
        except (OSError, OverflowError):
            raise click.UsageError(f"--ready-fd: {ready_fd} is not open") from None


def _tell_scripts(line: bytes, ready_file: Path | None, ready_fd: int | None) -> None:
    if ready_fd is not None:
        with open(ready_fd, "wb") as waiting:
            waiting.write(line)
    if ready_file is not None:
        # Whole or not at all: whoever waits for the file may read it the moment it is there.
        unfinished = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        unfinished.write_bytes(line)
        unfinished.replace(ready_file)
