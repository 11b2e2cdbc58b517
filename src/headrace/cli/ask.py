"""`headrace ask`: one answer to stdout.

In this process, unless `--url` or HEADRACE_URL names a server or one answers on the usual port of this machine.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from headrace.cli import environment
from headrace.cli.answers import Question, address_given, from_server, in_process, server_here
from headrace.cli.context import read_context, with_context
from headrace.cli.showing import Shown, show, shown_as_wanted
from headrace.cli.watching import at_server, complete_stream, server_wanted, watch_and_show


@click.command("ask")
@click.argument("prompt", nargs=-1)
@click.option(
    "-m", "--model", metavar="NAME", help="Model that answers.  [default: the first; offline without settings]"
)
@click.option("--stream/--no-stream", default=None, help="As it is made, or whole at the end.  [default: stream]")
@click.option("--system", metavar="TEXT", help="Instructions put before the question.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="The most tokens of the answer.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="The most it may take.")
@click.option(
    "--resume", "resumed", metavar="ID", shell_complete=complete_stream, help="Read a stream of the server; no PROMPT."
)
@shown_as_wanted
@at_server
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
def ask(
    prompt: tuple[str, ...],
    model: str | None,
    stream: bool | None,
    system: str | None,
    max_tokens: int | None,
    timeout: float | None,
    resumed: str | None,
    as_json: bool,
    ndjson: bool,
    output: Path | None,
    quiet: bool,
    url: str | None,
    config: tuple[str, ...],
) -> int:
    """Ask one question and print the answer (also: run).

    PROMPT is the question. A pipe or file on stdin is added to it as context; "-" forces that. The answer goes to
    stdout, everything else to stderr.
    """
    surroundings = environment.read(config)
    streaming = surroundings.streaming() if stream is None else stream
    shown = Shown(as_json=as_json, ndjson=ndjson, output=output, quiet=quiet, stream=streaming)
    if resumed is not None:
        if prompt:
            raise click.UsageError("--resume reads an answer that was asked for: leave the PROMPT out")
        return asyncio.run(watch_and_show(resumed, -1, server_wanted(url, surroundings), shown, on_exit="cancel"))
    words = [word for word in prompt if word != "-"]
    context = read_context(forced="-" in prompt, quiet=quiet)
    text = with_context(" ".join(words), context)
    if not text.strip():
        raise click.UsageError('ask what? As in: headrace ask "How do I resume a stream?"')
    question = Question(text, streaming, model, system, max_tokens, timeout)
    address = address_given(url, surroundings.environment)
    # A server that was merely found is not given a key: anyone may listen on a port.
    key = None if address is None else surroundings.readers_key()

    async def perform() -> int:
        where = address if address is not None or config else await server_here()
        if where is not None:
            asked = from_server(question, where, key)
        else:
            settings = surroundings.settings({}).settings
            asked = in_process(question, settings, surroundings.with_keys(settings), records=ndjson)
        async with asked as answer:
            return await show(answer, shown)

    return asyncio.run(perform())
