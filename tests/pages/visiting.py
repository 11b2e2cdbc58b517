"""Visits to one chat page that the tests of a file share: one browser and one server, a new profile for each visit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
from playwright.sync_api import Browser, Page
from tests.pages.surroundings import Line, Model, line, model
from tests.server.browsing import BROKEN_LINE, browser, page_of
from tests.server.conftest import Process, process
from tests.server.raw import converse, request

SETTINGS = """
[[upstreams]]
name = "lab"
base_url = "{url}"
[[upstreams]]
name = "cold"
provider = "ollama"
base_url = "{url}"
[[upstreams]]
name = "gone"
base_url = "http://127.0.0.1:1/v1"
[[models]]
name = "fast"
upstreams = ["lab/m"]
[[models]]
name = "second"
upstreams = ["gone/m", "lab/m"]
[[models]]
name = "sleeper"
upstreams = ["cold/m"]
"""


@dataclass
class House:
    """A server with a model that says what it is told to, and a line to it that can be cut."""

    chromium: Browser
    said: Model
    server: Process
    line: Line

    @contextmanager
    def visit(
        self,
        *,
        broken_line: bool = False,
        refused: tuple[int, ...] = (),
        start: str = "",
        storage: dict[str, str] | None = None,
        **how: Any,
    ) -> Iterator[Page]:
        """A visit to the page. It fails where the page asked another host, or its console had anything to say.

        Args:
            broken_line: what a browser says of broken connections is no failure.
            refused: statuses that this visit causes on purpose; a browser always complains of them.
            start: the part of the address behind `/chat`.
            storage: what the browser has kept of an earlier visit.
            how: width, height, dark, locale.
        """
        self._as_new()
        expected = (*[f"status of {each} " for each in refused], *([BROKEN_LINE] if broken_line else []))
        with page_of(self.chromium, expected=expected, **how) as page:
            for name, value in (storage or {}).items():
                page.add_init_script(f"localStorage.setItem('headrace.{name}', '{value}')")
            page.goto(f"{self.url}{start}")
            page.locator("main").wait_for()  # a browser calls a page loaded before the page has its words
            yield page

    @property
    def url(self) -> str:
        """Of the page, over the line that can be cut."""
        return f"http://127.0.0.1:{self.line.port}/chat"

    def get(self, path: str) -> Any:
        """What the server says at a path."""
        (answer,) = converse(self.server.port, request("GET", path, b""))
        return msgspec.json.decode(answer.body)

    def stream_of(self, page: Page) -> Any:
        """What the server knows of the last stream of the conversation that is shown."""
        return self.streams_of(page)[0]

    def streams_of(self, page: Page) -> Any:
        """All of them, newest first."""
        return self.get(f"/v1/streams?conversation_id={self.conversation_of(page)}&limit=100")["data"]

    def conversation_of(self, page: Page) -> str:
        """The conversation that is shown; empty: a new one."""
        return page.url.partition("#c=")[2]

    def _as_new(self) -> None:
        self.line.open, self.line.held, self.line.piece_bytes, self.line.pause_seconds = True, False, 65536, 0.0
        fresh = Model()
        for each in fields(Model):
            if each.name != "base_url":
                setattr(self.said, each.name, getattr(fresh, each.name))


@contextmanager
def house() -> Iterator[House]:
    """The browser, the server and what stands round them."""
    said = Model()
    with (
        tempfile.TemporaryDirectory() as folder,
        browser() as chromium,
        model(said),
        process(Path(folder), SETTINGS.format(url=said.base_url)) as server,
        line(server.port) as to_server,
    ):
        yield House(chromium, said, server, to_server)
