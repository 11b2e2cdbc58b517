"""The measuring kit is believed only because it fails when it should: simulator and client against each other, with a
relay between them that does harm, and `benchmarks/run` on a machine of its own.

gcc is a required tool: without it these tests fail, they are not skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
SECONDS = 30

Events = list[bytes]
Harm = Callable[[Events], Events]


class Programs(NamedTuple):
    simulator: Path
    client: Path


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    assert shutil.which("gcc"), "gcc builds the benchmarks. Debian: apt-get install gcc libc6-dev"
    folder = tmp_path_factory.mktemp("kit")
    for name in Programs._fields:
        strict: list[str] = [
            "gcc",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            str(folder / name),
            str(BENCHMARKS / f"{name}.c"),
        ]
        subprocess.run(strict, check=True, timeout=SECONDS)
    return Programs(folder / "simulator", folder / "client")


@pytest.fixture(scope="session")
def simulator(programs: Programs) -> Iterator[int]:
    with subprocess.Popen([programs.simulator, "0"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def ask(programs: Programs, port: int, *words: str) -> dict[str, Any]:
    command = [str(programs.client), "--port", str(port), "--deadline", "5", *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == (1 if report["failed"] else 0)
    return report


# ---- simulator and client alone ----


def test_a_second_of_paced_streams_is_exact_and_keeps_its_pace(programs: Programs, simulator: int) -> None:
    paced = ["--at-once", "20", "--streams", "20", "--tokens", "20", "--gap", "40000", "--first", "100000"]
    report = ask(programs, simulator, *paced)
    assert (report["exact"], report["failed"], report["words"]) == (20, 0, 400)
    # 100 ms and 20 gaps of 40 ms is the schedule; nothing may come before it.
    assert report["first_word_ms"]["p50"] >= 100
    assert report["answer_ms"]["p50"] >= 900


def test_a_flood_with_several_words_a_write_is_exact(programs: Programs, simulator: int) -> None:
    report = ask(programs, simulator, "--at-once", "16", "--streams", "64", "--tokens", "500", "--each", "8")
    assert (report["exact"], report["words"]) == (64, 32_000)


def test_a_whole_answer_takes_as_long_as_the_stream_of_it(programs: Programs, simulator: int) -> None:
    answer = ["--streams", "2", "--at-once", "2", "--tokens", "30", "--gap", "10000", "--first", "50000"]
    streamed, whole = ask(programs, simulator, *answer), ask(programs, simulator, *answer, "--whole")
    assert streamed["exact"] == whole["exact"] == 2
    assert streamed["words"] == whole["words"] == 60
    assert streamed["answer_ms"]["p50"] >= 350
    assert whole["answer_ms"]["p50"] >= 350


def test_held_streams_stay_open_until_the_client_is_told_to_leave(programs: Programs, simulator: int) -> None:
    words = ["--port", str(simulator), "--at-once", "10", "--streams", "40", "--tokens", "5", "--hold"]
    with subprocess.Popen(
        [programs.client, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert json.loads(client.stdout.readline()) == {"holding": 40}
        output, _ = client.communicate("", timeout=SECONDS)
    report = json.loads(output)
    assert (report["exact"], report["failed"], report["words"]) == (40, 0, 200)


def test_nobody_listening_is_a_fault_and_not_a_silence(programs: Programs) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        report = ask(programs, unused.getsockname()[1], "--streams", "3")
    assert report["faults"] == {"connect": 3}


# ---- a relay that does harm ----


def chunk(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)


def unchunk(body: bytes) -> Events:
    events = []
    while not body.startswith(b"0\r\n"):
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        events.append(body[:length])
        body = body[length + 2 :]
    return events


def read_until(connection: socket.socket, enough: Callable[[bytes], bool]) -> bytes:
    got = b""
    while not enough(got):
        more = connection.recv(65536)
        assert more, "the other side left early"
        got += more
    return got


def is_complete(message: bytes) -> bool:
    head, blank, body = message.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"\r\n0\r\n\r\n")
    return bool(blank) and len(body) == int(head.lower().partition(b"content-length:")[2].split()[0])


Sender = Callable[[bytes, Events], Iterator[bytes]]


def as_one(head: bytes, events: Events) -> Iterator[bytes]:
    yield head + b"".join(map(chunk, events)) + b"0\r\n\r\n"


@contextmanager
def relay(simulator: int, harm: Harm, send: Sender = as_one) -> Iterator[int]:
    """A relay for one request: it takes the answer's events (or its one document), harms them and passes them on."""
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            reader, _ = listener.accept()
            with reader, socket.create_connection(("127.0.0.1", simulator)) as upstream:
                upstream.sendall(read_until(reader, is_complete))
                head, _, body = read_until(upstream, is_complete).partition(b"\r\n\r\n")
                events = unchunk(body) if b"chunked" in head else [body]
                for piece in send(head + b"\r\n\r\n", harm(events)):
                    reader.sendall(piece)
        except OSError:
            pass  # the client hangs up at the first fault it sees
        except BaseException as failure:
            failures.append(failure)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()
    assert not failures


