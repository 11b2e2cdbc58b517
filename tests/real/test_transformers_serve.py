"""`transformers serve` as upstream: it ignores `stream_options`, sends no `[DONE]`, and reports usage all the same."""

from __future__ import annotations

import json

import openai
import pytest
import requests
from tests.real.conftest import ANSWER_SECONDS, GREEDY, MESSAGES, PROMPT, Inference
from tests.real.doors import DOORS, events
from tests.server.conftest import Process

pytestmark = pytest.mark.parametrize("upstream", ["transformers"], indirect=True, scope="session")


def test_t4_usage_that_came_unasked_is_told_as_reported(headrace: Process, inference: Inference) -> None:
    alone = inference.chat(**GREEDY)["usage"]
    body = DOORS["typed_events"].asked("real", temperature=0, max_tokens=40)
    answer = requests.post(f"{headrace.url}/chat/basic", json=body, timeout=ANSWER_SECONDS).content
    (metadata,) = [frame for event in events(answer) if (frame := json.loads(event))["type"] == "metadata"]
    assert metadata["usage"] == {**metadata["usage"], **alone, "source": "reported"}
    assert "stream_options" not in inference.log(), "it warns of fields that it does not know"


def test_l22_the_official_sdk_is_given_usage_where_it_asks_for_it(headrace: Process, inference: Inference) -> None:
    with openai.OpenAI(base_url=f"{headrace.url}/v1", api_key="none", max_retries=0, timeout=ANSWER_SECONDS) as client:
        chunks = list(
            client.chat.completions.create(
                model="real",
                messages=[{"role": "user", "content": PROMPT}],
                stream=True,
                stream_options={"include_usage": True},
                temperature=0,
                max_tokens=40,
            )
        )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == inference.text(
        **GREEDY
    )
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 40
    assert not chunks[-1].choices


def test_l18_a_refusal_keeps_the_upstreams_status_and_words(headrace: Process) -> None:
    body = {"model": "real", "messages": MESSAGES, "no_such_field": 1}
    response = requests.post(f"{headrace.url}/v1/chat/completions", json=body, timeout=ANSWER_SECONDS)
    assert response.status_code == 422
    assert "no_such_field" in response.json()["error"]["message"]
