"""Documents on the chat page: dropped and chosen, on their way, there, deleted; and their passages beside an answer."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, Route, expect
from tests.pages.test_accessibility import axe, violations
from tests.pages.test_chat_page import ask, whole
from tests.pages.visiting import House
from tests.server.browsing import page_of
from tests.server.conftest import process
from tests.server.raw import converse, request

__all__ = ["axe"]  # the fixture

FERRY = b"# The packet\n\nThe packet to Tarnvik sails\nat nine. It costs four crowns.\n\n- Dogs travel free.\n"


@pytest.fixture(autouse=True)
def _none_before(place: House) -> None:
    """No documents of an earlier test."""
    while found := place.get("/v1/documents?limit=100")["data"]:
        deletions = [request("DELETE", f"/v1/documents/{each['id']}") for each in found]
        assert len(converse(place.server.port, *deletions, responses=len(found))) == len(found)


def file(name: str, data: bytes | str) -> FilePayload:
    return {"name": name, "mimeType": "", "buffer": data.encode() if isinstance(data, str) else data}


def hear_choosers(page: Page) -> None:
    """From now on choosers are heard; a browser that is told so in the moment of pressing may be told too late."""
    page.on("filechooser", lambda chooser: None)


def open_sheet(page: Page) -> Locator:
    hear_choosers(page)
    page.get_by_role("button", name="Documents to answer from").click()
    sheet = page.get_by_role("dialog", name="Documents")
    expect(sheet.get_by_role("button", name="Choose files")).to_be_visible()
    return sheet


def choose(page: Page, *files: FilePayload) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(list(files))


def drop(page: Page, *paths: Path, only_over: bool = False) -> None:
    """Drops files and folders as a person does, with the browser's own events."""
    tools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver") if only_over else ("dragEnter", "dragOver", "drop"):
        tools.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data})


def names(place: House) -> list[str]:
    return [each["name"] for each in place.get("/v1/documents?limit=100")["data"]]


def test_o5_files_that_are_dropped_are_indexed_and_one_bad_file_names_its_error(place: House, tmp_path: Path) -> None:
    files = {
        "ferry.md": FERRY,
        "bad.txt": b"caf\xe9 open",
        "empty.md": b"",
        "tides.txt": b"Low tide in Orsk is at six.",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with place.visit(storage={"model": "offline"}, refused=(422,)) as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        drop(page, *(tmp_path / name for name in files))
        sheet = page.get_by_role("dialog", name="Documents")
        expect(sheet.locator(".all li")).to_have_count(2)
        expect(sheet.get_by_role("status")).to_have_text("2 files are indexed. 2 could not be indexed")
        refused = sheet.get_by_role("region", name="2 could not be indexed")
        expect(refused.locator("li").nth(0)).to_contain_text("bad.txt is not text in UTF-8 (byte 3); save it as UTF-8")
        expect(refused.locator("li").nth(1)).to_contain_text("empty.md is empty; add it once there is something in it")
        expect(sheet.locator(".all li", has_text="ferry.md")).to_contain_text(re.compile(r"1 passage · added just now"))
        assert sorted(names(place)) == ["ferry.md", "tides.txt"]
        page.keyboard.press("Escape")
        ask(page, "When does the packet to Tarnvik sail?")
        whole(page)
        expect(page.locator(".prose")).to_contain_text("The packet to Tarnvik sails at nine. [1]")


def test_a_folder_gives_its_documents_under_their_paths_and_what_is_hidden_or_no_text_stays(
    place: House, tmp_path: Path
) -> None:
    for name in ("notes/a.md", "notes/deep/a.md", "notes/picture.png", "notes/.git/b.md", "bare/c.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(f"The path of this one is {name}.".encode())
    with place.visit(storage={"model": "offline"}) as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        drop(page, tmp_path / "notes", tmp_path / "bare")
        sheet = page.get_by_role("dialog", name="Documents")
        expect(sheet.locator(".all li")).to_have_count(2)
        expect(sheet.locator(".failed li")).to_have_text(
            [re.compile("^bareThere is no Markdown and no text file in this folder")]
        )
        assert sorted(names(place)) == ["notes/a.md", "notes/deep/a.md"]


def test_files_that_are_dragged_over_the_page_are_told_where_they_go(place: House, tmp_path: Path) -> None:
    (tmp_path / "ferry.md").write_bytes(FERRY)
    with place.visit() as page:
        expect(page.get_by_role("textbox")).to_be_visible()
        drop(page, tmp_path / "ferry.md", only_over=True)
        expect(page.locator(".drop-hint")).to_have_text("Drop them to index them")
        drop(page, tmp_path / "ferry.md")
        expect(page.locator(".drop-hint")).to_have_count(0)
        expect(page.locator(".documents .all li")).to_have_count(1)


def test_o5_documents_are_chosen_listed_and_deleted_with_the_keyboard(place: House) -> None:
    with place.visit() as page:
        hear_choosers(page)
        page.get_by_role("textbox", name="Ask anything").focus()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Documents to answer from")).to_be_focused()
        page.keyboard.press("Enter")
        sheet = page.get_by_role("dialog", name="Documents")
        expect(sheet.locator(".about").last).to_contain_text("Nothing added yet")
        choosing = sheet.get_by_role("button", name="Choose files")
        choosing.focus()
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files([file("ferry.md", FERRY), file("tides.txt", "Low tide in Orsk is at six.")])
        expect(sheet.locator(".all li")).to_have_count(2)
        assert sorted(names(place)) == ["ferry.md", "tides.txt"]
        sheet.get_by_role("button", name="Delete “ferry.md”").focus()
        page.keyboard.press("Enter")
        expect(sheet.get_by_role("button", name="Delete “ferry.md”")).to_be_focused()
        page.keyboard.press("Tab")
        expect(sheet.get_by_role("button", name="Keep")).to_be_focused()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(sheet.locator(".all li")).to_have_count(1)
        expect(sheet.get_by_role("status")).to_have_text("“ferry.md” is deleted")
        expect(choosing).to_be_focused()
        assert names(place) == ["tides.txt"]
        expect(sheet.locator(".about").first).to_contain_text("Only the model offline answers from documents.")
        sheet.get_by_role("button", name="Ask offline").click()
        expect(sheet.locator(".about")).to_have_count(0)
        page.keyboard.press("Escape")
        expect(sheet).to_be_hidden()
        expect(page.locator(".top")).to_contain_text("offline")


def test_what_was_added_before_says_so_and_the_latest_of_a_name_is_kept(place: House) -> None:
    with place.visit() as page:
        sheet = open_sheet(page)
        choose(page, file("tides.txt", "Low tide in Orsk is at six."))
        expect(sheet.locator(".all li")).to_contain_text(["added just now"])
        choose(page, file("copy.txt", "Low tide in Orsk is at six."))
        expect(sheet.locator(".all li")).to_contain_text(["was there already"])
        expect(sheet.get_by_role("status")).to_have_text("1 file is indexed.")
        choose(page, file("tides.txt", "Low tide in Orsk is at seven."))
        expect(sheet.locator(".all li")).to_contain_text(["took the place of the one before"])
        assert names(place) == ["tides.txt"]


def test_a_file_that_is_too_large_is_refused_without_being_sent(place: House) -> None:
    with place.visit() as page:
        sheet = open_sheet(page)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.method))
        choose(page, file("huge.txt", b"word. " * 1_000_000))
        expect(sheet.locator(".failed li")).to_have_text(
            [re.compile(r"It is 6 MB; the largest that is taken is 5\.2 MB \(documents\.limit_bytes\)")]
        )
        assert "POST" not in sent
        sheet.get_by_role("button", name="Dismiss").click()
        expect(sheet.locator(".failed")).to_have_count(0)


