"""From rows to figures that can be compared: spread over the rounds, ratios to nginx, what is added to `direct`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from kit.measure import DIRECT, Row

# What a gateway adds is told against the same load sent straight to the simulator in the same round.
ADDED = {
    "added_ttft_p50_ms": "ttft_p50_ms",
    "added_ttft_p99_ms": "ttft_p99_ms",
    "added_answer_p50_ms": "answer_p50_ms",
    "added_answer_p99_ms": "answer_p99_ms",
}
COMPARED = ("cpu_us", "kib_per_stream")
# And what the journal adds, against the same headrace without one.
BY_THE_JOURNAL = {"journal_delay_p50_ms": "delay_p50_ms", "journal_delay_p99_ms": "delay_p99_ms"}


@dataclass(frozen=True)
class Spread:
    """One figure over all rounds."""

    least: float
    middle: float
    most: float


@dataclass(frozen=True)
class Summary:
    """One gateway under one workload, over all rounds. A ratio is made within a round, then its spread is taken."""

    gateway: str
    workload: str
    figures: dict[str, Spread]
    streams: int
    exact: int
    faults: dict[str, int]
    example: str


def summarize(rows: Sequence[Row]) -> list[Summary]:
    """A summary for each gateway and workload, in the order in which they were first measured."""
    places = list(dict.fromkeys((row.workload, row.gateway) for row in rows))
    return [_summary([row for row in rows if (row.workload, row.gateway) == place], rows) for place in places]


def find(summaries: Iterable[Summary], gateway: str, workload: str) -> Summary | None:
    """The summary of one gateway under one workload, None where it was not measured."""
    return next((one for one in summaries if (one.gateway, one.workload) == (gateway, workload)), None)


def _summary(mine: Sequence[Row], rows: Sequence[Row]) -> Summary:
    values: dict[str, list[float]] = {}
    faults: dict[str, int] = {}
    for row in mine:
        for name, value in (row.figures | _derived(row, rows)).items():
            values.setdefault(name, []).append(value)
        for name, count in row.faults.items():
            faults[name] = faults.get(name, 0) + count
    return Summary(
        gateway=mine[0].gateway,
        workload=mine[0].workload,
        figures={name: Spread(min(found), median(found), max(found)) for name, found in values.items()},
        streams=sum(row.streams for row in mine),
        exact=sum(row.exact for row in mine),
        faults=faults,
        example=next((row.example for row in mine if row.example), ""),
    )


def _derived(row: Row, rows: Sequence[Row]) -> dict[str, float]:
    beside = {one.gateway: one.figures for one in rows if (one.round, one.workload) == (row.round, row.workload)}
    derived = {}
    for name, of in ADDED.items():
        if row.gateway != DIRECT and of in row.figures and of in beside.get(DIRECT, {}):
            derived[name] = row.figures[of] - beside[DIRECT][of]
    memory = beside.get("headrace", {})
    for name, of in BY_THE_JOURNAL.items():
        if row.gateway == "journal" and of in row.figures and of in memory:
            derived[name] = row.figures[of] - memory[of]
    for name in COMPARED:
        for other in ("nginx", "litellm", "headrace"):
            if row.figures.get(name) and beside.get(other, {}).get(name):
                derived[f"{name}_to_{other}"] = row.figures[name] / beside[other][name]
    return derived
