"""The words typed by people: options, what is missing, the report, the exit code."""

import argparse
import json
import os
import resource
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit import machine, report, targets, workloads
from kit.build import build
from kit.failure import CannotMeasure
from kit.gateways import FOLDER, GATEWAYS, Scene
from kit.measure import DIRECT, Plan, Rig, Row, measure, simulator, skips
from kit.summary import summarize

MISSED = 7
ABOUT = """\
Measures headrace on this machine: processor time per token, added time to first token, tokens a second, memory per open
stream, streamed against whole. nginx and LiteLLM carry the same load in the same run where they are installed, and the
load is sent straight to the simulator too (direct). benchmarks/README.md says how to read it.

exit codes: 0 measured · 1 the load failed, or streams of headrace were not exact · 2 usage, or something to install ·
4 a gateway did not start · 7 with --check, a target was missed or could not be decided · 130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _options(arguments)
    # Gateways live in sessions of their own: being asked to end must end them too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        facts = _read(options.report) if options.report else _measured(options)
    except CannotMeasure as failure:
        print(failure, file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    return _tell(facts, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks/run", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--gateway",
        action="append",
        default=[],
        choices=[*GATEWAYS, DIRECT],
        help="may be repeated; default: all that are installed (direct, the simulator itself, is always measured)",
    )
    add("--workload", action="append", default=[], choices=workloads.NAMES, help="may be repeated; default: all")
    add("--rounds", type=_positive, default=3, help="default: %(default)s")
    add("--streams", type=_positive, default=workloads.HELD.streams, help="open in `memory`; default: %(default)s")
    add("--protocol", choices=workloads.PROTOCOLS, default="openai_chat", help="headrace's")
    add("--path", help="headrace's route, such as /chat/basic; default: that of the protocol")
    add("--config", type=Path, default=FOLDER / "headrace.toml", help="another template of settings for headrace")
    add("--headrace", default=".venv/bin/headrace", metavar="COMMAND", help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="write the machine, every row, the summary and the targets to a file")
    add("--check", action="store_true", help=f"exit {MISSED} where a target of design.md section 9 is missed")
    add("--report", type=Path, metavar="FILE", help="measure nothing, tell again what --json wrote")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    cores = machine.choose_cores()
    programs = build()
    connections = _open_files(options)
    with (
        tempfile.TemporaryDirectory(prefix="headrace-benchmarks-") as folder,
        simulator(programs[0], cores.simulator) as port,
    ):
        scene = Scene(Path(folder), port, cores.gateway, connections, options.headrace, options.config.resolve())
        # nginx's worker runs as another user where it is started by root, and keeps its folders here.
        scene.folder.chmod(0o755)
        gateways, notes = _gateways(options, scene)
        plan = Plan(
            gateways=gateways,
            workloads=_workloads(options),
            rounds=options.rounds,
            held_streams=options.streams,
            protocol=options.protocol,
            path=options.path,
            insists=bool(options.gateway and options.workload),
        )
        notes += [
            f"{name} was not run under {workload}: {GATEWAYS[name].leaves_out[workload]}. "
            f"To try: --gateway {name} --workload {workload}"
            for name in gateways
            for workload in plan.workloads
            if skips(plan, GATEWAYS[name], workload)
        ]
        facts = {
            "command": shlex.join(["benchmarks/run", *sys.argv[1:]]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine.describe() | {"pinned": _pinned(cores)},
            "versions": {name: GATEWAYS[name].version(scene) for name in gateways},
            "notes": notes,
        }
        rows = list(measure(Rig(programs[1], cores, scene, plan)))
    return facts | {"rows": [row.as_json() for row in rows]}


def _workloads(options: argparse.Namespace) -> Sequence[str]:
    """What was asked for, or all that there is in this protocol."""
    if options.protocol not in workloads.ALWAYS_STREAMED:
        return options.workload or workloads.NAMES
    if impossible := workloads.OF_WHOLE_ANSWERS.intersection(options.workload):
        raise CannotMeasure(f"{options.protocol} is always streamed: there is no {', '.join(sorted(impossible))} in it")
    return options.workload or [name for name in workloads.NAMES if name not in workloads.OF_WHOLE_ANSWERS]


def _gateways(options: argparse.Namespace, scene: Scene) -> tuple[list[str], list[str]]:
    """The gateways to measure, and what is said about those that are not there."""
    missing = {name: lack for name, gateway in GATEWAYS.items() if (lack := gateway.missing(scene))}
    for name in options.gateway:
        if name in missing:
            raise CannotMeasure(missing[name])
    wanted = [name for name in (options.gateway or GATEWAYS) if name != DIRECT]
    if "headrace" in missing and "headrace" in wanted:
        raise CannotMeasure(missing["headrace"])
    if options.check and "nginx" in missing:
        raise CannotMeasure(f"--check compares with nginx. {missing['nginx']}")
    notes = [f"{name} is not beside it: {missing[name]}" for name in wanted if name in missing]
    return [name for name in dict.fromkeys(wanted) if name not in missing], notes


def _open_files(options: argparse.Namespace) -> int:
    """How many files a gateway may open here: two connections for each stream it holds, and some of its own."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1_048_576 if most == resource.RLIM_INFINITY else most
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held = options.streams if not options.workload or "memory" in options.workload else 1000
    wanted = 2 * held + 200
    if wanted > most:
        raise CannotMeasure(
            f"{held} open streams need {wanted} open files, and {most} are allowed: "
            "choose fewer with --streams, or raise `ulimit -n`"
        )
    # nginx keeps memory ready for as many as it is told.
    return min(most, max(20_000, wanted))


def _pinned(cores: machine.Cores) -> str:
    return f"gateway on core {cores.gateway}, simulator on {cores.simulator}, client on {cores.client}"


def _read(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        [Row(**row) for row in facts["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotMeasure(f"{path} is not what --json writes: {error!r}") from error
    return facts


def _tell(facts: dict[str, Any], options: argparse.Namespace) -> int:
    rows = [Row(**row) for row in facts["rows"]]
    summaries = summarize(rows)
    outcomes = targets.judge(summaries)
    print(_head(facts))
    print(report.tables(summaries, facts["notes"]))
    if outcomes:
        print(f"\n{report.verdicts(outcomes)}")
    if options.json:
        whole = facts | {
            "summary": [_as_json(one) for one in summaries],
            "targets": [_as_json(one) for one in outcomes],
        }
        options.json.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + os.linesep, encoding="utf-8")
    measured = [one for one in summaries if one.gateway != DIRECT]
    if options.check:
        return 0 if targets.passes(outcomes) else MISSED
    return 1 if any(GATEWAYS[one.gateway].ours and one.exact < one.streams for one in measured) else 0


def _as_json(one: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(one, default=vars))
    return whole


def _head(facts: dict[str, Any]) -> str:
    lines = {"command": facts["command"], "date": facts["date"], **facts["machine"], **facts["versions"]}
    return "\n".join(f"{name:12s} {value}" for name, value in lines.items()) + "\n"
