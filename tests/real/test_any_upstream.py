"""What holds of every upstream: the same text, the same ending, and work that stops when nobody wants it any more."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import requests
from tests.real.conftest import ANSWER_SECONDS, ENDLESS, GREEDY, NAMES, STARTS, Inference, headrace_before
from tests.real.doors import DOORS
from tests.server.conftest import Process

from headrace.providers.catalogue import service_named


@pytest.mark.parametrize("name", DOORS)
def test_every_route_gives_the_text_and_the_ending_that_the_upstream_itself_gives(
    headrace: Process, inference: Inference, name: str
) -> None:
    door = DOORS[name]
    response = requests.post(
        f"{headrace.url}{door.path}", json=door.asked("real", temperature=0, max_tokens=40), timeout=ANSWER_SECONDS
    )
    assert response.status_code == 200, response.text
    said = door.read(response.content)
    alone = inference.chat(**GREEDY)["choices"][0]
    assert len(said.text) > 40
    assert said.text == alone["message"]["content"]
    assert said.reason in (None, alone["finish_reason"])


def test_sampling_with_a_seed_is_the_upstreams_own(headrace: Process, inference: Inference) -> None:
    door = DOORS["openai_chat"]
    texts = []
    for seed in (5, 6):
        body = door.asked("real", temperature=2, max_tokens=40, seed=seed)
        said = door.read(requests.post(f"{headrace.url}{door.path}", json=body, timeout=ANSWER_SECONDS).content)
        assert said.text == inference.text(temperature=2, max_tokens=40, seed=seed)
        texts.append(said.text)
    assert texts[0] != texts[1]


def test_a_stop_word_ends_the_answer_as_it_does_without_us(headrace: Process, inference: Inference) -> None:
    long = inference.text(**GREEDY)
    word = long[len(long) // 2 :][:3]
    alone = inference.chat(**GREEDY, stop=[word])["choices"][0]
    assert alone["finish_reason"] == "stop"
    door = DOORS["openai_chat"]
    body = door.asked("real", temperature=0, max_tokens=40, stop=[word])
    said = door.read(requests.post(f"{headrace.url}{door.path}", json=body, timeout=ANSWER_SECONDS).content)
    assert said == (alone["message"]["content"], "stop")


@pytest.mark.parametrize("how", ["the reader leaves", "the cancel route"])
def test_l1_cancelling_stops_the_work_at_the_upstream(headrace: Process, inference: Inference, how: str) -> None:
    with requests.post(
        f"{headrace.url}/v1/chat/completions", json=ENDLESS, stream=True, timeout=ANSWER_SECONDS
    ) as response:
        lines = response.iter_lines()
        for _ in range(20):
            next(lines)
        stream = f"{headrace.url}/v1/streams/{response.headers['headrace-stream']}"
        assert not inference.falls_quiet(0.5), "it works"
        if how == "the cancel route":
            assert requests.post(f"{stream}/cancel", timeout=ANSWER_SECONDS).status_code == 200
    assert inference.falls_quiet(3), "it goes on working for nobody"
    record = requests.get(stream, timeout=ANSWER_SECONDS).json()
    assert record["ending"] == "cancelled"
    assert record["usage"]["source"] == "estimated"
    assert inference.text(**GREEDY), "it is free for the next"


def test_l15_an_upstream_that_dies_in_the_middle_is_no_end(upstream: str, models: Path, tmp_path: Path) -> None:
    with (
        STARTS[upstream](models) as inference,
        headrace_before(inference, tmp_path, upstream) as headrace,
        requests.post(
            f"{headrace.url}/v1/chat/completions", json=ENDLESS, stream=True, timeout=ANSWER_SECONDS
        ) as response,
    ):
        lines = response.iter_lines()
        said = [next(lines) for _ in range(20)]
        inference.popen.kill()
        said += list(lines)
        stream = f"{headrace.url}/v1/streams/{response.headers['headrace-stream']}"
        record = requests.get(stream, timeout=ANSWER_SECONDS).json()
    frames = [json.loads(line[6:]) for line in said if line.startswith(b"data: {")]
    assert not [choice for frame in frames for choice in frame.get("choices", []) if choice["finish_reason"]]
    assert frames[-1]["error"]["code"] in ("upstream_truncated", "upstream_reset")
    assert record["ending"] == "incomplete"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_l5_the_catalogue_says_what_becomes_of_the_work_when_its_connection_closes(
    upstream: str, models: Path, tmp_path: Path, stream: bool
) -> None:
    service = service_named(NAMES[upstream])
    assert service is not None
    with STARTS[upstream](models) as inference, headrace_before(inference, tmp_path, upstream) as headrace:
        headers = {"Headrace-Stream": "the-work-goes-on-or-not"}
        url, body = f"{headrace.url}/v1/chat/completions", {**ENDLESS, "stream": stream}
        with contextlib.suppress(requests.Timeout):  # a whole answer has not even a status before its end
            requests.post(url, json=body, headers=headers, stream=True, timeout=1).close()
        requests.post(f"{headrace.url}/v1/streams/{headers['Headrace-Stream']}/cancel", timeout=ANSWER_SECONDS)
        stops = inference.falls_quiet(3)
        url = f"{headrace.url}/v1/streams/{headers['Headrace-Stream']}"
        usage = requests.get(url, timeout=ANSWER_SECONDS).json()["usage"]
    assert stops == (service.on_close == "stops" and (stream or not service.whole_goes_on))
    assert usage.get("may_have_gone_on", False) is not stops
