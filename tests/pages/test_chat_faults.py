"""The chat page while everything round it breaks: what it shows in the end is what the stream's log says (row O5)."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.pages.surroundings import DEADLINE_SECONDS, Model, model
from tests.pages.test_chat_page import SETTINGS, ask, log, stream_id, until_words, watched_page, whole
from tests.pages.visiting import House
from tests.server.browsing import page_of
from tests.server.conftest import Process, process

# What is written from both sides, without spaces, above the first plane, and joined out of several characters.
MANY_SCRIPTS = (
    "كان يا ما كان في قديم الزمان، שלום עולם, 日本語の文章、한국어 문장, 𝒻𝓁𝑜𝓌 😀 👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 नमस्ते ไทย. "
)


def paragraphs(count: int, words: int = 12) -> list[str]:
    """Words that are all different, in paragraphs with nothing of Markdown in them, as pieces."""
    numbers = iter(range(count * words))
    return [
        f"word{next(numbers)}" + (" " if place < words - 1 else "\n\n") for _ in range(count) for place in range(words)
    ]


def said_on(page: Page, place: int = -1) -> list[str]:
    """The paragraphs of an answer, as they are drawn; by default of the last."""
    return page.locator(".answer").nth(place).locator(".prose > .block:not(:empty)").all_text_contents()


def logged(server: Process, stream: str) -> list[str]:
    """The paragraphs of a stream's text, as its log has them."""
    return log(server, stream)["text"].strip().split("\n\n")


def shows_its_log(page: Page, place: House, *, text: str | None = None) -> None:
    """The answer that is shown is drawn to its end, and equal to the log: nothing twice, nothing missing."""
    whole(page)
    kept = logged(place.server, place.stream_of(page)["id"])
    assert [each.rstrip() for each in said_on(page)] == [each.rstrip() for each in kept]
    if text is not None:
        assert kept == text.strip().split("\n\n")
    expect(page.locator(".turn")).to_have_count(1)


def until_known(place: House, page: Page) -> dict[str, Any]:
    """The last stream of what is shown, once the server knows of it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := place.streams_of(page)):
        assert time.monotonic() < deadline
        page.wait_for_timeout(10)
    known: dict[str, Any] = found[0]
    return known


def until_state(place: House, stream: str, state: str) -> None:
    """Returns when the server says so, whatever the page does meanwhile."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while place.get(f"/v1/streams/{stream}")["state"] != state:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def shows_after_silence(page: Page, awaited: Locator) -> None:
    """Turns the page's clock on until it shows this: a browser keeps several connections, and tries each dead one."""
    deadline = time.monotonic() + 2 * DEADLINE_SECONDS
    while time.monotonic() < deadline:
        with suppress(AssertionError):
            expect(awaited).to_be_visible(timeout=300)
            return
        page.clock.fast_forward(16_000)
    raise AssertionError(page.locator("main").text_content())


@pytest.mark.parametrize("seed", range(2))
def test_reloads_at_random_offsets_lose_nothing_and_show_nothing_twice(place: House, seed: int) -> None:
    chance = random.Random(seed)
    with place.visit(broken_line=True) as page:
        place.said.pieces, place.said.pause_seconds = paragraphs(25), 0.005
        ask(page)
        for words in sorted(chance.sample(range(220), 4)):
            until_known(place, page)
            if words:
                until_words(page, words)
            page.reload()
        shows_its_log(page, place, text=place.said.text)
        assert len(place.said.asked) == 1


def test_resets_at_random_offsets_lose_nothing_and_show_nothing_twice(place: House) -> None:
    chance = random.Random(6)
    with place.visit(broken_line=True) as page:
        place.said.pieces, place.said.pause_seconds = paragraphs(25), 0.005
        ask(page)
        for words in sorted(chance.sample(range(1, 260), 6)):
            until_words(page, words)
            place.line.cut()
        shows_its_log(page, place, text=place.said.text)
        assert len(place.said.asked) == 1


