"""The features of the chat page, each as a person meets it (row O5; one test at least for each of the twenty)."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from playwright.sync_api import Download, Page, expect
from tests.pages.surroundings import DEADLINE_SECONDS
from tests.pages.test_chat_page import ask, log, prose, spoken, until_words, whole, words
from tests.pages.visiting import House
from tests.server.conftest import HEADRACE

from headrace.events import Phase


def standing(page: Page, state: str) -> None:
    """Returns when the last answer says that it stands so."""
    expect(page.locator(f"[data-state={state}]").last).to_be_visible()


def until_ended(place: House, page: Page) -> None:
    """Returns when the last stream of the conversation has ended, as the server says."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while place.stream_of(page)["state"] != "ended":
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def choose_model(page: Page, name: str) -> None:
    page.get_by_role("button", name="Model").click()
    page.locator(f"[data-model={name}]").click()
    page.keyboard.press("Escape")


# -- the line that says how it stands


def test_o5_an_answer_says_that_it_is_live_and_how_quickly_it_comes(place: House) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.pause_seconds = spoken(400), 0.02
        ask(page)
        standing(page, "live")
        expect(page.locator(".standing .rate")).to_contain_text(re.compile(r"≈ \d+ tokens/s"))
        page.keyboard.press("Escape")
        expect(page.locator(".standing")).to_have_count(0)


def test_o5_thoughts_are_folded_timed_and_opened_with_the_keyboard(place: House) -> None:
    with place.visit() as page:
        place.said.rationale, place.said.pieces = ["Because ", "of ", "this."] * 20, ["So."]
        place.said.pause_seconds = 0.03
        ask(page)
        standing(page, "thinking")
        expect(page.locator(".rationale summary")).to_have_text(re.compile(r"Thinking · 1 s"))
        expect(page.locator(".rationale p")).to_be_hidden()
        whole(page)
        expect(page.locator(".rationale summary")).to_have_text(re.compile(r"Thought for \d s"))
        page.locator(".rationale summary").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".rationale p")).to_have_text("Because of this." * 20)


def test_o5_thoughts_that_are_switched_off_are_never_sent(place: House) -> None:
    with place.visit() as page:
        place.said.rationale, place.said.pieces = ["Secret."], ["So."]
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("switch", name="Show the model's thoughts").uncheck()
        page.keyboard.press("Escape")
        ask(page)
        whole(page)
        assert page.locator(".rationale").count() == 0
        page.reload()
        whole(page)
        assert page.locator(".rationale").count() == 0


def test_o6_a_model_that_is_being_loaded_is_said_to_be(place: House) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.silent_seconds = ["Awake."], 1.6
        choose_model(page, "sleeper")
        ask(page)
        standing(page, "waiting")
        standing(page, "loading")
        expect(page.locator(".standing")).to_contain_text("Loading the model")
        whole(page)
        expect(page.locator(".prose")).to_have_text("Awake.")


def test_o5_a_broken_line_says_in_how_many_seconds_it_is_tried_again(place: House) -> None:
    with place.visit(broken_line=True) as page:
        place.said.pieces, place.said.pause_seconds = spoken(300), 0.01
        ask(page)
        until_words(page, 20)
        place.line.open = False
        place.line.cut()
        standing(page, "reconnecting")
        expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Trying again in \d+ s"))
        place.line.open = True
        page.get_by_role("button", name="Try now").click()
        whole(page)
        assert words(prose(page)) == words(place.said.text)


def test_o5_offline_is_said_and_the_answer_is_read_on_afterwards(place: House) -> None:
    with place.visit(broken_line=True) as page:
        place.said.pieces, place.said.pause_seconds = spoken(100), 0.01
        ask(page)
        until_words(page, 10)
        page.context.set_offline(True)
        place.line.cut()
        standing(page, "offline")
        until_ended(place, page)
        page.context.set_offline(False)
        whole(page)
        standing(page, "elsewhere")
        expect(page.locator(".connection")).to_have_text("Finished while this page was away")
        assert page.locator(".turn").count() == 1


