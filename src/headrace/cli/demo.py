"""`headrace demo`: the proof run, which shows on this machine that a stream resumes and stops.

A server on a port that the system chooses, a scripted upstream over a real socket, real readers. Needs no key and no
network, reads no settings, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headrace.cli.exits import CHECK, DONE, say

if TYPE_CHECKING:
    from headrace.cli.verdict import Check, Figures

TOKENS = 200
TOKENS_PER_SECOND = 30.0
# Where the fault of `--fault` sits: behind the cut and before the return.
FAULT_AFTER = 60


@click.command("demo")
@click.option("--json", "as_json", is_flag=True, help="The same facts as one JSON object.")
@click.option("--keep", is_flag=True, help="The server stays, and its address is printed; Ctrl-C ends it.")
@click.option("--fault", is_flag=True, hidden=True, help="The upstream breaks off: the run has to notice.")
def demo(as_json: bool, keep: bool, fault: bool) -> int:
    """Prove on this machine that streams resume and stop (about 8 s).

    Two readers follow one stream of a scripted upstream, which is not a model: 200 tokens, 30 a second. One reader is
    cut off after offset 40 and resumes; a second stream is cancelled. Both transcripts have to be equal byte for byte.
    """
    return asyncio.run(_demo(as_json=as_json, keep=keep, fault=fault))


async def _demo(*, as_json: bool, keep: bool, fault: bool) -> int:
    # Some of these cost a tenth of a second, which `headrace demo --help` need not pay.
    import headrace
    from headrace.cli import proof, verdict
    from headrace.cli.local_server import local_server
    from headrace.clock import SystemClock
    from headrace.settings import UpstreamSettings
    from headrace.testing.paced import PacedAnswer
    from headrace.testing.upstream import ScriptedUpstream

    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    script = PacedAnswer(TOKENS, TOKENS_PER_SECOND, breaks_after=FAULT_AFTER if fault else None)
    async with (
        ScriptedUpstream(script) as upstream,
        local_server(UpstreamSettings("scripted", base_url=upstream.base_url)) as url,
    ):
        facts: dict[str, Any] = {
            "version": headrace.__version__,
            "url": url,
            "upstream": f"scripted, not a model: {TOKENS} tokens, {TOKENS_PER_SECOND:g} a second, {upstream.origin}",
        }
        if not as_json:
            click.echo(f"headrace {facts['version']}   {url}   proof run, about 8 s\nupstream   {facts['upstream']}\n")
        try:
            observed = await proof.perform(url, script, clock)
        except proof.CameToNoEnd as error:
            say(f"the proof run came to no end: {error}")
            return CHECK
        found = verdict.checks(observed)
        figures = verdict.figures(observed)
        seconds = round((clock.monotonic_ns() - began_ns) / 1e9, 1)
        passed = all(check.passed for check in found)
        if as_json:
            from headrace.wire import json_text

            facts |= {
                "passed": passed,
                "seconds": seconds,
                "checks": [msgspec.structs.asdict(check) for check in found],
                "figures": msgspec.structs.asdict(figures),
            }
            click.echo(json_text.encode(facts))
        else:
            click.echo(text(found, figures, seconds))
        sys.stdout.flush()
        if keep:
            say(f"the server stays at {url}, with the models offline and scripted/any; Ctrl-C ends it")
            await _told_to_end()
    return DONE if passed else CHECK


def text(found: Sequence[Check], figures: Figures, seconds: float) -> str:
    """The findings and figures as lines for people."""
    lines = [f"{'kept  ' if check.passed else 'BROKEN'}  {check.name}: {check.detail}" for check in found]
    lines += [
        "",
        f"TTFT                 streamed {_ms(figures.ttft_streamed_ms)}, of which the upstream took"
        f" {_ms(figures.ttft_upstream_ms)}; offline {_ms(figures.ttft_offline_ms)}",
        f"inter-token latency  p50 {_ms(figures.inter_token_p50_ms)}, p95 {_ms(figures.inter_token_p95_ms)},"
        f" most {_ms(figures.inter_token_max_ms)}",
        f"streaming or whole   first words after {_ms(figures.ttft_streamed_ms)}, not {_ms(figures.ttft_whole_ms)};"
        f" all of them after {_ms(figures.total_streamed_ms)} and {_ms(figures.ttft_whole_ms)}",
        f"cancelling           the upstream's connection closed after {_ms(figures.cancel_to_upstream_closed_ms)}",
        "",
    ]
    broken = sum(not check.passed for check in found)
    word = "all of it" if not broken else f"{len(found) - broken} of {len(found)} promises"
    return "\n".join([*lines, f"{word} kept, in {seconds:g} s"])


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "never"
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.1f} ms"


async def _told_to_end() -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: there Ctrl-C is raised, and ends it as well
            loop.add_signal_handler(number, told.set)
    await told.wait()
