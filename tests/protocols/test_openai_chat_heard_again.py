"""What our encoder for OpenAI's chat API writes, our provider for it and the official SDK read back as it was."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headrace.errors import UpstreamRefused
from headrace.events import (
    Ended,
    Ending,
    Event,
    Failure,
    Passthrough,
    ReasoningDelta,
    Source,
    Sources,
    Started,
    Status,
    TextDelta,
    ToolCallDelta,
    UsageKnown,
)
from headrace.folding import fold
from headrace.protocols.openai_chat import OpenAIChat
from headrace.providers.openai_hearing import Hearing
from headrace.requests import ReaderOptions
from headrace.usage import Usage, reported

PROTOCOL = OpenAIChat()
EVERYTHING = ReaderOptions(include_usage=True)
STARTED = Started("0123456789abcdef0123456789abcdef", "fast", 1_795_168_800_000_000_000)
CANCELLED = Failure("cancelled", "the answer was cancelled", 499)

AWKWARD = '\n\r\t\0\x0b\x85\u2028\u2029"\\/今é😀\U0010ffff'
texts = st.text(st.sampled_from(AWKWARD) | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
small_json = st.one_of(
    st.integers(-9, 9), texts, st.lists(texts, max_size=2), st.dictionaries(texts, texts, max_size=2)
)
endings: st.SearchStrategy[Ending] = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
usages = st.builds(
    reported,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    by=st.just("groq"),
    cached_tokens=st.integers(0, 9),
    reasoning_tokens=st.integers(0, 9),
)


def kept(fields: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}


@st.composite
def tool_calls(draw: st.DrawFn, choice: int) -> list[Event]:
    """Tool calls with arguments cut anywhere, one after the other or, once they have begun, in turns."""
    beginnings: list[Event] = []
    pieces: list[list[Event]] = []
    for index in range(draw(st.integers(0, 2))):
        arguments = json.dumps(draw(st.dictionaries(texts, texts, max_size=2)), ensure_ascii=False)
        cuts = sorted({0, len(arguments), *draw(st.lists(st.integers(0, len(arguments)), max_size=3))})
        beginnings.append(ToolCallDelta(index, f"call_{choice}_{index}", draw(texts), choice=choice))
        pieces.append(
            [ToolCallDelta(index, arguments=arguments[start:end], choice=choice) for start, end in pairwise(cuts)]
        )
    if draw(st.booleans()):
        in_turns = [piece for turn in zip_longest(*pieces) for piece in turn if piece is not None]
        return [*beginnings, *in_turns]
    return [event for begun, rest in zip(beginnings, pieces, strict=True) for event in (begun, *rest)]


def one_choice(choice: int) -> st.SearchStrategy[list[Event]]:
    """What one choice says."""
    said = st.one_of(
        st.builds(TextDelta, texts, st.just(choice)),
        st.builds(ReasoningDelta, texts, st.just(choice)),
        st.builds(
            lambda logprobs, audio: Passthrough(
                "openai_chat", kept({"logprobs": logprobs}), kept({"audio": audio}), choice
            ),
            small_json,
            small_json,
        ),
    )
    return st.builds(lambda first, last: [*first, *last], st.lists(said, max_size=5), tool_calls(choice))


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Answers of one to three choices that ended by themselves."""
    count = draw(st.integers(1, 3))
    queues = [draw(one_choice(choice)) for choice in range(count)]
    said: list[Event] = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        said.append(queue.pop(0))
    words = [draw(endings) for _ in range(count)]
    several = tuple(enumerate(words)) if count > 1 else ()
    return [STARTED, *said, UsageKnown(draw(usages)), Ended(words[0], choices=several)]


def sent(events: Sequence[Event], options: ReaderOptions = EVERYTHING) -> bytes:
    return PROTOCOL.framing.frame(PROTOCOL.encoder(options).encode(0, events))


def chunks(events: Sequence[Event], options: ReaderOptions = EVERYTHING) -> list[dict[str, Any]]:
    """All records but the last, `[DONE]`."""
    frames = sent(events, options).decode().removesuffix("\n\n").split("\n\n")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]


