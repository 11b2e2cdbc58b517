"""Tokens in and out, and how we know them: reported by the upstream, counted by us, or estimated.

Vocabulary: imports nothing of headrace. An estimate is never shown without its mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

Provenance: TypeAlias = Literal["reported", "counted", "estimated"]

_WEAKEST_FIRST: tuple[Provenance, ...] = ("estimated", "counted", "reported")

# Scripts written without spaces, where a token is about one character: CJK, kana, Hangul, Thai, and symbols above the
# basic plane such as emoji.
_DENSE = re.compile(r"[\u0e00-\u0e7f\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00010000-\U0010ffff]")
# Other non-Latin letters come to about two characters a token with the tokenizers of 2024 to 2026.
_MIDDLING = re.compile(r"[\u0370-\u0dff\u1000-\u1fff]")


class Usage(msgspec.Struct, frozen=True, gc=False):
    """The tokens of one generation. The same fields whether it was streamed or not (row T1)."""

    prompt_tokens: int
    completion_tokens: int
    prompt_source: Provenance
    completion_source: Provenance
    by: str
    """Who said so: an upstream's name, or `headrace`."""
    cached_tokens: int | None = None
    """Prompt tokens the upstream had in its cache, where it says; part of `prompt_tokens`."""
    reasoning_tokens: int | None = None
    """Reasoning tokens, where the upstream says; part of `completion_tokens`."""
    may_have_gone_on: bool = False
    """The upstream was left midway and is not known to stop then: it may have generated, and bill, more (L5)."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def source(self) -> Provenance:
        """The weaker of the two sources: what may be said of the numbers together."""
        if self.prompt_source == self.completion_source:
            return self.prompt_source  # nearly always, and asked for every answer
        return min(self.prompt_source, self.completion_source, key=_WEAKEST_FIRST.index)


def reported(
    prompt_tokens: int,
    completion_tokens: int,
    *,
    by: str,
    cached_tokens: int | None = None,
    reasoning_tokens: int | None = None,
) -> Usage:
    """Usage as an upstream reported it."""
    return Usage(prompt_tokens, completion_tokens, "reported", "reported", by, cached_tokens, reasoning_tokens)


def summed(usages: Sequence[Usage]) -> Usage:
    """The tokens of several attempts together; what is said of each number is the weakest that holds for all."""
    if len(usages) == 1:
        return usages[0]
    cached = [usage.cached_tokens for usage in usages if usage.cached_tokens is not None]
    reasoning = [usage.reasoning_tokens for usage in usages if usage.reasoning_tokens is not None]
    sources = {usage.by for usage in usages}
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        min((usage.prompt_source for usage in usages), key=_WEAKEST_FIRST.index),
        min((usage.completion_source for usage in usages), key=_WEAKEST_FIRST.index),
        sources.pop() if len(sources) == 1 else "headrace",
        sum(cached) if cached else None,
        sum(reasoning) if reasoning else None,
        any(usage.may_have_gone_on for usage in usages),
    )


def estimated(prompt_texts: list[str], completion_texts: list[str]) -> Usage:
    """Usage guessed from the texts alone, marked as such: for upstreams that report none."""
    return Usage(
        estimate_tokens("\n".join(prompt_texts)),
        estimate_tokens("".join(completion_texts)),
        "estimated",
        "estimated",
        "headrace",
    )


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` is: four characters a token in Latin script, two in others, one in dense scripts."""
    if not text:
        return 0
    if text.isascii():
        return max(1, round(len(text) / 4))
    dense = len(_DENSE.findall(text))
    middling = len(_MIDDLING.findall(text))
    return max(1, round(dense + middling / 2 + (len(text) - dense - middling) / 4))
