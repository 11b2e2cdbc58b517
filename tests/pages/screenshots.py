"""The chat page in each of its states, as pictures that people look at: see scripts/screenshots."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.pages.surroundings import Line, Model, line, model
from tests.pages.test_chat_page import SETTINGS, ask, until_words, whole
from tests.server.browsing import browser, page_of
from tests.server.conftest import process

SIZES = [(390, 844), (820, 1180), (1440, 900)]

ANSWER = """A **headrace** is the channel that leads water to a mill wheel or turbine. Three things matter:

1. *Steady flow.* The gate upstream decides how much is let in.
2. *Little loss.* A lined channel keeps what it was given.
3. *A way round.* What the wheel cannot take goes over a spillway.

| part | what it does |
| --- | --- |
| sluice | opens and closes the channel |
| forebay | calms the water before the wheel |

```python
def flow(width: float, depth: float, speed: float) -> float:
    \"\"\"Cubic metres a second.\"\"\"
    return width * depth * speed  # as measured at the gate
```

> The miller's whole art is in the gate.

In numbers: `flow(1.2, 0.8, 1.5)` gives about 1.44 m³/s, enough for a small mill.

"""
ARABIC = """## قناة الماء

القناة هي المجرى الذي يوصل الماء إلى **العجلة**. لها ثلاثة أجزاء:

- البوّابة، وهي تتحكم في كمية الماء
- الحوض، وهو يهدّئ الماء قبل العجلة
- المفيض

```python
flow(1.2, 0.8, 1.5)
```
"""


def pieces(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def empty(page: Page, said: Model, to_server: Line) -> None:
    expect(page.get_by_role("textbox")).to_be_visible()


def streaming(page: Page, said: Model, to_server: Line) -> None:
    said.pieces, said.pause_seconds = pieces(ANSWER), 0.02
    said.rationale = ["They ask what a headrace is. ", "Be brief."]
    ask(page, "What is a headrace, and what makes a good one?")
    until_words(page, 75)


def long(page: Page, said: Model, to_server: Line) -> None:
    said.pieces = pieces(ANSWER)
    for question in ("What is a headrace, and what makes a good one?", "And once more, please?"):
        ask(page, question)
        whole(page)


def error(page: Page, said: Model, to_server: Line) -> None:
    said.pieces, said.finish = pieces(ANSWER[:300]), None
    ask(page, "What is a headrace?")
    expect(page.locator(".ending.cut")).to_be_visible()
    said.refusal = 404
    ask(page, "Are you there?")
    expect(page.locator(".ending.failed")).to_be_visible()


def offline(page: Page, said: Model, to_server: Line) -> None:
    said.pieces, said.pause_seconds = pieces(ANSWER), 0.05
    ask(page, "What is a headrace?")
    until_words(page, 20)
    page.context.set_offline(True)
    to_server.open = False
    to_server.cut()
    expect(page.locator(".connection.offline")).to_be_visible()


def reconnecting(page: Page, said: Model, to_server: Line) -> None:
    said.pieces, said.pause_seconds = pieces(ANSWER), 0.05
    ask(page, "What is a headrace?")
    until_words(page, 20)
    to_server.open = False
    to_server.cut()
    expect(page.locator(".connection.waiting button")).to_be_visible()


def right_to_left(page: Page, said: Model, to_server: Line) -> None:
    said.pieces = pieces(ARABIC)
    ask(page, "ما هي قناة الماء؟")
    whole(page)


def conversations(page: Page, said: Model, to_server: Line) -> None:
    long(page, said, to_server)
    if not page.locator("nav.list").is_visible():  # where there is no room for it beside the conversation
        page.get_by_role("button", name="Conversations").click()
    expect(page.locator(".list li").first).to_be_visible()


STATES: list[Callable[[Page, Model, Line], None]] = [
    empty,
    streaming,
    long,
    error,
    offline,
    reconnecting,
    right_to_left,
    conversations,
]


def main(folder: Path) -> None:
    """Draws every state at every size, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [(state, size, dark) for state in STATES for size in SIZES for dark in (False, True)]
    with browser() as opened:
        for state, (width, height), dark in kinds:
            said = Model()
            with (
                tempfile.TemporaryDirectory() as home,
                model(said),
                process(Path(home), SETTINGS.format(url=said.base_url)) as server,
                line(server.port) as to_server,
                page_of(opened, width=width, height=height, dark=dark) as (page, _),
            ):
                page.goto(f"http://127.0.0.1:{to_server.port}/chat")
                state(page, said, to_server)
                page.wait_for_timeout(250)  # for what moves to come to rest
                drawn = folder / f"{state.__name__}-{width}-{'dark' if dark else 'light'}.png"
                page.screenshot(path=drawn)
                print(drawn)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