def test_a_question_whose_connection_is_reset_before_a_word_of_the_answer_is_asked_once(place: House) -> None:
    # Chromium sends the question again by itself, on another connection, and is told that it exists.
    with place.visit(broken_line=True, refused=(409,)) as page:
        place.said.pieces, place.said.silent_seconds = paragraphs(3), 0.6
        ask(page)
        until_known(place, page)
        place.line.cut()
        shows_its_log(page, place, text=place.said.text)
        assert len(place.said.asked) == 1


def test_a_question_asked_while_the_line_is_down_is_asked_once_it_is_up(place: House) -> None:
    # Before the page asks again it looks whether the question arrived the first time.
    with place.visit(broken_line=True, refused=(404,)) as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        place.line.open = False
        place.line.cut()
        place.said.pieces = paragraphs(3)
        ask(page)
        expect(page.locator("[data-state=reconnecting]")).to_be_visible()
        assert place.said.asked == []
        place.line.open = True
        page.get_by_role("button", name="Try now").click()
        shows_its_log(page, place, text=place.said.text)
        assert len(place.said.asked) == 1


def test_a_connection_that_died_without_a_word_is_left_and_the_answer_read_on(place: House) -> None:
    with place.visit(broken_line=True) as page:
        page.clock.install()
        page.reload()
        place.said.pieces, place.said.pause_seconds = paragraphs(25), 0.01
        ask(page)
        until_words(page, 30)
        place.line.die()
        stream = place.stream_of(page)["id"]
        until_state(place, stream, "ended")
        # By the silence at the latest; mostly the look at what others ask has found the end before.
        shows_after_silence(page, page.locator(".figures"))
        shows_its_log(page, place, text=place.said.text)


def test_what_others_ask_is_seen_again_after_every_connection_died_without_a_word(place: House) -> None:
    with place.visit(broken_line=True) as page:
        page.clock.install()
        page.reload()
        place.said.pieces = ["First."]
        ask(page, "One?")
        whole(page)
        place.line.die()
        page.clock.run_for(5_000)
        with page_of(place.chromium) as other:  # another device: it has connections of its own
            other.goto(page.url)
            whole(other)
            place.said.pieces = ["Second."]
            ask(other, "Two?")
            whole(other)
        shows_after_silence(page, page.locator(".question").filter(has_text="Two?"))


def test_a_slow_line_shows_each_word_as_it_comes_and_all_of_them_in_the_end(place: House) -> None:
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        place.said.pieces = paragraphs(6)
        place.line.piece_bytes, place.line.pause_seconds = 100, 0.05
        ask(page)
        until_words(page, 5)
        place.line.held = True
        until_state(place, place.stream_of(page)["id"], "ended")
        assert len("".join(said_on(page)).split()) < 72, "what is on the line is not on the page"
        place.line.held, place.line.pause_seconds = False, 0.0
        shows_its_log(page, place, text=place.said.text)


def test_characters_that_are_cut_in_half_on_their_way_are_whole_on_the_page(place: House) -> None:
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        # One character a delta, so that what belongs together is parted there; and one byte at a time on the line.
        place.said.pieces = [*(MANY_SCRIPTS * 2), "\n\n", *MANY_SCRIPTS[::-1], "\n\n", "end"]
        place.line.piece_bytes = 1
        ask(page)
        whole(page)
        place.line.piece_bytes = 65536
        shows_its_log(page, place, text=place.said.text)
        assert "\ufffd" not in "".join(said_on(page))
        expect(page.locator(".prose p").first).to_have_attribute("dir", "auto")
        assert page.locator(".prose p").first.evaluate("(each) => getComputedStyle(each).direction") == "rtl"


