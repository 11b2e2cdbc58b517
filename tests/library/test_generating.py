"""`headrace.generate`: the same function in either mode, in this process, against an upstream on a real socket."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

import headrace
from headrace.errors import InvalidRequest, UnknownModel, UpstreamKeyMissing
from headrace.testing.paced import PacedAnswer
from headrace.testing.upstream import Exchange, Handler, ScriptedUpstream, role_chunk, text_chunk

DEADLINE_SECONDS = 20.0
MESSAGES = [{"role": "user", "content": "Wie heißt 東京?"}]


class Answering:
    """Answers everybody with sixteen tokens, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self._paced = PacedAnswer(16, 400)
        self.text = "".join(self._paced.texts)

    async def __call__(self, exchange: Exchange) -> None:
        self.asked.append(exchange.json())
        await self._paced(exchange)


class Hanging:
    """Says two words and then no more."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(role_chunk())
        await exchange.chunk(text_chunk("Two "))
        await exchange.chunk(text_chunk("words"))
        await exchange.left()
        self.closed.set()


async def breaking(exchange: Exchange) -> None:
    """Breaks off after a word."""
    await exchange.head()
    await exchange.chunk(role_chunk())
    await exchange.chunk(text_chunk("Half"))
    exchange.close()


async def refusing(exchange: Exchange) -> None:
    """Refuses everything."""
    await exchange.whole(b'{"error": {"message": "not today"}}', status=400)


def texts_of(answer: headrace.Answer | headrace.Deltas) -> list[str]:
    """The pieces of an answer in either mode."""
    return [answer.text] if isinstance(answer, headrace.Answer) else list(answer)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home and working directory, and no Ollama."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    monkeypatch.delenv("GROQ_API_KEY", raising=False)


@contextmanager
def lab(handler: Handler) -> Iterator[list[str]]:
    """The settings that call this upstream `lab`; it lives on an event loop of its own."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(ScriptedUpstream(handler)) as upstream,
    ):
        settings = Path("settings.toml")
        settings.write_text(f'[[upstreams]]\nname = "lab"\nbase_url = "{upstream.base_url}"\n')
        yield [str(settings)]


def test_t1_both_modes_ask_the_same_and_end_in_the_same_shape() -> None:
    answering = Answering()
    with lab(answering) as config:
        whole = headrace.generate(MESSAGES, model="lab/m", config=config)
        with headrace.generate(MESSAGES, model="lab/m", config=config, stream=True) as deltas:
            texts = list(deltas)
    streamed = deltas.answer
    assert isinstance(whole, headrace.Answer)
    assert isinstance(streamed, headrace.Answer)
    assert whole.text == streamed.text == "".join(texts) == answering.text
    assert len(texts) > 1
    assert whole.usage == streamed.usage
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.source) == (1, 16, "reported")
    assert (whole.ending, whole.model, whole.failure) == (streamed.ending, streamed.model, streamed.failure)
    assert (whole.ending, whole.model) == ("stop", "lab/m")
    assert [asked["messages"] for asked in answering.asked] == [MESSAGES, MESSAGES]
    assert [asked.get("stream", False) for asked in answering.asked] == [False, True]


@pytest.mark.anyio
async def test_t1_the_same_with_an_event_loop() -> None:
    answering = Answering()
    with lab(answering) as config:
        whole = await headrace.agenerate(MESSAGES, model="lab/m", config=config)
        async with headrace.agenerate(MESSAGES, model="lab/m", config=config, stream=True) as deltas:
            texts = [text async for text in deltas]
    assert deltas.answer is not None
    assert whole.text == deltas.answer.text == "".join(texts) == answering.text
    assert whole.usage == deltas.answer.usage