# Events of an answer: the role, words 0 to 9, the finish reason, usage, [DONE].
WORDS = 10
LAST_WORD, FINISH, USAGE, DONE = WORDS, WORDS + 1, WORDS + 2, WORDS + 3


def ask_through(
    programs: Programs, simulator: int, harm: Harm, send: Sender = as_one, protocol: str = "openai_chat"
) -> dict[str, Any]:
    with relay(simulator, harm, send) as port:
        return ask(programs, port, "--tokens", str(WORDS), "--protocol", protocol)


def unharmed(events: Events) -> Events:
    assert len(events) == DONE + 1
    return events


def without(place: int) -> Harm:
    return lambda events: events[:place] + events[place + 1 :]


def replaced(place: int, old: bytes, new: bytes) -> Harm:
    def harm(events: Events) -> Events:
        assert old in events[place]
        return [*events[:place], events[place].replace(old, new), *events[place + 1 :]]

    return harm


def swapped(events: Events) -> Events:
    return [*events[:4], events[5], events[4], *events[6:]]


def doubled(events: Events) -> Events:
    return [*events[:5], events[4], *events[5:]]


def failed_inside(events: Events) -> Events:
    return [*events[:5], b'data: {"error":{"message":"overloaded"}}\n\n', events[DONE]]


def ended_early(events: Events) -> Events:
    return [*events[:5], *events[FINISH:]]


def ended_twice(events: Events) -> Events:
    return [*events[:FINISH], events[FINISH], *events[FINISH:]]


def talking_on(events: Events) -> Events:
    return [*events, b'data: {"choices":[]}\n\n']


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (swapped, "order"),
        (doubled, "order"),
        (without(4), "order"),
        (without(LAST_WORD), "short"),
        (ended_early, "short"),
        (replaced(4, b"t000003", b"t00000x"), "text"),
        (replaced(4, b"t000003", b"t0000030"), "text"),
        (replaced(4, b'"choices"', b'"choices'), "malformed"),
        (failed_inside, "error_frame"),
        (replaced(FINISH, b'"stop"', b'"length"'), "ending"),
        (without(FINISH), "ending"),
        (ended_twice, "ending"),
        (without(DONE), "ending"),
        (talking_on, "ending"),
    ],
)
def test_a_harmed_stream_is_not_exact(programs: Programs, simulator: int, harm: Harm, fault: str) -> None:
    report = ask_through(programs, simulator, harm)
    assert (report["exact"], report["faults"]) == (0, {fault: 1})
    assert report["example"].startswith(fault)


def cut_in_the_middle(head: bytes, events: Events) -> Iterator[bytes]:
    yield (head + b"".join(map(chunk, events)))[:-400]


def cut_before_the_last_chunk(head: bytes, events: Events) -> Iterator[bytes]:
    yield head + b"".join(map(chunk, events))


@pytest.mark.parametrize("send", [cut_in_the_middle, cut_before_the_last_chunk])
def test_a_stream_that_is_cut_is_not_exact(programs: Programs, simulator: int, send: Sender) -> None:
    report = ask_through(programs, simulator, unharmed, send)
    assert (report["exact"], report["faults"]) == (0, {"cut": 1})


