"""A real browser: Debian's Chromium, driven by Playwright, with everything watched that a page must not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

ANSWER_MILLISECONDS = 15_000


@dataclass
class Watched:
    """What a page did that no page of ours may do."""

    messages: list[str] = field(default_factory=list)
    """Errors and warnings in its console, and errors that nobody caught."""
    strangers: list[str] = field(default_factory=list)
    """Addresses it asked that are not this machine's."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium.

    Raises:
        AssertionError: it is not installed; a test that needs a browser is not skipped.
    """
    path = shutil.which("chromium")
    assert path is not None, "chromium is not installed, and a page is tested in a real browser: apt install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def page_of(
    opened: Browser, *, width: int = 1280, height: int = 900, dark: bool = False, locale: str = "en-US"
) -> Iterator[tuple[Page, Watched]]:
    """A page in a profile of its own, that may use the clipboard."""
    context = opened.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale=locale,
        permissions=["clipboard-read", "clipboard-write"],
    )
    watched = Watched()

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watched.messages.append(message.text)

    def asked(request: Request) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            watched.strangers.append(request.url)

    try:
        page = context.new_page()
        page.set_default_timeout(ANSWER_MILLISECONDS)
        page.on("console", said)
        page.on("pageerror", lambda error: watched.messages.append(str(error)))
        page.on("request", asked)
        yield page, watched
    finally:
        context.close()
