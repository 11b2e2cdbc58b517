"""Going on with an answer that broke off: when that is possible, and what the next attempt is asked.

The next attempt is given what was said as the beginning of its own answer (*prefill*), in the way its upstream has for
it (`prefill` in the settings, else the column of `headrace.providers.catalogue`):

    continue_final_message   vLLM, SGLang: the assistant's message last, and the two fields of their chat templates
    prefix                   Mistral, DeepSeek (beta): the assistant's message last, marked with `prefix`
    assistant                llama.cpp, Ollama: the assistant's message last, and nothing else
    prompt                   any other, where `continue_prompt` is set: a message after it asks to go on (L25)

Never goes on what a model may not be cut in the middle of: tool calls, reasoning, structured output, several choices,
probabilities of tokens, audio (L25). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from headrace.events import Event, ReasoningDelta, Status, TextDelta, ToolCallDelta
from headrace.interfaces import Stream
from headrace.requests import GenerationRequest, Interruption, Message
from headrace.runs.seam import Seam
from headrace.runs.upstreams import Candidate

Way: TypeAlias = Literal["continue_final_message", "prefix", "assistant", "prompt"]

MOST_CONTINUATIONS = 8
"""How many times one answer is gone on with: an upstream that breaks off after every few words helps nobody."""

CONTINUE_PROMPT = (
    "Your last message was cut off. Go on exactly where it ends, in the middle of a word if need be: repeat nothing,"
    " and say nothing about the interruption."
)

_TRUE, _FALSE = msgspec.Raw(b"true"), msgspec.Raw(b"false")
_NOTHING = frozenset({b"null", b"false", b"0", b"[]", b"{}", b'""'})
# What asks for output of a certain form: vLLM's names, llama.cpp's, SGLang's. And what belongs to tokens one by one.
_FORMS = (
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "grammar",
    "json_schema",
    "regex",
    "ebnf",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "audio",
)


def policy_of(request: GenerationRequest, candidate: Candidate) -> Interruption:
    """What is done when an answer breaks off: as the request wants it, else as the model's entry does."""
    return request.on_interruption or candidate.on_interruption


def way_of(candidate: Candidate) -> Way | None:
    """How an upstream can be given what was said; `None`: it cannot."""
    if candidate.upstream.prefill != "none":
        return candidate.upstream.prefill
    return "prompt" if candidate.continue_prompt else None


def can_go_on(request: GenerationRequest, said: Iterable[Event]) -> bool:
    """Whether the answer to `request`, of which `said` was shown, is one that somebody else can go on with."""
    if not request.stream or not request.messages or request.messages[-1].role == "assistant":
        return False
    for event in said:
        if isinstance(event, ReasoningDelta | ToolCallDelta) or (isinstance(event, TextDelta) and event.choice):
            return False
    fields = request.fields
    if any(name in fields and bytes(fields[name]) not in _NOTHING for name in _FORMS):
        return False
    if "n" in fields and bytes(fields["n"]) not in (b"null", b"1"):
        return False
    wanted = fields.get("response_format")
    return wanted is None or msgspec.json.decode(wanted) in (None, {"type": "text"})


def candidate_after_restart(stream: Stream, candidates: Sequence[Candidate]) -> Candidate | None:
    """Who goes on with a stream whose server stopped: the one that was turned to last; `None`: nobody can.

    Only where its reader wished it to be carried on without one (`on_disconnect`).
    """
    request, events = stream.request, stream.appended()
    if request.on_disconnect != "continue" or not events:
        return None
    turns = sum(isinstance(event, Status) and event.phase == "continued" for event in events)
    if turns >= MOST_CONTINUATIONS or not text_said(events).strip() or not can_go_on(request, events):
        return None
    last = asked_last(events)
    candidate = next((each for each in candidates if last in (None, each.full_name)), None)
    if candidate is None or way_of(candidate) is None or policy_of(request, candidate) == "end":
        return None
    return candidate


def text_said(events: Iterable[Event]) -> str:
    """The text that was shown."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def request_to_go_on(request: GenerationRequest, said: str, way: Way, *, tokens_said: int) -> GenerationRequest:
    """What the next attempt is asked: `request`, with `said` as the beginning of its answer.

    `tokens_said` is what was shown in tokens: the most that may be generated is lower by that, and never below 1.
    """
    fields = request.fields
    # Without the white space at its end: services refuse it, or drop it unsaid (`headrace.runs.seam`).
    last = Message("assistant", said.rstrip(), {"prefix": _TRUE} if way == "prefix" else {})
    more = (last, Message("user", CONTINUE_PROMPT)) if way == "prompt" else (last,)
    if way == "continue_final_message":
        fields = {**fields, "continue_final_message": _TRUE, "add_generation_prompt": _FALSE}
    limit = request.max_tokens
    return msgspec.structs.replace(
        request,
        messages=(*request.messages, *more),
        fields=fields,
        max_tokens=None if limit is None else max(1, limit - tokens_said),
    )


def seam_of(said: str, way: Way) -> Seam:
    """What holds the next attempt against `said`. With `prefix`, a service may repeat all of it, however short."""
    return Seam(said, least_whole=1 if way == "prefix" else 8)


def asked_last(events: Iterable[Event]) -> str | None:
    """The `upstream/model` that `events` say was turned to last; `None`: they tell of no turn."""
    turns = [event.destination for event in events if isinstance(event, Status) and event.destination is not None]
    return turns[-1] if turns else None
