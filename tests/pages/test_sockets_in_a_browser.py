"""WebSockets as a real browser has them: what a page can send, and what it is told (reference/websocket.md)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect
from tests.page_examples import examples
from tests.server.browsing import page_of
from tests.server.conftest import Process, process

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "chat-over-a-websocket.md"
KEY = "key/with=what a,subprotocol may not hold"
SETTINGS = f"""
[server]
allowed_origins = ["{{origin}}"]
auth = true
[[keys]]
owner = "ann"
hash = "{hashlib.sha256(KEY.encode()).hexdigest()}"
"""

# Opens a WebSocket, does what it is told, and gives what was heard until it was closed.
TALK = """
([url, protocols, messages]) => new Promise((resolve) => {
  const heard = [];
  const socket = protocols ? new WebSocket(url, protocols) : new WebSocket(url);
  socket.onopen = () => messages.forEach((message) => socket.send(JSON.stringify(message)));
  socket.onmessage = ({ data }) => {
    heard.push(JSON.parse(data));
    const last = heard.at(-1);
    if (last.choices?.[0].finish_reason || last.type === "pong") socket.close(1000);
  };
  socket.onclose = ({ code, reason, wasClean }) =>
    resolve({ heard, code, reason, wasClean, protocol: socket.protocol, extensions: socket.extensions });
})
"""
ASK = {"model": "offline", "messages": [{"role": "user", "content": "What is an offset?"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of pages that another server serves."""
    made = tmp_path_factory.mktemp("pages")
    (made / "page.html").write_text("<title>x</title>", encoding="utf-8")
    (made / "favicon.ico").touch()
    return made


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    """The origin of those pages: a browser asks where a page came from before it lets it reach this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *said: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[Process]:
    """A server that asks for keys, and lets pages of one other origin in."""
    with process(tmp_path_factory.mktemp("guarded"), SETTINGS.format(origin=origin)) as server:
        yield server


@contextmanager
def page_at(chromium: Browser, origin: str, name: str = "page.html") -> Iterator[Page]:
    """A page of this origin."""
    with page_of(chromium, hosts=("127.0.0.1", "localhost")) as page:
        page.goto(f"{origin}/{name}")
        yield page


@contextmanager
def documented(tmp_path: Path, origin: str, folder: Path) -> Iterator[Process]:
    """A server, and the page of the documents for it, as talk.html."""
    (example,) = [each for each in examples(PAGE.read_text(encoding="utf-8")) if each.language == "html"]
    with process(tmp_path, f'[server]\nallowed_origins = ["{origin}"]\n') as server:
        html = example.text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        (folder / "talk.html").write_text(html, encoding="utf-8")
        yield server


def talk(page: Page, server: Process, *messages: object, protocols: list[str] | None = None, path: str = "") -> Any:
    url = f"ws://127.0.0.1:{server.port}{path or '/v1/chat/completions'}"
    return page.evaluate(TALK, [url, protocols, list(messages)])


def said(heard: list[Any]) -> str:
    return "".join(message["choices"][0]["delta"].get("content", "") for message in heard)


def test_a_key_in_a_subprotocol_lets_a_page_in_and_is_not_answered(
    chromium: Browser, guarded: Process, origin: str
) -> None:
    token = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")
    with page_at(chromium, origin) as page:
        told = talk(page, guarded, ASK, protocols=["headrace", f"bearer.{token}"])
    assert (told["code"], told["wasClean"], told["protocol"], told["extensions"]) == (1000, True, "headrace", "")
    assert "offset" in said(told["heard"])
    places = [message["headrace"]["seq"] for message in told["heard"]]
    assert places[0] == 0
    assert places == sorted(set(places))


def test_a_key_in_the_first_message_lets_a_page_in(chromium: Browser, guarded: Process, origin: str) -> None:
    with page_at(chromium, origin) as page:
        told = talk(page, guarded, {"type": "auth", "token": KEY}, {"type": "ping"})
    assert told["heard"] == [{"type": "pong"}]


def test_a_page_reads_the_code_and_the_reason_of_each_refusal(chromium: Browser, guarded: Process, origin: str) -> None:
    with page_at(chromium, origin) as page:
        told = talk(page, guarded, protocols=["headrace", "bearer.wrong"])
        assert (told["code"], told["wasClean"]) == (4401, True)
        assert "key" in told["reason"]
        assert talk(page, guarded, path="/v1/chat/completions?token=x")["code"] == 4401
        refused = talk(page, guarded, ASK)
        assert (refused["code"], refused["heard"][0]["error"]["code"]) == (4401, "invalid_api_key")
    # The same machine, and another origin.
    with page_at(chromium, origin.replace("127.0.0.1", "localhost")) as page:
        told = talk(page, guarded, {"type": "auth", "token": KEY}, ASK)
        assert (told["code"], told["heard"]) == (1008, [])
        assert "allowed_origins" in told["reason"]


def test_the_page_of_the_documents_chats(chromium: Browser, tmp_path: Path, origin: str, folder: Path) -> None:
    with documented(tmp_path, origin, folder), page_at(chromium, origin, "talk.html") as page:
        shown = page.locator("#answer")
        expect(shown).to_have_attribute("data-ended", "stop", timeout=20_000)
        assert "offset" in (shown.text_content() or "")


def test_l12_the_page_of_the_documents_comes_back_to_its_answer(
    chromium: Browser, tmp_path: Path, origin: str, folder: Path
) -> None:
    opened = 0

    def pass_on(route: WebSocketRoute) -> None:
        """Passes a socket on, and cuts the first two off after their first messages."""
        nonlocal opened
        opened += 1
        left = 2 if opened < 3 else 1 << 30

        def hear(message: str | bytes) -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                route.send(message)
            if left == 0:
                route.close(code=1001, reason="cut")

        route.connect_to_server().on_message(hear)

    with documented(tmp_path, origin, folder) as server, page_of(chromium) as page:
        page.route_web_socket("**/v1/chat/completions", pass_on)
        page.goto(f"{origin}/talk.html")
        shown = page.locator("#answer")
        expect(shown).to_have_attribute("data-ended", "stop", timeout=20_000)
        text = shown.text_content() or ""
        assert opened == 3
        told = talk(page, server, ASK)
        assert text == said(told["heard"])
