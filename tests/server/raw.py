"""Bytes on a socket, right or wrong, and the responses that come back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.server.conftest import Process

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Response:
    """One response, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """Its error, which has what every error of headrace has."""
        assert self.headers["content-type"] == "application/json", self
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert error.keys() >= {"message", "type", "code", "param"}, error
        assert error["message"]
        assert error["code"]
        return error


def request(method: str, path: str, body: bytes = b"", *headers: str, host: str = "Host: 127.0.0.1") -> bytes:
    """A request; without headers of its own it has those of a JSON body."""
    lines = [host] if host else []
    lines += headers or (["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else [])
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


def post(body: bytes, path: str = "/v1/chat/completions") -> bytes:
    """A request with a JSON body."""
    return request("POST", path, body)


def converse(port: int, *pieces: bytes, responses: int = 1, head_only: bool = False) -> list[Response]:
    """Sends the pieces on one connection and gives the responses: at most so many, fewer if the server closes.

    Args:
        port: where the server listens.
        pieces: sent one after another, each whole.
        responses: how many are read.
        head_only: the request was HEAD, so that no body follows.

    Raises:
        TimeoutError: the server neither answers nor closes.
    """
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # it has heard enough, and its answer waits to be read
        return read_responses(connection, responses, head_only=head_only)


def read_responses(connection: socket.socket, count: int, *, head_only: bool = False) -> list[Response]:
    """The next responses on a connection: so many, or fewer if the server closes."""
    found: list[Response] = []
    with connection.makefile("rb") as incoming:
        while len(found) < count:
            try:
                first = incoming.readline()
                if not first:
                    break
                headers: dict[str, str] = {}
                while line := incoming.readline().rstrip(b"\r\n"):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = b""
                status = int(first.split(b" ")[1])
                if not head_only and status >= 200 and status != 204:
                    body = _body(incoming, headers)
                found.append(Response(status, headers, body))
            except ConnectionResetError:
                break
    return found


def _body(incoming: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(incoming.readline(), 16):
            body += incoming.read(size)
            incoming.readline()
        incoming.readline()
        return body
    size_bytes = headers.get("content-length")
    return bytes(incoming.read() if size_bytes is None else incoming.read(int(size_bytes)))


def settled(port: int) -> dict[str, Any]:
    """What `/health` says once no stream is in progress any more.

    Raises:
        AssertionError: one still is, though nobody reads it.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    while (known := health(port))["streams"]:
        assert time.monotonic() < deadline, known
        time.sleep(0.005)
    return known


def assert_nothing_grows(process: Process, visit: Callable[[int], None], visits: int = 80) -> None:
    """Returns where a server holds as much after `visits` as before; it was visited a few thousand times already."""

    def held() -> tuple[int, int]:
        settled(process.port)
        folder = Path(f"/proc/{process.popen.pid}")
        return len(list((folder / "fd").iterdir())), int((folder / "statm").read_text().split()[1]) * 4096

    for number in range(10):
        visit(number)
    descriptors, resident_bytes = held()
    for number in range(visits):
        visit(number)
    deadline = time.monotonic() + ANSWER_SECONDS
    while (now := held())[0] > descriptors:
        assert time.monotonic() < deadline, (descriptors, now)
        time.sleep(0.005)
    assert now[1] - resident_bytes < 2 << 20, (resident_bytes, now)


def health(port: int) -> dict[str, Any]:
    """What `/health` says."""
    response = converse(port, request("GET", "/health"))[0]
    assert response.status == 200
    known: dict[str, Any] = json.loads(response.body)
    return known
