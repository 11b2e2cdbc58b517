"""Documents that readers add: the offline provider answers from them, each owner's for that owner alone."""

from __future__ import annotations

import hashlib
import json
import select
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.conftest import Place, Process, process, serving
from tests.server.raw import converse, post, request
from tests.server.reader import asking, query
from tests.server.test_fuzz import TRIES

from headrace.settings import DocumentSettings, KeySettings, ServerSettings, Settings, StoreSettings

pytestmark = pytest.mark.anyio

KEYS = {"ann": "ann-key-1", "bob": "bob-key-2"}
DECLARED = ("Content-Type: text/markdown",)
MARKDOWN = {"Content-Type": "text/markdown"}
FERRY = "# The packet\n\nThe packet to Tarnvik sails\nat nine. It costs four crowns.\n\n- Dogs travel free.\n"


def guarded(**more: Any) -> Settings:
    keys = tuple(KeySettings(owner, hashlib.sha256(key.encode()).hexdigest()) for owner, key in KEYS.items())
    return Settings(server=ServerSettings(auth=True), keys=keys, **more)


@pytest.fixture(scope="module", params=["sqlite", "memory"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A server with two owners."""
    async with serving(guarded(store=StoreSettings(kind=request.param))) as opened:
        yield opened


def of(owner: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[owner]}"}


async def ask_for(place: Place, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
    async with asking(place.port, method, path, headers=headers) as reader:
        return reader.status, await reader.json()


async def add(place: Place, owner: str, name: str, body: bytes | str, **headers: str) -> tuple[int, Any]:
    data = body.encode() if isinstance(body, str) else body
    path = f"/v1/documents?name={quote(name)}"
    async with asking(place.port, "POST", path, data, {**of(owner), **MARKDOWN, **headers}) as reader:
        return reader.status, await reader.json()


async def answer(place: Place, owner: str, question: str) -> tuple[str, list[dict[str, Any]]]:
    """The text of an answer and its sources."""
    asked = query(question, stream=True, model="offline")
    async with asking(place.port, "POST", "/chat/basic", asked, of(owner)) as reader:
        frames = [json.loads(frame) async for frame in reader.frames() if frame != "[DONE]"]
    text = "".join(frame["content"] for frame in frames if frame["type"] == "token")
    return text, [source for frame in frames if frame["type"] == "sources" for source in frame["sources"]]


async def test_d5_a_document_is_answered_from_by_its_owner_and_nobody_else(place: Place) -> None:
    status, added = await add(place, "ann", "ferry.md", FERRY)
    assert status == 201
    assert (added["name"], added["size_bytes"], added["state"]) == ("ferry.md", len(FERRY), "indexed")
    text, sources = await answer(place, "ann", "When does the packet to Tarnvik sail?")
    assert "The packet to Tarnvik sails at nine. [1]" in text
    assert [(source["n"], source["title"]) for source in sources] == [(1, "ferry.md › The packet")]
    theirs, sources = await answer(place, "bob", "When does the packet to Tarnvik sail?")
    assert "nine" not in theirs
    assert all(source["id"].startswith("headrace/") for source in sources)


async def test_d5_the_passage_of_a_source_is_the_documents_text_letter_for_letter(place: Place) -> None:
    documents = {
        "ferry-2.md": (
            "When does the boat to Skagvik sail?",
            FERRY.replace("packet", "boat").replace("Tarnvik", "Skagvik"),
        ),
        "船.md": ("去青岛的船几点开？", "# 航班\n\n去青岛的船每天九点\n开船。票价四元。\n"),
        "عبارة.md": ("متى تبحر العبارة إلى اللاذقية؟", "# العبارة\n\nتبحر العبارة إلى اللاذقية في\nالساعة التاسعة.\n"),
        "crlf.txt": (
            "When does the Morvik shuttle leave?",
            "First line.\r\n\r\nThe Morvik shuttle leaves\r\nat noon.\r\n",
        ),
    }
    for name, (_, text) in documents.items():
        assert (await add(place, "ann", name, text))[0] == 201
    for name, (question, text) in documents.items():
        said, sources = await answer(place, "ann", question)
        assert sources[0]["id"].startswith(f"{name}#")
        assert sources[0]["passage"] in text
        assert len(sources[0]["passage"].splitlines()) > 1, "as it was wrapped"
        assert [source["n"] for source in sources] == list(range(1, len(sources) + 1))
        assert "[1]" in said
        assert f"[{len(sources) + 1}]" not in said


async def test_the_same_text_is_kept_once_and_the_same_name_holds_the_latest(place: Place) -> None:
    status, first = await add(place, "ann", "tides.txt", "Low tide in Orsk is at six.")
    again, same = await add(place, "ann", "copy of tides.txt", "Low tide in Orsk is at six.")
    assert (status, again) == (201, 200)
    assert same == {**first, "state": "unchanged"}
    status, changed = await add(place, "ann", "tides.txt", "Low tide in Orsk is at seven.")
    assert (status, changed["state"]) == (201, "replaced")
    assert changed["id"] != first["id"]
    _, listed = await ask_for(place, "GET", "/v1/documents?limit=100", of("ann"))
    assert [each["id"] for each in listed["data"] if "tides" in each["name"]] == [changed["id"]]
    text, _ = await answer(place, "ann", "When is low tide in Orsk?")
    assert "seven" in text
    assert "six" not in text


async def test_a_deleted_document_is_quoted_no_more(place: Place) -> None:
    _, added = await add(place, "ann", "lamp.md", "The lamp of Ulvo burns whale oil.")
    assert "whale" in (await answer(place, "ann", "What does the lamp of Ulvo burn?"))[0]
    path = f"/v1/documents/{added['id']}"
    assert await ask_for(place, "DELETE", path, of("ann")) == (
        200,
        {"id": added["id"], "object": "document", "deleted": True},
    )
    assert "whale" not in (await answer(place, "ann", "What does the lamp of Ulvo burn?"))[0]
    assert [(await ask_for(place, method, path, of("ann")))[0] for method in ("GET", "DELETE")] == [404, 404]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_l13_anothers_document_is_answered_exactly_as_one_that_is_not_there(place: Place, method: str) -> None:
    _, added = await add(place, "ann", "secret.md", "The key lies under the mat.")
    await add(place, "bob", "own.md", "Bob has a document too.")
    path = "/v1/documents/{}"
    status, theirs = await ask_for(place, method, path.format(added["id"]), of("bob"))
    _, missing = await ask_for(place, method, path.format("0" * 32), of("bob"))
    assert status == 404
    assert theirs["error"].pop("message").replace(added["id"], "0" * 32) == missing["error"].pop("message")
    assert theirs == missing
    assert (await ask_for(place, "GET", f"/v1/documents?before={added['id']}", of("bob")))[0] == 404
    _, listed = await ask_for(place, "GET", "/v1/documents", of("bob"))
    assert [each["name"] for each in listed["data"]] == ["own.md"]
    assert (await ask_for(place, "GET", path.format(added["id"]), of("ann")))[0] == 200


async def test_the_list_goes_on_from_page_to_page(place: Place) -> None:
    for number in range(5):
        await add(place, "bob", f"page-{number}.md", f"Page {number} speaks of nothing.")
    names: list[str] = []
    before, more = "", True
    while more:
        _, page = await ask_for(place, "GET", f"/v1/documents?limit=2&before={before}", of("bob"))
        names += [each["name"] for each in page["data"]]
        before, more = page["last_id"], page["has_more"]
    assert [name for name in names if name.startswith("page-")] == [f"page-{number}.md" for number in range(4, -1, -1)]
    assert len(names) == len(set(names))


BAD = [
    ("empty.md", b" \n", 422, "document_unusable", "is empty"),
    ("headings.md", b"# Only\n\n## Headings\n", 422, "document_unusable", "nothing that could be quoted"),
    ("scan.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", 422, "document_unusable", "is a PDF. Markdown and plain text are"),
    ("letter.docx", b"PK\x03\x04rest", 422, "document_unusable", "office document"),
    ("page.html", b"<p>Hello.</p>", 422, "document_unusable", "is HTML"),
    ("latin.txt", b"caf\xe9 open", 422, "document_unusable", "is not text in UTF-8 (byte 3); save it as UTF-8"),
    ("wide.txt", "\ufeffcaf\xe9".encode("utf-16-le"), 422, "document_unusable", "UTF-16"),
    ("program", b"\x7fELF\x02\x01\x00\x00", 422, "document_unusable", "is no text (byte 6 is 0)"),
    ("", b"text", 400, "invalid_request", "has no name"),
    ("a\nb.md", b"text", 400, "invalid_request", "control characters"),
    ("a\u0085b.md", b"text", 400, "invalid_request", "control characters"),
    ("cod\u202etxt.md", b"text", 400, "invalid_request", "U+202E, which reorders how it is shown"),
    ("\u2067a.md", b"text", 400, "invalid_request", "U+2067"),
    ("n" * 256, b"text", 400, "invalid_request", "longer than 255"),
    ("headrace/README.md", b"text", 400, "invalid_request", "choose another"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "status", "code", "told"), BAD, ids=[each[0][:20] for each in BAD])
async def test_a_file_that_cannot_be_indexed_says_why_and_changes_nothing(
    place: Place, name: str, body: bytes, status: int, code: str, told: str
) -> None:
    _, before = await ask_for(place, "GET", "/v1/documents?limit=100", of("bob"))
    answered, said = await add(place, "bob", name, body)
    assert (answered, said["error"]["code"]) == (status, code)
    assert told in said["error"]["message"]
    _, after = await ask_for(place, "GET", "/v1/documents?limit=100", of("bob"))
    assert after == before


async def test_a_name_is_no_path_and_may_be_in_any_script(place: Place) -> None:
    names = [
        "../../etc/passwd",
        "/tmp/a.md",
        "notes/2026/ferry.md",
        "C:\\a.md",
        "عبارة \u200f.md",
        "船 & 'boat' %00.md",
        ". .",
    ]
    for number, name in enumerate(names):
        status, added = await add(place, "bob", name, f"Name number {number} is a name like any other.")
        assert (status, added["name"]) == (201, name)
        path = f"/v1/documents/{added['id']}"
        assert (await ask_for(place, "GET", path, of("bob")))[1]["name"] == name
        assert (await ask_for(place, "DELETE", path, of("bob")))[0] == 200


@pytest.mark.parametrize(
    "declared", ["application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
async def test_a_body_that_is_not_the_file_itself_is_refused(place: Place, declared: str) -> None:
    status, said = await add(place, "ann", "form.md", "text", **{"Content-Type": declared})
    assert (status, said["error"]["code"]) == (415, "unsupported_content_type")
    assert "one a request" in said["error"]["message"]


async def test_a_document_that_is_too_large_or_one_too_many_says_which_setting_it_is() -> None:
    async with serving(guarded(documents=DocumentSettings(limit_bytes=1000, max_per_owner=2))) as small:
        status, said = await add(small, "ann", "large.md", "word " * 201)
        assert (status, said["error"]["code"]) == (413, "body_too_large")
        assert "documents.limit_bytes" in said["error"]["message"]
        assert (await ask_for(small, "GET", "/v1/documents", of("ann")))[1]["limit_bytes"] == 1000
        assert [(await add(small, "ann", f"{number}.md", f"Number {number}."))[0] for number in range(2)] == [201, 201]
        status, said = await add(small, "ann", "2.md", "Number 2.")
        assert (status, said["error"]["code"]) == (409, "too_many_documents")
        assert "documents.max_per_owner" in said["error"]["message"]
        assert (await add(small, "ann", "0.md", "Number 0, again."))[0] == 201, "it takes the place of another"
        assert (await add(small, "bob", "2.md", "Number 2."))[0] == 201, "each owner has a number of its own"


@TRIES
@given(st.binary(max_size=400), st.text(max_size=20), st.sampled_from(["text/markdown", "text/plain", "x", ""]))
def test_whatever_is_sent_is_indexed_or_refused_with_a_reason(
    offline: Process, body: bytes, name: str, declared: str
) -> None:
    head = [f"Content-Type: {declared}"] if declared else []
    path = "/v1/documents?name=" + quote(name.encode("utf-8", "replace"))
    (answered,) = converse(offline.port, request("POST", path, body, *head, f"Content-Length: {len(body)}"))
    assert answered.status in (200, 201, 400, 415, 422)
    if answered.status >= 400:
        assert answered.error["message"]


def test_documents_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    body = FERRY.encode()
    with process(tmp_path) as server:
        sent = request("POST", "/v1/documents?name=ferry.md", body, *DECLARED, f"Content-Length: {len(body)}")
        (added,) = converse(server.port, sent)
        server.popen.kill()
    with process(tmp_path) as again:
        asked = b'{"question": "When does the packet to Tarnvik sail?"}'
        listed, said = (
            converse(again.port, each)[0] for each in (request("GET", "/v1/documents"), post(asked, "/api/query"))
        )
    assert json.loads(listed.body)["data"] == [
        {name: value for name, value in json.loads(added.body).items() if name != "state"}
    ]
    assert "sails at nine. [1]" in json.loads(said.body)["answer"]
    folders = [each for each in tmp_path.rglob("headrace-documents") if each.is_dir()]
    assert [each.stat().st_mode & 0o777 for each in folders] == [0o700]


def test_an_upload_that_is_cut_in_the_middle_adds_nothing(tmp_path: Path) -> None:
    body = FERRY.encode()
    head = request("POST", "/v1/documents?name=ferry.md", b"", *DECLARED, f"Content-Length: {len(body)}")
    chunked = request("POST", "/v1/documents?name=ferry.md", b"", *DECLARED, "Transfer-Encoding: chunked")
    with process(tmp_path) as server:
        for half in (head + body[:40], chunked + b"28\r\n" + body[:40] + b"\r\n"):
            with socket.create_connection(("127.0.0.1", server.port)) as line:
                line.sendall(half)
                line.shutdown(socket.SHUT_WR)
                while line.recv(65536):  # until the server has seen that nothing more comes
                    pass
        assert listed(server) == []
        (added,) = converse(server.port, head + body)
        assert (added.status, [each["name"] for each in listed(server)]) == (201, ["ferry.md"])


LARGE = "".join(f"The lamp of house {number} burns oil number {number}.\n\n" for number in range(30_000)).encode()


@pytest.mark.parametrize("after_seconds", [0.05, 0.4])
def test_a_server_that_is_killed_while_it_indexes_has_the_document_whole_or_not_at_all(
    tmp_path: Path, after_seconds: float
) -> None:
    sent = request("POST", "/v1/documents?name=lamps.txt", LARGE, *DECLARED, f"Content-Length: {len(LARGE)}")
    with process(tmp_path) as server:
        converse(server.port, request("POST", "/v1/documents?name=ferry.md", FERRY.encode(), *DECLARED,
                                      f"Content-Length: {len(FERRY.encode())}"))  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(sent)
            line.settimeout(after_seconds)
            with suppress(TimeoutError):
                line.recv(1)
            server.popen.kill()
            server.popen.wait(timeout=20)
    with process(tmp_path) as again:
        there = {each["name"]: each for each in listed(again)}
        assert there["ferry.md"]["passages"] == 1
        if "lamps.txt" in there:
            assert there["lamps.txt"]["size_bytes"] == len(LARGE)
        (answered,) = converse(
            again.port, post(b'{"question": "Which oil burns the lamp of house 29999?"}', "/api/query")
        )
        assert ("oil number 29999. [1]" in json.loads(answered.body)["answer"]) == ("lamps.txt" in there)
        (added,) = converse(again.port, sent)
        assert json.loads(added.body)["state"] == ("unchanged" if "lamps.txt" in there else "indexed")


def test_others_are_answered_while_a_large_document_is_indexed(offline: Process) -> None:
    sent = request("POST", "/v1/documents?name=lamps.txt", LARGE, *DECLARED, f"Content-Length: {len(LARGE)}")
    with socket.create_connection(("127.0.0.1", offline.port)) as line:
        line.sendall(sent)
        meanwhile = 0
        while not select.select([line], [], [], 0)[0]:
            (answered,) = converse(offline.port, post(b'{"question": "What is an offset?"}', "/api/query"))
            assert answered.status == 200
            meanwhile += 1
        assert line.recv(12) == b"HTTP/1.1 201"
    (large,) = (each for each in listed(offline) if each["name"] == "lamps.txt")
    converse(offline.port, request("DELETE", f"/v1/documents/{large['id']}"))
    # On the event loop it would have been one at most.
    assert meanwhile > 5


def listed(server: Process) -> list[dict[str, Any]]:
    (answered,) = converse(server.port, request("GET", "/v1/documents"))
    found: list[dict[str, Any]] = json.loads(answered.body)["data"]
    return found
