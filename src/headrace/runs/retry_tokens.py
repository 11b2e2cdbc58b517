"""The retries that an upstream is worth: a bucket of tokens for each, so that a sick one is not hammered.

    what happens                                tokens
    ─────────────────────────────────────────   ──────────────────────
    an upstream is asked again                  -1, if there is one
    that attempt did well, or said new words    +1: what it took
    any other attempt did well                  +0.2
    an attempt failed                           as they are

A hundred at the most, and at the start. While retries help they cost nothing; where they do not help, a hundred are
lost, and from then on five requests that went well pay for one more. Asking the *next* upstream costs nothing: it is
not the one that is sick. The figures are those of the AWS SDKs' standard retry mode (500 tokens, 5 for a retry, given
back by its success, 1 for every other success), with a retry as the unit.

Pure: a value that never changes, functions that give the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_RETRY_TOKENS = 100.0
FOR_A_SUCCESS = 0.2


@dataclass(frozen=True, slots=True)
class RetryTokens:
    """What is left of one upstream's retries."""

    left: float = MOST_RETRY_TOKENS

    def allow(self) -> bool:
        """Whether it may be asked again."""
        return self.left >= 1

    def taken(self) -> RetryTokens:
        """After it was decided to ask it again."""
        return RetryTokens(max(0.0, self.left - 1))

    def earned(self, *, retried: bool) -> RetryTokens:
        """After an attempt did well; `retried`: one that took a token, and helped."""
        if self.left >= MOST_RETRY_TOKENS:
            return self  # nearly always
        return RetryTokens(min(MOST_RETRY_TOKENS, self.left + (1.0 if retried else FOR_A_SUCCESS)))


ALL_RETRY_TOKENS = RetryTokens()