def test_t1_a_delta_is_there_before_the_upstream_sends_the_next() -> None:
    gate = threading.Event()

    async def one_by_one(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(role_chunk())
        await exchange.chunk(text_chunk("first"))
        # Were the first held back for the second, this would wait in vain.
        assert await asyncio.to_thread(gate.wait, DEADLINE_SECONDS)
        exchange.close()

    with lab(one_by_one) as config, headrace.generate("q", model="lab/m", config=config, stream=True) as deltas:
        assert next(deltas) == "first"
        gate.set()
        with pytest.raises(headrace.GenerationFailed):
            next(deltas)


def test_closing_the_iterator_cancels_the_run_up_to_the_upstream() -> None:
    hanging = Hanging()
    with lab(hanging) as config:
        deltas = headrace.generate("q", model="lab/m", config=config, stream=True)
        assert next(deltas) == "Two "
        assert not hanging.closed.is_set()
        deltas.close()
        assert hanging.closed.wait(DEADLINE_SECONDS)
    assert list(deltas) == []
    assert deltas.answer is not None
    assert deltas.answer.ending == "cancelled"
    assert "Two words".startswith(deltas.answer.text)
    assert deltas.answer.text


def test_forgetting_the_iterator_cancels_it_too() -> None:
    hanging = Hanging()
    with lab(hanging) as config:
        deltas = headrace.generate("q", model="lab/m", config=config, stream=True)
        next(deltas)
        del deltas
        gc.collect()
        assert hanging.closed.wait(DEADLINE_SECONDS)


@pytest.mark.anyio
async def test_closing_the_async_iterator_cancels_the_run_up_to_the_upstream() -> None:
    hanging = Hanging()
    with lab(hanging) as config:
        async with headrace.agenerate("q", model="lab/m", config=config, stream=True) as deltas:
            async for _ in deltas:
                break
        assert await asyncio.to_thread(hanging.closed.wait, DEADLINE_SECONDS)
    assert deltas.answer is not None
    assert deltas.answer.ending == "cancelled"


@pytest.mark.anyio
async def test_cancelling_the_task_that_waits_cancels_the_run() -> None:
    hanging = Hanging()
    with lab(hanging) as config:

        async def ask() -> None:
            async for _ in headrace.agenerate("q", model="lab/m", config=config, stream=True):
                came.set()

        came = asyncio.Event()
        asking = asyncio.create_task(ask())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await came.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await asyncio.to_thread(hanging.closed.wait, DEADLINE_SECONDS)


@pytest.mark.anyio
async def test_it_may_be_called_where_an_event_loop_is_running() -> None:
    assert "offset" in headrace.generate("What is an offset?").text.lower()


def test_without_settings_the_offline_provider_answers_with_its_sources() -> None:
    answer = headrace.generate("What is an offset?")
    assert (answer.model, answer.ending) == ("offline", "stop")
    assert answer.sources[0].number == 1
    assert answer.timing.time_to_first_token_ns is not None


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_said_before_a_failure_is_kept(stream: bool) -> None:
    with lab(breaking) as config, pytest.raises(headrace.GenerationFailed) as raised:
        # Asked for a whole answer, this upstream streams half of one all the same.
        texts_of(headrace.generate("q", model="lab/m", config=config, stream=stream))
    assert raised.value.answer.text == "Half"
    assert raised.value.answer.ending == "incomplete"
    assert raised.value.failure().code == "upstream_truncated"


def test_a_refusal_says_why() -> None:
    with lab(refusing) as config, pytest.raises(headrace.GenerationFailed, match="not today") as raised:
        headrace.generate("q", model="lab/m", config=config)
    assert raised.value.answer.ending == "error"


def test_a_streamed_answer_raises_while_it_is_iterated() -> None:
    deltas = headrace.generate("q", model="nobody", stream=True)
    with pytest.raises(UnknownModel, match="nobody"):
        next(deltas)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"prompt": []}, InvalidRequest, "messages"),
    ({"prompt": [{"content": "no role"}]}, InvalidRequest, "role"),
    ({"prompt": "q", "max_tokens": 0}, InvalidRequest, "max_tokens"),
    ({"prompt": "q", "n": 2}, InvalidRequest, "one answer"),
    ({"prompt": "q", "temperature": object()}, InvalidRequest, "JSON"),
    ({"prompt": "q", "model": "groq/llama-3.1-8b-instant"}, UpstreamKeyMissing, "GROQ_API_KEY"),
]


@pytest.mark.parametrize(("arguments", "error", "words"), WRONG)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        headrace.generate(**arguments)


def test_instructions_and_other_fields_go_to_the_upstream() -> None:
    answering = Answering()
    with lab(answering) as config:
        headrace.generate("hi", model="lab/m", config=config, system="Be brief.", max_tokens=7, temperature=0.5)
    (asked,) = answering.asked
    assert [message["content"] for message in asked["messages"]] == ["Be brief.", "hi"]
    assert (asked["max_tokens"], asked["temperature"]) == (7, 0.5)


def test_a_limit_of_time_ends_the_answer() -> None:
    with lab(Hanging()) as config, pytest.raises(headrace.GenerationFailed) as raised:
        headrace.generate("q", model="lab/m", config=config, stream=False, timeout_seconds=0.2)
    assert raised.value.failure().code == "total_timeout"


def test_a_program_that_ends_does_not_wait_for_its_answer() -> None:
    hanging = Hanging()
    with lab(hanging):
        program = (
            "import headrace\n"
            "deltas = headrace.generate('q', model='lab/m', config=['settings.toml'], stream=True)\n"
            "print(next(deltas))\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_SECONDS
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Two \n", "")
        assert hanging.closed.wait(DEADLINE_SECONDS)


def test_ctrl_c_cancels_the_run_up_to_the_upstream() -> None:
    asked = threading.Event()
    hanging = Hanging()

    async def handler(exchange: Exchange) -> None:
        asked.set()
        await hanging(exchange)

    with lab(handler):
        program = "import headrace; headrace.generate('q', model='lab/m', config=['settings.toml'])"
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        assert asked.wait(DEADLINE_SECONDS)
        process.send_signal(signal.SIGINT)
        complaints = process.communicate(timeout=DEADLINE_SECONDS)[1]
        assert complaints.splitlines()[-1] == "KeyboardInterrupt"
        assert hanging.closed.wait(DEADLINE_SECONDS)


def test_every_public_name_is_found_and_no_other() -> None:
    for name in headrace.__all__:
        assert getattr(headrace, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        headrace.nothing  # type: ignore[attr-defined]  # noqa: B018 - that it is not there is what is tested