def refused(_head: bytes, _events: Events) -> Iterator[bytes]:
    yield b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\n{"error":{}}'


def test_a_refusal_is_counted_as_its_status(programs: Programs, simulator: int) -> None:
    report = ask_through(programs, simulator, unharmed, refused)
    assert (report["exact"], report["faults"]) == (0, {"status": 1})


def byte_by_byte(head: bytes, events: Events) -> Iterator[bytes]:
    (whole,) = as_one(head, events)
    yield from (whole[i : i + 1] for i in range(len(whole)))


def until_closed(head: bytes, events: Events) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"".join(events)


@pytest.mark.parametrize("send", [as_one, byte_by_byte, until_closed])
def test_an_unharmed_stream_is_exact_however_its_bytes_are_cut(
    programs: Programs, simulator: int, send: Sender
) -> None:
    report = ask_through(programs, simulator, unharmed, send)
    assert (report["exact"], report["words"], report["faults"]) == (1, WORDS, {})


def as_document(head: bytes, events: Events) -> Iterator[bytes]:
    yield head + b"".join(events)


@pytest.mark.parametrize(
    ("harm", "faults"),
    [
        (replaced(0, b"t000003", b"t000003"), {}),
        (replaced(0, b"t000003", b"t000004"), {"order": 1}),
        (replaced(0, b"t000003", b"T000003"), {"text": 1}),
        (replaced(0, b'"stop"', b'"halt"'), {"ending": 1}),
        (replaced(0, b'"choices"', b'"choicez"'), {"malformed": 1}),
        (lambda events: [events[0][:-1]], {"cut": 1}),
    ],
)
def test_a_whole_answer_is_exact_or_says_why_not(
    programs: Programs, simulator: int, harm: Harm, faults: dict[str, int]
) -> None:
    with relay(simulator, harm, as_document) as port:
        report = ask(programs, port, "--tokens", str(WORDS), "--whole")
    assert (report["exact"], report["faults"]) == (0 if faults else 1, faults)


def text_of(event: bytes) -> str:
    text: str = json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]["content"]
    return text


def openai_frame(text: str) -> bytes:
    # With blanks after colons and the keys in another order, as json.dumps of some gateways has them.
    frame = {"choices": [{"finish_reason": None, "delta": {"role": "assistant", "content": text}, "index": 0}]}
    return b"data: %s\n\n" % json.dumps(frame).encode()


@pytest.mark.parametrize("characters", [5, 24, 31, 240])
def test_words_may_come_joined_or_cut_in_two(programs: Programs, simulator: int, characters: int) -> None:
    def cut_anew(events: Events) -> Events:
        text = "".join(map(text_of, events[1:FINISH]))
        pieces = [text[i : i + characters] for i in range(0, len(text), characters)]
        return [events[0], *map(openai_frame, pieces), *events[FINISH:]]

    report = ask_through(programs, simulator, cut_anew)
    assert (report["exact"], report["words"]) == (1, WORDS)


def typed(told: Callable[[str], str]) -> Harm:
    """The same answer in headrace's typed events; `told` is what `done` says of the text."""

    def harm(events: Events) -> Events:
        texts = list(map(text_of, events[1:FINISH]))
        frames: list[dict[str, Any]] = [
            {"type": "start", "language": "en"},
            {"type": "rationale", "content": "so"},
            *({"type": "token", "content": text} for text in texts),
            {"type": "done", "content": told("".join(texts)), "sources": []},
            {"type": "metadata", "token_count": WORDS},
        ]
        return [b"data: %s\n\n" % json.dumps(frame).encode() for frame in frames] + [events[-1]]

    return harm


def test_typed_events_are_understood(programs: Programs, simulator: int) -> None:
    report = ask_through(programs, simulator, typed(str), protocol="typed_events")
    assert (report["exact"], report["words"]) == (1, WORDS)


