"""The load client in every protocol of headrace: what headrace answers is exact, and what was harmed is not."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
from tests.benchmarks.test_kit import Programs, ask, programs, simulator
from tests.server.conftest import Process, process

from headrace.protocols import PROTOCOLS

__all__ = ["programs", "simulator"]  # fixtures

HEADER = Path(__file__).parents[2] / "benchmarks" / "protocols.h"
# The name and the path of each row of the table, and its path for whole answers.
TABLE = re.findall(r'^    \{"(\w+)", "([^"]+)", (?:"([^"]+)"|NULL)', HEADER.read_text(encoding="utf-8"), re.MULTILINE)
NAMES = [name for name, _, _ in TABLE]
WORD = rb"t\d{6}\.[0-9a-f]{15} "
TOKENS = 40


@pytest.fixture(scope="module")
def headrace(simulator: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """headrace before the simulator."""
    settings = (
        f'[store]\nkind = "memory"\n[[upstreams]]\nname = "sim"\nbase_url = "http://127.0.0.1:{simulator}/v1"\n'
        '[[models]]\nname = "sim"\nupstreams = ["sim/sim"]\n'
    )
    with process(tmp_path_factory.mktemp("headrace"), settings) as started:
        yield started


def test_every_protocol_that_generates_is_known_to_the_load_client() -> None:
    # Durable Streams are read there, and started by none of its requests.
    assert set(NAMES) == PROTOCOLS.keys() - {"durable_json"}


@pytest.mark.parametrize("name", NAMES)
def test_what_headrace_answers_is_exact(programs: Programs, headrace: Process, name: str) -> None:
    load = ["--protocol", name, "--streams", "12", "--at-once", "4", "--tokens", str(TOKENS)]
    for pace in (["--each", "8"], ["--gap", "2000", "--first", "5000"]):
        report = ask(programs, headrace.port, *load, *pace)
        assert (report["exact"], report["words"]) == (12, 12 * TOKENS), report


@pytest.mark.parametrize("name", [name for name, _, whole in TABLE if whole])
def test_a_whole_answer_of_headrace_is_exact(programs: Programs, headrace: Process, name: str) -> None:
    report = ask(programs, headrace.port, "--protocol", name, "--streams", "4", "--tokens", str(TOKENS), "--whole")
    assert (report["exact"], report["words"]) == (4, 4 * TOKENS), report


@contextmanager
def replaying(body: bytes) -> Iterator[int]:
    """A server that answers every request with these bytes; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, path, _ in TABLE])
def test_what_is_lost_or_doubled_on_the_way_is_not_exact(
    programs: Programs, headrace: Process, name: str, path: str
) -> None:
    plan = f"bench:tokens={TOKENS},gap=0,first=0,each=1,stay=0;"
    question: dict[str, object] = {"prompt": plan, "query": plan, "message": plan}
    if name in ("openai_chat", "ollama_chat"):
        question = {"messages": [{"role": "user", "content": plan}]}
    body = requests.post(f"{headrace.url}{path}", json={**question, "model": "sim", "stream": True}, timeout=20).content
    words = list(re.finditer(WORD, body))
    third, last = words[2], words[TOKENS - 1]
    wrong = {
        "lost": body[: third.start()] + body[third.end() :],
        "doubled": body[: third.start()] + third.group() + body[third.start() :],
        "changed": body[: third.start()] + b"x" + body[third.start() + 1 :],
        "without its end": body[: last.start()],
    }
    with replaying(body) as port:
        assert ask(programs, port, "--protocol", name, "--tokens", str(TOKENS))["exact"] == 1
    for harm, harmed in wrong.items():
        with replaying(harmed) as port:
            assert ask(programs, port, "--protocol", name, "--tokens", str(TOKENS))["exact"] == 0, harm
