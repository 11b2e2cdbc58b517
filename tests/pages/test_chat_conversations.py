"""The list of conversations on the chat page: found by their words, named, saved, deleted, in step in every tab."""

from __future__ import annotations

import subprocess
import time

import msgspec
from playwright.sync_api import Page, expect
from tests.pages.surroundings import DEADLINE_SECONDS
from tests.pages.test_chat_page import ask, whole
from tests.pages.visiting import House
from tests.server.conftest import HEADRACE
from tests.server.raw import converse, request


def asked(place: House, page: Page, question: str, answer: str) -> None:
    """A conversation of one question."""
    place.said.pieces = [answer]
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    ask(page, question)
    whole(page)


def do(page: Page, title: str, action: str) -> None:
    entry = page.locator(".entries li").filter(has_text=title)
    entry.hover()
    entry.get_by_role("button", name="Actions for").click()
    entry.get_by_role("button", name=action).click()


def titles(place: House) -> list[str]:
    return [each["title"] for each in place.get("/v1/conversations?limit=100")["data"]]


def test_o5_a_conversation_is_named_anew_and_every_tab_says_so(place: House) -> None:
    with place.visit() as page:
        asked(place, page, "What is a sluice?", "A gate.")
        second = page.context.new_page()
        second.goto(page.url)
        expect(second.locator(".top .title")).to_have_text("What is a sluice?")
        page.bring_to_front()
        do(page, "What is a sluice?", "Rename")
        page.get_by_role("textbox", name="Title").fill("Gates")
        page.keyboard.press("Enter")
        expect(page.locator(".top .title")).to_have_text("Gates")
        expect(second.locator(".top .title")).to_have_text("Gates")
        page.reload()
        expect(page.locator(".entries [aria-current]")).to_have_text("Gates")
        do(page, "Gates", "Rename")
        page.keyboard.type("Nothing")
        page.keyboard.press("Escape")
        expect(page.locator(".entries [aria-current]")).to_have_text("Gates")


def test_o5_a_conversation_is_found_by_any_word_said_in_it(place: House) -> None:
    with place.visit() as page:
        asked(place, page, "Tell me of birds", "The kingfisher waits over the forebay until a minnow comes.")
        asked(place, page, "Tell me of fish", "The salmon leaps.")
        page.keyboard.press("Control+k")
        field = page.get_by_role("combobox", name="Search the conversations")
        expect(field).to_be_focused()
        field.fill("minnow")
        expect(page.get_by_role("option")).to_have_count(1)
        expect(page.get_by_role("option").locator(".title")).to_have_text("Tell me of birds")
        expect(page.get_by_role("option").locator("mark")).to_have_text("minnow")
        expect(page.get_by_role("option").locator(".snippet")).to_contain_text("until a minnow comes")
        page.keyboard.press("Enter")
        expect(page.locator(".question")).to_have_text("Tell me of birds")
        page.keyboard.press("Control+k")
        page.get_by_role("combobox").fill("nowhere-to-be-found")
        expect(page.get_by_role("dialog")).to_contain_text("Nothing found for “nowhere-to-be-found”.")


def test_o5_a_deleted_conversation_comes_back_until_it_is_too_late(place: House) -> None:
    with place.visit() as page:
        asked(place, page, "Shall this go?", "Yes.")
        do(page, "Shall this go?", "Delete")
        entry = page.locator(".entries li").filter(has_text="Shall this go?")
        expect(entry).to_have_count(0)
        expect(page.get_by_role("heading", level=1)).to_have_text("What would you like to know?")
        expect(page.locator(".notice")).to_contain_text("Shall this go?")
        page.get_by_role("button", name="Undo").click()
        expect(entry).to_have_count(1)
        expect(page.locator(".notice")).to_have_count(0)
        do(page, "Shall this go?", "Delete")
        expect(entry).to_have_count(0)
        page.goto("about:blank")  # who leaves does not take it back
        page.goto(place.url)
        expect(page.get_by_role("textbox")).to_be_visible()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "Shall this go?" in titles(place):
            assert time.monotonic() < deadline
            page.wait_for_timeout(20)


def test_o5_a_conversation_is_saved_as_markdown_json_and_events_that_replay_to_the_same_text(place: House) -> None:
    with place.visit() as page:
        asked(place, page, "Save me?", "With **pleasure**.\n")
        place.said.pieces = ["And ", "again.\n"]
        ask(page, "And again?")
        whole(page)
        saved = {}
        for action in ("Markdown", "JSON", "Events, to replay"):
            with page.expect_download() as download:
                do(page, "Save me?", action)
            assert download.value.suggested_filename.startswith("save-me.")
            saved[action] = download.value.path()
        written = saved["Markdown"].read_text()
        for words in ("Save me?", "With **pleasure**.", "And again?", "And again."):
            assert words in written
        streams = msgspec.json.decode(saved["JSON"].read_bytes())["data"]
        assert [each["question"] for each in streams] == ["Save me?", "And again?"]
        assert [each["answer"] for each in streams] == ["With **pleasure**.\n", "And again.\n"]
        command = [str(HEADRACE), "replay", str(saved["Events, to replay"])]
        played = subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_SECONDS, text=True)
        assert "With **pleasure**." in played.stdout
        assert "And again." in played.stdout


def test_o5_the_rest_of_a_long_list_is_shown_when_it_is_asked_for(place: House) -> None:
    place.said.pieces = ["Yes."]
    for number in range(60):
        body = {"query": f"Number {number}?", "conversation_id": f"many-{number}", "stream": False}
        converse(place.server.port, request("POST", "/chat/basic", msgspec.json.encode(body)))
    with place.visit() as page:
        entries = page.locator(".entries li")
        expect(entries).to_have_count(50)
        expect(entries.first).to_contain_text("Number 59?")
        page.get_by_role("button", name="Show more").click()
        expect(entries.filter(has_text="Number 0?")).to_have_count(1)
        expect(page.get_by_role("button", name="Show more")).to_have_count(0)


def test_o5_a_deletion_is_taken_back_where_the_list_stands_over_the_conversation(place: House) -> None:
    with place.visit(width=390, height=844) as page:
        asked(place, page, "Narrowly kept?", "Yes.")
        page.get_by_role("button", name="Conversations").click()
        do(page, "Narrowly kept?", "Delete")
        expect(page.get_by_role("status").last).to_contain_text("Narrowly kept?")
        page.get_by_role("button", name="Conversations").click()
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".entries li").filter(has_text="Narrowly kept?")).to_have_count(1)
