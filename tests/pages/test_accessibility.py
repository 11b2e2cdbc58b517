"""What axe-core has to say of the chat page in each of its states: nothing."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.pages.surroundings import Model, model
from tests.pages.test_chat_page import SETTINGS, ask, until_words, whole
from tests.pages.visiting import House
from tests.server.browsing import page_of
from tests.server.conftest import process

AXE, AXE_SHA256 = "axe-core@4.14.1", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"

SAID = """# A title

A paragraph with **bold**, `code` and a [link](https://example.com).

| a | b |
| - | - |
| 1 | 2 |

```python
def greet(name: str) -> str:
    return f"hello {name}"
```

"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checker, as published; too large to lie in the repository."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    assert npm is not None, "npm is not installed, and it fetches axe-core: apt install npm"
    packed = subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True, timeout=60)
    with tarfile.open(folder / packed.stdout.decode().split()[-1]) as archive:
        held = archive.extractfile("package/axe.min.js")
        assert held is not None
        source = held.read()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256
    return source.decode()


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [f"{each['id']}: {node['html']}" for each in found["violations"] for node in each["nodes"]]


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_in_any_state(chromium: Browser, tmp_path: Path, axe: str, dark: bool) -> None:
    said = Model([SAID, *["word "] * 2000], pause_seconds=0.01, rationale=["Because."])
    with (
        model(said),
        process(tmp_path, SETTINGS.format(url=said.base_url)) as server,
        page_of(chromium, dark=dark, width=390 if dark else 1280) as page,
    ):
        page.goto(f"{server.url}/chat")
        expect(page.get_by_role("textbox")).to_be_visible()
        assert violations(page, axe) == [], "empty"
        ask(page)
        until_words(page, 60)
        expect(page.locator(".hljs-keyword").first).to_be_visible()
        assert violations(page, axe) == [], "streaming"
        page.get_by_role("button", name="Stop").click()
        whole(page)
        assert violations(page, axe) == [], "stopped"
        said.pieces, said.finish = ["Half of"], None
        ask(page, "Again?")
        expect(page.locator(".ending.cut")).to_be_visible()
        assert violations(page, axe) == [], "cut"
        said.refusal = 404
        ask(page, "And now?")
        expect(page.locator(".ending.failed")).to_be_visible()
        assert violations(page, axe) == [], "failed"
        if dark:  # narrow, where the list stands over the conversation
            page.get_by_role("button", name="Conversations").click()
        expect(page.locator(".list li")).to_have_count(1)
        assert violations(page, axe) == [], "conversations"
        page.locator(".list li").hover()
        page.get_by_role("button", name="Actions for").click()
        assert violations(page, axe) == [], "actions"
        page.get_by_role("button", name="Rename").click()
        expect(page.get_by_role("textbox", name="Title")).to_be_focused()
        assert violations(page, axe) == [], "renaming"
        page.keyboard.press("Escape")
        if dark:
            page.keyboard.press("Escape")
        page.get_by_role("textbox").focus()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page, axe) == [], "keys"
        page.keyboard.press("Escape")
        for panel in ("Model", "Settings", "More"):
            page.get_by_role("button", name=panel).last.click()
            expect(page.locator(".panel")).to_be_visible()
            assert violations(page, axe) == [], panel
            page.keyboard.press("Escape")
        page.keyboard.press("Control+k")
        expect(page.get_by_role("option")).to_have_count(1)
        assert violations(page, axe) == [], "search"
        page.get_by_role("combobox").fill("again")
        expect(page.locator("#found mark")).to_have_count(1)
        assert violations(page, axe) == [], "found"
        page.keyboard.press("Escape")
        page.get_by_role("textbox").focus()
        page.keyboard.press("ArrowUp")
        expect(page.get_by_role("textbox", name="Edit the question")).to_be_focused()
        assert violations(page, axe) == [], "editing"
        page.keyboard.press("Escape")
        if dark:
            page.get_by_role("button", name="Conversations").click()
        page.locator(".list li").hover()
        page.get_by_role("button", name="Actions for").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("button", name="Undo")).to_be_visible()
        assert violations(page, axe) == [], "deleted"


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_where_the_line_or_the_server_is_away(place: House, axe: str, dark: bool) -> None:
    with place.visit(broken_line=True, dark=dark, width=1280 if dark else 390) as page:
        place.said.pieces, place.said.pause_seconds = ["word "] * 400, 0.02
        ask(page)
        until_words(page, 10)
        page.context.set_offline(True)
        place.line.open = False
        place.line.cut()
        expect(page.locator("[data-state=offline]")).to_be_visible()
        assert violations(page, axe) == [], "offline"
        page.context.set_offline(False)
        expect(page.locator("[data-state=reconnecting]")).to_be_visible()
        assert violations(page, axe) == [], "reconnecting"
        place.line.open = True
        page.get_by_role("button", name="Try now").last.click()
        expect(page.locator("[data-state=live]")).to_be_visible()
        page.keyboard.press("Escape")
        whole(page)
        place.line.open = False
        place.line.cut()
        page.evaluate("() => dispatchEvent(new Event('online'))")
        expect(page.locator(".banner[data-state=away]")).to_be_visible()
        assert violations(page, axe) == [], "away"
        page.context.set_offline(True)
        expect(page.locator(".banner[data-state=offline]")).to_be_visible()
        assert violations(page, axe) == [], "offline, with nothing going on"
        place.line.open = True
        page.context.set_offline(False)
        expect(page.locator(".banner")).to_have_count(0)


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_in_what_an_answer_opens(place: House, axe: str, dark: bool) -> None:
    with place.visit(dark=dark, width=1280 if dark else 390) as page:
        place.said.rationale, place.said.pieces = ["Because ", "of this."], [SAID]
        ask(page)
        whole(page)
        page.locator(".rationale summary").click()
        page.get_by_role("button", name="Figures").click()
        expect(page.locator(".details")).to_be_visible()
        assert violations(page, axe) == [], "thoughts and figures"
        page.get_by_role("button", name="Answer again").click()
        expect(page.get_by_role("button", name="Previous answer")).to_be_visible()
        whole(page)
        assert violations(page, axe) == [], "two answers"
        page.locator(".turn").last.get_by_role("button", name="Edit the question").click()
        expect(page.get_by_role("textbox", name="Edit the question")).to_be_visible()
        assert violations(page, axe) == [], "editing"
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Model").click()
        page.locator("[data-model=offline]").click()
        page.keyboard.press("Escape")
        ask(page, "How does headrace resume a stream?")
        whole(page)
        page.get_by_role("button", name=re.compile("^Source 1:")).first.click()
        expect(page.locator(".sources li p").first).to_be_visible()
        assert violations(page, axe) == [], "sources"
        stream = place.stream_of(page)["id"]
        page.goto("about:blank")
        page.goto(f"{place.url}#stream={stream}")
        expect(page.get_by_role("link", name="Open its conversation")).to_be_visible()
        whole(page)
        assert violations(page, axe) == [], "one answer by its link"
        page.goto("about:blank")
        page.goto(f"{place.url}#c=nobody-asked-this")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert violations(page, axe) == [], "no such conversation"


def test_axe_finds_nothing_where_a_key_is_asked_for(chromium: Browser, tmp_path: Path, axe: str) -> None:
    settings = f'[server]\nauth = true\n[[keys]]\nowner = "ann"\nhash = "{"6b" * 32}"\n'
    with process(tmp_path, settings) as server, page_of(chromium, expected=("status of 401 ",)) as page:
        page.goto(f"{server.url}/chat")
        expect(page.get_by_role("textbox", name="Key")).to_be_visible()
        assert violations(page, axe) == [], "a key is asked for"
        page.get_by_role("textbox", name="Key").fill("hr-wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        assert violations(page, axe) == [], "a wrong key"
