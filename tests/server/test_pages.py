"""Pages: kept for ever by their hash, sent under a strict policy, and drawn in a real browser."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.server.browsing import browser, page_of
from tests.server.conftest import Process, process
from tests.server.raw import Response, converse, request
from tests.server.test_openapi import OPERATIONS

from headrace.server.pages import page_files


def get(port: int, path: str, *headers: str) -> Response:
    (answer,) = converse(port, request("GET", path, b"", "Host: 127.0.0.1", *headers, host=""))
    return answer


def test_a_page_is_asked_for_again_and_its_files_are_kept_for_ever(offline: Process) -> None:
    page = get(offline.port, "/docs")
    assert page.status == 200
    assert page.headers["cache-control"] == "no-cache"
    named = re.findall(r'"(/pages/[^"]+)"', page.body.decode())
    assert len(named) >= 5
    for path in named:
        file = get(offline.port, path)
        assert file.status == 200, path
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["x-content-type-options"] == "nosniff"


def test_a_page_runs_under_a_policy_that_lets_nothing_else_in(offline: Process) -> None:
    page = get(offline.port, "/docs")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|style=|https?://", page.body.decode())


def test_a_file_is_sent_compressed_to_who_can_read_that(offline: Process) -> None:
    path = f"/pages/{page_files().digest}/docs.js"
    plain, small = get(offline.port, path), get(offline.port, path, "Accept-Encoding: gzip, br")
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert plain.headers["vary"] == small.headers["vary"] == "accept-encoding"
    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) < len(plain.body) / 2


@pytest.mark.parametrize("path", ["0/docs.js", "{}/none.js", "{}/docs.html", "{}/..%2fpages%2fdocs.js", "{}/%2e%2e"])
def test_a_file_that_is_not_one_is_not_found(offline: Process, path: str) -> None:
    answer = get(offline.port, "/pages/" + path.format(page_files().digest))
    assert answer.status == 404
    assert answer.error["code"] == "route_not_found"


def test_where_keys_are_asked_for_a_browser_gets_pages_without_one(tmp_path: Path) -> None:
    settings = f'[server]\nauth = true\n[[keys]]\nowner = "ann"\nhash = "{"0" * 64}"\n'
    with process(tmp_path, settings) as server:
        page = get(server.port, "/docs")
        assert page.status == 200
        for path in (*re.findall(r'"(/pages/[^"]+)"', page.body.decode()), "/openapi.json"):
            assert get(server.port, path).status == 200, path
        for path in ("/v1/models", "/pages", "/docs/"):
            assert get(server.port, path).status == 401, path
        assert get(server.port, "/pages/../v1/models").status == 404


# -- in a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_documentation_draws_every_route_and_asks_no_other_host(
    offline: Process, chromium: Browser, width: int, dark: bool
) -> None:
    with page_of(chromium, width=width, dark=dark) as page:
        page.goto(f"{offline.url}/docs")
        expect(page.locator("article.route").first).to_be_visible()
        shown = page.locator("article.route h3, article.route .also code").all_text_contents()
        assert {each[each.index("/") :] for each in shown} == {route.partition(" ")[2] for route in OPERATIONS}
        assert {each.partition("/")[0] for each in shown} - {""} == {route.partition(" ")[0] for route in OPERATIONS}
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "it does not scroll sideways"


def test_the_documentation_shows_the_fields_of_a_body_and_the_line_to_paste(
    offline: Process, chromium: Browser
) -> None:
    with page_of(chromium) as page:
        page.goto(f"{offline.url}/docs")
        route = page.locator("#post_chat_assistant")
        expect(route.locator("pre").first).to_contain_text(f"{offline.url}/chat/basic")
        route.locator("summary").filter(has_text="Body").click()
        expect(route.locator("dt").filter(has_text="conversation_id")).to_be_visible()
        route.locator("summary").filter(has_text="Answers").click()
        route.locator("summary").filter(has_text="TokenFrame").click()
        expect(route.locator("dl.fields").filter(has_text="content").last).to_be_visible()


def test_the_documentation_is_found_and_used_with_the_keyboard_alone(offline: Process, chromium: Browser) -> None:
    with page_of(chromium) as page:
        page.goto(f"{offline.url}/docs")
        expect(page.locator("article.route").first).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("cancel stream everybody")
        expect(page.locator("article.route:visible")).to_have_count(1)
        expect(page.locator("#post_v1_streams_stream_id_cancel")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="openapi.json")).to_be_focused()
