"""What was measured, as tables for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from kit.measure import DIRECT
from kit.summary import Spread, Summary
from kit.targets import Outcome
from kit.workloads import WORKLOADS

OTHERS_TO_NAME = 0.10


@dataclass(frozen=True)
class Column:
    """A figure of a table: its heading, and how it is written."""

    figure: str
    heading: str
    form: str = ",.1f"
    scale: float = 1.0
    spread: bool = False


_COST = (
    Column("cpu_us", "CPU µs", ",.2f", spread=True),
    Column("cpu_us_to_nginx", "to nginx", ".2f", spread=True),
    Column("busy", "core busy %", ".0f", scale=100),
)
_PACED = (
    *_COST,
    Column("per_second", "tokens/s", ",.0f"),
    Column("added_ttft_p50_ms", "added TTFT ms p50", ".2f"),
    Column("added_ttft_p99_ms", "p99", ".2f"),
    Column("delay_p50_ms", "token delay ms p50", ".2f"),
    Column("delay_p99_ms", "p99", ".2f"),
    Column("journal_delay_p50_ms", "by the journal ms p50", "+.2f"),
    Column("journal_delay_p99_ms", "p99", "+.2f"),
)
TABLES: dict[str, tuple[str, tuple[Column, ...]]] = {
    "light": (f"light: {WORKLOADS['light'].says}; CPU of the gateway per token", _PACED),
    "paced": (f"paced: {WORKLOADS['paced'].says}; CPU of the gateway per token", _PACED),
    "flood": (
        f"flood: {WORKLOADS['flood'].says}; CPU of the gateway per token",
        (*_COST, Column("per_second", "tokens/s", ",.0f"), Column("units", "tokens measured", ",.0f")),
    ),
    "whole": (
        f"whole: {WORKLOADS['whole'].says}; CPU of the gateway per answer",
        (
            *_COST,
            Column("per_second", "answers/s", ",.0f"),
            Column("added_answer_p50_ms", "added ms p50", ".2f"),
            Column("added_answer_p99_ms", "p99", ".2f"),
        ),
    ),
    "modes": (
        "modes (R2): the same answer of 300 tokens at 100 tokens/s, streamed and whole, time until it is complete",
        (
            Column("streamed_ms", "streamed ms", ",.1f"),
            Column("whole_ms", "whole ms", ",.1f"),
            Column("longer_percent", "streamed longer by %", "+.2f", spread=True),
        ),
    ),
    "memory": (
        "memory: streams that had 5 tokens and stay open; growth of the gateway's memory (Pss) over idle, per stream",
        (
            Column("kib_per_stream", "KiB a stream", ",.1f", spread=True),
            Column("kib_per_stream_to_nginx", "to nginx", ".2f", spread=True),
            Column("holding", "streams open", ",.0f"),
            Column("idle_mib", "idle MiB", ",.1f"),
            Column("held_mib", "with them MiB", ",.1f"),
        ),
    ),
}


def tables(summaries: Sequence[Summary], notes: Sequence[str]) -> str:
    """A table for each workload, and what must be known to read them."""
    parts = []
    for workload, (title, columns) in TABLES.items():
        mine = [summary for summary in summaries if summary.workload == workload]
        if mine:
            parts.append(f"{title}\n{_table(mine, columns)}")
    remarks = [*notes, *(remark for summary in summaries for remark in _remarks(summary))]
    return "\n\n".join([*parts, *(["\n".join(f"! {remark}" for remark in remarks)] if remarks else [])])


def verdicts(outcomes: Sequence[Outcome]) -> str:
    """The targets beside what was measured."""
    lines = []
    for outcome in outcomes:
        value = "–" if outcome.value is None else f"{outcome.value:.4g}"
        told = "" if outcome.due else "   (told, not checked)"
        lines.append(f"{outcome.verdict:13s} {outcome.says:45s} {value:>8s}   {outcome.limit}{told}")
    return "\n".join(["targets of design.md section 9, medians", *lines])


def _table(summaries: Sequence[Summary], columns: Sequence[Column]) -> str:
    heads = ["", *(column.heading for column in columns), "exact"]
    rows = [
        [
            one.gateway,
            *(_cell(one.figures.get(column.figure), column) for column in columns),
            f"{one.exact:,}/{one.streams:,}",
        ]
        for one in summaries
    ]
    widths = [max(len(line[i]) for line in [heads, *rows]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in [heads, *rows]
    )


def _cell(spread: Spread | None, column: Column) -> str:
    """The median, and where the column shows it the least and the most of all rounds."""
    if spread is None:
        return "–"
    least, middle, most = (
        format(value * column.scale, column.form) for value in (spread.least, spread.middle, spread.most)
    )
    return f"{middle} ({least}–{most})" if column.spread and least != most else middle


def _remarks(summary: Summary) -> list[str]:
    """What takes away from a figure."""
    where, found = f"{summary.workload}, {summary.gateway}:", []
    if summary.exact < summary.streams:
        kinds = ", ".join(f"{count} {name}" for name, count in summary.faults.items())
        found.append(f"{where} {summary.streams - summary.exact} streams not exact ({kinds}); one: {summary.example}")
    busy, others = summary.figures.get("busy"), summary.figures.get("others")
    if busy and busy.most > 0.95 and WORKLOADS[summary.workload].gap:
        found.append(f"{where} its core was busy to {busy.most:.0%}: it did not keep up, and batches for that reason")
    if others and others.most > OTHERS_TO_NAME and summary.gateway != DIRECT:
        found.append(
            f"{where} others used up to {others.most:.0%} of its core meanwhile; measure again on a quiet machine"
        )
    return found