def test_three_hundred_files_at_once_are_all_indexed_with_progress_for_each(place: House) -> None:
    with place.visit() as page:
        sheet = open_sheet(page)
        choose(page, *(file(f"{number}.txt", f"House {number} has lamp number {number}.") for number in range(300)))
        expect(sheet.locator(".progress .count")).to_have_text(re.compile(r"\d+ of 300 files"))
        expect(sheet.locator(".progress li progress").first).to_be_attached()
        expect(sheet.get_by_role("status")).to_have_text("300 files are indexed.", timeout=60_000)
        expect(sheet.locator(".all li")).to_have_count(300)
        page.keyboard.press("Escape")
        sheet = open_sheet(page)
        expect(sheet.locator(".all li")).to_have_count(100)
        for count in (200, 300):
            sheet.get_by_role("button", name="Show more").click()
            expect(sheet.locator(".all li")).to_have_count(count)
        expect(sheet.get_by_role("button", name="Show more")).to_have_count(0)


def test_a_line_that_is_cut_says_so_and_the_file_can_be_sent_again(place: House) -> None:
    with place.visit(broken_line=True) as page:
        sheet = open_sheet(page)
        place.line.open = False
        place.line.cut()
        choose(page, file("ferry.md", FERRY))
        expect(sheet.locator(".failed li")).to_contain_text(["The server could not be reached. Send it again"])
        place.line.open = True
        assert names(place) == []
        sheet.get_by_role("button", name="Try again").click()
        expect(sheet.locator(".all li")).to_have_count(1)
        expect(sheet.locator(".failed")).to_have_count(0)


def test_names_in_other_scripts_and_with_signs_of_markup_are_shown_as_they_are(place: House) -> None:
    wild = ["عبارة.md", "<img src=x onerror=alert(1)>.md", "船 & co.md", "n" * 250 + ".md"]
    with place.visit(width=390) as page:
        sheet = open_sheet(page)
        choose(page, *(file(name, f"The name of this one is number {place}.") for place, name in enumerate(wild)))
        expect(sheet.locator(".all li")).to_have_count(len(wild))
        assert sorted(sheet.locator(".all .name").all_text_contents()) == sorted(wild)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        assert sheet.evaluate("(each) => each.scrollWidth - each.clientWidth") == 0


def add(place: House, name: str, data: bytes) -> None:
    head = ("Content-Type: text/markdown", f"Content-Length: {len(data)}")
    (added,) = converse(place.server.port, request("POST", f"/v1/documents?name={quote(name)}", data, *head))
    assert added.status == 201


