"""The log line of a generation: what may be known of it by whoever reads logs, and nothing that was said (T4)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from headrace.events import Ended, Event, Failure, Started, TextDelta, UsageKnown
from headrace.observers import request_log
from headrace.observers.request_log import RequestLog, facts
from headrace.requests import GenerationRequest, Message
from headrace.streams.memory import MemoryStore, MemoryStream
from headrace.testing.clock import ManualClock
from headrace.timing import Timing
from headrace.usage import Usage, reported

pytestmark = pytest.mark.anyio

USAGE = UsageKnown(reported(3, 2, by="groq"))
TIMING = Timing(812_340_000, time_to_first_token_ns=90_060_000)
FAILURE = Failure("upstream_reset", "groq broke off after 'a secret'", 502, upstream="groq")


def ended_stream(*events: Event, stream: bool = True) -> MemoryStream:
    store = MemoryStore(ManualClock(), 3600)
    request = GenerationRequest("fast", (Message("user", "a secret question"),), stream=stream)
    made = store.create("s", "ann", request)
    made.append([Started("s", "fast", 0), TextDelta("a secret answer"), *events])
    return made


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["facts"] for record in caplog.records]


@pytest.mark.parametrize(
    ("events", "stream", "expected"),
    [
        (
            [USAGE, Ended("stop", timing=TIMING)],
            True,
            {
                "stream": "s",
                "model": "fast",
                "mode": "stream",
                "ending": "stop",
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "usage": "reported",
                "duration_ms": 812.3,
                "ttft_ms": 90.1,
            },
        ),
        (
            [
                USAGE,
                UsageKnown(Usage(3, 9, "reported", "estimated", "headrace")),
                Ended("incomplete", FAILURE, Timing(5_000_000)),
            ],
            False,
            {
                "stream": "s",
                "model": "fast",
                "mode": "whole",
                "ending": "incomplete",
                "code": "upstream_reset",
                "upstream": "groq",
                "prompt_tokens": 3,
                "completion_tokens": 9,
                "usage": "estimated",
                "duration_ms": 5.0,
            },
        ),
        (
            [Ended("cancelled", Failure("cancelled", "cancelled", 499))],
            True,
            {"stream": "s", "model": "fast", "mode": "stream", "ending": "cancelled", "code": "cancelled"},
        ),
    ],
    ids=["a whole answer", "a cut answer", "next to nothing known"],
)
def test_t4_the_line_says_model_mode_tokens_duration_ttft_and_ending(
    events: Sequence[Event], stream: bool, expected: dict[str, Any]
) -> None:
    assert facts(ended_stream(*events, stream=stream)) == expected


async def test_what_was_asked_and_answered_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog(asyncio.get_running_loop())
    with caplog.at_level(logging.INFO, "headrace.requests"):
        log.ended(ended_stream(USAGE, Ended("error", FAILURE, TIMING)))
        log.flush()
    [record] = caplog.records
    assert record.name == "headrace.requests"
    assert "secret" not in repr(vars(record))


@pytest.mark.parametrize(
    ("ended", "level", "message"),
    [
        (Ended("stop"), logging.INFO, "answered"),
        (Ended("length"), logging.INFO, "answered"),
        (Ended("cancelled", FAILURE), logging.INFO, "cancelled"),
        (Ended("incomplete", FAILURE), logging.WARNING, "failed"),
        (Ended("error", FAILURE), logging.WARNING, "failed"),
    ],
)
async def test_a_line_says_first_how_it_ended_and_what_failed_is_a_warning(
    caplog: pytest.LogCaptureFixture, ended: Ended, level: int, message: str
) -> None:
    log = RequestLog(asyncio.get_running_loop())
    with caplog.at_level(logging.INFO, "headrace.requests"):
        log.ended(ended_stream(ended))
        log.flush()
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (level, message)


async def test_where_only_warnings_are_written_what_failed_is_written(caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog(asyncio.get_running_loop())
    with caplog.at_level(logging.WARNING, "headrace.requests"):
        for ended in (Ended("error", FAILURE), Ended("stop")):
            log.ended(ended_stream(ended))
        log.flush()
    assert [(line["ending"], line["code"]) for line in lines(caplog)] == [("error", "upstream_reset")]
    assert [vars(record)["more_follow"] for record in caplog.records] == [False]


async def test_the_lines_of_many_generations_are_written_together_and_the_last_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = RequestLog(asyncio.get_running_loop())
    with caplog.at_level(logging.INFO, "headrace.requests"):
        for _ in range(3):
            log.ended(ended_stream(Ended("stop")))
        assert not caplog.records
        log.flush()
        assert [vars(record)["more_follow"] for record in caplog.records] == [True, True, False]
        log.flush()
    assert len(lines(caplog)) == 3


async def test_lines_are_written_by_themselves_each_time_some_were_gathered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "GATHERED_SECONDS", 0)
    log = RequestLog(asyncio.get_running_loop())
    with caplog.at_level(logging.INFO, "headrace.requests"):
        for written in (1, 2):
            log.ended(ended_stream(Ended("stop")))
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(lines(caplog)) == written


async def test_nothing_is_gathered_that_would_not_be_written(caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog(asyncio.get_running_loop())
    with caplog.at_level(logging.WARNING, "headrace.requests"):
        log.ended(ended_stream(Ended("stop")))
    with caplog.at_level(logging.INFO, "headrace.requests"):
        log.flush()
    assert not caplog.records
