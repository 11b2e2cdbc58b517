"""The chat page in a real browser: its text is the stream's, whatever happens to the page, the line and the server.

Every test fails where the page asked another host, or had anything to complain of in its console.
"""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from playwright.sync_api import Browser, Page, expect
from tests.pages.surroundings import Model, line, model
from tests.server.browsing import BROKEN_LINE, page_of
from tests.server.conftest import Process, process
from tests.server.raw import converse, request

DEADLINE_SECONDS = 20.0

SETTINGS = """
[[upstreams]]
name = "lab"
base_url = "{url}"
[[models]]
name = "fast"
upstreams = ["lab/m"]
"""


@contextmanager
def watched_page(chromium: Browser, *, width: int = 1280, broken_line: bool = False) -> Iterator[Page]:
    with page_of(chromium, width=width, expected=(BROKEN_LINE,) if broken_line else ()) as page:
        yield page


@contextmanager
def served(folder: Path, said: Model) -> Iterator[Process]:
    with model(said), process(folder, SETTINGS.format(url=said.base_url)) as server:
        yield server


def ask(page: Page, question: str = "Tell me.") -> None:
    page.get_by_role("textbox", name="Ask anything").fill(question)
    page.keyboard.press("Enter")


def whole(page: Page) -> None:
    """Returns when the last answer has ended, and is drawn to its end."""
    expect(page.locator(".answer").last.locator(".figures")).to_be_visible(timeout=60_000)
    expect(page.locator(".prose").last).to_have_attribute("aria-busy", "false", timeout=60_000)


def prose(page: Page) -> str:
    return page.locator(".prose").last.text_content() or ""


def words(text: str) -> list[str]:
    return text.split()


def stream_id(page: Page, server: Process) -> str:
    conversation = page.url.partition("#c=")[2]
    (listed,) = converse(server.port, request("GET", f"/v1/streams?conversation_id={conversation}", b""))
    return str(msgspec.json.decode(listed.body)["data"][0]["id"])


def log(server: Process, stream: str) -> dict[str, str]:
    """What the stream's own log says: its text and its ending, whole, from its beginning."""
    (answer,) = converse(server.port, request("GET", f"/v1/streams/{stream}/events", b""))
    frames = [msgspec.json.decode(each) for each in re.findall(rb"^data: (\{.*)$", answer.body, re.MULTILINE)]
    text = "".join(frame["content"] for frame in frames if frame["type"] == "token")
    (known,) = converse(server.port, request("GET", f"/v1/streams/{stream}", b""))
    return {"text": text, "ending": msgspec.json.decode(known.body)["ending"]}