def test_o5_a_server_that_is_away_is_said_above_the_field(place: House) -> None:
    with place.visit(broken_line=True) as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        place.line.open = False
        place.line.cut()
        page.evaluate("() => dispatchEvent(new Event('online'))")
        expect(page.locator(".banner")).to_contain_text("The server cannot be reached")
        place.line.open = True
        page.get_by_role("button", name="Try now").click()
        expect(page.locator(".banner")).to_have_count(0)


def test_o5_who_else_reads_an_answer_is_counted(place: House) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.pause_seconds = spoken(400), 0.02
        ask(page)
        until_words(page, 5)
        second = page.context.new_page()
        second.goto(page.url)
        expect(second.locator(".readers")).to_have_text("2 readers")
        page.bring_to_front()
        page.keyboard.press("Escape")
        expect(second.locator(".ending")).to_have_text("Stopped in another place")


SAYS = """async (phase) => {
  const folder = document.querySelector('script[type=module]').src.replace(/main\\.js$/, '');
  const { standingOf } = await import(folder + 'standing.js');
  const { say } = await import(folder + 'words.js');
  const { Answer } = await import(folder + 'answer.js');
  const answer = new Answer(null);
  answer.live.value = true;
  answer._hear({ type: 'status', phase, message: '', from: 'a/x', to: 'b/y' });
  return say(`phase.${standingOf(answer)}`, { to: 'b/y' });
}"""


def test_o5_every_phase_that_a_stream_can_tell_has_its_words(place: House) -> None:
    with place.visit() as page:
        said = {phase: page.evaluate(SAYS, phase) for phase in get_args(Phase)}
    assert said == {
        "searching": "Searching",
        "loading": "Loading the model",
        "waiting": "Waiting for a free place",
        "retrying": "Asking again",
        "failed_over": "Asking b/y instead",
        "continued": "Going on with the answer",
        "trimmed": "Leaving earlier questions out",
    }


def test_o5_an_answer_goes_on_while_another_conversation_is_read(place: House) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.pause_seconds = spoken(400), 0.02
        ask(page, "Long?")
        until_words(page, 5)
        running = page.locator(".entries [aria-current] .pulse")
        expect(running).to_be_visible()
        page.keyboard.press("Control+Shift+O")
        place.said.pieces, place.said.pause_seconds = ["Short."], 0.0
        ask(page, "Short?")
        whole(page)
        expect(page.locator(".prose")).to_have_text("Short.")
        page.get_by_role("link", name="Long?").first.click()
        expect(page.locator(".question")).to_have_text("Long?")
        whole(page)
        assert words(prose(page)) == words("".join(spoken(400)))
        expect(page.locator(".entries .pulse")).to_have_count(0)


def test_o5_a_conversation_that_is_not_there_is_said_not_to_be(place: House) -> None:
    with place.visit(start="#c=nobody-asked-this") as page:
        expect(page.get_by_role("heading", level=1)).to_contain_text("There is no such conversation here")
        page.locator("main").get_by_role("button", name="New conversation").click()
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_visible()


# -- code


CODE = 'Look:\n\n```python\ndef f(x: str) -> str:\n\treturn f"<{x}>"  # ' + "long " * 60 + "\n\n\tpass\n```\n\nDone.\n"
HIGHLIGHTED = """
window.coloured = 0;
addEventListener('DOMContentLoaded', () => new MutationObserver((changes) => {
  for (const { target, addedNodes } of changes)
    if (target.nodeName === 'CODE' && [...addedNodes].some((node) => node.nodeName === 'SPAN')) window.coloured += 1;
}).observe(document.body, { childList: true, subtree: true }));
"""