def heard(data: bytes, *, choices: int, cuts: Iterable[int] = ()) -> list[Event]:
    """The events our provider hears in these bytes, cut at these places, with the ending behind."""
    hearing = Hearing("groq", choices=choices)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    events = [event for start, end in pairwise(edges) for event in hearing.feed([data[start:end]])]
    events += hearing.finish()
    if hearing.failure is not None:
        raise hearing.failure
    return [*events, hearing.ended()]


def comparable(events: Iterable[Event]) -> list[object]:
    """What was passed through as the values it means: how JSON spells them is not what is compared."""
    return [
        (event.choice, decoded(event.fields), decoded(event.delta_fields)) if isinstance(event, Passthrough) else event
        for event in events
    ]


def decoded(fields: dict[str, msgspec.Raw]) -> dict[str, object]:
    return {name: msgspec.json.decode(value) for name, value in fields.items()}


@given(events=answers(), cuts=st.lists(st.integers(0, 10**5), max_size=5))
def test_what_we_write_our_provider_hears_as_the_same_events(events: list[Event], cuts: list[int]) -> None:
    last = events[-1]
    assert isinstance(last, Ended)
    again = heard(sent(events), choices=max(1, len(last.choices)), cuts=cuts)
    assert comparable(again) == comparable(events[1:])


@given(events=answers())
def test_what_we_write_whole_our_provider_hears_as_the_same_answer(events: list[Event]) -> None:
    last = events[-1]
    assert isinstance(last, Ended)
    hearing = Hearing("groq", choices=max(1, len(last.choices)))
    again = [*hearing.hear_whole(PROTOCOL.whole(events, EVERYTHING)), *hearing.finish()]
    assert hearing.failure is None
    assert hearing.ended() == last
    assert summary([*again, hearing.ended()]) == summary(events[1:])


def summary(events: Sequence[Event]) -> object:
    answer = fold(events)
    said = {
        index: (
            "".join(choice.text),
            "".join(choice.reasoning),
            [(call.id, call.name, "".join(call.arguments)) for _, call in sorted(choice.tool_calls.items())],
        )
        for index, choice in sorted(answer.choices.items())
    }
    return said, answer.usage, answer.ended


@given(events=answers(), ending=st.sampled_from(["cancelled", "incomplete", "interrupted", "error"]))
def test_l15_what_broke_off_is_heard_as_broken_off(events: list[Event], ending: Ending) -> None:
    hearing = Hearing("headrace", choices=3)
    broken = [*events[:-1], Ended(ending, CANCELLED)]
    again = [*hearing.feed([sent(broken)]), *hearing.finish()]
    failure = hearing.failure
    assert isinstance(failure, UpstreamRefused)
    assert failure.upstream_code == "cancelled"
    assert "the answer was cancelled" in failure.message
    # The text that came before stands.
    assert fold(again).text == fold(broken).text


@given(events=answers(), include_usage=st.booleans())
def test_the_official_sdks_types_accept_every_chunk_strictly(events: list[Event], include_usage: bool) -> None:
    for chunk in chunks(without_passthrough(events), ReaderOptions(include_usage=include_usage)):
        read = ChatCompletionChunk.model_validate(chunk, strict=True)
        assert read.model_dump(mode="json", exclude_unset=True, by_alias=True) == chunk


@given(events=answers())
def test_the_official_sdks_types_accept_a_whole_answer_strictly(events: list[Event]) -> None:
    whole = json.loads(PROTOCOL.whole(without_passthrough(events), EVERYTHING))
    read = ChatCompletion.model_validate(whole, strict=True)
    assert read.model_dump(mode="json", exclude_unset=True, by_alias=True) == whole


