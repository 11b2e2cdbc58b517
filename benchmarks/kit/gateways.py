"""The gateways that can be measured: how each is found, configured and started. One entry of the table each."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from kit import processes
from kit.failure import CannotMeasure

FOLDER = Path(__file__).resolve().parent.parent
REPOSITORY = FOLDER.parent
LITELLM = FOLDER / ".environments" / "litellm" / "bin"
START_SECONDS = 120.0  # LiteLLM takes 10 to 30 on a busy machine


@dataclass(frozen=True)
class Scene:
    """What a gateway's configuration is made from."""

    folder: Path
    simulator_port: int
    core: int
    connections: int
    headrace_command: str = ".venv/bin/headrace"
    headrace_settings: Path = FOLDER / "headrace.toml"


@dataclass(frozen=True)
class Gateway:
    """A program that stands between reader and upstream, and what is known of it before it is measured."""

    name: str
    missing: Callable[[Scene], str | None]
    """Says what to do where it is not installed, None where it is."""
    command: Callable[[Scene, int], list[str]]
    """The words that start it on a port."""
    version: Callable[[Scene], str]
    environment: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0
    """How much of a load is run that goes as fast as the gateway does."""
    ours: bool = False
    """It is a headrace: it can be asked in any of its protocols, and has targets to meet."""
    leaves_out: Mapping[str, str] = field(default_factory=dict)
    """Workloads that are only run when asked for by name, and why."""


@dataclass(frozen=True)
class Running:
    """A gateway that answers, on a port."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def on_cpu_seconds(self) -> float:
        """Processor time it has used so far."""
        return processes.on_cpu_seconds(self.process.pid)

    def memory_kib(self) -> int:
        """Memory it holds now (Pss)."""
        return processes.proportional_kib(self.process.pid)

    def settle(self, patience_seconds: float = 15.0) -> None:
        """Waits until it has nothing left to do for itself: imports, indexes, collecting garbage."""
        until = time.monotonic() + patience_seconds
        before = self.on_cpu_seconds()
        while time.monotonic() < until:
            time.sleep(0.3)
            after = self.on_cpu_seconds()
            if after - before < 0.006:
                return
            before = after


@contextmanager
def running(gateway: Gateway, scene: Scene) -> Iterator[Running]:
    """The gateway started on its core, and stopped at the end."""
    home = scene.folder / gateway.name
    home.mkdir(exist_ok=True)
    log = home / "output.log"
    port = _free_port()
    environment = {**_environment(home), **gateway.environment}
    with log.open("ab") as output:
        process = processes.start(
            gateway.command(scene, port), core=scene.core, folder=home, environment=environment, output=output
        )
    try:
        _wait_until_listening(gateway.name, process, port, log)
        yield Running(gateway.name, port, process, log)
    finally:
        processes.stop(process)


def _environment(home: Path) -> dict[str, str]:
    """Our own, without keys and settings of the person who measures, and with a home that is thrown away."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not re.search(r"^HEADRACE_|^LITELLM_|_API_KEY$|_PROXY$", name, re.IGNORECASE)
    }
    folders = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME")
    return kept | {name: str(home) for name in folders}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_listening(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    how = (
        f"does not listen after {START_SECONDS:.0f} s" if process.poll() is None else f"ended with {process.returncode}"
    )
    raise CannotMeasure(f"{name} {how}. Its last words:\n{said}", exit_code=4)


def _filled_in(scene: Scene, template: Path, name: str, **values: object) -> Path:
    """A copy of a template with this run's ports, beside the gateway's log."""
    places = {"simulator_port": scene.simulator_port, "connections": scene.connections, "folder": scene.folder}
    copy = scene.folder / name / template.name
    copy.write_text(Template(template.read_text()).substitute(places | values))
    return copy


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter((done.stdout + done.stderr).strip().splitlines()), "unknown")


# ---- headrace ----


def _headrace(scene: Scene) -> list[str]:
    program, *rest = shlex.split(scene.headrace_command)
    # Relative to the repository: a gateway is started in a folder of its own.
    return [str(REPOSITORY / program) if "/" in program else program, *rest]


def _headrace_missing(scene: Scene) -> str | None:
    program = _headrace(scene)[0]
    return None if shutil.which(program) else f"{program} is not there. Set it up: scripts/install"


def _headrace_command(scene: Scene, port: int) -> list[str]:
    settings = _filled_in(scene, scene.headrace_settings, "headrace", port=port)
    return [*_headrace(scene), "serve", "--port", str(port), "--config", str(settings)]


def _journal_command(scene: Scene, port: int) -> list[str]:
    settings = _filled_in(scene, FOLDER / "journal.toml", "journal", port=port)
    return [*_headrace(scene), "serve", "--port", str(port), "--config", str(settings)]


def _headrace_version(scene: Scene) -> str:
    commit = _first_line(["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"])
    return f"{_first_line([*_headrace(scene), '--version'])}, commit {commit}"


# ---- nginx ----


def _nginx_program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _nginx_missing(_scene: Scene) -> str | None:
    return None if _nginx_program() else "nginx is not installed. Debian: apt-get install nginx-light"


def _nginx_command(scene: Scene, port: int) -> list[str]:
    settings = _filled_in(scene, FOLDER / "nginx.conf", "nginx", port=port)
    return [_nginx_program() or "nginx", "-c", str(settings), "-e", str(scene.folder / "nginx-errors.log")]


def _nginx_version(_scene: Scene) -> str:
    return _first_line([_nginx_program() or "nginx", "-v"]).removeprefix("nginx version: ")


# ---- LiteLLM ----


def _litellm_missing(_scene: Scene) -> str | None:
    return None if (LITELLM / "litellm").exists() else "LiteLLM is not installed: benchmarks/install-litellm"


def _litellm_command(scene: Scene, port: int) -> list[str]:
    settings = _filled_in(scene, FOLDER / "litellm.yaml", "litellm")
    words = ["--config", str(settings), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return [str(LITELLM / "litellm"), *words]


def _litellm_version(_scene: Scene) -> str:
    return _first_line(
        [str(LITELLM / "python"), "-c", "from importlib.metadata import version; print(version('litellm'))"]
    )


GATEWAYS = {
    gateway.name: gateway
    for gateway in (
        Gateway("headrace", _headrace_missing, _headrace_command, _headrace_version, ours=True),
        # The same with the store that is the default: what that costs is told beside it.
        Gateway("journal", _headrace_missing, _journal_command, _headrace_version, ours=True),
        Gateway("nginx", _nginx_missing, _nginx_command, _nginx_version),
        Gateway(
            "litellm",
            _litellm_missing,
            _litellm_command,
            _litellm_version,
            # Its price list is fetched at start otherwise; nothing here needs a network.
            environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
            share=0.05,
            leaves_out={"paced": "16,000 tokens/s are many times what one worker of it can carry"},
        ),
    )
}
