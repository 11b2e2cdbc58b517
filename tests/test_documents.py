"""The documents keep up with the code: tables, examples, links, and the questions that they answer offline."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, get_args

import pytest
from tests.page_examples import Example, Follower, assert_prints, examples, following

from headrace.events import Ending, Phase
from headrace.protocols.reading import Options
from headrace.settings import Document, resolve
from headrace.settings.variables import COMMAND_LINE_VARIABLES
from headrace.testing.ollama import ollama_answer
from headrace.testing.upstream import (
    DONE,
    Exchange,
    ScriptedUpstream,
    finish_chunk,
    role_chunk,
    text_chunk,
)

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOLLOWED = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
WRITTEN = [*FOLLOWED, *sorted((DOCS / "reference").glob("*.md"))]

Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


# -- tables


def document_tables(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = root / "scripts" / "document_tables.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, encoding="utf-8", timeout=60
    )


def test_every_table_is_as_the_code_has_it() -> None:
    checked = document_tables(ROOT, "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_table_that_is_out_of_date_is_named_and_written_anew(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "document_tables.py", tmp_path / "scripts")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    for page in WRITTEN:
        copy = tmp_path / "docs" / name_of(page)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(page.read_bytes())
    settings = tmp_path / "docs" / "reference" / "settings.md"
    right = settings.read_text(encoding="utf-8")
    settings.write_text(right.replace("| `8000` |", "| `8001` |"), encoding="utf-8")
    checked = document_tables(tmp_path, "--check")
    assert (checked.returncode, checked.stdout.split()[0]) == (1, "docs/reference/settings.md")
    assert document_tables(tmp_path).returncode == 0
    assert settings.read_text(encoding="utf-8") == right


def first_column(page: str, heading: str) -> list[str]:
    """The names in the first column of the table under a heading."""
    section = (DOCS / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_every_ending_and_every_phase_is_explained() -> None:
    assert first_column("reference/events.md", "How a stream ends") == list(get_args(Ending))
    assert sorted(first_column("reference/events.md", "Phases of `Status`")) == sorted(get_args(Phase))


def test_every_option_of_a_request_is_explained() -> None:
    assert first_column("reference/routes.md", "Options of a request") == [*Options.__struct_fields__, "relation"]


def test_every_variable_of_the_command_line_is_explained() -> None:
    assert set(first_column("reference/command-line.md", "Variables of the command line")) >= COMMAND_LINE_VARIABLES


# -- links


@pytest.mark.parametrize("page", [*WRITTEN, DOCS / "index.md"], ids=name_of)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (page.parent / link).is_file()]


def test_every_page_can_be_reached_from_the_first() -> None:
    first = (DOCS / "index.md").read_text(encoding="utf-8")
    assert not [name_of(page) for page in WRITTEN if f"({name_of(page)})" not in first]


# -- examples


async def talk(exchange: Exchange) -> None:
    """An upstream that answers in a few words, knows no gemma3, and says what models it has as Ollama does."""
    if exchange.path == "/api/tags":
        await exchange.whole(b'{"models":[{"name":"qwen3"}]}')
    elif exchange.json()["model"] == "gemma3:12b":
        await exchange.whole(b'{"error":{"message":"model not found"}}', status=404)
    elif exchange.path == "/api/chat":
        await ollama_answer(exchange, ["Hello", ", ", "reader."])
    else:
        await exchange.head()
        for record in (role_chunk(), *map(text_chunk, ("Hello", ", ", "reader.")), finish_chunk(), DONE):
            await exchange.chunk(record)
        await exchange.end()


async def break_off(exchange: Exchange) -> None:
    """An upstream that stops in the middle."""
    await exchange.head()
    for record in (role_chunk(), text_chunk("Once"), text_chunk(" upon")):
        await exchange.chunk(record)
    await exchange.end()


async def fall_silent(exchange: Exchange) -> None:
    """An upstream that says a little and then waits to be left."""
    await exchange.head()
    for record in (role_chunk(), text_chunk("Once"), text_chunk(" upon")):
        await exchange.chunk(record)
    await exchange.left()


async def say_nothing(exchange: Exchange) -> None:
    """An upstream that waits to be left."""
    await exchange.left()


UPSTREAMS: dict[str, Handler] = {
    "how-to/call-it-from-python.md": break_off,
    "how-to/use-the-openai-sdk.md": break_off,
    "how-to/read-a-stream-from-python.md": fall_silent,
    "how-to/resume-and-cancel.md": fall_silent,
    "how-to/set-the-four-timers.md": say_nothing,
}
"""What the upstream of a page does; `talk` where nothing is said."""


@contextmanager
def upstream(handler: Handler) -> Iterator[ScriptedUpstream]:
    """An upstream on a thread of its own."""
    started = threading.Event()
    served: list[tuple[ScriptedUpstream, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with ScriptedUpstream(handler) as scripted:
            stopped = asyncio.Event()
            served.append((scripted, asyncio.get_running_loop(), stopped))
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    assert started.wait(20)
    scripted, loop, stopped = served[0]
    try:
        yield scripted
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(20)


@pytest.mark.parametrize("page", FOLLOWED, ids=name_of)
def test_every_example_does_what_its_page_says(page: Path, tmp_path: Path) -> None:
    with upstream(UPSTREAMS.get(name_of(page), talk)) as scripted:
        own = tmp_path / ".config" / "headrace" / "config.toml"
        own.parent.mkdir(parents=True)
        # Where a page asks Groq, the test asks the upstream it has.
        own.write_text(
            f'[[upstreams]]\nname = "groq"\nbase_url = "{scripted.base_url}"\napi_key_env = "GROQ_API_KEY"\n'
        )
        addresses = {
            "http://127.0.0.1:8001": scripted.origin,
            "http://proxy.example:3128": scripted.origin,
        }
        variables = {"GROQ_API_KEY": "gsk_test"}
        if "ollama" in page.name:
            variables["OLLAMA_HOST"] = scripted.origin
        with following(tmp_path, addresses, variables) as follower:
            for example in examples(page.read_text(encoding="utf-8")):
                if example.doing is not None:
                    follower.follow(example)
        if "proxy" in page.name:
            assert [exchange.headers["host"] for exchange in scripted.exchanges] == ["llm.acme.example"]


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_no_block_of_code_goes_unchecked(page: Path) -> None:
    for example in examples(page.read_text(encoding="utf-8")):
        if example.doing is None or example.language in ("toml", "json"):
            check_unfollowed(example)


def check_unfollowed(example: Example) -> None:
    """What is not run is read, at least."""
    match example.language:
        case "toml":
            resolve({}, {}, [Document("example", tomllib.loads(example.text))])
        case "json":
            json.loads(example.text)
        case "nginx":
            assert example.text == (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8"), "the tested one"
        case "text":
            pass  # made by the code, or compared with what was printed
        case _:
            raise AssertionError(f"line {example.line}: nothing says what to do with this block")


@pytest.mark.parametrize(("said", "expected"), [("one two", "one …three"), ("one\ntwo", "one"), ("", "one")])
def test_an_example_that_prints_something_else_is_noticed(said: str, expected: str) -> None:
    with pytest.raises(AssertionError):
        assert_prints(said, expected, 1)


# -- questions

ABOUT_HEADRACE = tomllib.loads((ROOT / "tests" / "questions_about_headrace.toml").read_text(encoding="utf-8"))
Ask: TypeAlias = Callable[[str], str]


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ask, Follower]]:
    """Asks a server without settings, as `headrace ask` does."""
    with following(tmp_path_factory.mktemp("asker"), {}, {}) as follower:
        url = follower.serve("headrace serve\n")

        def ask(question: str) -> str:
            body = json.dumps({"query": question}).encode()
            request = urllib.request.Request(f"{url}/chat/basic", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=20) as response:
                return str(json.load(response)["content"])

        yield ask, follower


@pytest.mark.parametrize(("kind", "answered_share"), [("likely", 0.9), ("held_out", 0.4)])
def test_headrace_answers_questions_about_itself(asker: tuple[Ask, Follower], kind: str, answered_share: float) -> None:
    ask = asker[0]
    questions: list[dict[str, str]] = ABOUT_HEADRACE[kind]
    missed = [each["question"] for each in questions if each["quotes"] not in ask(each["question"])]
    print(f"{kind}: {len(questions) - len(missed)} of {len(questions)} answered; not:", missed)
    assert len(questions) >= 15
    assert len(missed) <= len(questions) * (1 - answered_share)


def test_headrace_says_that_its_documents_hold_nothing(asker: tuple[Ask, Follower]) -> None:
    page = (DOCS / "how-to" / "answer-offline-from-documents.md").read_text(encoding="utf-8")
    (said,) = [example.text for example in examples(page) if example.text.startswith("The documents hold nothing")]
    for question in ABOUT_HEADRACE["elsewhere"]:
        assert_prints(asker[0](question), said, 0)


def test_headrace_ask_says_what_the_server_says(asker: tuple[Ask, Follower]) -> None:
    ask, follower = asker
    # The command ends its last line; the server says what was said and nothing more.
    assert follower.run('headrace ask -q "What is an offset?"')["stdout"] == ask("What is an offset?") + "\n"
