"""The measuring itself: rounds, in which every gateway carries the same load, one right after the other.

A row is one gateway under one workload in one round. Ratios and medians are made from rows later (summary.py).
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kit import machine, processes, workloads
from kit.failure import CannotMeasure
from kit.gateways import GATEWAYS, Gateway, Running, Scene, running
from kit.workloads import WORKLOADS, Workload

DIRECT = "direct"
SECONDS_TO_HOLD = 1.0
SECONDS_TO_JUDGE_OTHERS = 1.0  # the kernel counts a core's use in steps of 10 ms
TOLD_AT_ONCE = ("cpu_us", "per_second", "longer_percent", "kib_per_stream")


@dataclass(frozen=True)
class Plan:
    """What a person asked to be measured."""

    gateways: Sequence[str]
    workloads: Sequence[str]
    rounds: int
    held_streams: int
    protocol: str
    path: str | None
    insists: bool
    """Gateways and workloads were both named, so that nothing is left out for being slow."""


@dataclass(frozen=True)
class Row:
    """One gateway under one workload in one round."""

    round: int
    gateway: str
    workload: str
    figures: dict[str, float] = field(default_factory=dict)
    streams: int = 0
    exact: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    example: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row as it is written to a file."""
        return asdict(self)


@dataclass(frozen=True)
class Rig:
    """The programs and cores of one run."""

    client: Path
    cores: machine.Cores
    scene: Scene
    plan: Plan

    def load(self, where: Running | None, load: Workload) -> dict[str, Any]:
        """What the client saw of one load; where is None for the simulator itself."""
        with processes.born_on(self.cores.client):
            done = subprocess.run(
                self.words(where, load), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        return self.report(done.stdout.splitlines(), done.stderr)

    def words(self, where: Running | None, load: Workload) -> list[str]:
        """The client's command line. Only headrace is asked for another protocol than the simulator's own."""
        words = [str(self.client), "--port", str(where.port if where else self.scene.simulator_port), *load.arguments()]
        if where and GATEWAYS[where.name].ours:
            words += ["--protocol", self.plan.protocol, *(["--path", self.plan.path] if self.plan.path else [])]
        return words

    @staticmethod
    def report(lines: list[str], said: str) -> dict[str, Any]:
        """The client's last line."""
        if not lines:
            raise CannotMeasure(f"the load client said nothing. {said}", exit_code=1)
        report: dict[str, Any] = json.loads(lines[-1])
        return report


@contextmanager
def simulator(program: Path, core: int) -> Iterator[int]:
    """The upstream on a port that the system chooses."""
    with processes.born_on(core):
        process = subprocess.Popen([str(program), "0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def measure(rig: Rig) -> Iterator[Row]:
    """Every row of every round, as it is measured."""
    plan = rig.plan
    loads = [name for name in plan.workloads if name != "memory"]
    for turn in range(plan.rounds):
        # Another one begins in each round, so that none is always measured on a machine that has just been quiet.
        first = turn % len(plan.gateways) if plan.gateways else 0
        order = [GATEWAYS[name] for name in (*plan.gateways[first:], *plan.gateways[:first])]
        if loads:
            yield from _round_of_loads(rig, turn, order, loads)
        if "memory" in plan.workloads:
            for gateway in order:
                # In a process that has carried nothing yet: memory freed by an earlier load would be used again unseen.
                with running(gateway, rig.scene) as started:
                    _warm_up(rig, started)
                    yield _memory(rig, turn, gateway, started)


def skips(plan: Plan, gateway: Gateway, workload: str) -> bool:
    """Whether this gateway is spared this workload unless somebody insists."""
    return workload in gateway.leaves_out and not plan.insists


def _round_of_loads(rig: Rig, turn: int, order: Sequence[Gateway], names: Sequence[str]) -> Iterator[Row]:
    with ExitStack() as stack:
        started = [(gateway, stack.enter_context(running(gateway, rig.scene))) for gateway in order]
        for _, where in started:
            _warm_up(rig, where)
        for name in names:
            yield _modes(rig, turn, None) if name == "modes" else _load(rig, turn, None, WORKLOADS[name])
            for gateway, where in started:
                if skips(rig.plan, gateway, name):
                    continue
                where.settle()
                if name == "modes":
                    yield _modes(rig, turn, where)
                else:
                    load = WORKLOADS[name]
                    # A load with a pace of its own takes as long for everybody.
                    yield _load(rig, turn, where, load if load.gap else load.scaled(gateway.share))


def _warm_up(rig: Rig, where: Running) -> None:
    for load in workloads.WARM_UP:
        if load.whole and GATEWAYS[where.name].ours and rig.plan.protocol in workloads.ALWAYS_STREAMED:
            continue
        report = rig.load(where, load)
        if not report["exact"]:
            said = "\n".join(where.log.read_text(errors="replace").splitlines()[-10:])
            raise CannotMeasure(
                f"{where.name} gave no exact answer while warming up: {report['faults']} ({report['example']}). "
                f"Its last words:\n{said}",
                exit_code=1,
            )
    where.settle()


def _load(rig: Rig, turn: int, where: Running | None, load: Workload) -> Row:
    core = rig.cores.gateway
    since, core_before, used_before = (
        time.monotonic(),
        machine.busy_seconds(core),
        where.on_cpu_seconds() if where else 0.0,
    )
    report = rig.load(where, load)
    used = where.on_cpu_seconds() - used_before if where else 0.0
    others = max(0.0, machine.busy_seconds(core) - core_before - used)
    seconds = time.monotonic() - since
    figures = {"per_second": report["answers_per_second" if load.whole else "words_per_second"]}
    for name, kind in (("ttft", "first_word_ms"), ("delay", "word_delay_ms"), ("answer", "answer_ms")):
        if report[kind]:
            figures |= {f"{name}_p50_ms": report[kind]["p50"], f"{name}_p99_ms": report[kind]["p99"]}
    units = report["exact"] if load.whole else report["words"]
    if where and units:
        figures |= {"cpu_us": used * 1e6 / units, "busy": used / seconds, "units": units}
        if seconds > SECONDS_TO_JUDGE_OTHERS:
            figures["others"] = others / seconds
    return _row(turn, where, load.name, report, figures)


def _modes(rig: Rig, turn: int, where: Running | None) -> Row:
    """R2: how long the same answer takes streamed and whole."""
    streamed, whole = rig.load(where, workloads.STREAMED), rig.load(where, workloads.WHOLE)
    figures = {}
    if streamed["answer_ms"] and whole["answer_ms"]:
        figures = {"streamed_ms": streamed["answer_ms"]["p50"], "whole_ms": whole["answer_ms"]["p50"]}
        figures["longer_percent"] = 100 * (figures["streamed_ms"] / figures["whole_ms"] - 1)
    both = {name: streamed[name] + whole[name] for name in ("streams", "exact")}
    faults = {
        name: streamed["faults"].get(name, 0) + whole["faults"].get(name, 0)
        for name in streamed["faults"] | whole["faults"]
    }
    return _row(
        turn, where, "modes", both | {"faults": faults, "example": streamed["example"] or whole["example"]}, figures
    )


def _memory(rig: Rig, turn: int, gateway: Gateway, where: Running) -> Row:
    """What a stream costs that has had a few tokens and stays open."""
    load = replace(workloads.HELD, streams=rig.plan.held_streams).scaled(gateway.share)
    idle = where.memory_kib()
    with processes.born_on(rig.cores.client):
        client = subprocess.Popen(
            [*rig.words(where, load), "--hold"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert client.stdout is not None
    first = client.stdout.readline()  # its report already, where not all streams could be opened in time
    holding = int(json.loads(first or "{}").get("holding", 0))
    time.sleep(SECONDS_TO_HOLD)
    held = where.memory_kib()
    output, said = client.communicate("")
    report = rig.report([*first.splitlines(), *output.splitlines()], said)
    figures = {"idle_mib": idle / 1024, "held_mib": held / 1024, "holding": holding}
    if holding:
        figures["kib_per_stream"] = (held - idle) / holding
    return _row(turn, where, "memory", report, figures)


def _row(turn: int, where: Running | None, workload: str, report: dict[str, Any], figures: dict[str, float]) -> Row:
    row = Row(
        round=turn,
        gateway=where.name if where else DIRECT,
        workload=workload,
        figures={name: round(value, 4) for name, value in figures.items()},
        streams=report["streams"],
        exact=report["exact"],
        faults=report["faults"],
        example=report["example"],
    )
    shown = "  ".join(f"{name}={figures[name]:,.2f}" for name in TOLD_AT_ONCE if name in figures)
    line = f"round {turn + 1}  {workload:6s}  {row.gateway:8s}  exact={row.exact}/{row.streams}  {shown}"
    print(line, file=sys.stderr, flush=True)
    return row