def test_an_answer_outlives_a_server_that_is_killed_and_comes_back_where_it_was(
    chromium: Browser, tmp_path: Path
) -> None:
    said = Model(paragraphs(40), pause_seconds=0.02)
    with model(said), watched_page(chromium, broken_line=True) as page:
        settings = SETTINGS.format(url=said.base_url)
        with process(tmp_path, settings) as server:
            page.goto(f"{server.url}/chat")
            ask(page)
            until_words(page, 40)
            server.popen.send_signal(signal.SIGKILL)
            server.popen.wait(DEADLINE_SECONDS)
            expect(page.locator("[data-state=reconnecting]")).to_be_visible()
        with process(tmp_path, settings, port=server.port) as again:
            # Nobody touches the page: it comes back by itself.
            expect(page.locator(".ending.cut")).to_contain_text("The server stopped while it was answering")
            whole(page)
            kept = logged(again, stream_id(page, again))
            assert [each.rstrip() for each in said_on(page)] == [each.rstrip() for each in kept]
            assert len(" ".join(kept).split()) >= 40
            page.reload()
            whole(page)
            assert [each.rstrip() for each in said_on(page)] == [each.rstrip() for each in kept]
            assert log(again, stream_id(page, again))["ending"] == "interrupted"


def test_a_line_that_breaks_while_the_page_is_read_is_waited_for(place: House) -> None:
    with place.visit(broken_line=True, start="#c=none") as page:
        page.route("**/languages/en.json", lambda route: route.abort("connectionreset"), times=2)
        page.goto("about:blank")
        page.goto(place.url)
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_visible()


@pytest.mark.parametrize("cut", [False, True])
def test_a_frozen_tab_that_wakes_shows_what_was_said_meanwhile(place: House, cut: bool) -> None:
    with place.visit(broken_line=True) as page:
        place.said.pieces, place.said.pause_seconds = paragraphs(15), 0.01
        ask(page)
        until_words(page, 20)
        stream = place.stream_of(page)["id"]
        tools = page.context.new_cdp_session(page)
        tools.send("Page.enable")
        tools.send("Page.setWebLifecycleState", {"state": "frozen"})
        if cut:
            place.line.cut()
        until_state(place, stream, "ended")
        tools.send("Page.setWebLifecycleState", {"state": "active"})
        shows_its_log(page, place, text=place.said.text)
        assert len(place.said.asked) == 1


def test_two_tabs_that_are_cut_off_at_different_places_end_with_the_same_text(place: House) -> None:
    with place.visit(broken_line=True) as page:
        place.said.pieces, place.said.pause_seconds = paragraphs(25), 0.008
        ask(page)
        until_words(page, 10)
        second = page.context.new_page()
        second.goto(page.url)
        until_words(second, 30)
        place.line.cut()
        until_words(page, 60)
        second.reload()
        until_words(second, 100)
        place.line.cut()
        page.bring_to_front()
        shows_its_log(page, place, text=place.said.text)
        second.bring_to_front()
        shows_its_log(second, place, text=place.said.text)


def test_stop_in_one_tab_ends_the_answer_in_the_other_and_the_upstreams_work(place: House) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.pause_seconds = paragraphs(100), 0.02
        ask(page)
        until_words(page, 10)
        second = page.context.new_page()
        second.goto(page.url)
        until_words(second, 15)
        second.keyboard.press("Escape")
        assert place.said.left.wait(DEADLINE_SECONDS), "the upstream saw its connection closed"
        expect(second.locator(".ending")).to_have_text("Stopped")
        expect(page.locator(".ending")).to_have_text("Stopped in another place")
        assert place.stream_of(page)["ending"] == "cancelled"
        for tab in (page, second):
            tab.bring_to_front()
            shows_its_log(tab, place)


def test_stop_is_heard_once_the_line_is_back(place: House) -> None:
    with place.visit(broken_line=True) as page:
        place.said.pieces, place.said.pause_seconds = paragraphs(100), 0.02
        ask(page)
        until_words(page, 10)
        place.line.open = False
        place.line.cut()
        expect(page.locator("[data-state=reconnecting]")).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        place.line.open = True
        page.get_by_role("button", name="Try now").click()
        assert place.said.left.wait(DEADLINE_SECONDS), "the upstream saw its connection closed"
        expect(page.locator(".ending")).to_have_text("Stopped")
        shows_its_log(page, place)