def until_words(page: Page, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(words(page.locator(".prose").last.text_content() or "")) < count:
        assert time.monotonic() < deadline, page.locator("main").text_content()
        page.wait_for_timeout(20)


def spoken(count: int) -> list[str]:
    """Words that are all different, in paragraphs."""
    return [f"word{number}" + ("\n\n" if number % 17 == 16 else " ") for number in range(count)]


def test_l12_the_text_is_the_streams_after_reloads_and_cuts_at_ten_random_points(
    chromium: Browser, tmp_path: Path
) -> None:
    chance = random.Random(12)
    said = Model(spoken(400), pause_seconds=0.012)
    with (
        served(tmp_path, said) as server,
        line(server.port) as to_server,
        watched_page(chromium, broken_line=True) as page,
    ):
        page.goto(f"http://127.0.0.1:{to_server.port}/chat")
        ask(page)
        for place in sorted(chance.sample(range(5, 300), 10)):
            until_words(page, place)
            if chance.random() < 0.5:
                page.reload()
            else:
                to_server.cut()
        whole(page)
        assert words(prose(page)) == words(said.text)
        assert page.locator(".turn").count() == 1
        assert len(said.asked) == 1, "the model was asked once, whatever happened"


def test_an_answer_outlives_a_killed_server_and_can_be_continued(chromium: Browser, tmp_path: Path) -> None:
    said = Model(spoken(300), pause_seconds=0.02)
    with model(said):
        text = SETTINGS.format(url=said.base_url)
        with (
            process(tmp_path, text) as server,
            line(server.port) as to_server,
            watched_page(chromium, broken_line=True) as page,
        ):
            page.goto(f"http://127.0.0.1:{to_server.port}/chat")
            ask(page)
            until_words(page, 60)
            server.popen.send_signal(signal.SIGKILL)
            server.popen.wait(DEADLINE_SECONDS)
            expect(page.get_by_role("alert")).to_contain_text("Trying again in")
            said.pieces, said.pause_seconds = ["and the ", "rest."], 0.0
            with process(tmp_path, text) as again:
                to_server.target = again.port
                page.get_by_role("button", name="Try now").click()
                expect(page.locator(".ending.cut")).to_contain_text("The server stopped while it was answering")
                whole(page)
                stream = stream_id(page, again)
                kept = words(prose(page))
                assert kept == words(log(again, stream)["text"])
                assert len(kept) >= 60
                page.get_by_role("button", name="Continue").click()
                until_words(page, len(kept) + 3)
                whole(page)
                continued = prose(page)
                assert words(continued) == [*kept, "and", "the", "rest."]
                page.reload()
                expect(page.locator(".prose")).to_have_text(continued)
                assert page.locator(".turn").count() == 1, "it is the same message"


def test_stop_closes_the_upstream_and_a_second_tab_sees_it(chromium: Browser, tmp_path: Path) -> None:
    said = Model(spoken(2000), pause_seconds=0.02)
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        ask(page)
        until_words(page, 20)
        with page.context.expect_page() as opened:
            page.evaluate("() => void open(location.href)")
        second = opened.value
        until_words(second, 20)
        page.get_by_role("button", name="Stop").click()
        assert said.left.wait(DEADLINE_SECONDS), "the upstream saw its connection closed"
        expect(page.locator(".ending")).to_have_text("Stopped")
        expect(second.locator(".ending")).to_have_text("Stopped in another place")
        whole(page)
        whole(second)
        kept = log(server, stream_id(page, server))
        assert kept["ending"] == "cancelled"
        assert words(prose(page)) == words(prose(second)) == words(kept["text"])
        assert len(words(prose(page))) >= 20


def test_a_question_asked_in_one_tab_appears_in_the_other(chromium: Browser, tmp_path: Path) -> None:
    said = Model(["First."])
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        ask(page, "One?")
        whole(page)
        second = page.context.new_page()
        second.goto(page.url)
        expect(second.locator(".prose")).to_have_text("First.")
        said.pieces = ["Second."]
        ask(page, "Two?")
        expect(second.locator(".prose").last).to_have_text("Second.")
        expect(second.locator(".question").last).to_have_text("Two?")
        assert [each["content"] for each in said.asked[1]["messages"]] == ["One?", "First.", "Two?"]


def test_another_answer_stands_beside_the_first_and_both_outlive_a_reload(chromium: Browser, tmp_path: Path) -> None:
    said = Model(["First."])
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        ask(page)
        whole(page)
        said.pieces = ["Second."]
        page.get_by_role("button", name="Answer again").click()
        expect(page.locator(".prose")).to_have_text("Second.")
        expect(page.locator(".versions")).to_contain_text("2/2")
        page.reload()
        expect(page.locator(".prose")).to_have_text("Second.")
        page.get_by_role("button", name="Previous answer").click()
        expect(page.locator(".prose")).to_have_text("First.")


MARKDOWN = """# A title with *emphasis*

A paragraph with **bold**, `code`, a [link](https://example.com/x) and a reference to [the foot][foot].

- one
- two
  - nested

| a | b |
| - | -: |
| 1 | 2 |

```python
def greet(name: str) -> str:
    return f"hello {name}"
```

> quoted

1. first
2. second

[foot]: https://example.com/foot

The end. ☑ 日本語 👩‍👩‍👧
"""


def test_markdown_written_piece_by_piece_is_the_markdown_written_at_once(chromium: Browser, tmp_path: Path) -> None:
    said = Model([MARKDOWN[at : at + 3] for at in range(0, len(MARKDOWN), 3)], pause_seconds=0.004)
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        ask(page)
        whole(page)
        expect(page.locator(".hljs-keyword").first).to_have_text("def")
        piecewise = page.locator(".prose").inner_html()
        page.reload()
        whole(page)
        expect(page.locator(".hljs-keyword").first).to_have_text("def")
        assert page.locator(".prose").inner_html() == piecewise
        assert page.locator(".prose a").last.get_attribute("href") == "https://example.com/foot"


def test_what_the_reader_looks_at_stays_where_it_is_until_they_ask(chromium: Browser, tmp_path: Path) -> None:
    said = Model(spoken(3000), pause_seconds=0.001)
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        ask(page)
        until_words(page, 500)
        page.mouse.move(600, 400)
        page.mouse.wheel(0, -300)
        expect(page.locator(".transcript")).to_have_attribute("data-following", "no")
        before = page.locator(".transcript").evaluate("(element) => element.scrollTop")
        until_words(page, len(words(page.locator(".prose").text_content() or "")) + 60)
        assert page.locator(".transcript").evaluate("(element) => element.scrollTop") == before
        page.get_by_role("button", name="Jump to the latest").click()
        expect(page.locator(".transcript")).to_have_attribute("data-following", "yes")


def test_a_whole_visit_with_the_keyboard_alone(chromium: Browser, tmp_path: Path) -> None:
    said = Model(spoken(2000), pause_seconds=0.02, rationale=["Because ", "of this."])
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_focused()
        page.keyboard.type("One line")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("and another")
        page.keyboard.press("Enter")
        until_words(page, 10)
        expect(page.locator(".question")).to_have_text("One line\nand another")
        expect(page.get_by_role("status")).to_have_text("Generating…")
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator(".ending")).to_have_text("Stopped")
        expect(page.get_by_role("status")).to_have_text("Stopped")
        page.locator(".rationale summary").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".rationale p")).to_have_text("Because of this.")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_figures_are_the_streams(chromium: Browser, tmp_path: Path) -> None:
    said = Model(spoken(30), pause_seconds=0.01)
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        ask(page)
        whole(page)
        (known,) = converse(server.port, request("GET", f"/v1/streams/{stream_id(page, server)}", b""))
        told = msgspec.json.decode(known.body)
        mark = {"estimated": "≈ "}.get(told["usage"]["completion_source"], "")
        expect(page.locator(".figures .tokens")).to_have_text(f"{mark}{told['usage']['completion_tokens']} tokens")
        first = round(told["timing"]["first_token_ms"])
        expect(page.locator(".figures .ttft")).to_have_text(f"{first} ms to first token")
        expect(page.locator(".figures .model")).to_have_text("fast")


