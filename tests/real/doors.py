"""Each of headrace's routes that generates: what is sent to it, and how text and ending are read from what comes.

Written without headrace's own parsers, as a reader of the documents would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from tests.real.conftest import MESSAGES, PROMPT


class Said(NamedTuple):
    """What an answer came to."""

    text: str
    reason: str | None
    """Why it ended; `None` where the protocol does not say."""


class Door(NamedTuple):
    """One route, one way of asking."""

    path: str
    body: Mapping[str, Any]
    read: Callable[[bytes], Said]
    ollama: bool = False
    """Whether sampling is asked for in Ollama's words."""

    def asked(self, model: str, *, temperature: float, max_tokens: int, **more: object) -> dict[str, object]:
        """The whole body."""
        if self.ollama:
            return {
                **self.body,
                "model": model,
                "options": {"temperature": temperature, "num_predict": max_tokens, **more},
            }
        return {**self.body, "model": model, "temperature": temperature, "max_tokens": max_tokens, **more}


def events(answer: bytes) -> list[str]:
    """The data of each server-sent event, lines of one event joined; the word of the end left out."""
    found = []
    for event in answer.decode().split("\n\n"):
        lines = [line[6:] for line in event.split("\n") if line.startswith("data: ")]
        if lines and lines != ["[DONE]"]:
            found.append("\n".join(lines))
    return found


def _chunks(answer: bytes, text: Callable[[Any], str | None]) -> Said:
    assert answer.endswith(b"data: [DONE]\n\n")
    choices = [choice for event in events(answer) for choice in json.loads(event)["choices"]]
    return Said(
        "".join(text(choice) or "" for choice in choices),
        next((choice["finish_reason"] for choice in choices if choice["finish_reason"]), None),
    )


def _whole(answer: bytes, text: Callable[[Any], str]) -> Said:
    (choice,) = json.loads(answer)["choices"]
    return Said(text(choice), choice["finish_reason"])


def _typed(answer: bytes) -> Said:
    frames = [json.loads(event) for event in events(answer)]
    (done,) = [frame for frame in frames if frame["type"] == "done"]
    text = "".join(frame["content"] for frame in frames if frame["type"] == "token")
    assert done["content"] == text
    return Said(text, done["finish_reason"])


def _typed_whole(answer: bytes) -> Said:
    said = json.loads(answer)
    return Said(said["content"], said["finish_reason"])


def _lines(answer: bytes, text: Callable[[Any], str]) -> Said:
    lines = [json.loads(line) for line in answer.decode().split("\n") if line]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    return Said("".join(text(line) for line in lines), lines[-1]["done_reason"])


def _tokens(answer: bytes, name: str) -> Said:
    return Said("".join(json.loads(event).get(name, "") for event in events(answer)), None)


_CHAT = {"messages": MESSAGES}


def _delta(choice: Any) -> str | None:
    return cast("str | None", choice["delta"].get("content"))


def _message(choice: Any) -> str:
    return str(choice["message"]["content"])


def _text(choice: Any) -> str:
    return str(choice["text"])


def _content(line: Any) -> str:
    return str(line["message"]["content"])


def _response(line: Any) -> str:
    return str(line["response"])


DOORS: dict[str, Door] = {
    "openai_chat": Door("/v1/chat/completions", {**_CHAT, "stream": True}, partial(_chunks, text=_delta)),
    "openai_chat, whole": Door("/v1/chat/completions", _CHAT, partial(_whole, text=_message)),
    "openai_completions": Door("/v1/completions", {"prompt": PROMPT, "stream": True}, partial(_chunks, text=_text)),
    "openai_completions, whole": Door("/v1/completions", {"prompt": PROMPT}, partial(_whole, text=_text)),
    "typed_events": Door("/chat/basic", {"query": PROMPT, "meta_params": {"stream": True}}, _typed),
    "typed_events, whole": Door("/chat/basic", {"query": PROMPT}, _typed_whole),
    "text over SSE": Door("/chat", {"prompt": PROMPT}, lambda answer: Said("".join(events(answer)), None)),
    "plain text": Door("/api/query/stream", {"question": PROMPT}, lambda answer: Said(answer.decode(), None)),
    "token frames of generate": Door("/api/generate/stream", {"prompt": PROMPT}, partial(_tokens, name="token"), True),
    "token frames of chat": Door("/api/chat/stream", {"message": PROMPT}, partial(_tokens, name="content")),
    "ollama chat": Door("/api/chat", _CHAT, partial(_lines, text=_content), True),
    "ollama generate": Door("/api/generate", {"prompt": PROMPT}, partial(_lines, text=_response), True),
    "ollama generate, whole": Door(
        "/api/generate", {"prompt": PROMPT, "stream": False}, partial(_lines, text=_response), True
    ),
}
