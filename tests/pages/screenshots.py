"""The chat page in each of its states, as pictures that people look at: see scripts/screenshots."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from playwright.sync_api import Page, expect
from tests.pages.test_chat_documents import FERRY, file, open_sheet
from tests.pages.test_chat_documents import choose as add_documents
from tests.pages.test_chat_page import ask, until_words, whole
from tests.pages.visiting import House, house
from tests.server.raw import converse, request

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


# What was asked on other days, so that the list is as long as somebody's own.
EARLIER = {
    "How is a spillway built?": "A spillway takes what the wheel cannot: **a lip of stone**, a little below the bank.",
    "Sizes of sluice gates for a small mill": "Most are between `0.6` and `1.2` metres wide.",
    "Translate the miller's letter": "Dear brother, the water is low and the forebay full of leaves.",
    "¿Qué es un azud?": "Una presa pequeña que desvía el agua hacia el canal.",
    "ما هو الفرق بين القناة والجدول؟": "القناة من صنع الإنسان.",
    "Why do bearings run hot?": "Too little oil, too much load, or a shaft that is bent.",
}


def pieces(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def empty(page: Page, place: House) -> None:
    expect(page.get_by_role("textbox")).to_be_visible()


def streaming(page: Page, place: House) -> None:
    place.said.pieces, place.said.pause_seconds = pieces(ANSWER), 0.02
    place.said.rationale = ["They ask what a headrace is. ", "Be brief."]
    ask(page, "What is a headrace, and what makes a good one?")
    until_words(page, 75)


def long(page: Page, place: House) -> None:
    place.said.pieces = pieces(ANSWER)
    for question in ("What is a headrace, and what makes a good one?", "And once more, please?"):
        ask(page, question)
        whole(page)


def error(page: Page, place: House) -> None:
    place.said.pieces, place.said.finish = pieces(ANSWER[:300]), None
    ask(page, "What is a headrace?")
    expect(page.locator(".ending.cut")).to_be_visible()
    place.said.refusal = 404
    ask(page, "Are you there?")
    expect(page.locator(".ending.failed")).to_be_visible()


def offline(page: Page, place: House) -> None:
    place.said.pieces, place.said.pause_seconds = pieces(ANSWER), 0.05
    ask(page, "What is a headrace?")
    until_words(page, 20)
    page.context.set_offline(True)
    place.line.open = False
    place.line.cut()
    expect(page.locator(".connection.offline")).to_be_visible()


def reconnecting(page: Page, place: House) -> None:
    place.said.pieces, place.said.pause_seconds = pieces(ANSWER), 0.05
    ask(page, "What is a headrace?")
    until_words(page, 20)
    place.line.open = False
    place.line.cut()
    expect(page.locator(".connection.waiting button")).to_be_visible()


def right_to_left(page: Page, place: House) -> None:
    place.said.pieces = pieces(ARABIC)
    page.locator("#question").fill("ما هي قناة الماء؟")
    page.keyboard.press("Enter")
    whole(page)


def branches(page: Page, place: House) -> None:
    place.said.pieces = pieces(ANSWER[: ANSWER.index("| part")])
    ask(page, "What is a headrace?")
    whole(page)
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer .versions, footer .versions")).to_contain_text("2/2")
    whole(page)
    page.get_by_role("textbox").focus()
    page.keyboard.press("ArrowUp")
    page.get_by_role("textbox", name="Edit the question").fill("What is a headrace, in one paragraph?")
    page.keyboard.press("Enter")
    expect(page.locator(".beneath .versions")).to_contain_text("2/2")
    whole(page)


def editing(page: Page, place: House) -> None:
    branches(page, place)
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit the question")).to_be_visible()


def sources(page: Page, place: House) -> None:
    choose(page, "offline")
    ask(page, "How does headrace resume a stream?")
    whole(page)
    page.get_by_role("button", name=re.compile("^Source 1:")).first.click()
    expect(page.locator(".sources li p").first).to_be_visible()


def documents(page: Page, place: House) -> None:
    sheet = open_sheet(page)
    add_documents(page, file("ferry.md", FERRY), file("tides.txt", "Low tide at six."), file("letter.txt", b"caf\xe9"))
    expect(sheet.locator(".all li")).to_have_count(2)
    expect(sheet.get_by_role("status")).to_contain_text("could not be indexed")


def conversations(page: Page, place: House) -> None:
    long(page, place)
    listed(page)
    entry = page.locator(".entries li").nth(2)
    entry.hover()
    entry.get_by_role("button", name="Actions for").click()
    expect(page.locator(".panel")).to_be_visible()


def renaming(page: Page, place: House) -> None:
    conversations(page, place)
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("textbox", name="Title")).to_be_focused()


def deleted(page: Page, place: House) -> None:
    conversations(page, place)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()


def listed(page: Page) -> None:
    if not page.locator("nav.list").is_visible():  # where there is no room for it beside the conversation
        page.get_by_role("button", name="Conversations").click()
    expect(page.locator(".list li").nth(3)).to_be_visible()


def loading(page: Page, place: House) -> None:
    place.said.pieces, place.said.silent_seconds = pieces(ANSWER), 4.0
    choose(page, "sleeper")
    ask(page, "What is a headrace?")
    expect(page.locator("[data-state=loading]")).to_contain_text("2 s")


def figures(page: Page, place: House) -> None:
    place.said.pieces, place.said.pause_seconds = pieces(ANSWER[:300]), 0.01
    place.said.rationale = ["They ask what a headrace is. ", "Be brief."]
    choose(page, "second")
    ask(page, "What is a headrace?")
    whole(page)
    page.locator(".rationale summary").click()
    page.get_by_role("button", name="Figures").click()


def settings(page: Page, place: House) -> None:
    place.said.pieces = pieces(ANSWER)
    ask(page, "What is a headrace, and what makes a good one?")
    whole(page)
    page.get_by_role("button", name="Settings").click()


def models(page: Page, place: House) -> None:
    place.said.refusal = 404
    ask(page, "Are you there?")
    expect(page.locator(".ending.failed")).to_be_visible()
    page.get_by_role("button", name="Model").click()


def search(page: Page, place: House) -> None:
    long(page, place)
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("water")
    expect(page.locator("#found mark").first).to_be_visible()


def choose(page: Page, model: str) -> None:
    page.get_by_role("button", name="Model").click()
    page.locator(f"[data-model={model}]").click()
    page.keyboard.press("Escape")


STATES: list[Callable[[Page, House], None]] = [
    empty,
    streaming,
    long,
    error,
    offline,
    reconnecting,
    right_to_left,
    branches,
    editing,
    sources,
    documents,
    conversations,
    renaming,
    deleted,
    loading,
    figures,
    settings,
    models,
    search,
]


def keep(place: House) -> None:
    """Leaves nothing but what was asked on other days."""
    kept = {f"earlier-{number}" for number in range(len(EARLIER))}
    there = {each["id"] for each in place.get("/v1/conversations?limit=100")["data"]}
    complete = kept <= there
    for each in there - kept if complete else there:
        converse(place.server.port, request("DELETE", f"/v1/conversations/{each}"))
    if not complete:
        for number, (question, answer) in enumerate(EARLIER.items()):
            place.said.pieces = [answer]
            body = {"query": question, "conversation_id": f"earlier-{number}", "stream": False}
            converse(place.server.port, request("POST", "/chat/basic", msgspec.json.encode(body)))


def main(folder: Path, wanted: list[str]) -> None:
    """Draws every state, or those that are wanted, at every size, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for state in STATES:
        if wanted and state.__name__ not in wanted:
            continue
        with house() as place:
            for width, height in SIZES:
                for dark in (False, True):
                    keep(place)
                    locale = "ar-EG" if state is right_to_left else "en-US"
                    refused = (422,) if state is documents else ()
                    with place.visit(
                        width=width, height=height, dark=dark, locale=locale, broken_line=True, refused=refused
                    ) as page:
                        state(page, place)
                        page.wait_for_timeout(250)  # for what moves to come to rest
                        drawn = folder / f"{state.__name__}-{width}-{'dark' if dark else 'light'}.png"
                        page.screenshot(path=drawn)
                        print(drawn, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
