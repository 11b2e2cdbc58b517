"""Walks that nobody planned over the chat page: whatever is done in whatever order, the page ends equal to the log.

A walk asks, stops, reloads, cuts the line, takes it away and gives it back, opens and closes a second tab and asks for
other answers, in an order that Hypothesis chooses; where one fails, it looks for the shortest that fails too. At its
end everything is left to finish, and each tab has to show, answer by answer, what the streams' logs say: no text twice,
none missing, no stream of which two answers claim to be.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from playwright.sync_api import Page, expect
from tests.pages.surroundings import DEADLINE_SECONDS
from tests.pages.test_chat_faults import logged, paragraphs, said_on
from tests.pages.visiting import House

WAITS = st.integers(0, 120)  # milliseconds: long enough for a word or two, or for none


class Walk(RuleBasedStateMachine):
    """One walk. `place` is set before the machine runs: Hypothesis makes the machines itself."""

    place: ClassVar[House]

    def __init__(self) -> None:
        super().__init__()
        self._visit = ExitStack()
        self.wishes = 0

    @initialize(words=st.integers(1, 8), wait=WAITS)
    def come(self, words: int, wait: int) -> None:
        visit = self.place.visit(broken_line=True, refused=(404, 409))
        self.tabs: list[Page] = [self._visit.enter_context(visit)]
        self.place.said.pause_seconds = 0.01
        self.ask(words, wait)

    @property
    def page(self) -> Page:
        return self.tabs[-1]

    @property
    def running(self) -> bool:
        return self.page.get_by_role("button", name="Stop").count() > 0

    @precondition(lambda self: self.wishes < 6)
    @rule(words=st.integers(1, 8), wait=WAITS)
    def ask(self, words: int, wait: int) -> None:
        self.wishes += 1  # whatever becomes of it: what a walk can do next may not hang on what the page does
        if self.running:
            return
        self.place.said.pieces = paragraphs(words, words=4)
        self.page.get_by_role("textbox", name="Ask anything").fill(f"Question {self.wishes}?")
        self.page.keyboard.press("Enter")
        self.page.wait_for_timeout(wait)

    @rule(wait=WAITS)
    def stop(self, wait: int) -> None:
        self.page.keyboard.press("Escape")
        self.page.wait_for_timeout(wait)

    @precondition(lambda self: self.place.line.open)
    @rule(wait=WAITS)
    def reload(self, wait: int) -> None:
        self.page.reload()
        self.page.wait_for_timeout(wait)

    @rule(wait=WAITS)
    def cut(self, wait: int) -> None:
        self.place.line.cut()
        self.page.wait_for_timeout(wait)

    @rule(wait=WAITS)
    def go_away_or_come_back(self, wait: int) -> None:
        self.place.line.open = not self.place.line.open
        if not self.place.line.open:
            self.place.line.cut()
            self.page.wait_for_timeout(wait)
            return
        self.page.evaluate("() => dispatchEvent(new Event('online'))")
        self.page.wait_for_timeout(wait)

    @precondition(lambda self: self.place.line.open and len(self.tabs) == 1)
    @rule()
    def open_a_second_tab(self) -> None:
        second = self.page.context.new_page()
        second.goto(self.page.url)
        self.tabs.append(second)

    @precondition(lambda self: len(self.tabs) == 2)
    @rule()
    def go_to_the_other_tab(self) -> None:
        self.tabs.reverse()
        self.page.bring_to_front()

    @precondition(lambda self: len(self.tabs) == 2)
    @rule()
    def close_this_tab(self) -> None:
        self.tabs.pop().close()
        self.page.bring_to_front()

    @precondition(lambda self: self.wishes < 6)
    @rule(wait=WAITS)
    def ask_for_another_answer(self, wait: int) -> None:
        self.wishes += 1
        again = self.page.get_by_role("button", name="Answer again")
        if self.running or not again.count():
            return
        self.place.said.pieces = ["Another ", f"answer {self.wishes}."]
        again.last.click()
        self.page.wait_for_timeout(wait)

    def teardown(self) -> None:
        """Everything finishes, and then it is looked at."""
        with self._visit:
            if not hasattr(self, "tabs"):
                return
            self.place.line.open = True
            for tab in self.tabs:
                tab.bring_to_front()
                tab.evaluate("() => dispatchEvent(new Event('online'))")
            self.until_settled()
            for tab in self.tabs:
                tab.bring_to_front()
                self.equals_the_log(tab)

    def equals_the_log(self, tab: Page) -> None:
        if self.place.conversation_of(tab) == "":
            expect(tab.locator(".turn")).to_have_count(0)
            return
        listed = self.place.streams_of(tab)
        streams = {each["id"]: each for each in listed}
        assert len(streams) == len(listed)
        assert all(each["state"] == "ended" for each in streams.values())
        if streams:
            self.until_shown(tab, max(streams, key=lambda each: str(streams[each]["created_at"])))
        shown = tab.locator(".answer")
        claimed = self.streams_shown(tab)
        assert len(set(claimed)) == len(claimed), "no stream is shown twice"
        for place, stream in enumerate(claimed):
            expect(shown.nth(place).locator(".prose")).to_have_attribute("aria-busy", "false")
            kept = [each.rstrip() for each in logged(self.place.server, stream) if each]
            assert [each.rstrip() for each in said_on(tab, place)] == kept

    def until_shown(self, tab: Page, stream: str) -> None:
        """Returns when this stream is shown, which may have been asked for in the other tab a moment ago."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while stream not in self.streams_shown(tab):
            assert time.monotonic() < deadline, tab.locator("main").text_content()
            tab.wait_for_timeout(50)

    def streams_shown(self, tab: Page) -> list[str]:
        """The streams that the answers say they are."""
        return [self.stream_shown(tab, place) for place in range(tab.locator(".answer").count())]

    def stream_shown(self, tab: Page, place: int) -> str:
        """The stream that an answer says it is."""
        answer = tab.locator(".answer").nth(place)
        figures = answer.get_by_role("button", name="Figures")
        if figures.get_attribute("aria-expanded") == "false":
            figures.click()
        return answer.locator("[data-figure=stream] dd").inner_text()

    def until_settled(self) -> None:
        """Returns when all is over: on the server, and in all tabs at once, since each of them may yet ask."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not all(self.settled(tab) for tab in self.tabs):
            assert time.monotonic() < deadline, [tab.locator("main").text_content() for tab in self.tabs]
            self.page.wait_for_timeout(50)

    def settled(self, tab: Page) -> bool:
        """Whether nothing is going on in a tab, nor in what it shows."""
        if self.place.conversation_of(tab) == "":
            return True
        tab.bring_to_front()  # what is hidden is not drawn
        turns = tab.locator(".turn").count()
        return (
            0 < turns == tab.locator(".answer > footer").count()
            and tab.locator("[aria-busy=true]").count() == 0
            and all(each["state"] == "ended" for each in self.place.streams_of(tab))
        )


@contextmanager
def walking(place: House) -> Iterator[None]:
    Walk.place = place
    try:
        yield
    finally:
        del Walk.place


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("examples", "steps"), [(8, 12), pytest.param(60, 30, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_every_walk_ends_in_a_page_that_is_equal_to_the_log(place: House, examples: int, steps: int) -> None:
    with walking(place):
        run_state_machine_as_test(
            Walk,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                derandomize=examples == 8,
                database=None,
                phases=[Phase.generate] if examples == 8 else [Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
