"""Debian's nginx with the configuration of `deploy/`, in a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
DEADLINE_SECONDS = 20.0
LOOK_SECONDS = 0.005

# As careless a machine as can be: everything compressed that is not kept from it.
MACHINE = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/errors.log info;
events {{ worker_connections 512; }}
http {{
    access_log off;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    gzip_proxied any;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/headrace.conf;
}}
"""


@contextmanager
def nginx_before(folder: Path, port: int, changes: Mapping[str, str] = {}) -> Iterator[int]:
    """nginx before a server on `port`; gives its own.

    Args:
        folder: for its files.
        port: what it hands requests to.
        changes: lines of the configuration that are replaced, each of which has to be in it once.
    """
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    assert Path(program).exists(), "nginx is not installed. Debian: apt-get install nginx-light"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = int(listener.getsockname()[1])
    text = CONFIGURATION.read_text(encoding="utf-8")
    for before, after in {
        "listen 80;": f"listen 127.0.0.1:{own};",
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{port};",
        **changes,
    }.items():
        assert text.count(f" {before}\n") == 1, before
        text = text.replace(f" {before}\n", f" {after}\n")
    folder.mkdir(exist_ok=True)
    # Started by root, its worker would be a user who may not look into the folders of a test.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "headrace.conf").write_text(text, encoding="utf-8")
    (folder / "nginx.conf").write_text(MACHINE.format(folder=folder, user=user), encoding="utf-8")
    errors = folder / "errors.log"
    popen = subprocess.Popen(
        [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(errors)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _listens(own):
            assert popen.poll() is None, popen.communicate()[1].decode()
            assert time.monotonic() < deadline, errors.read_text()
            time.sleep(LOOK_SECONDS)
        yield own
    finally:
        popen.terminate()
        popen.communicate(timeout=DEADLINE_SECONDS)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