def test_o5_code_has_its_language_is_wrapped_and_copied_exactly_and_coloured_once(place: House) -> None:
    with place.visit() as page:
        page.add_init_script(HIGHLIGHTED)
        page.reload()
        place.said.pieces, place.said.pause_seconds = [CODE[at : at + 9] for at in range(0, len(CODE), 9)], 0.002
        ask(page)
        whole(page)
        block = page.locator("figure.code")
        expect(block.locator("figcaption span")).to_have_text("python")
        expect(block.locator(".hljs-keyword").first).to_have_text("def")
        assert page.evaluate("() => window.coloured") == 1
        block.get_by_role("button", name="Copy").click()
        expect(block.get_by_role("button", name="Copied")).to_be_visible()
        exact = CODE.split("```python\n")[1].split("\n```")[0]
        assert page.evaluate("() => navigator.clipboard.readText()") == exact
        pre = block.locator("pre")
        assert pre.evaluate("(element) => element.scrollWidth > element.clientWidth")
        block.get_by_role("button", name="Wrap", exact=True).click()
        assert pre.evaluate("(element) => element.scrollWidth === element.clientWidth")


def test_o5_a_table_is_copied_as_csv(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = ['| a, b | "c" |\n| - | - |\n| 1 | **2** |\n']
        ask(page)
        whole(page)
        page.locator("figure.table").hover()
        page.get_by_role("button", name="Copy as CSV").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("() => navigator.clipboard.readText()") == '"a, b","""c"""\r\n1,2\r\n'


# -- branches


def test_o5_an_edited_question_is_a_branch_and_both_can_be_reached(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = ["First."]
        ask(page, "Who?")
        whole(page)
        ask(page, "And then?")
        whole(page)
        place.said.pieces = ["Second."]
        page.locator(".turn").first.get_by_role("button", name="Edit the question").click()
        page.get_by_role("textbox", name="Edit the question").fill("Where?")
        page.keyboard.press("Enter")
        expect(page.locator(".prose")).to_have_text("Second.")
        expect(page.locator(".question")).to_have_text("Where?")
        assert [each["content"] for each in place.said.asked[-1]["messages"]] == ["Where?"]
        page.reload()
        expect(page.locator(".question")).to_have_text("Where?")
        page.get_by_role("button", name="Previous question").click()
        expect(page.locator(".question")).to_have_text(["Who?", "And then?"])
        page.get_by_role("button", name="Next question").click()
        expect(page.locator(".question")).to_have_text("Where?")


def test_o5_another_answer_is_a_sibling_that_is_followed_by_itself(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = ["First."]
        ask(page, "Who?")
        whole(page)
        place.said.pieces = ["Second."]
        page.get_by_role("button", name="Answer again").click()
        expect(page.locator(".versions")).to_contain_text("2/2")
        whole(page)
        ask(page, "And then?")
        expect(page.locator(".prose")).to_have_count(2)
        whole(page)
        asked = [each["content"] for each in place.said.asked[-1]["messages"]]
        assert asked == ["Who?", "Second.", "And then?"]
        page.reload()
        expect(page.locator(".prose")).to_have_text(["Second.", "Second."])
        page.get_by_role("button", name="Previous answer").click()
        expect(page.locator(".prose")).to_have_text("First.")
        ask(page, "Why?")
        expect(page.locator(".prose")).to_have_count(2)
        whole(page)
        asked = [each["content"] for each in place.said.asked[-1]["messages"]]
        assert asked == ["Who?", "First.", "Why?"]


@pytest.mark.parametrize(
    ("finish", "offered"), [("stop", False), ("length", True), ("content_filter", False), (None, True)]
)
def test_o5_an_answer_is_gone_on_with_exactly_where_its_ending_says_it_was_cut(
    place: House, finish: str | None, offered: bool
) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.finish = ["Half of "], finish
        ask(page)
        whole(page)
        button = page.get_by_role("button", name="Continue")
        assert button.count() == offered
        if offered:
            place.said.pieces, place.said.finish = ["the whole."], "stop"
            button.click()
            expect(page.locator(".prose")).to_have_text("Half of the whole.")
            whole(page)
            assert button.count() == 0
            assert page.locator(".turn").count() == 1


# -- figures


def test_o5_the_figures_are_exactly_what_the_stream_tells(place: House) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.pause_seconds = spoken(40), 0.01
        place.said.usage = {"prompt_tokens": 12, "completion_tokens": 80, "total_tokens": 92}
        choose_model(page, "second")
        ask(page)
        whole(page)
        page.get_by_role("button", name="Figures").click()
        told = place.stream_of(page)
        shown = {
            each.get_attribute("data-figure"): each.locator("dd").inner_text()
            for each in page.locator("[data-figure]").all()
        }
        timing, usage = told["timing"], told["usage"]
        seconds = (timing["total_ms"] - timing["queue_ms"] - timing["first_token_ms"]) / 1000
        assert shown["model"] == "second"
        assert shown["upstream"] == "lab"
        assert shown["first"] == f"{timing['first_token_ms']:.0f} ms"
        assert shown["tokens"] == f"{usage['completion_tokens']} (reported)"
        assert shown["prompt"] == f"{usage['prompt_tokens']} (reported)"
        assert float(shown["rate"].replace(",", "")) == pytest.approx(
            (usage["completion_tokens"] - 1) / seconds, abs=0.51
        )
        assert shown["failover"] == "gone/m → lab/m"
        assert shown["stream"] == told["id"]
        expect(page.locator(".figures .failover")).to_have_text("failed over")


def test_t4_an_estimate_is_marked_as_one(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = spoken(40)
        ask(page)
        whole(page)
        expect(page.locator(".figures .tokens")).to_have_text(re.compile(r"^≈ \d+ tokens$"))
        page.get_by_role("button", name="Figures").click()
        expect(page.locator("[data-figure=tokens] dd")).to_have_text(re.compile(r"^≈ \d+ \(estimated\)$"))


FIGURES = """async (metadata) => {
  const folder = document.querySelector('script[type=module]').src.replace(/main\\.js$/, '');
  const { figuresOf } = await import(folder + 'figures.js');
  const figures = figuresOf({ stream: 's', model: 'm', metadata, moves: [] });
  return figures.map(({ name, value, short }) => [name, value, short]);
}"""


def test_o5_the_cost_and_a_hit_of_the_cache_are_shown_where_a_stream_tells_them(place: House) -> None:
    with place.visit() as page:
        shown = page.evaluate(FIGURES, {"cost_usd": 0.00123, "cache": "hit", "duration_ms": 1200.0, "ttft_ms": 3.2})
    assert ["cost", "$0.00123", "$0.00123"] in shown
    assert ["cache", "✓", "from the cache"] in shown
    assert ["total", "1.2 s", "1.2 s in all"] in shown


# -- models


def test_o6_the_picker_says_what_health_says_and_why(place: House) -> None:
    with place.visit() as page:
        place.said.refusal = 404
        ask(page)
        expect(page.get_by_role("alert")).to_contain_text("the model is not there")
        page.get_by_role("button", name="Model").click()
        upstreams = {each["name"]: each for each in place.get("/health")["upstreams"]}
        words = {"well": "well", "unwell": "unwell", "unused": "not used yet"}
        for model, upstream in (("fast", "lab"), ("sleeper", "cold"), ("offline", "offline")):
            row = page.locator(f"[data-model={model}]")
            known = upstreams[upstream]
            expect(row.locator(".health")).to_have_attribute("data-state", known["state"])
            expect(row.locator(".state")).to_have_text(words[known["state"]])
            assert known["detail"] is None or known["detail"] in (row.locator(".why").text_content() or "")
        assert upstreams["lab"]["detail"] is not None


# -- looks and languages


COLOURS = """
window.colours = new Set();
const look = () => {
  if (document.body) window.colours.add(getComputedStyle(document.body).backgroundColor);
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


@pytest.mark.parametrize(("kept", "dark", "paper"), [
    ("dark", False, "rgb(20, 24, 26)"),
    ("light", True, "rgb(251, 251, 249)"),
    (None, True, "rgb(20, 24, 26)"),
])  # fmt: skip
def test_o5_no_other_colour_is_ever_shown_than_the_chosen_one(
    place: House, kept: str | None, dark: bool, paper: str
) -> None:
    with place.visit(dark=dark, storage={"theme": kept} if kept else None) as page:
        page.add_init_script(COLOURS)
        page.reload()
        expect(page.get_by_role("textbox")).to_be_visible()
        assert page.evaluate("() => [...window.colours]") == [paper]


def test_o5_light_and_dark_are_chosen_and_kept(place: House) -> None:
    with place.visit() as page:
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("radio", name="Dark").check()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("radio", name="System").check()
        expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize(("locale", "language", "direction", "title"), [
    ("de-AT", "de", "ltr", "Was möchten Sie wissen?"),
    ("ar-EG", "ar", "rtl", "ماذا تودّ أن تعرف؟"),
    ("fr-FR", "en", "ltr", "What would you like to know?"),
])  # fmt: skip
def test_o5_the_page_speaks_the_browsers_language(
    place: House, locale: str, language: str, direction: str, title: str
) -> None:
    with place.visit(locale=locale) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator("html")).to_have_attribute("lang", language)
        expect(page.locator("html")).to_have_attribute("dir", direction)


def test_o5_another_language_is_chosen_and_kept(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = ["```py\nx\n```\n"]
        ask(page)
        whole(page)
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("combobox", name="Language").select_option("de")
        expect(page.get_by_role("textbox", name="Fragen Sie etwas")).to_be_visible()
        expect(page.locator("figure.code button").last).to_have_text("Kopieren")
        page.reload()
        expect(page.get_by_role("textbox", name="Fragen Sie etwas")).to_be_visible()


def test_o5_a_narrow_screen_is_never_scrolled_sideways(place: House) -> None:
    with place.visit(width=390, height=844) as page:
        long = "x" * 300
        place.said.pieces = [
            f"{long}\n\n| {long} | b |\n| - | - |\n| 1 | 2 |\n\n```\n{long}\n```\n\n`{long}`\n\n# مرحبا\n\nend"
        ]
        ask(page, long)
        whole(page)
        page.get_by_role("button", name="Figures").click()
        expect(page.locator(".details")).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert page.locator(".transcript").evaluate("(each) => each.scrollWidth - each.clientWidth") <= 0
        for panel in ("Model", "Settings", "More"):
            page.get_by_role("button", name=panel).last.click()
            box = page.locator(".panel").bounding_box()
            assert box is not None
            assert box["x"] >= 8
            assert box["x"] + box["width"] <= 382
            assert box["y"] >= 0
            page.keyboard.press("Escape")
        expect(page.locator(".prose h1")).to_have_attribute("dir", "auto")
        assert page.locator(".prose h1").evaluate("(each) => getComputedStyle(each).direction") == "rtl"


# -- the keyboard


def test_o5_a_whole_visit_without_a_mouse(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = ["First."]
        keys = page.keyboard
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_focused()
        keys.type("Quickly?")
        keys.press("Enter")
        whole(page)
        keys.press("ArrowUp")
        expect(page.get_by_role("textbox", name="Edit the question")).to_be_focused()
        keys.press("Escape")
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_focused()
        keys.press("ArrowUp")
        expect(page.get_by_role("textbox", name="Edit the question")).to_be_focused()
        keys.press("Control+a")
        keys.type("Slowly?")
        place.said.pieces, place.said.pause_seconds = spoken(500), 0.02
        keys.press("Enter")
        expect(page.locator(".question")).to_have_text("Slowly?")
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_focused()
        until_words(page, 5)
        keys.press("Escape")
        expect(page.locator(".ending")).to_have_text("Stopped")
        keys.press("Shift+Tab")
        keys.press("Enter")  # the last button of the answer: its figures
        expect(page.locator(".details")).to_be_visible()
        keys.press("Control+Shift+O")
        expect(page.get_by_role("heading", level=1)).to_have_text("What would you like to know?")
        keys.press("Control+k")
        expect(page.get_by_role("combobox", name="Search the conversations")).to_be_focused()
        keys.type("quickly")
        expect(page.get_by_role("option")).to_have_count(1)
        keys.press("Enter")
        expect(page.locator(".question").last).to_have_text("Slowly?")
        keys.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        keys.press("Escape")
        expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


AT_ONCE = """async (pressed) => {
  const key = new KeyboardEvent('keydown', { bubbles: true, cancelable: true, ctrlKey: true, ...pressed });
  document.activeElement.dispatchEvent(key);
  for (let turn = 0; turn < 20; turn++) await null; // a browser brings the next key behind these, and not before
  return document.activeElement.getAttribute('aria-label');
}"""


def test_o5_the_next_key_is_typed_where_a_key_led_to(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = ["Yes."]
        ask(page, "One?")
        whole(page)
        assert page.evaluate(AT_ONCE, {"key": "k"}) == "Search the conversations"
        page.keyboard.press("Escape")
        expect(page.get_by_role("textbox", name="Ask anything")).to_be_focused()
        assert page.evaluate(AT_ONCE, {"key": "O", "shiftKey": True}) == "Ask anything"


def test_o5_a_draft_is_kept_for_each_conversation(place: House) -> None:
    with place.visit() as page:
        place.said.pieces = ["Yes."]
        ask(page, "One?")
        whole(page)
        field = page.get_by_role("textbox", name="Ask anything")
        field.fill("not yet")
        page.keyboard.press("Control+Shift+O")
        expect(field).to_have_value("")
        field.fill("something else")
        page.go_back()
        expect(field).to_have_value("not yet")
        page.reload()
        expect(field).to_have_value("not yet")
        page.goto("about:blank")
        page.goto(place.url)
        expect(field).to_have_value("something else")


# -- out of the page


def download(page: Page, name: str) -> Download:
    page.get_by_role("button", name="More").last.click()
    with page.expect_download() as saved:
        page.locator(".panel").get_by_role("button", name=name).click()
    return saved.value


def test_o5_an_answer_is_saved_as_markdown_json_and_events_that_replay_to_the_same_text(
    place: House, tmp_path: Path
) -> None:
    with place.visit() as page:
        place.said.pieces = ["# A *title*\n\n", "And ü, 日本語, 👩‍👩‍👧.\n"]
        ask(page, "Tell me: what?")
        whole(page)
        markdown = download(page, "Markdown")
        assert markdown.suggested_filename == "tell-me-what.md"
        assert "".join(place.said.pieces).strip() in markdown.path().read_text(encoding="utf-8")
        known = msgspec.json.decode(download(page, "JSON").path().read_bytes())
        assert known["turns"][0]["answer"] == place.said.text
        assert known["turns"][0]["streams"][0]["id"] == place.stream_of(page)["id"]
        download(page, "Events").save_as(tmp_path / "answer.ndjson")
        replayed = subprocess.run(
            [HEADRACE, "replay", "answer.ndjson", "-q"], cwd=tmp_path, capture_output=True, check=True, timeout=20
        )
        assert replayed.stdout.decode().strip() == place.said.text.strip()
        assert log(place.server, place.stream_of(page)["id"])["text"] == place.said.text


def test_o5_a_link_shows_one_answer_while_it_is_made_and_leads_to_its_conversation(place: House) -> None:
    with place.visit() as page:
        place.said.pieces, place.said.pause_seconds = spoken(60), 0.02
        ask(page, "Linked?")
        until_words(page, 3)
        conversation = page.url
        second = page.context.new_page()
        second.goto(f"{place.url}#stream={place.stream_of(page)['id']}")
        expect(second.locator(".question")).to_have_text("Linked?")
        whole(page)
        whole(second)
        assert second.locator(".prose").text_content() == page.locator(".prose").text_content()
        assert second.get_by_role("textbox").count() == 0
        page.bring_to_front()
        page.get_by_role("button", name="More").click()
        page.get_by_role("button", name="Copy a link to this answer").click()
        expect(page.get_by_role("button", name="Link copied")).to_be_visible()
        assert page.evaluate("() => navigator.clipboard.readText()") == second.url
        second.get_by_role("link", name="Open its conversation").click()
        expect(second.get_by_role("textbox", name="Ask anything")).to_be_visible()
        assert second.url == conversation
