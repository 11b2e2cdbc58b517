"""A real browser: Debian's Chromium, driven by Playwright, with everything watched that a page must not do.

Nobody opens a page but here (tests/test_house.py), so no test can forget to look: a visit fails where a page asked
another host, or where its console had anything to complain of that the test did not cause on purpose.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

ANSWER_MILLISECONDS = 15_000
# What Chromium writes to a console by itself when a connection breaks; a page can neither cause nor prevent it.
BROKEN_LINE = "net::ERR_"

# The one that is open: Playwright knows no second browser within the first.
_opened: list[Browser] = []


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium: the one that is open, or a new one.

    Raises:
        AssertionError: it is not installed; a test that needs a browser is not skipped.
    """
    if _opened:
        yield _opened[0]
        return
    path = shutil.which("chromium")
    assert path is not None, "chromium is not installed, and a page is tested in a real browser: apt install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        _opened.append(opened)
        try:
            yield opened
        finally:
            _opened.clear()
            opened.close()


@contextmanager
def page_of(
    opened: Browser,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    locale: str = "en-US",
    hosts: tuple[str, ...] = ("127.0.0.1",),
    expected: tuple[str, ...] = (),
) -> Iterator[Page]:
    """A page in a profile of its own, that may use the clipboard; every page of that profile is watched.

    Args:
        hosts: the only ones that may be asked for anything.
        expected: what a message in the console may hold, because the test causes it.

    Raises:
        AssertionError: a page of the profile asked another host, or complained of something.
    """
    context = opened.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale=locale,
        permissions=["clipboard-read", "clipboard-write"],
    )
    complaints: list[str] = []
    strangers: list[str] = []

    def complained(text: str) -> None:
        if not any(each in text for each in expected):
            complaints.append(text)

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complained(message.text)

    def asked(url: str) -> None:
        if urlsplit(url).hostname not in hosts:
            strangers.append(url)

    context.on("console", said)
    context.on("weberror", lambda error: complained(str(error.error)))
    context.on("request", lambda request: asked(request.url))
    context.on("page", lambda page: page.on("websocket", lambda socket: asked(socket.url)))
    try:
        page = context.new_page()
        page.set_default_timeout(ANSWER_MILLISECONDS)
        yield page
        assert complaints == [], complaints
        assert strangers == [], strangers
    finally:
        context.close()
