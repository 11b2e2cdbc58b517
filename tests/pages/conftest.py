"""What the tests of the pages share: one browser for all of them, and one server for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from tests.pages.visiting import House, house
from tests.server.browsing import ANSWER_MILLISECONDS, browser


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The browser. It goes with this folder: no event loop can be run beside Playwright's."""
    expect.set_options(timeout=ANSWER_MILLISECONDS)  # the default of 5 s is too little beside other work
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def place(chromium: Browser) -> Iterator[House]:
    """A server with a model that says what it is told to."""
    with house() as opened:
        yield opened
