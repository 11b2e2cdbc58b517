"""What the chat page may cost (experience.md section 3): counted in the page's own time (tests/pages/effort.py)."""

from __future__ import annotations

import msgspec
import pytest
from playwright.sync_api import expect
from tests.pages.effort import WATCH, effort
from tests.pages.test_chat_faults import paragraphs
from tests.pages.test_chat_page import ask, whole
from tests.pages.visiting import House
from tests.server.raw import converse, post

BLOCK = "A paragraph of **some** words, with `code` in it and a [link](https://example.com).\n\n- one\n- two\n\n"


@pytest.mark.parametrize(("length", "seconds"), [(20_000, 1.5), (100_000, 8.0)], ids=["20 KB", "100 KB"])
def test_a_long_answer_costs_little_and_holds_the_page_up_for_no_task_over_50_ms(
    place: House, length: int, seconds: float
) -> None:
    text = BLOCK * (length // len(BLOCK) + 1)
    with place.visit() as page:
        page.add_init_script(WATCH)
        page.reload()
        expect(page.get_by_role("textbox")).to_be_visible()
        place.said.pieces, place.said.together = [text[at : at + 4] for at in range(0, len(text), 4)], 8
        with effort(page) as spent:
            ask(page)
            whole(page)
        spent.within(seconds)
        assert page.evaluate("() => window.removed") == 0, "finished blocks are never removed or moved"
        assert page.locator(".prose > .block:not(:empty)").count() == 2 * text.count("- one")
        assert page.locator(".prose li").count() == 2 * text.count("- one")


def test_18000_characters_of_thoughts_hold_the_page_up_no_longer(place: House) -> None:
    with place.visit(width=390, height=844) as page:
        page.add_init_script(WATCH)
        page.reload()
        expect(page.get_by_role("textbox")).to_be_visible()
        thoughts = "".join(paragraphs(300, words=8))[:18_000]
        place.said.rationale = [thoughts[at : at + 4] for at in range(0, len(thoughts), 4)]
        place.said.pieces = ["So."]
        with effort(page) as spent:
            ask(page)
            expect(page.locator(".rationale summary")).to_be_visible()
            page.locator(".rationale summary").click()  # it is read while it is thought
            whole(page)
        spent.within(1.5)
        assert page.locator(".rationale p").text_content() == thoughts
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_300_messages_are_shown_on_a_narrow_screen_and_answered_without_a_long_task(place: House) -> None:
    with place.visit(width=390, height=844) as page:
        place.said.pieces = ["The answer, with **some** words.\n\n", "- and\n- a list\n"]
        questions = [f"Question {n}?" for n in range(150)]
        bodies = [{"query": each, "conversation_id": "long", "stream": False} for each in questions]
        asked = [post(msgspec.json.encode(each), "/chat/basic") for each in bodies]
        answers = converse(place.server.port, *asked, responses=150)
        assert [each.status for each in answers] == [200] * 150
        page.add_init_script(WATCH)
        page.goto("about:blank")
        page.goto(f"{place.url}#c=long")
        expect(page.locator(".turn")).to_have_count(150)
        expect(page.locator(".answer > footer")).to_have_count(150)
        assert page.locator(".question").all_text_contents() == questions
        assert page.locator(".prose li").count() == 300
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        expect(page.locator(".question").last).to_be_in_viewport()
        place.said.pieces = paragraphs(20)
        with effort(page) as spent:
            ask(page, "And one more?")
            whole(page)
        spent.within(1.5)
        expect(page.locator(".turn")).to_have_count(151)
        expect(page.locator(".prose").last.locator(".block:not(:empty)").last).to_be_in_viewport()
