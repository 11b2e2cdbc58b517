"""What is found without settings, and what is never called."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from headrace.requests import Timeouts
from headrace.server.discovery import PROBE_SECONDS, Discovery, discover, missing_key, ollama_address, ollama_models
from headrace.settings import Document, ModelSettings, Settings, UpstreamSettings, resolve

NOBODY = {"OLLAMA_HOST": "127.0.0.1:1"}


def found(settings: Settings, **environment: str) -> Discovery:
    return asyncio.run(discover(settings, {**NOBODY, **environment}))


def test_nothing_is_found_where_nothing_is() -> None:
    discovery = found(Settings())
    assert discovery.settings == Settings()
    assert [row.name for row in discovery.rows] == ["offline", "groq", "openai"]


def test_every_service_with_a_key_is_an_upstream_with_the_timers_of_the_settings() -> None:
    settings = resolve({}, {"STREAM_TIMEOUT": "90"}, []).settings
    discovery = found(settings, MISTRAL_API_KEY="m", GROQ_API_KEY="g", OPENAI_API_KEY=" ")
    assert [upstream.name for upstream in discovery.settings.upstreams] == ["groq", "mistral"]
    timeouts = Timeouts(connect=5.0, first_token=120.0, between_tokens=30.0, total=90.0)
    assert all(upstream.timeouts == timeouts for upstream in discovery.settings.upstreams)
    assert "OPENAI_API_KEY not set" in [row.where for row in discovery.rows]
    assert not any(row.where == "m" or "g" in row.where.split() for row in discovery.rows)


def test_an_upstream_of_the_settings_is_not_replaced_by_one_that_was_found() -> None:
    own = {"upstreams": [{"name": "groq", "base_url": "http://127.0.0.1:9/v1"}]}
    settings = resolve({}, {}, [Document("x", own)]).settings
    discovery = found(settings, GROQ_API_KEY="g")
    assert [upstream.base_url for upstream in discovery.settings.upstreams] == ["http://127.0.0.1:9/v1"]
    assert [row.state for row in discovery.rows if row.name == "groq"] == ["not called until used"]


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("", ("127.0.0.1", 11434)),
        ("127.0.0.1:5", ("127.0.0.1", 5)),
        ("0.0.0.0", ("127.0.0.1", 11434)),
        ("http://localhost:5/", ("localhost", 5)),
        ("[::1]:5", ("::1", 5)),
        (":5", ("127.0.0.1", 5)),
        ("lab.example:5", None),
        ("10.0.0.7", None),
        ("localhost:many", None),
    ],
)
def test_ollama_is_looked_for_where_it_says_it_is_and_only_on_this_machine(
    said: str, address: tuple[str, int] | None
) -> None:
    assert ollama_address({"OLLAMA_HOST": said}) == address


@pytest.fixture
def answering() -> Iterator[list[bytes]]:
    """The list of what the next connections are answered; its address is put at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    answers: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answers[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    answers.append(b"")
    answers.append(str(listener.getsockname()[1]).encode())
    yield answers
    # Closing alone does not wake a thread that waits in accept.
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

ANSWERS: list[tuple[bytes, int | None]] = [
    (HEAD + b'\r\n{"models": [{}, {}]}', 2),
    (HEAD + b'Content-Length: 14\r\n\r\n{"models": []}', 0),
    (HEAD + b'\r\n{"models": null}', 0),
    (HEAD + b"\r\n<html>", None),
    (HEAD + b"\r\n[1]", None),
    (HEAD + b'\r\n{"models":' + b"[" * 20_000, None),
    (b"HTTP/1.1 404 Not Found\r\n\r\n{}", None),
    (b"SSH-2.0-OpenSSH\r\n\r\n", None),
    (b"", None),
]


@pytest.mark.parametrize(("answer", "models"), ANSWERS)
def test_only_what_answers_like_ollama_is_ollama(answering: list[bytes], answer: bytes, models: int | None) -> None:
    answering[0] = answer
    assert asyncio.run(ollama_models(("127.0.0.1", int(answering[1])))) == models


def test_a_found_ollama_is_an_upstream_of_its_own_address(answering: list[bytes]) -> None:
    answering[0] = HEAD + b'\r\n{"models": [{}]}'
    address = f"127.0.0.1:{answering[1].decode()}"
    discovery = found(Settings(), OLLAMA_HOST=address)
    (ollama,) = discovery.settings.upstreams
    assert (ollama.name, ollama.base_url, ollama.api_key_env) == ("ollama", f"http://{address}", None)
    assert ollama.provider == "ollama", "it is asked through its own API"
    assert [(row.where, row.state) for row in discovery.rows if row.name == "ollama"] == [(address, "found, 1 model")]


def test_one_that_never_answers_costs_no_more_than_the_probe_may() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = ("127.0.0.1", silent.getsockname()[1])

        async def measure() -> float:
            started = time.perf_counter()
            assert await ollama_models(address) is None
            return time.perf_counter() - started

        # The bound is the probe's own plus what a busy machine may add; a probe without one would hang here.
        assert asyncio.run(measure()) < PROBE_SECONDS + 2


GROQ = UpstreamSettings(name="groq", api_key_env="WORK_KEY", base_url="https://api.groq.com/openai/v1")
FAST = ModelSettings(name="fast", upstreams=("groq/a", "lab/b"))

MISSING: list[tuple[str, Settings, dict[str, str], str | None]] = [
    ("groq/x", Settings(), {}, "groq needs GROQ_API_KEY, which is not set. Set it, or: headrace keys set groq"),
    ("groq/x", Settings(), {"GROQ_API_KEY": "g"}, None),
    ("groq/x", Settings(upstreams=(GROQ,)), {"GROQ_API_KEY": "g"}, "groq needs WORK_KEY"),
    ("ollama/x", Settings(), {}, None),
    ("offline", Settings(), {}, None),
    ("", Settings(), {}, None),
    ("fast", Settings(models=(FAST,), upstreams=(GROQ, UpstreamSettings(name="lab"))), {}, None),
    ("fast", Settings(models=(ModelSettings(name="fast", upstreams=("groq/a", "openai/b")),)), {}, "groq needs"),
]


@pytest.mark.parametrize(("model", "settings", "environment", "message"), MISSING)
def test_a_key_is_missing_where_no_upstream_of_the_model_can_do_without(
    model: str, settings: Settings, environment: dict[str, str], message: str | None
) -> None:
    missing = missing_key(model, settings, environment)
    assert (missing is None) if message is None else (missing is not None and missing.message.startswith(message))
