"""What a page costs the machine it is shown on: the processor's time for script and layout, and the longest task.

Both are counted in time of the page's own thread, so that what else the machine does at the time counts for nothing;
and both are held against a calibration: a fixed piece of work, which is none of the page's own, is done in the same
page a moment before. Where that takes longer than it took where the budgets were set, the budgets grow by as much.
A page that becomes slow cannot hide behind it, since nothing of the page takes part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import CDPSession, Page

# The work below, on the machine of experience.md (two shared cores, Chromium 156), best of three: seconds.
REFERENCE_SECONDS = 0.35
LONGEST_TASK_SECONDS = 0.05
CATEGORIES = ["disabled-by-default-devtools.timeline", "blink.user_timing"]

# Script that reads and writes text, and layout of paragraphs that come one after the other: what drawing an answer is.
WORK = """() => new Promise((resolve) => setTimeout(() => {
  const place = document.createElement('div');
  document.body.append(place);
  for (let round = 0; round < 120; round++) {
    const words = Array.from({ length: 400 }, (_, at) => `word${(at * 7919 + round) % 1000}`);
    const text = words.join(' ').replace(/word(\\d)/g, 'w$1').split(' ').sort().join(' ');
    const paragraph = document.createElement('p');
    for (const each of text.split(' ')) {
      const word = document.createElement('b');
      word.textContent = each;
      paragraph.append(word, ' ');
    }
    place.append(paragraph);
    void place.offsetHeight;
  }
  place.remove();
  resolve();
}))"""
# Keeps each long task in `window.long`, and each finished block that was taken away or moved in `window.removed`.
WATCH = """
window.long = []; window.removed = 0;
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.long.push([each.startTime / 1000, each.duration / 1000]);
}).observe({ type: 'longtask' });
addEventListener('DOMContentLoaded', () => new MutationObserver((changes) => {
  for (const { removedNodes } of changes)
    for (const node of removedNodes) if (node.matches?.('.block:not(.tail)')) window.removed += 1;
}).observe(document.body, { childList: true, subtree: true }));
"""


@dataclass
class Effort:
    """What something cost."""

    slowness: float
    """How many times as long as where the budgets were set the calibration took; 1 at least."""
    seconds: float = 0.0
    """Of script and layout."""
    long_tasks: tuple[float, ...] = ()
    """Tasks over 50 ms by the clock on the wall, as a PerformanceObserver tells them: how long the thread worked."""

    def within(self, seconds: float) -> None:
        """Fails where it cost more than so many seconds, or held the page up for more than 50 ms at once."""
        assert self.seconds < seconds * self.slowness, self
        # A task that the observer calls long, and that had the processor for less, waited for somebody else.
        assert max(self.long_tasks, default=0) <= LONGEST_TASK_SECONDS * self.slowness, self


@contextmanager
def effort(page: Page) -> Iterator[Effort]:
    """What is done with the page inside the block. The page was opened with `WATCH`."""
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})
    spent = Effort(max(1.0, min(_worked(page, tools) for _ in range(3)) / REFERENCE_SECONDS))
    assert page.context.browser is not None
    recorder = page.context.browser.new_browser_cdp_session()
    recorded: list[dict[str, Any]] = []
    over: list[object] = []
    recorder.on("Tracing.dataCollected", lambda told: recorded.extend(told["value"]))
    recorder.on("Tracing.tracingComplete", lambda told: over.append(told))
    categories = {"includedCategories": CATEGORIES, "excludedCategories": ["*"]}
    recorder.send("Tracing.start", {"traceConfig": categories, "transferMode": "ReportEvents"})
    began = page.evaluate("() => { window.long = []; return performance.mark('effort').startTime / 1000; }")
    before = _script_and_layout(tools)
    yield spent
    spent.seconds = _script_and_layout(tools) - before
    long = page.evaluate("() => window.long")
    recorder.send("Tracing.end")
    while not over:
        page.wait_for_timeout(20)
    spent.long_tasks = tuple(_own_seconds(recorded, began, *each) for each in long)
    recorder.detach()
    tools.detach()


def _own_seconds(recorded: list[dict[str, Any]], began: float, start: float, length: float) -> float:
    """How long the page's thread worked in a task that the observer saw."""
    mark = next(each for each in recorded if each["name"] == "effort" and "blink.user_timing" in each["cat"])
    ours = [each for each in recorded if each["name"] == "RunTask" and each["tid"] == mark["tid"]]
    first = mark["ts"] / 1e6 + start - began
    within = [each for each in ours if first - 0.002 < each["ts"] / 1e6 < first + length and each["pid"] == mark["pid"]]
    assert within, "the trace holds each task that the observer saw"
    return max(float(each["tdur"]) / 1e6 for each in within)


def _worked(page: Page, tools: CDPSession) -> float:
    before = _metrics(tools)["TaskDuration"]
    page.evaluate(WORK)
    return _metrics(tools)["TaskDuration"] - before


def _script_and_layout(tools: CDPSession) -> float:
    told = _metrics(tools)
    return told["ScriptDuration"] + told["LayoutDuration"] + told["RecalcStyleDuration"]


def _metrics(tools: CDPSession) -> dict[str, float]:
    return {each["name"]: float(each["value"]) for each in tools.send("Performance.getMetrics")["metrics"]}