@given(events=answers())
def test_what_the_official_sdk_adds_up_from_a_stream_is_what_it_gets_whole(events: list[Event]) -> None:
    events = without_passthrough(events)
    state = ChatCompletionStreamState()
    for chunk in chunks(events):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    added_up = state.current_completion_snapshot
    whole = ChatCompletion.model_validate(json.loads(PROTOCOL.whole(events, EVERYTHING)))
    assert (added_up.id, added_up.created, added_up.model, added_up.usage) == (
        whole.id,
        whole.created,
        whole.model,
        whole.usage,
    )
    assert [told(choice) for choice in added_up.choices] == [told(choice) for choice in whole.choices]


def told(choice: Any) -> object:
    message = choice.message
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    reasoning = getattr(message, "reasoning_content", None), getattr(message, "reasoning", None)
    return choice.index, choice.finish_reason, message.role, message.content or "", calls, reasoning


def without_passthrough(events: Sequence[Event]) -> list[Event]:
    # What is passed through here is made up, and not of the shape that the SDK's types give to those names.
    return [event for event in events if not isinstance(event, Passthrough)]


@given(events=answers(), include_usage=st.booleans())
def test_every_stream_keeps_the_rules_that_clients_rely_on(events: list[Event], include_usage: bool) -> None:
    last = events[-1]
    assert isinstance(last, Ended)
    sent_chunks = chunks(events, ReaderOptions(include_usage=include_usage))
    assert {(each["id"], each["object"], each["created"], each["model"]) for each in sent_chunks} == {
        ("chatcmpl-" + STARTED.stream_id, "chat.completion.chunk", 1_795_168_800, "fast")
    }
    by_choice: dict[int, list[dict[str, Any]]] = {}
    for each in sent_chunks:
        for choice in each["choices"]:
            by_choice.setdefault(choice["index"], []).append(choice)
    assert by_choice.keys() == set(range(max(1, len(last.choices))))
    for index, told_chunks in by_choice.items():
        # Each choice begins with its role and ends with its finish reason, once each.
        assert [each["delta"].get("role") for each in told_chunks] == ["assistant"] + [None] * (len(told_chunks) - 1)
        reasons = [each["finish_reason"] for each in told_chunks]
        assert reasons == [None] * (len(reasons) - 1) + [dict(last.choices).get(index, last.ending)]
    usage_chunks = [each for each in sent_chunks if not each["choices"]]
    if include_usage:
        # L22: one, behind all others, which say that it is still to come.
        assert usage_chunks == sent_chunks[-1:]
        assert [each["usage"] for each in sent_chunks[:-1]] == [None] * (len(sent_chunks) - 1)
    else:
        assert not usage_chunks
        assert not any("usage" in each for each in sent_chunks)


@pytest.mark.parametrize("n", [1, 3])
def test_choices_that_never_said_a_word_are_finished_all_the_same(n: int) -> None:
    words: tuple[Ending, ...] = ("stop", "length", "content_filter")
    several = tuple(enumerate(words)) if n == 3 else ()
    events: list[Event] = [STARTED, UsageKnown(reported(3, 0, by="groq")), Ended("stop", choices=several)]
    assert heard(sent(events), choices=n)[-1] == events[-1]
    whole = json.loads(PROTOCOL.whole(events, EVERYTHING))
    assert [(each["index"], each["finish_reason"], each["message"]["content"]) for each in whole["choices"]] == [
        (index, word, "") for index, word in enumerate(words[:n])
    ]


def test_what_openai_has_no_word_for_stands_under_a_key_of_its_own_that_the_sdk_keeps() -> None:
    source = Source(1, "doc#1", "Bread", "Bake it.", 0.8)
    usage = Usage(3, 2, "estimated", "estimated", "headrace")
    events: list[Event] = [STARTED, Status("searching", "…"), Sources((source,)), TextDelta("Yes")]
    events += [UsageKnown(usage), Ended("stop")]
    read = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks(events)]
    assert [(each.model_extra or {}).get("headrace") for each in read] == [
        None,
        None,
        {"sources": [{"n": 1, "id": "doc#1", "title": "Bread", "passage": "Bake it.", "score": 0.8}]},
        {"usage": {"source": "estimated", "by": "headrace"}},
    ]
