"""`@headrace/client` in Chromium: the page of one file, the React component, and React's strict mode (row D10)."""

from __future__ import annotations

import functools
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.javascript.conftest import HERE, ROOT, command
from tests.pages.surroundings import Line, Model, line, model
from tests.pages.visiting import SETTINGS
from tests.server.browsing import BROKEN_LINE, browser, page_of
from tests.server.conftest import process
from tests.server.raw import converse, request

DEADLINE_SECONDS = 20.0
MILLISECONDS = 20_000

BUNDLE = """
import { build } from "esbuild";
const [outfile] = process.argv.slice(1);
const define = { "process.env.NODE_ENV": '"development"' };
await build({ entryPoints: ["page.jsx"], bundle: true, format: "esm", jsx: "automatic", define, outfile });
"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>React</title><link rel="icon" href="data:,">
<main></main><script type="module" src="bundle.js"></script></html>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Nobody reads it."""


@contextmanager
def static(folder: Path) -> Iterator[str]:
    """The address of a server of files, which is another origin than headrace's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(DEADLINE_SECONDS)


@dataclass
class Site:
    """Somebody's pages, with a headrace of another origin behind a line that can be cut."""

    chromium: Browser
    said: Model
    line: Line
    url: str
    port: int

    @contextmanager
    def visit(self, path: str, *, broken_line: bool = False, **asked: str) -> Iterator[Page]:
        with page_of(self.chromium, expected=(BROKEN_LINE,) if broken_line else ()) as page:
            page.goto(f"{self.url}/{path}?{urlencode({'server': f'http://127.0.0.1:{self.line.port}', **asked})}")
            yield page

    def stream(self, identifier: str) -> Any:
        """What the server knows of a stream."""
        (answer,) = converse(self.port, request("GET", f"/v1/streams/{identifier}"))
        return msgspec.json.decode(answer.body)

    def says(self, count: int, pause_seconds: float = 0.0) -> str:
        """Lets the model say so many words, and gives them."""
        self.said.pieces = [f"word{number} " for number in range(count)]
        self.said.pause_seconds = pause_seconds
        self.said.asked.clear()
        self.said.left.clear()
        return self.said.text


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    # The page of one file, with the package unpacked beside it.
    shutil.copy(ROOT / "examples" / "browser" / "index.html", folder / "one.html")
    shutil.copytree(project / "node_modules" / "@headrace" / "client", folder / "headrace-client")
    # The React pages, bundled as people do.
    shutil.copy(ROOT / "examples" / "react" / "answer.jsx", project)
    shutil.copy(HERE / "page.jsx", project)
    command("node", "--input-type=module", "-e", BUNDLE, str(folder / "bundle.js"), folder=project)
    (folder / "react.html").write_text(PAGE, encoding="utf-8")
    said = Model()
    with ExitStack() as stack:
        url = stack.enter_context(static(folder))
        chromium = stack.enter_context(browser())
        stack.enter_context(model(said))
        settings = f'[server]\nallowed_origins = ["{url}"]\n{SETTINGS.format(url=said.base_url)}'
        server = stack.enter_context(process(tmp_path_factory.mktemp("server"), settings))
        laid = stack.enter_context(line(server.port))
        yield Site(chromium, said, laid, url, server.port)


def holds(page: Page, condition: Callable[[], bool]) -> None:
    """Returns when `condition` holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, page.locator("body").text_content()
        page.wait_for_timeout(10)


def words(page: Page, place: str) -> int:
    return len((page.locator(place).text_content() or "").split())


def test_d10_the_page_of_one_file_shows_an_answer_that_was_cut_off_exactly(site: Site) -> None:
    text = site.says(150, 0.01)
    with site.visit("one.html", broken_line=True, model="fast") as page:
        page.get_by_role("button", name="Ask").click()
        for count in (20, 60):
            holds(page, lambda count=count: words(page, "#answer") >= count)  # type: ignore[misc]  # the default binds it
            site.line.cut()
        holds(page, lambda: words(page, "#answer") >= 90)
        page.reload()
        expect(page.locator("#state")).to_contain_text("stop: ", timeout=MILLISECONDS)
        assert page.locator("#answer").text_content() == text
    assert len(site.said.asked) == 1


def test_d10_stop_in_the_page_of_one_file_reaches_the_upstream(site: Site) -> None:
    site.says(5000, 0.01)
    with site.visit("one.html", model="fast") as page:
        page.get_by_role("button", name="Ask").click()
        holds(page, lambda: words(page, "#answer") >= 5)
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#state")).to_contain_text("cancelled", timeout=MILLISECONDS)
    assert site.said.left.wait(DEADLINE_SECONDS)


def test_d10_the_react_component_shows_an_answer_that_was_cut_off_exactly(site: Site) -> None:
    text = site.says(150, 0.01)
    with site.visit("react.html", broken_line=True, show="answer") as page:
        page.get_by_label("Question").fill("Tell me.")
        page.get_by_role("button", name="Ask").click()
        holds(page, lambda: words(page, "article") >= 20)
        site.line.cut()
        holds(page, lambda: words(page, "article") >= 60)
        page.reload()
        expect(page.locator("footer")).to_contain_text("stop", timeout=MILLISECONDS)
        assert page.locator("article").text_content() == text
    assert len(site.said.asked) == 1


def test_d10_stop_in_the_react_component_reaches_the_upstream(site: Site) -> None:
    site.says(5000, 0.01)
    with site.visit("react.html", show="answer") as page:
        page.get_by_label("Question").fill("Tell me.")
        page.get_by_role("button", name="Ask").click()
        holds(page, lambda: words(page, "article") >= 5)
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("footer")).to_contain_text("cancelled", timeout=MILLISECONDS)
        expect(page.get_by_role("alert")).to_have_count(0)
    assert site.said.left.wait(DEADLINE_SECONDS)


def test_effects_that_strict_mode_runs_twice_ask_once_and_show_nothing_twice(site: Site) -> None:
    text = site.says(100, 0.005)
    with site.visit("react.html", show="effect") as page:
        expect(page.locator("output")).to_have_text("stop", timeout=MILLISECONDS)
        assert page.locator("article").text_content() == text
        seen = page.evaluate("window.seen")
    assert len(site.said.asked) == 1
    assert seen["shrank"] is False
    # Strict mode draws everything twice. A page that drew every token would have drawn 200 times.
    assert seen["renders"] > 2


def test_a_component_that_is_hidden_leaves_the_stream_and_goes_on_with_it_when_it_is_shown(site: Site) -> None:
    text = site.says(300, 0.01)
    with site.visit("react.html", show="hides") as page:
        holds(page, lambda: words(page, "article") >= 10)
        identifier = page.locator("code").text_content() or ""
        assert re.fullmatch(r"[0-9a-f]{32}", identifier)
        page.get_by_role("button", name="Hide").click()
        holds(page, lambda: site.stream(identifier)["readers"] == 0)
        assert site.stream(identifier)["state"] == "running"
        page.get_by_role("button", name="Show").click()
        expect(page.locator("output")).to_have_text("stop", timeout=MILLISECONDS)
        assert page.locator("article").text_content() == text
        assert page.evaluate("window.seen.shrank") is False
    assert len(site.said.asked) == 1
