"""Pages of other origins: those that the settings name may call from their scripts, all others are told nothing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from tests.server.browsing import BROKEN_LINE, browser, page_of
from tests.server.conftest import Process, process
from tests.server.raw import Response, converse, request

PAGE = "https://app.example"
GOOD = b'{"query": "What is a stream?"}'
PREFLIGHT = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-stainless-lang")


@pytest.fixture(scope="module")
def friendly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that one foreign page may call."""
    settings = f'[server]\nallowed_origins = ["{PAGE}"]\n'
    with process(tmp_path_factory.mktemp("friendly"), settings) as server:
        yield server


def ask(server: Process, method: str, path: str, *headers: str, body: bytes = b"") -> Response:
    told = [*headers, f"Content-Length: {len(body)}"]
    (answer,) = converse(server.port, request(method, path, body, *told))
    return answer


def cors(answer: Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_a_browser_is_told_what_an_allowed_page_may_send(friendly: Process) -> None:
    answer = ask(friendly, "OPTIONS", "/chat/basic", f"Origin: {PAGE}", *PREFLIGHT)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-lang"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("path", "status"), [("/chat/basic", 200), ("/nowhere", 404), ("/v1/chat/completions", 400)])
def test_an_allowed_page_may_read_answers_and_errors(friendly: Process, path: str, status: int) -> None:
    answer = ask(friendly, "POST", path, f"Origin: {PAGE}", "Content-Type: application/json", body=GOOD)
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert {"headrace-stream", "x-request-id", "retry-after"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )
    assert answer.headers["vary"] == "origin"


def test_a_streamed_answer_may_be_read_too(friendly: Process) -> None:
    body = b'{"query": "What is a stream?", "stream": true}'
    answer = ask(friendly, "POST", "/chat/basic", f"Origin: {PAGE}", "Content-Type: application/json", body=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("origin", ["https://evil.example", f"{PAGE}.evil.example", "null", PAGE.upper()])
def test_any_other_page_is_told_nothing(friendly: Process, origin: str) -> None:
    for method, path in (("OPTIONS", "/chat/basic"), ("GET", "/health"), ("POST", "/chat/basic")):
        answer = ask(friendly, method, path, f"Origin: {origin}", *PREFLIGHT)
        assert cors(answer) == {}
        assert answer.status == (200 if method == "GET" else 403)
        assert answer.headers["vary"] == "origin"  # or a cache would give it what an allowed page got


def test_without_the_setting_nobody_is_told_anything(offline: Process) -> None:
    for method, status in (("OPTIONS", 403), ("GET", 200)):
        answer = ask(offline, method, "/health", f"Origin: {PAGE}", *PREFLIGHT)
        assert answer.status == status
        assert cors(answer) == {}
        assert "vary" not in answer.headers


def test_a_request_for_options_that_is_no_preflight_is_one_like_any_other(friendly: Process) -> None:
    answer = ask(friendly, "OPTIONS", "/chat/basic", f"Origin: {PAGE}")
    assert answer.status == 405
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_a_page_of_another_origin_reads_a_stream_in_a_real_browser(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><p id=said>nothing yet</p>")

        def log_message(self, *_: object) -> None:
            pass

    script = """async (url) => {
        const said = document.getElementById("said");
        try {
            const response = await fetch(url + "/chat/basic", {
                method: "POST",
                headers: {"Content-Type": "application/json", "Authorization": "Bearer none"},
                body: JSON.stringify({query: "What is a stream?", stream: true}),
            });
            const text = await response.text();
            said.textContent = response.headers.get("Headrace-Stream") + " " + text.slice(-8).trim();
        } catch (error) {
            said.textContent = "refused: " + error.message;
        }
    }"""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        served = threading.Thread(target=elsewhere.serve_forever)
        served.start()
        try:
            origin = f"http://127.0.0.1:{elsewhere.server_address[1]}"
            settings = f'[server]\nallowed_origins = ["{origin}"]\n'
            with process(tmp_path_factory.mktemp("allowing"), settings) as server, browser() as opened:
                with page_of(opened) as page:
                    page.goto(origin)
                    page.evaluate(script, server.url)
                    expect(page.locator("#said")).to_contain_text("[DONE]")
                both = ("127.0.0.1", "localhost")
                with page_of(opened, hosts=both, expected=("blocked by CORS policy", BROKEN_LINE)) as page:
                    page.goto(origin.replace("127.0.0.1", "localhost"))
                    page.evaluate(script, server.url)
                    expect(page.locator("#said")).to_contain_text("refused")
        finally:
            elsewhere.shutdown()
            served.join()
