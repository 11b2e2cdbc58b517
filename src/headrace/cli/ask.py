"""`headrace ask`: one answer to stdout.

In this process, unless `--url` or HEADRACE_URL names a server or one answers on the usual port of this machine.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from headrace.cli import environment
from headrace.cli.answers import Question, address_given, from_server, in_process, server_here
from headrace.cli.context import read_context, with_context
from headrace.cli.following import follow
from headrace.cli.notices import Notices
from headrace.cli.printing import EventOutput, ObjectOutput, Output, Sink, TextOutput
from headrace.clock import SystemClock


@click.command("ask")
@click.argument("prompt", nargs=-1)
@click.option(
    "-m", "--model", metavar="NAME", help="Model that answers.  [default: the first; offline without settings]"
)
@click.option("--stream/--no-stream", default=None, help="As it is made, or whole at the end.  [default: stream]")
@click.option("--system", metavar="TEXT", help="Instructions put before the question.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="The most tokens of the answer.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="The most it may take.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the answer, its sources and its usage.")
@click.option("--ndjson", is_flag=True, help="The stream's events, one JSON object a line.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to FILE, not to stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.option("--url", metavar="URL", help="Ask the server there (HEADRACE_URL; its key in HEADRACE_API_KEY).")
@click.option("--config", multiple=True, metavar="FILE", help="Settings to use instead of ./headrace.toml; trusted.")
def ask(
    prompt: tuple[str, ...],
    model: str | None,
    stream: bool | None,
    system: str | None,
    max_tokens: int | None,
    timeout: float | None,
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
    if as_json and ndjson:
        raise click.UsageError("--json and --ndjson exclude each other")
    if output is not None and not output.absolute().parent.is_dir():
        raise click.UsageError(f"--output: there is no folder {output.absolute().parent}")
    surroundings = environment.read(config)
    streaming = surroundings.streaming() if stream is None else stream
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
        sink = Sink(sys.stdout.buffer, output)
        form: Output
        if as_json:
            form = ObjectOutput(sink)
        elif ndjson:
            form = EventOutput(sink)
        else:
            form = _text_output(sink, stream=streaming, terminal=output is None and sys.stdout.isatty())
        try:
            async with asked as answer:
                return await follow(answer, form, Notices(quiet=quiet))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise click.ClickException(f"the answer cannot be written: {error.strerror}") from error
        finally:
            sink.close()

    return asyncio.run(perform())


def _text_output(sink: Sink, *, stream: bool, terminal: bool) -> Output:
    if terminal:
        # rich costs 80 ms, which nobody pays who writes into a pipe.
        from headrace.cli.markdown import MarkdownOutput, markdown_console

        if (console := markdown_console()) is not None:
            return MarkdownOutput(console, SystemClock(), stream=stream)
    return TextOutput(sink, stream=stream, terminal=terminal)
