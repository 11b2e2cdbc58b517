"""The machine a figure was measured on, and whether anybody else was using it meanwhile."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from kit.failure import CannotMeasure


@dataclass(frozen=True)
class Cores:
    """Who runs where. On two cores the simulator and the client share the one that the gateway has not."""

    gateway: int
    simulator: int
    client: int


def choose_cores() -> Cores:
    """The last core for the gateway, the first ones for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise CannotMeasure("a gateway is measured on a core of its own: two cores are needed, and only one is allowed")
    return Cores(gateway=allowed[-1], simulator=allowed[0], client=allowed[1] if len(allowed) > 2 else allowed[0])


def describe() -> dict[str, str]:
    """Processor, cores, memory, kernel, Python and load, for the head of every report."""
    return {
        "processor": _first_value("/proc/cpuinfo", "model name"),
        "cores": f"{len(os.sched_getaffinity(0))} allowed of {os.cpu_count()}",
        "memory": f"{int(_first_value('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def busy_seconds(core: int) -> float:
    """Time for which a core has not been idle, whoever used it. The kernel counts in steps of 10 ms."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            # user nice system idle iowait irq softirq steal; guest time is contained in user time
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(tick) for tick in ticks[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    raise CannotMeasure(f"/proc/stat does not know core {core}")


def _first_value(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown 0"
