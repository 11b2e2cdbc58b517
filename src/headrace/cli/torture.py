"""`headrace torture`: how a gateway behaves when its upstream breaks in every way that upstreams do.

A scripted upstream is opened here; the gateway has to have a model that leads to it. Without a URL a headrace of this
process is tortured, which has.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.exits import CHECK, DONE, NO_SERVER, USAGE, say

if TYPE_CHECKING:
    from headrace.testing.torture.performing import Findings, Result

UPSTREAM = "scripted"
LISTEN = "127.0.0.1:9911"
# Short, so that a silent upstream costs a run little; the shortest of them is far above what a good answer takes.
OWN_TIMEOUTS = {"connect": 2.0, "first_token": 3.0, "between_tokens": 3.0, "total": 10.0}

SETUP = """\
A gateway under torture needs a model that leads to the scripted upstream at {base_url}
(OpenAI's API, no key, any model name), timeouts below --timeout ({timeout:g} s), and its retries switched on.

headrace, in headrace.toml; then: headrace torture http://127.0.0.1:8000/v1 --model scripted/torture
    [[upstreams]]
    name = "scripted"
    base_url = "{base_url}"
    timeouts = {{ connect = 2, first_token = 3, between_tokens = 3, total = 10 }}

LiteLLM, in its config.yaml; then: headrace torture http://127.0.0.1:4000/v1 --model torture
    model_list:
      - model_name: torture
        litellm_params:
          model: openai/torture
          api_base: {base_url}
          api_key: none
          timeout: 10
          stream_timeout: 3
    litellm_settings:
      num_retries: 2
    router_settings:
      disable_cooldowns: true   # else it refuses what comes after a fault, and every row tells of the one before it

Any other gateway: an upstream of the kind "OpenAI-compatible" with the address {base_url}; then:
    headrace torture URL --model NAME, where URL/chat/completions is asked for the model NAME.
Where it wants a key, put it into HEADRACE_API_KEY. A gateway on another machine reaches the upstream
with --listen 0.0.0.0:9911, which lets that whole network in while the command runs.
"""


@click.command("torture")
@click.argument("url", required=False)
@click.option("--model", metavar="NAME", help="The gateway's name of the model that leads here. [default: torture]")
@click.option("--faults", "count", type=click.IntRange(1), default=500, metavar="N", help="How many. [default: 500]")
@click.option("--seed", type=int, default=1, metavar="N", help="Decides every fault and every byte. [default: 1]")
@click.option("--only", multiple=True, metavar="FAULT", help="Only this fault; may be given several times.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=16, metavar="N", help="How many at once. [default: 16]"
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=30.0,
    metavar="SECONDS",
    help="An answer that takes longer is a hang. [default: 30]",
)
@click.option("--listen", metavar="HOST:PORT", help=f"Where the scripted upstream listens. [default: {LISTEN}]")
@click.option("--setup", is_flag=True, help="Show how to make a gateway ready for this, and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every single result.")
def torture(url: str | None, as_json: bool, setup: bool, **typed: Any) -> int:
    """Torture a gateway: upstream faults, and a verdict on each answer.

    A scripted upstream, which is not a model, answers well or breaks in one of many ways; the gateway at URL (such as
    http://127.0.0.1:4000/v1) is asked for every answer. Without URL a headrace is started and tortured. Exit code 7
    where an answer was cut off without a word, or text was lost, doubled, reordered or corrupt, or never ended.
    """
    listen: str | None = typed.pop("listen")
    host, port = _address(listen or LISTEN)
    if setup:
        base_url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/v1"
        click.echo(SETUP.format(base_url=base_url, timeout=typed["timeout"]), nl=False)
        return DONE
    if url is not None and not url.startswith(("http://", "https://")):
        raise click.UsageError(f'"{url}" is no address such as http://127.0.0.1:4000/v1')
    typed |= {"host": host, "port": 0 if url is None and listen is None else port}
    return asyncio.run(_torture(None if url is None else url.rstrip("/"), as_json=as_json, **typed))


async def _torture(
    url: str | None,
    *,
    model: str | None,
    count: int,
    seed: int,
    only: tuple[str, ...],
    concurrency: int,
    timeout: float,
    host: str,
    port: int,
    as_json: bool,
) -> int:
    import headrace
    from headrace.cli import environment
    from headrace.cli.local_server import local_server
    from headrace.requests import Timeouts
    from headrace.settings import UpstreamSettings
    from headrace.testing.torture.faults import FAULTS
    from headrace.testing.torture.performing import MODEL, Gateway, NotTortured, Torture

    if unknown := [name for name in only if name not in FAULTS]:
        raise click.UsageError(f'no fault "{unknown[0]}". All: {", ".join(FAULTS)}')
    torturing = Torture(seed=seed, count=count, only=only, host=host, port=port)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(torturing)
        except OSError as error:
            raise click.UsageError(f"cannot listen on {host}:{port} ({error.strerror}). Choose: --listen") from error
        key = None
        if url is None:
            own = UpstreamSettings(UPSTREAM, base_url=torturing.upstream.base_url, timeouts=Timeouts(**OWN_TIMEOUTS))
            where = f"{await stack.enter_async_context(local_server(own))}/v1"
            model = model or f"{UPSTREAM}/{MODEL}"
        else:
            where = url
            key = environment.read(()).environment.get("HEADRACE_API_KEY") or None
        gateway = Gateway(
            where, model or MODEL, {} if key is None else {"Authorization": f"Bearer {key}"}, timeout_seconds=timeout
        )
        if not as_json:
            click.echo(
                f"headrace {headrace.__version__}   torture of {gateway.url}, model {gateway.model}\n"
                f"upstream   scripted, not a model: {torturing.upstream.base_url}\n"
                f"faults     {count}, seed {seed}, {concurrency} at once, a hang after {timeout:g} s\n"
            )
        try:
            findings = await torturing.perform(gateway, concurrency=concurrency, told=_progress(count))
        except NotTortured as error:
            say(f"{error}\nHow to make a gateway ready: headrace torture --setup")
            return NO_SERVER if error.unreachable else USAGE
    if as_json:
        from headrace.wire import json_text

        facts = {
            "version": headrace.__version__,
            "url": gateway.url,
            "model": gateway.model,
            "seed": seed,
            "concurrency": concurrency,
            "timeout_seconds": timeout,
            **findings.facts(),
        }
        click.echo(json_text.encode(facts))
    else:
        click.echo(text(findings))
    return CHECK if findings.never_allowed else DONE


def text(findings: Findings) -> str:
    """The findings as lines for people: a row for each fault, then what they add up to."""
    from headrace.testing.torture.faults import FAULTS
    from headrace.testing.torture.judging import NEVER, VERDICTS

    rows: dict[str, list[Result]] = {}
    for result in findings.results:
        rows.setdefault(result.fault, []).append(result)
    lines = []
    for name, fault in FAULTS.items():
        if not (found := rows.get(name)):
            continue
        counts = Counter(result.verdict for result in found)
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
        sign = "!!" if any(verdict in NEVER for verdict in counts) else "  "
        short = " *" if fault.whole == "must" and counts["ok"] < len(found) else "  "
        lines.append(f"{sign} {name:<26} {said:<40}{short} {fault.told}")
    lines.append("")
    lines += [f"   {verdict:<18} {findings.counts[verdict]:>6}" for verdict in VERDICTS]
    lines += [
        "",
        f"completed {findings.completed} of {findings.completable} that can be completed"
        f" ({findings.completed_percent:.1f} %; * where one was not),"
        f" {findings.usage_right} with the upstream's usage",
        f"never allowed (!!): {findings.never_allowed}",
    ]
    return "\n".join(lines)


def _progress(count: int) -> Callable[[Result], None]:
    """Counts at a terminal, on stderr, where somebody waits and watches."""
    if not sys.stderr.isatty():
        return lambda result: None
    done = 0

    def told(result: Result) -> None:
        nonlocal done
        done += 1
        sys.stderr.write(f"\r{done} of {count}" if done < count else "\r" + " " * 30 + "\r")
        sys.stderr.flush()

    return told


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) < 65536):
        raise click.UsageError(f'--listen wants HOST:PORT, such as {LISTEN}, not "{listen}"')
    return host.strip("[]"), int(port)