def test_a_refused_question_says_why(chromium: Browser, tmp_path: Path) -> None:
    said = Model(refusal=404)
    with served(tmp_path, said) as server, watched_page(chromium) as page:
        page.goto(f"{server.url}/chat")
        ask(page)
        expect(page.get_by_role("alert")).to_contain_text("the model is not there")
        # The picker says of the model what /health says of its upstream.
        (answer,) = converse(server.port, request("GET", "/health", b""))
        (upstream,) = [each for each in msgspec.json.decode(answer.body)["upstreams"] if each["name"] == "lab"]
        expect(page.locator(".health")).to_have_attribute("data-state", upstream["state"])
        assert upstream["state"] == "unwell"


def test_sources_are_numbered_as_they_are_cited(chromium: Browser, tmp_path: Path) -> None:
    with process(tmp_path) as server, watched_page(chromium, width=390) as page:
        page.goto(f"{server.url}/chat")
        ask(page, "How does headrace resume a stream?")
        whole(page)
        page.get_by_role("button", name=re.compile("^Source 1:")).first.click()
        expect(page.locator(".sources li p").first).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_where_a_key_is_asked_for_the_page_asks_for_it(chromium: Browser, tmp_path: Path) -> None:
    digest = "6b6ac2a2a5e2fbf6c8d2e5c1c5d3b0b1" * 2
    settings = f'[server]\nauth = true\n[[keys]]\nowner = "ann"\nhash = "{digest}"\n'
    with process(tmp_path, settings) as server, page_of(chromium, expected=("401",)) as page:
        page.goto(f"{server.url}/chat")
        page.get_by_role("textbox", name="Key").fill("hr-wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not one of this server's")
