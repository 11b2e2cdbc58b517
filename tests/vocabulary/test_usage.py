"""Usage: what may be said of numbers of two origins, and how far an estimate is from tokenizers' own counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.usage import Provenance, Usage, estimate_tokens, estimated, reported


@pytest.mark.parametrize(
    ("prompt", "completion", "together"),
    [
        ("reported", "reported", "reported"),
        ("reported", "counted", "counted"),
        ("counted", "reported", "counted"),
        ("reported", "estimated", "estimated"),
        ("estimated", "counted", "estimated"),
    ],
)
def test_numbers_together_are_as_good_as_the_weaker_of_them(
    prompt: Provenance, completion: Provenance, together: Provenance
) -> None:
    assert Usage(1, 2, prompt, completion, "groq").source == together


def test_reported_usage_names_who_reported_it() -> None:
    usage = reported(3, 2, by="groq", cached_tokens=1)
    assert (usage.total_tokens, usage.source, usage.by) == (5, "reported", "groq")
    assert (usage.cached_tokens, usage.reasoning_tokens) == (1, None)


def test_t4_an_estimate_is_marked_and_ours() -> None:
    usage = estimated(["Good morning.", "Bread?"], ["Yes", ", fresh."])
    assert (usage.source, usage.prompt_source, usage.completion_source) == ("estimated",) * 3
    assert usage.by == "headrace"
    assert (usage.prompt_tokens, usage.completion_tokens) == (
        estimate_tokens("Good morning.\nBread?"),
        estimate_tokens("Yes, fresh."),
    )


def test_how_an_answer_was_cut_does_not_change_its_estimate() -> None:
    whole = estimated([], ["It is 今天 😀 today."])
    assert estimated([], list("It is 今天 😀 today.")) == whole


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("The bakery opens at six.", 6),
        ("今天天气很好", 6),
        ("😀😀", 2),
        ("สวัสดี", 6),
        ("مرحبا بكم", 4),  # 8 letters of half a token, and a space
        ("Привет", 3),
        ("Grüße", 1),  # Latin with marks counts as Latin
        ("Now: 今天", 3),
    ],
)
def test_each_script_is_weighed_by_its_own_kind_of_token(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    assert (estimate_tokens(text) > 0) == bool(text)
    assert estimate_tokens(text) <= estimate_tokens(text + more) <= max(1, len(text + more))
