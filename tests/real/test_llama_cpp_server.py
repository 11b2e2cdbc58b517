"""`llama_cpp.server` as upstream. By default it breaks a stream off, with a `[DONE]`, when another request comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from tests.real.conftest import ANSWER_SECONDS, ENDLESS, GREEDY, Inference, headrace_before, llama_cpp_server
from tests.real.doors import DOORS, events
from tests.server.conftest import Process

pytestmark = pytest.mark.parametrize("upstream", ["llama_cpp"], indirect=True, scope="session")


def test_t4_usage_that_a_stream_does_not_report_is_estimated_and_that_of_a_whole_answer_reported(
    headrace: Process, inference: Inference
) -> None:
    url = f"{headrace.url}/chat/basic"
    body = DOORS["typed_events"].asked("real", temperature=0, max_tokens=40)
    answer = requests.post(url, json=body, timeout=ANSWER_SECONDS).content
    (metadata,) = [frame for event in events(answer) if (frame := json.loads(event))["type"] == "metadata"]
    assert metadata["usage"]["source"] == "estimated"
    body = DOORS["typed_events, whole"].asked("real", temperature=0, max_tokens=40)
    usage = requests.post(url, json=body, timeout=ANSWER_SECONDS).json()["usage"]
    assert usage == {**usage, **inference.chat(**GREEDY)["usage"], "source": "reported"}


def test_l15_a_stream_that_it_breaks_off_for_another_is_incomplete_though_it_says_done(headrace: Process) -> None:
    url = f"{headrace.url}/v1/chat/completions"
    with requests.post(url, json=ENDLESS, stream=True, timeout=ANSWER_SECONDS) as response:
        lines = response.iter_lines()
        said = [next(lines) for _ in range(20)]
        other = requests.post(url, json={**ENDLESS, "stream": False, "max_tokens": 4}, timeout=ANSWER_SECONDS)
        said += list(lines)
        stream = f"{headrace.url}/v1/streams/{response.headers['headrace-stream']}"
    frames = [json.loads(line[6:]) for line in said if line.startswith(b"data: {")]
    assert not [choice for frame in frames for choice in frame.get("choices", []) if choice["finish_reason"]]
    assert frames[-1]["error"]["code"] == "upstream_truncated"
    record = requests.get(stream, timeout=ANSWER_SECONDS).json()
    assert (record["ending"], record["error"]["code"]) == ("incomplete", "upstream_truncated")
    assert other.json()["choices"][0]["finish_reason"] == "length", "the other is answered"


def test_an_upstream_of_one_place_is_asked_one_at_a_time_and_both_answers_are_whole(
    upstream: str, models: Path, tmp_path: Path
) -> None:
    door = DOORS["openai_chat"]
    body = door.asked("real", temperature=0, max_tokens=400)
    with (
        llama_cpp_server(models) as inference,
        headrace_before(inference, tmp_path, upstream, max_concurrent=1) as headrace,
    ):
        url = f"{headrace.url}{door.path}"
        with requests.post(url, json=body, stream=True, timeout=ANSWER_SECONDS) as first:
            second = requests.post(url, json=body, timeout=ANSWER_SECONDS)
            said = door.read(first.content)
        alone = inference.chat(temperature=0, max_tokens=400)["choices"][0]
    assert said == door.read(second.content) == (alone["message"]["content"], "length")
