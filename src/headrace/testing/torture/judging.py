"""The verdict on what a reader got: what came, held against what should have been said.

Pure. The bytes are read as the standard of server-sent events says, and as OpenAI's API says what an error and an end
are; nothing of the gateway's own is believed. May import floors 0 and 1 and its own room.

What each verdict means is in `VERDICTS`. Text is judged before anything else is believed: an error at the end excuses
no text that came twice. Within it, text that was never said outweighs all; then what came twice, then what came out of
order, then gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from headrace.testing.torture.cases import Case
from headrace.wire.sse import EventTooLarge, SSEParser

Verdict: TypeAlias = Literal[
    "ok", "explicit error", "silent truncation", "lost", "doubled", "reordered", "corrupt", "hang"
]

VERDICTS: Final[Mapping[Verdict, str]] = MappingProxyType(
    {
        "ok": "The whole answer, and the upstream's own finish reason.",
        "explicit error": "An HTTP status from 300 on, an error in the answer, or a connection that breaks before the"
        " response ends; what was said until then is right.",
        "silent truncation": "A part of the answer that ends as if it were all of it, or without a word.",
        "lost": "A piece is missing, and a later one is there.",
        "doubled": "A piece came twice.",
        "reordered": "A piece came before one that it follows.",
        "corrupt": "Something that the upstream never said, a broken character or event, or another finish reason.",
        "hang": "No end within the time allowed.",
    }
)
"""Every verdict and what it means."""

NEVER: Final[frozenset[Verdict]] = frozenset({"silent truncation", "lost", "doubled", "reordered", "corrupt", "hang"})
"""The verdicts that no gateway is excused for."""


NO_ANSWER: Final = "no answer"
"""The detail where not even a status came."""


class Transcript(msgspec.Struct, frozen=True):
    """What a reader got from the gateway."""

    status: int
    """0: no status line came."""
    content_type: str
    body: bytes
    over: Literal["complete", "broken", "timed out"]
    """`complete`: as HTTP wants it. `broken`: the connection ended first."""
    seconds: float = 0.0


class Judgement(msgspec.Struct, frozen=True):
    """The verdict on one case."""

    verdict: Verdict
    detail: str = ""
    """What in particular, for people."""
    usage: bool | None = None
    """Whether the usage told is the one that the upstream reported; `None`: the answer did not come to that."""


class _Told(NamedTuple):
    """What the body says."""

    said: dict[str, str]
    finish_reason: str | None
    error: str | None
    nonsense: str | None
    done: bool
    usage: tuple[Any, Any] | None


def judge(case: Case, transcript: Transcript) -> Judgement:
    """The verdict."""
    if transcript.status and not 200 <= transcript.status < 300 and transcript.over != "timed out":
        return Judgement("explicit error", f"HTTP {transcript.status}")
    told = _streamed(transcript) if "event-stream" in transcript.content_type else _whole(transcript)
    if (wrong := _text(case, told)) is not None:
        return wrong
    if transcript.over == "timed out":
        return Judgement("hang", f"after {transcript.seconds:.1f} s")
    if told.nonsense is not None:
        return Judgement("corrupt", told.nonsense)
    whole = all(told.said.get(channel, "") == "".join(pieces) for channel, pieces in case.said.items())
    reason = told.finish_reason
    if not whole and reason is not None and told.error is not None:
        return Judgement("silent truncation", f"finish reason {reason}, and an error only after it")
    if told.error is not None:
        return Judgement("explicit error", told.error)
    if transcript.over == "broken" and not (whole and reason is not None and told.done):
        return Judgement("explicit error", "the connection broke" if transcript.status else NO_ANSWER)
    if not whole or reason is None:
        end = "nothing said of an end" if reason is None else f"finish reason {reason}"
        return Judgement("silent truncation", f"{'all' if whole else 'a part'} of the text, {end}")
    if reason != case.finish_reason:
        return Judgement("corrupt", f"finish reason {reason} instead of {case.finish_reason}")
    return Judgement("ok", usage=told.usage == case.usage)


def _text(case: Case, told: _Told) -> Judgement | None:
    """What is wrong with what was said; `None`: it is all of it, or its beginning."""
    if strangers := [name for name, text in told.said.items() if text and name not in case.said]:
        return Judgement("corrupt", f"{strangers[0]} was never said")
    for channel, pieces in case.said.items():
        said = told.said.get(channel, "")
        if "".join(pieces).startswith(said):
            continue
        places = _places(said, pieces)
        if isinstance(places, str):
            return Judgement("corrupt", f"{channel}: {places!r} was never said")
        if len(places) > len(set(places)):
            return Judgement("doubled", f"{channel}: {_repeated(places)}")
        if places != sorted(places):
            return Judgement("reordered", f"{channel}: {places}")
        return Judgement("lost", f"{channel}: only {places} of {len(pieces)}")
    return None


def _places(said: str, pieces: Sequence[str]) -> list[int] | str:
    """Which pieces were said, in order; or what is no piece. The last may be half a piece."""
    places: list[int] = []
    at = 0
    while at < len(said):
        following = places[-1] + 1 if places else 0
        candidates = [following, *range(len(pieces))] if following < len(pieces) else range(len(pieces))
        place = next((one for one in candidates if said.startswith(pieces[one], at)), None)
        if place is None:
            rest = said[at:]
            place = next((one for one in candidates if pieces[one].startswith(rest)), None)
            if place is None:
                return rest[:60]
        places.append(place)
        at += len(pieces[place])
    return places


def _repeated(places: Sequence[int]) -> str:
    return ", ".join(str(place) for place in sorted(set(places)) if places.count(place) > 1)


def _whole(transcript: Transcript) -> _Told:
    try:
        answer = msgspec.json.decode(transcript.body)
    except (ValueError, RecursionError):
        nonsense = None if transcript.over != "complete" else f"{transcript.body[:60]!r} is no JSON"
        if not transcript.body:
            nonsense = None
        return _Told({}, None, None, nonsense, False, None)
    if not isinstance(answer, dict):
        return _Told({}, None, None, "no JSON object", True, None)
    reading = _Reading()
    reading.take(answer, "message")
    return reading.told(done=True)


def _streamed(transcript: Transcript) -> _Told:
    parser, reading, done = SSEParser(), _Reading(), False
    try:
        events = parser.feed(transcript.body)
    except EventTooLarge:
        return _Told({}, None, None, "an event without end", False, None)
    for event in events:
        if event.data == "[DONE]":
            done = True
            break
        try:
            payload = msgspec.json.decode(event.data)
        except (ValueError, RecursionError):
            reading.nonsense = reading.nonsense or f"{event.data[:60]!r} is no JSON"
            continue
        if event.type == "error" and isinstance(payload, dict) and "error" not in payload:
            payload = {"error": payload}
        reading.take(payload, "delta")
    return reading.told(done=done)


class _Reading:
    """Adds up the chunks of an answer."""

    def __init__(self) -> None:
        self.nonsense: str | None = None
        self._said: dict[str, list[str]] = {}
        self._calls: dict[Any, int] = {}
        self._finish_reason: str | None = None
        self._error: str | None = None
        self._usage: tuple[Any, Any] | None = None

    def take(self, payload: Any, key: str) -> None:
        """A chunk (`key` is `delta`) or a whole answer (`message`)."""
        if not isinstance(payload, dict):
            self.nonsense = self.nonsense or "an event that is no JSON object"
            return
        if (error := payload.get("error")) is not None:
            self._error = self._error or _words(error)
            return
        if isinstance(usage := payload.get("usage"), dict):
            self._usage = usage.get("prompt_tokens"), usage.get("completion_tokens")
        choices = payload.get("choices")
        if not isinstance(choices, list):
            self.nonsense = self.nonsense or "neither choices nor an error"
            return
        for choice in choices:
            said = choice.get(key) or {}
            if isinstance(content := said.get("content"), str):
                self._said.setdefault("text", []).append(content)
            for place, call in enumerate(said.get("tool_calls") or ()):
                index = call.get("index", place if key == "message" else None)
                # Which numbers are given is the gateway's affair; which pieces belong together is not.
                number = self._calls.setdefault(index, len(self._calls))
                arguments = (call.get("function") or {}).get("arguments") or ""
                self._said.setdefault(f"call {number}", []).append(arguments)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def told(self, *, done: bool) -> _Told:
        """All of it."""
        said = {channel: "".join(texts) for channel, texts in self._said.items()}
        said = {channel: _joined(text) for channel, text in said.items()}
        return _Told(said, self._finish_reason, self._error, self.nonsense, done, self._usage)


def _joined(text: str) -> str:
    """`text` with the halves of characters that came in two pieces put together, as JavaScript has them by itself."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _words(error: Any) -> str:
    if isinstance(error, dict):
        return f"error {error.get('code') or error.get('type') or error.get('message')}"
    return f"error {str(error)[:60]}"
