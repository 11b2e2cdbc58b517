"""The targets of design.md section 9 and of the journal, and whether they are met. Medians over the rounds decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kit.summary import Summary, find

Verdict = Literal["met", "missed", "not measured"]


@dataclass(frozen=True)
class Target:
    """A figure of headrace that shall not be above a limit."""

    workload: str
    figure: str
    at_most: float
    says: str
    due: bool = True
    """Whether missing it fails --check; the others are told only."""
    gateway: str = "headrace"


@dataclass(frozen=True)
class Outcome:
    """A target beside what was measured; value is None where nothing was."""

    says: str
    limit: str
    value: float | None
    verdict: Verdict
    due: bool


TARGETS = (
    Target("paced", "cpu_us_to_nginx", 2.2, "processor time a token, paced, to nginx"),
    Target("light", "cpu_us_to_nginx", 2.2, "processor time a token, light, to nginx"),
    Target("flood", "cpu_us_to_nginx", 2.5, "processor time a token, flood, to nginx"),
    Target("whole", "cpu_us", 110, "µs of processor time a whole answer"),
    Target("memory", "kib_per_stream", 25, "KiB an open stream"),
    Target("paced", "added_ttft_p50_ms", 1, "ms added TTFT, paced, p50", due=False),
    Target("paced", "added_ttft_p99_ms", 15, "ms added TTFT, paced, p99", due=False),
    Target("paced", "cpu_us_to_nginx", 2.8, "processor time a token, paced, with journal, to nginx", gateway="journal"),
    Target("paced", "cpu_us_to_headrace", 1.3, "the same to memory alone", gateway="journal"),
    Target("paced", "journal_delay_p50_ms", 2, "ms a token is later by the journal, paced, p50", gateway="journal"),
    Target("paced", "journal_delay_p99_ms", 10, "ms a token is later by the journal, paced, p99", gateway="journal"),
    Target("light", "journal_delay_p99_ms", 2, "ms a token is later by the journal, light, p99", gateway="journal"),
    Target("modes", "longer_percent", 2, "percent longer when streamed (R2)", due=False),
    Target("light", "cpu_us_to_litellm", 1 / 8, "processor time a token, light, to LiteLLM", due=False),
    Target("flood", "cpu_us_to_litellm", 1 / 250, "processor time a token, flood, to LiteLLM", due=False),
    Target("whole", "cpu_us_to_litellm", 1 / 100, "processor time a whole answer, to LiteLLM", due=False),
)


def judge(summaries: Sequence[Summary]) -> list[Outcome]:
    """Every target whose workload headrace was measured under, and that every stream was exact.

    A target that is due and has no figure (a ratio without nginx) is listed as not measured, so that it cannot pass.
    """
    outcomes = []
    for target in TARGETS:
        summary = find(summaries, target.gateway, target.workload)
        if summary is None:
            continue
        spread = summary.figures.get(target.figure)
        if spread is None and not target.due:
            continue
        verdict: Verdict = "not measured" if spread is None else "met" if spread.middle <= target.at_most else "missed"
        value = spread.middle if spread else None
        outcomes.append(Outcome(target.says, f"≤ {target.at_most:.4g}", value, verdict, target.due))
    mine = [summary for summary in summaries if summary.gateway in ("headrace", "journal")]
    if mine:
        inexact = sum(summary.streams - summary.exact for summary in mine)
        outcomes.append(
            Outcome("streams that were not exact", "= 0", inexact, "missed" if inexact else "met", due=True)
        )
    return outcomes


def passes(outcomes: Sequence[Outcome]) -> bool:
    """Whether all that is due was measured and met. Nothing measured is nothing passed."""
    due = [outcome for outcome in outcomes if outcome.due]
    return bool(due) and all(outcome.verdict == "met" for outcome in due)