def test_typed_events_whose_end_tells_another_text_are_not_exact(programs: Programs, simulator: int) -> None:
    report = ask_through(programs, simulator, typed(lambda text: text[24:]), protocol="typed_events")
    assert report["faults"] == {"text": 1}


def test_a_typed_error_is_not_an_answer(programs: Programs, simulator: int) -> None:
    def failed(events: Events) -> Events:
        return [b'data: {"type":"error","content":"gone","code":"upstream_truncated"}\n\n', events[-1]]

    report = ask_through(programs, simulator, failed, protocol="typed_events")
    assert report["faults"] == {"error_frame": 1}


# ---- benchmarks/run ----

# Stands where headrace stands: a gateway that passes bytes on. It reads its upstream from the rendered settings.
STAND_IN = """
import asyncio, re, sys
if "--version" in sys.argv:
    sys.exit("stand-in 1")
port, settings = sys.argv[sys.argv.index("--port") + 1], sys.argv[sys.argv.index("--config") + 1]
upstream = int(re.search(r"127.0.0.1:([0-9]+)/v1", open(settings).read())[1])
async def pass_on(reader, writer):
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.close()
async def serve(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", upstream)
    await asyncio.gather(pass_on(reader, back), pass_on(there, writer), return_exceptions=True)
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(port), backlog=1000) as server:
        await server.serve_forever()
asyncio.run(main())
"""


def run(
    benchmarks: Path, *words: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(benchmarks / "run"), *map(str, words)]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False
    )


@pytest.fixture
def fresh_benchmarks(tmp_path: Path) -> Path:
    """A checkout in which nothing was built and no other gateway installed."""
    ignored = shutil.ignore_patterns(".environments", "build", "__pycache__")
    return Path(shutil.copytree(BENCHMARKS, tmp_path / "fresh" / "benchmarks", ignore=ignored))


