"""Inference servers that nobody here wrote, each in an environment of its own, and headrace before them.

The models have random weights, are made on the spot, and say the same each time. `scripts/test-real` makes the
environments; nothing here is part of the default run.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.server.conftest import Process, process

REAL = Path(__file__).resolve().parent
ENVIRONMENTS = REAL.parents[1] / ".environments"
START_SECONDS = 90.0
ANSWER_SECONDS = 60.0
LOOK_SECONDS = 0.02
QUIET_SECONDS = 0.25
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

PROMPT = "Say something."
MESSAGES = [{"role": "user", "content": PROMPT}]
# Greedy: the same words each time.
GREEDY = {"temperature": 0, "max_tokens": 40}
# Longer than a test waits for.
ENDLESS = {"model": "real", "messages": MESSAGES, "stream": True, "temperature": 0, "max_tokens": 20_000}


@dataclass(frozen=True)
class Inference:
    """A running inference server."""

    origin: str
    model: str
    popen: subprocess.Popen[bytes]
    log_path: Path

    def chat(self, **more: object) -> dict[str, Any]:
        """What it answers itself, whole, to the messages of these tests."""
        body = {"model": self.model, "messages": MESSAGES, **more}
        response = requests.post(f"{self.origin}/v1/chat/completions", json=body, timeout=ANSWER_SECONDS)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def text(self, **more: object) -> str:
        """The text of that."""
        return str(self.chat(**more)["choices"][0]["message"]["content"])

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def falls_quiet(self, seconds: float) -> bool:
        """Whether it stops working within so many seconds: it generates no more, whatever it says."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = self.cpu_seconds
            time.sleep(QUIET_SECONDS)  # what is measured is this stretch of time
            if self.cpu_seconds - before < QUIET_SECONDS / 20:
                return True
        return False

    def log(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text(errors="replace")


def python_of(environment: str) -> Path:
    """The Python of one of the environments.

    Raises:
        AssertionError: it was not made.
    """
    python = ENVIRONMENTS / environment / "bin" / "python"
    assert python.exists(), f"{python} is not there: run scripts/test-real, which makes it"
    return python


def free_port() -> int:
    """A port that nobody listens on. These servers cannot say which one the system chose for them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], folder: Path, port: int, model: str, variables: Mapping[str, str]
) -> Iterator[Inference]:
    """An inference server until the end of the block, from its first answer on."""
    log_path = folder / f"log-{port}"
    with log_path.open("wb") as log:
        popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    inference = Inference(f"http://127.0.0.1:{port}", model, popen, log_path)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(inference):
            assert popen.poll() is None, inference.log()
            assert time.monotonic() < deadline, inference.log()
            time.sleep(LOOK_SECONDS)
        yield inference
    finally:
        popen.terminate()
        try:
            popen.wait(10)
        except subprocess.TimeoutExpired:
            popen.kill()  # it waits for an answer that nobody reads
            popen.wait()


def _answers(inference: Inference) -> bool:
    try:
        inference.chat(max_tokens=1)
    except requests.RequestException:
        return False
    return True


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models lie."""
    return tmp_path_factory.mktemp("models")


@functools.cache
def _made(maker: str, environment: str, where: Path) -> Path:
    # Nothing is compiled beside the sources by another Python than their own.
    command = [str(python_of(environment)), "-B", str(REAL / maker), str(where)]
    subprocess.run(command, check=True, timeout=START_SECONDS, capture_output=True)
    return where


@contextmanager
def transformers_serve(models: Path, *options: str) -> Iterator[Inference]:
    """`transformers serve` with a model of its own format."""
    folder = _made("make_transformer.py", "transformers", models / "random")
    port = free_port()
    program = str(python_of("transformers").with_name("transformers"))
    command = [program, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    command += options
    with running(command, models, port, str(folder), {"HF_HOME": str(models / "cache")}) as inference:
        yield inference


@contextmanager
def llama_cpp_server(models: Path, *options: str) -> Iterator[Inference]:
    """`python -m llama_cpp.server` with a GGUF model."""
    file = _made("make_gguf.py", "llama_cpp", models / "random.gguf")
    port = free_port()
    command = [str(python_of("llama_cpp")), "-m", "llama_cpp.server", "--model", str(file), "--model_alias", "random"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "32768", *options]
    with running(command, models, port, "random", {}) as inference:
        yield inference


STARTS = {"transformers": transformers_serve, "llama_cpp": llama_cpp_server}
# What they are called in the catalogue.
NAMES = {"transformers": "transformers", "llama_cpp": "llama-cpp-python"}


@contextmanager
def headrace_before(inference: Inference, folder: Path, upstream: str, **settings: object) -> Iterator[Process]:
    """`headrace serve` before an inference server, whose model is called `real` there."""
    name = NAMES[upstream]
    more = "".join(f"{key} = {value}\n" for key, value in settings.items())
    toml = (
        f'[[upstreams]]\nname = "{name}"\nbase_url = "{inference.origin}/v1"\n{more}'
        f'[[models]]\nname = "real"\nupstreams = ["{name}/{inference.model}"]\n'
    )
    with process(folder, toml) as headrace:
        yield headrace


@pytest.fixture(scope="session", params=list(STARTS))
def upstream(request: pytest.FixtureRequest) -> str:
    """Which of them; the name of its environment."""
    return str(request.param)


@pytest.fixture(scope="session")
def inference(upstream: str, models: Path) -> Iterator[Inference]:
    """One that many tests share, as it is started by its documentation."""
    with STARTS[upstream](models) as started:
        yield started


@pytest.fixture(scope="session")
def headrace(upstream: str, inference: Inference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """headrace before it."""
    with headrace_before(inference, tmp_path_factory.mktemp("headrace"), upstream) as started:
        yield started