def test_d5_the_passage_of_a_source_is_shown_while_its_number_is_pointed_at_or_focused(place: House) -> None:
    add(place, "ferry.md", FERRY)
    with place.visit(storage={"model": "offline"}) as page:
        ask(page, "When does the packet to Tarnvik sail?")
        whole(page)
        text = page.locator(".prose").text_content()
        sign = page.get_by_role("button", name="Source 1: ferry.md › The packet").first
        card = page.get_by_role("tooltip")
        sign.hover()
        expect(card).to_contain_text("The packet to Tarnvik sails\nat nine. It costs four crowns.", use_inner_text=True)
        card.hover()  # to select a word of it
        expect(card).to_be_visible()
        page.mouse.move(0, 0)
        expect(card).to_have_count(0)
        sign.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        expect(sign).to_be_focused()
        expect(card).to_be_visible()
        expect(sign).to_have_attribute("aria-describedby", "passage")
        page.keyboard.press("Escape")
        expect(card).to_have_count(0)
        expect(sign).to_be_focused()
        page.keyboard.press("Enter")
        panel = page.locator(".sources li").first
        expect(panel.locator("p")).to_be_visible()
        assert panel.locator("p").text_content() == FERRY.decode().split("\n\n", 1)[1].strip()
        expect(panel.locator("summary")).to_be_focused()
        expect(card).to_have_count(0)
        assert page.locator(".prose").text_content() == text, "what was shown beside it is no part of it"


def test_d5_sources_are_numbered_in_the_order_in_which_they_are_used(place: House) -> None:
    for island in ("Tarnvik", "Skagvik", "Morvik"):
        add(place, f"{island}.md", f"# Boats\n\nThe yellow boat to {island} sails at nine.\n".encode())
    with place.visit(storage={"model": "offline"}) as page:
        ask(page, "When does the yellow boat sail?")
        whole(page)
        cited = [int(each.strip("[]")) for each in page.locator(".prose p .cite").all_text_contents()]
        assert len(set(cited)) > 1
        assert cited == sorted(cited)
        assert cited[0] == 1
        listed = page.locator(".sources .number").all_text_contents()
        assert listed == [str(number) for number in range(1, len(set(cited)) + 1)]


def test_l13_one_owner_is_shown_nothing_of_anothers_documents(chromium: Browser, tmp_path: Path) -> None:
    keys = {"ann": "hr-ann", "bob": "hr-bob"}
    digests = [
        f'[[keys]]\nowner = "{owner}"\nhash = "{sha256(key.encode()).hexdigest()}"\n' for owner, key in keys.items()
    ]
    with process(tmp_path, "[server]\nauth = true\n" + "".join(digests)) as server:
        for owner, key in keys.items():
            with page_of(chromium, expected=("status of 401 ",)) as page:
                page.goto(f"{server.url}/chat")
                page.get_by_role("textbox", name="Key").fill(key)
                page.keyboard.press("Enter")
                expect(page.get_by_role("textbox", name="Ask anything")).to_be_visible()
                sheet = open_sheet(page)
                expect(sheet.locator(".about")).to_contain_text(["Nothing added yet"])
                choose(page, file(f"{owner}.md", f"The lamp of {owner} burns whale oil."))
                expect(sheet.locator(".all .name")).to_have_text([f"{owner}.md"])
                page.keyboard.press("Escape")
                ask(page, "Which oil burns the lamp of ann?")
                whole(page)
                said = page.locator(".prose").text_content() or ""
                assert ("The lamp of ann burns whale oil" in said) == (owner == "ann")
                assert ("ann.md" in said) == (owner == "ann")


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_where_documents_are_added_and_cited(place: House, axe: str, dark: bool) -> None:
    with place.visit(storage={"model": "offline"}, refused=(422,), dark=dark, width=390 if dark else 1280) as page:
        sheet = open_sheet(page)
        expect(sheet.locator(".about")).to_have_count(1)
        assert violations(page, axe) == [], "none"
        held: list[Route] = []
        page.route("**/v1/documents?name=*", lambda route: held.append(route))  # it stays on its way
        choose(page, file("ferry.md", FERRY))
        expect(sheet.locator(".progress li")).to_have_count(1)
        assert violations(page, axe) == [], "on its way"
        held.pop().continue_()
        page.unroute_all()
        choose(page, file("bad.txt", b"caf\xe9"))
        expect(sheet.locator(".failed li")).to_have_count(1)
        expect(sheet.locator(".all li")).to_have_count(1)
        assert violations(page, axe) == [], "failed"
        sheet.get_by_role("button", name="Delete “ferry.md”").click()
        expect(sheet.locator(".sure")).to_be_visible()
        assert violations(page, axe) == [], "sure"
        assert page.evaluate("() => document.documentElement.scrollWidth") <= (390 if dark else 1280)
        page.keyboard.press("Escape")
        ask(page, "When does the packet to Tarnvik sail?")
        whole(page)
        page.locator(".cite").first.hover()
        expect(page.get_by_role("tooltip")).to_be_visible()
        assert violations(page, axe) == [], "passage"