def test_a_gateway_is_measured_and_the_report_is_well_formed(fresh_benchmarks: Path, tmp_path: Path) -> None:
    stand_in, file = tmp_path / "stand_in.py", tmp_path / "report.json"
    stand_in.write_text(STAND_IN)
    words = ["--workload", "whole", "--workload", "memory", "--streams", 100, "--rounds", 1, "--json", file]
    done = run(fresh_benchmarks, "--headrace", f"{sys.executable} {stand_in}", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(file.read_text())
    rows = {(row["gateway"], row["workload"]): row for row in facts["rows"]}
    assert rows["headrace", "whole"]["exact"] == rows["journal", "whole"]["exact"] == 8000
    assert 1 < rows["headrace", "whole"]["figures"]["cpu_us"] < 10_000
    assert rows["headrace", "memory"]["figures"]["holding"] == 100
    assert rows["headrace", "memory"]["figures"]["kib_per_stream"] > 1
    assert rows["direct", "whole"]["exact"] == 8000
    assert {"processor", "cores", "kernel", "Python"} <= facts["machine"].keys()
    assert "--workload whole" in facts["command"]
    assert "--workload whole" in done.stdout
    # What is not beside it is said, in the report too.
    assert any("LiteLLM is not installed: benchmarks/install-litellm" in note for note in facts["notes"])
    assert "LiteLLM is not installed" in done.stdout
    # What was written can be told again, with the same tables.
    again = run(BENCHMARKS, "--report", file)
    assert again.stdout == done.stdout


def test_a_gateway_that_does_not_start_is_an_error_with_its_last_words(fresh_benchmarks: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import sys\nsys.exit('no such setting: colour')\n")
    done = run(
        fresh_benchmarks, "--headrace", f"{sys.executable} {broken}", "--gateway", "headrace", "--workload", "whole"
    )
    assert done.returncode == 4
    assert "no such setting: colour" in done.stderr


def test_a_missing_compiler_is_named_with_what_to_install() -> None:
    done = run(BENCHMARKS, "--gateway", "direct", environment={**os.environ, "PATH": "/nonexistent"})
    assert done.returncode == 2
    assert "apt-get install gcc" in done.stderr


def test_a_gateway_asked_for_by_name_must_be_there(fresh_benchmarks: Path) -> None:
    done = run(fresh_benchmarks, "--gateway", "litellm")
    assert done.returncode == 2
    assert "benchmarks/install-litellm" in done.stderr


def row(gateway: str, workload: str, figures: dict[str, float], exact: int = 10) -> dict[str, Any]:
    return {
        "round": 0, "gateway": gateway, "workload": workload, "figures": figures,
        "streams": 10, "exact": exact, "faults": {} if exact == 10 else {"order": 10 - exact}, "example": "",
    }  # fmt: skip


def check(tmp_path: Path, *rows: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "report.json"
    facts = {"command": "benchmarks/run", "date": "", "machine": {}, "versions": {}, "notes": [], "rows": rows}
    file.write_text(json.dumps(facts))
    return run(BENCHMARKS, "--report", file, "--check")


@pytest.mark.parametrize(
    ("workload", "figure", "nginx", "met", "missed"),
    [
        ("paced", "cpu_us", 20.0, 44.0, 44.1),
        ("light", "cpu_us", 20.0, 44.0, 44.1),
        ("flood", "cpu_us", 2.0, 5.0, 5.1),
        ("whole", "cpu_us", 20.0, 110.0, 110.1),
        ("memory", "kib_per_stream", 18.0, 25.0, 25.1),
    ],
)
def test_check_exits_with_7_exactly_when_a_target_is_missed(
    tmp_path: Path, workload: str, figure: str, nginx: float, met: float, missed: float
) -> None:
    beside = row("nginx", workload, {figure: nginx})
    assert check(tmp_path, beside, row("headrace", workload, {figure: met})).returncode == 0
    done = check(tmp_path, beside, row("headrace", workload, {figure: missed}))
    assert done.returncode == 7
    assert "missed" in done.stdout


@pytest.mark.parametrize(
    ("workload", "figure", "memory", "met", "missed"),
    [
        ("paced", "cpu_us", 10.0, 13.0, 13.1),
        ("paced", "delay_p50_ms", 0.5, 2.5, 2.6),
        ("paced", "delay_p99_ms", 3.0, 13.0, 13.1),
        ("light", "delay_p99_ms", 0.5, 2.5, 2.6),
    ],
)
def test_what_the_journal_adds_is_told_against_memory_and_checked(
    tmp_path: Path, workload: str, figure: str, memory: float, met: float, missed: float
) -> None:
    others = {"cpu_us": 10.0, "delay_p50_ms": 0.5, "delay_p99_ms": 3.0}
    for found, code in ((met, 0), (missed, 7)):
        beside = row("nginx", workload, {"cpu_us": 10.0}), row("headrace", workload, {**others, figure: memory})
        done = check(tmp_path, *beside, row("journal", workload, {**others, figure: found}))
        assert done.returncode == code, done.stdout
        if figure != "cpu_us":
            assert f"{found - memory:+.2f}" in done.stdout


def test_check_fails_where_a_ratio_has_nothing_to_stand_on(tmp_path: Path) -> None:
    done = check(tmp_path, row("headrace", "paced", {"cpu_us": 1}))
    assert done.returncode == 7
    assert "not measured" in done.stdout


def test_check_fails_where_a_stream_was_not_exact(tmp_path: Path) -> None:
    done = check(tmp_path, row("headrace", "whole", {"cpu_us": 1}, exact=9))
    assert done.returncode == 7
    assert "1 streams not exact (1 order)" in done.stdout


def test_check_fails_where_headrace_was_not_measured(tmp_path: Path) -> None:
    assert check(tmp_path, row("nginx", "whole", {"cpu_us": 1})).returncode == 7


def test_the_median_of_the_rounds_decides_and_a_ratio_is_made_within_its_round(tmp_path: Path) -> None:
    rows = [
        {**row(gateway, "paced", {"cpu_us": cost}), "round": turn}
        for gateway, costs in {"nginx": (10.0, 20.0, 30.0), "headrace": (20.0, 40.0, 90.0)}.items()
        for turn, cost in enumerate(costs)
    ]
    done = check(tmp_path, *rows)
    assert done.returncode == 0
    assert "2.00 (2.00–3.00)" in done.stdout
