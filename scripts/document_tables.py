"""Writes the tables of the documents out of the code. With --check it changes nothing and says which are out of date.

What is made here stands in docs/ between two comments that no reader sees; all around it is written by hand:

    <!-- table: settings server -->
    <!-- end of table -->

A table is a function below, found by its name in `TABLES`. Docstrings, fields, defaults and error classes are read
as they are, so what a table says of a thing is what its own file says of it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import click
import msgspec
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from headrace import errors, events
from headrace.cli import COMMANDS, group, start_screen
from headrace.cli.exits import EXIT_CODES, code_of_error
from headrace.client import Client, Final, Resuming, Stats, Stream
from headrace.library import Answer
from headrace.protocols import PROTOCOLS
from headrace.providers.catalogue import SERVICES
from headrace.requests import ReaderOptions, Timeouts
from headrace.runs import registry
from headrace.server.discovery import discover
from headrace.server.doors import Door
from headrace.server.house import House
from headrace.server.routes import routes
from headrace.settings import Settings, tree
from headrace.settings.reading import LISTS, words
from headrace.settings.variables import OTHER_NAMES, VARIABLES
from headrace.testing.torture.faults import FAULTS
from headrace.testing.torture.judging import NEVER, VERDICTS
from headrace.timing import Timing
from headrace.usage import reported

ROOT = Path(__file__).resolve().parent.parent
REGION = re.compile(r"(<!-- table: (?P<name>[a-z0-9 -]+) -->\n).*?(?P<end><!-- end of table -->)", re.DOTALL)
# Rows and lessons of our specification, which readers of the documents do not have.
ROWS = re.compile(r" \((?:rows? )?[A-Z]+\d+(?:, [A-Z]+\d+)*\)")
NONE = "–"

Rows = Sequence[Sequence[str]]


# -- markdown


def table(head: Sequence[str], rows: Rows) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: object) -> str:
    """`text` as code within a line."""
    return f"`{text}`"


def block(language: str, text: str) -> str:
    """`text` as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def prose(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    first = inspect.cleandoc(docstring or "").split("\n\n")[0]
    return ROWS.sub("", " ".join(first.split()))


# -- the code, read


def field_docstrings(struct: type) -> dict[str, str]:
    """The string that stands below each field of `struct`; only the fields that have one."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = prose(text)
            case _:
                pass
    return found


def subclasses(parent: type[errors.HeadraceError]) -> Iterator[type[errors.HeadraceError]]:
    """Every class of the tree below `parent`, in the order they are written; not those of other files."""
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from subclasses(child)


# -- settings


def default(field: FieldInfo) -> str:
    """The default of a field, as it is written in TOML."""
    value = field.default_factory() if field.default_factory is not NODEFAULT else field.default
    match value:
        case _ if field.required:
            return "needed"
        case None | Timeouts():
            return NONE
        case bool():
            return code(str(value).lower())
        case str():
            return code(f'"{value}"')
        case tuple():
            return code(list(value))
        case float() if value.is_integer():
            return code(int(value))
        case _:
            return code(value)


def wanted(field: FieldInfo) -> str:
    """What a value of this field is, in words."""
    return "a table of the four timers" if field.type is Timeouts else words(field.type)


def other_ways(path: tuple[str, ...]) -> str:
    """The variables and the flag of a setting."""
    names = [name for name, known in (*VARIABLES.items(), *OTHER_NAMES.items()) if known == path]
    flags = [option.opts[0] for option in options_of("serve") if flag_path(option) == path]
    return ", ".join(map(code, [*names, *flags])) or NONE


def flag_path(option: click.Option) -> tuple[str, ...] | None:
    """The setting that a flag of `serve` sets."""
    return VARIABLES.get("HEADRACE_" + (option.name or "").upper())


def settings_of(struct: type[msgspec.Struct], path: tuple[str, ...], shown: str) -> str:
    """The fields of one section; `path` is where the section is, `shown` what stands before a field's name."""
    told = field_docstrings(struct)
    with_variables = any((*path, field.name) in VARIABLES.values() for field in fields(struct))
    rows = []
    for field in fields(struct):
        ways = [other_ways((*path, field.name))] if with_variables else []
        # TOML has no word for nothing.
        meaning = told.get(field.name, "").replace("`None`", "Left out")
        rows.append([code(shown + field.name), wanted(field), default(field), *ways, meaning])
    ways_head = ["variable, flag"] if with_variables else []
    return table(["setting", "it wants", "default", *ways_head, "what it decides"], rows)


def sections() -> Iterator[tuple[str, Callable[[], str]]]:
    """A table for each section of the settings; that of the timers is its own."""
    for section in fields(Settings):
        name, kind = section.name, section.type
        if name in LISTS:
            yield name, partial(settings_of, LISTS[name][0], (name,), "")
        elif name == "assistants":
            yield name, partial(settings_of, tree.AssistantSettings, (name, "basic"), f"{name}.basic.")
        elif kind is not Timeouts:
            yield name, partial(settings_of, kind, (name,), f"{name}.")


def timers() -> str:
    """The four timers: their names everywhere, and what a reader is told when one runs out."""
    rows = []
    for timer in get_args(errors.Timer):
        seconds = tree.DEFAULT_TIMEOUTS.seconds(timer)
        assert seconds is not None
        failure = errors.UpstreamTimeout(timer, seconds, upstream="groq").failure()
        ways = other_ways(("timeouts", timer))
        rows.append([code(f"timeouts.{timer}"), f"`{seconds:g}` s", ways, code(failure.code), failure.message])
    return table(["timer", "default", "variable", "error code", "the message, for an upstream called groq"], rows)


def other_names() -> str:
    """The variables that are not called HEADRACE_…"""
    rows = [[code(name), code(".".join(path))] for name, path in OTHER_NAMES.items()]
    return table(["variable", "setting"], rows)


# -- events

_TIMING = Timing(1_405_000_000, 2_100_000, 31_000_000, 180_000_000, 190_000_000, "text")
_FAILURE = errors.UpstreamTruncated("groq stopped without a finish reason", upstream="groq").failure()
EXAMPLES: tuple[events.Event, ...] = (
    events.Started("5f0c…", "groq/llama-3.1-8b-instant", 1_767_225_600_000_000_000, "en", "a1b2…"),
    events.Status(
        "failed_over",
        "groq/llama-3.1-8b-instant answered 503: over capacity; asking ollama/gemma3:12b",
        "groq/llama-3.1-8b-instant",
        "ollama/gemma3:12b",
    ),
    events.Sources((events.Source(1, "guide.md#3", "guide.md › Install", "Type make run.", 0.8),)),
    events.ReasoningDelta("The reader wants a greeting."),
    events.TextDelta("Hello"),
    events.ToolCallDelta(0, "call_1", "look_up", '{"city":'),
    events.Passthrough("openai_chat", {"logprobs": msgspec.Raw(b'{"content":[]}')}),
    events.UsageKnown(reported(12, 2, by="groq")),
    events.Ended("stop", timing=_TIMING),
)
"""One of each kind, in an order that may be."""


def event_kinds() -> str:
    """Every kind of event, what it holds, and which frames a reader of typed events gets for it."""
    encoder = PROTOCOLS["typed_events"].encoder(ReaderOptions())
    rows = []
    for offset, event in enumerate(EXAMPLES):
        records = [record for record in encoder.encode(offset, [event]) if record != b"[DONE]"]
        frames = [code(msgspec.json.decode(record)["type"]) for record in records]
        if isinstance(event, events.Ended):
            frames.append("or `error`")
        names = ", ".join(code(name) for name in event.__struct_fields__)
        rows.append([code(type(event).__name__), names, ", ".join(frames) or NONE, prose(type(event).__doc__)])
    assert {type(event) for event in EXAMPLES} == set(get_args(events.Event)), "an example of each kind"
    return table(["event", "what it holds", "typed frame", "what it is"], rows)


def event_fields() -> str:
    """The fields that need a word."""
    structs = [*map(type, EXAMPLES), events.Failure, events.Source]
    rows = [
        [code(f"{struct.__name__}.{name}"), text]
        for struct in structs
        for name, text in field_docstrings(struct).items()
    ]
    return table(["field", "what it holds"], rows)


def event_order() -> str:
    """Which event may follow in which state."""
    kinds = [type(event) for event in EXAMPLES]
    rows = []
    for state, following in events.FOLLOWS.items():
        rows.append([state, *(following.get(kind, NONE) for kind in kinds)])
    return table(["in the state", *(code(kind.__name__) for kind in kinds)], rows)


def frames(protocol: str) -> str:
    """What a reader of `protocol` gets for each example, and for the end of a stream that broke off."""

    def told(these: Sequence[events.Event]) -> Iterator[tuple[str, str]]:
        encoder = PROTOCOLS[protocol].encoder(ReaderOptions(include_usage=True))
        for offset, event in enumerate(these):
            for record in encoder.encode(offset, [event]):
                yield type(event).__name__, record.decode("utf-8")

    cut = (*EXAMPLES[:-1], events.Ended("incomplete", _FAILURE, _TIMING))
    whole = list(told(EXAMPLES))
    rows = [[code(name), code(record)] for name, record in whole]
    rows += [["`Ended`, broken off", code(record)] for pair in told(cut) if pair not in whole for record in [pair[1]]]
    return table(["event", "what is sent"], rows)


# -- errors


def error_classes(parent: type[errors.HeadraceError], *, without: Sequence[type] = ()) -> str:
    """The classes below `parent`, or `parent` itself where there are none."""
    rows = []
    for kind in list(subclasses(parent)) or [parent]:
        if kind not in without:
            again = "yes" if kind.retryable else "no"
            rows.append([code(kind.code), str(kind.http_status), again, code(kind.__name__), prose(kind.__doc__)])
    return table(["code", "status", "try again", "class", "what happened"], rows)


def refusals() -> str:
    """What becomes of the status that an upstream answers with."""
    rows = []
    for status in (None, 400, 401, 403, 404, 408, 409, 413, 418, 422, 425, 429, 500, 501, 502, 503, 504, 529):
        failure = errors.UpstreamRefused("", upstream="", status=status).failure()
        again = "yes" if failure.retryable else "no"
        said = "an error event without a status" if status is None else str(status)
        rows.append([said, code(failure.code), str(failure.http_status), again])
    return table(["the upstream answered", "code", "status for the reader", "try again"], rows)


def timeouts() -> str:
    """The codes of the timers."""
    rows = []
    for timer in get_args(errors.Timer):
        failure = errors.UpstreamTimeout(timer, 1, upstream="").failure()
        again = "yes" if failure.retryable else "no"
        rows.append([code(failure.code), str(failure.http_status), again, code(f"timeouts.{timer}")])
    return table(["code", "status", "try again", "the timer that ran out"], rows)


def other_failures() -> str:
    """The failures of streams that are nobody's error."""
    found = [value for _, value in inspect.getmembers(registry) if isinstance(value, events.Failure)]
    rows = sorted([code(each.code), str(each.http_status), each.message] for each in found)
    return table(["code", "status", "message"], rows)


# -- routes, upstreams


def route_table() -> str:
    """Every route, from the table the server is made of."""
    rows = []
    for route in routes(cast("House", None)):  # a door asks nothing of its house before somebody knocks
        about = cast("Door", route.app).description
        said = ". ".join(filter(None, (about.summary, about.told.partition(". ")[0].rstrip("."))))
        rows += [
            [code(f"{method} {route.path}"), f"{said}."] for method in sorted(route.methods or ()) if method != "HEAD"
        ]
    return table(["route", "what it answers"], [[where.replace(":path", ""), told] for where, told in rows])


def protocols() -> str:
    """Every protocol by its name, with what it is sent as and what its file says of it."""
    rows = [
        [code(name), spoken.framing.content_type.partition(";")[0], prose(sys.modules[type(spoken).__module__].__doc__)]
        for name, spoken in PROTOCOLS.items()
    ]
    return table(["protocol", "content type", "what it is"], rows)


_ON_CLOSE = {
    "stops": "stops generating",
    "goes on": "goes on generating and billing",
    "unknown": "unknown: nobody says",
}


def catalogue() -> str:
    """The services that are known by name."""
    rows = [
        [
            code(service.name),
            NONE if service.base_url is None else code(service.base_url),
            NONE if service.api_key_env is None else code(service.api_key_env),
            _ON_CLOSE[service.on_close] + ("; a whole answer goes on" if service.whole_goes_on else ""),
            code(service.max_tokens_field),
            "yes" if service.asks_usage else "no",
            NONE if service.prefill == "none" else code(service.prefill),
            service.notes or NONE,
        ]
        for service in SERVICES
    ]
    head = ["name", "address", "key in", "when its connection closes", "token limit is sent as", "asked for usage"]
    head.append("goes on with an answer by")
    return table([*head, "notes"], rows)


# -- torture

_MODES = {(True,): "streamed", (False,): "whole", (True, False): "both"}


def verdicts() -> str:
    """What may become of an answer under torture."""
    rows = [[verdict, "never" if verdict in NEVER else "yes", meaning] for verdict, meaning in VERDICTS.items()]
    return table(["verdict", "allowed", "what the reader got"], rows)


def faults() -> str:
    """Every fault of the scripted upstream."""
    rows = [[code(name), fault.told, _MODES[fault.modes], fault.whole] for name, fault in FAULTS.items()]
    return table(["fault", "the upstream", "answers", "comes whole"], rows)


# -- the command line


def command(name: str) -> click.Command:
    """A command by its name, such as `serve` or `settings trust`."""
    found: click.Command = group
    for word in name.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, name
        found = inner
    return found


def command_names(parent: click.Group = group, before: str = "") -> Iterator[str]:
    """Every command, and behind it the commands that are part of it."""
    for name in parent.list_commands(click.Context(parent)):
        yield before + name
        inner = command(before + name)
        if isinstance(inner, click.Group):
            yield from command_names(inner, f"{before}{name} ")


def options_of(name: str) -> list[click.Option]:
    """The options of a command that it shows, without --help."""
    return [each for each in command(name).params if isinstance(each, click.Option) and not each.hidden]


def commands() -> str:
    """Every command in a line."""
    names = list(command_names())
    others = {COMMANDS[name]: name for name in COMMANDS if name not in names}
    rows = []
    for name in names:
        also = others.get(COMMANDS.get(name, ("", "")))
        rows.append([f"`headrace {name}`" + (f" or `headrace {also}`" if also else ""), prose(command(name).help)])
    return table(["command", "what it does"], rows)


def options(name: str) -> str:
    """The options of a command."""
    rows = []
    for option in options_of(name):
        names = ", ".join(map(code, [*option.opts, *option.secondary_opts]))
        value = "" if option.is_flag else f" {option.make_metavar(click.Context(command(name)))}"
        rows.append([names + value, " ".join((option.help or "").split())])
    return table(["option", "what it does"], rows)


# These have sections of their own, written by hand; the others say enough of themselves.
DESCRIBED = ("serve", "ask")


def other_commands() -> str:
    """A section for each of the other commands: what its --help says, and its options."""
    sections = []
    for name in command_names():
        if name not in DESCRIBED:
            told = inspect.cleandoc(command(name).help or "").split("\n\n")
            lines = [ROWS.sub("", " ".join(paragraph.split())) for paragraph in told]
            shown = [options(name)] if options_of(name) else []
            sections.append("\n\n".join([f"## `headrace {name}`", *lines, *shown]))
    return "\n\n".join(sections)


def exit_codes() -> str:
    """Every exit code."""
    return table(["exit code", "what it means"], [[str(number), meaning] for number, meaning in EXIT_CODES.items()])


def exit_codes_of_errors() -> str:
    """The exit code of each error that ends `ask` before anything was said."""
    by_code: dict[int, list[str]] = {}
    for kind in subclasses(errors.HeadraceError):
        if kind.__subclasses__() or kind in (errors.UpstreamRefused, errors.UpstreamTimeout):
            continue
        error = kind("", upstream="") if issubclass(kind, errors.UpstreamError) else kind("")
        by_code.setdefault(code_of_error(error), []).append(code(kind.code))
    rows = [[str(number), ", ".join(dict.fromkeys(codes))] for number, codes in sorted(by_code.items())]
    return table(["exit code", "error codes"], rows)


def answer_fields() -> str:
    """What a program gets from `headrace.generate`."""
    told = field_docstrings(Answer)
    return table(
        ["field", "what it holds"], [[code(field.name), told.get(field.name, NONE)] for field in fields(Answer)]
    )


def struct_fields(struct: type[msgspec.Struct], *, defaults: bool = False) -> str:
    """The fields of a struct that programs get or give."""
    told = field_docstrings(struct)
    rows = []
    for field in fields(struct):
        rows.append([code(field.name), *([default(field)] if defaults else []), told.get(field.name, NONE)])
    return table(["field", *(["default"] if defaults else []), "what it holds"], rows)


def members(kind: type) -> str:
    """The public names of a class: methods as they are called, properties as they are read."""
    rows = []
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        called = name
        if inspect.isfunction(member):
            names = [each.name for each in inspect.signature(member).parameters.values() if each.name != "self"]
            called = f"{name}({', '.join(names[:2])}{', …' if len(names) > 2 else ''})"
        rows.append([code(called), prose(member.__doc__)])
    return table(["name", "what it gives or does"], rows)


def arguments(function: Callable[..., object]) -> str:
    """The arguments of a function, as its docstring says them."""
    said = inspect.cleandoc(function.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    told = dict(re.findall(r"^    (\w+): ((?:.|\n {8})*)$", said, re.MULTILINE))
    rows = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in told:
            given = parameter.default
            shown = NONE if given is None or given is parameter.empty or name == "fields" else code(repr(given))
            rows.append([code(name), shown, " ".join(told[name].split())])
    return table(["argument", "default", "what it means"], rows)


def screen() -> str:
    """What `serve` prints at a terminal where GROQ_API_KEY is set."""
    # An Ollama elsewhere is not looked for, so that this says the same on every machine.
    found = asyncio.run(discover(Settings(), {"GROQ_API_KEY": "…", "OLLAMA_HOST": "elsewhere.example"}))
    return block("text", start_screen.text(ready(found.settings, found.rows)))


def try_line() -> str:
    """The command that `serve` prints to be pasted."""
    return block("sh", start_screen.try_line(ready(Settings(), ())))


def ready(settings: Settings, found: Sequence[Any]) -> start_screen.Ready:
    """The facts of a server at its usual address."""
    return start_screen.Ready("http://127.0.0.1:8000", 1, settings, found, ())


TABLES: Mapping[str, Callable[[], str]] = {
    **{f"settings {name}": made for name, made in sections()},
    "timers": timers,
    "other names": other_names,
    "events": event_kinds,
    "event fields": event_fields,
    "event order": event_order,
    "frames typed events": partial(frames, "typed_events"),
    "frames openai chat": partial(frames, "openai_chat"),
    "errors request": partial(error_classes, errors.RequestError),
    "errors upstream": partial(
        error_classes, errors.UpstreamError, without=(errors.UpstreamRefused, errors.UpstreamTimeout)
    ),
    "errors refused": refusals,
    "errors timeout": timeouts,
    "errors store": partial(error_classes, errors.StoreError),
    "errors internal": partial(error_classes, errors.InternalError),
    "errors settings": partial(error_classes, errors.SettingsError),
    "failures": other_failures,
    "routes": route_table,
    "protocols": protocols,
    "catalogue": catalogue,
    "verdicts": verdicts,
    "faults": faults,
    "commands": commands,
    **{f"options {name}": partial(options, name) for name in DESCRIBED},
    "other commands": other_commands,
    "answer": answer_fields,
    "client": partial(members, Client),
    "client choices": partial(arguments, Client.stream),
    "client stream": partial(members, Stream),
    "client final": partial(struct_fields, Final),
    "client stats": partial(struct_fields, Stats),
    "client resuming": partial(struct_fields, Resuming, defaults=True),
    "exit codes": exit_codes,
    "exit codes of errors": exit_codes_of_errors,
    "start screen": screen,
    "try line": try_line,
    "nginx": lambda: block("nginx", (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8").strip()),
}


def rewritten(text: str, used: set[str]) -> str:
    """A document with its tables made anew; their names are added to `used`."""

    def made(region: re.Match[str]) -> str:
        name = region["name"]
        if name not in TABLES:
            raise SystemExit(f"no table {name!r}. There are: {', '.join(TABLES)}")
        used.add(name)
        return f"{region[1]}\n{TABLES[name]()}\n\n{region['end']}"

    return REGION.sub(made, text)


def main(arguments: Sequence[str]) -> int:
    """Writes, or checks; gives the exit code."""
    if arguments not in ([], ["--check"]):
        print("scripts/document-tables [--check]", file=sys.stderr)
        return 2
    used: set[str] = set()
    outdated = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := rewritten(text, used)) != text:
            outdated.append(path.relative_to(ROOT))
            if not arguments:
                path.write_text(new, encoding="utf-8")
    said = "is out of date; scripts/document-tables writes it anew" if arguments else "written"
    for name in outdated:
        print(f"{name} {said}")
    if unused := TABLES.keys() - used:
        print(f"tables that stand in no document: {', '.join(sorted(unused))}", file=sys.stderr)
        return 1
    return 1 if arguments and outdated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
