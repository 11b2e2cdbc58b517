"""What estimates of tokens are multiplied by: how far those before were off, for each model of an upstream (row T4).

Where an upstream reports what an answer took, the same answer is estimated as well, and the ratio of the two is kept as
a running mean: of all answers while there are few, of about the last 32 once there are more. An estimate that was made
better like this is still one, and marked so. Of the answers of a busy model one in sixty-four is looked at. Pure but
for what `Calibrations` keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from headrace.usage import Usage

REMEMBERED_ANSWERS = 32
LOOKED_AT_AT_FIRST = 32
LOOKED_AT_THEN = 64
# What lies outside was no measurement of the same thing: a model that thinks unseen, a prompt from a cache.
LEAST_RATIO, MOST_RATIO = 0.25, 4.0
MOST_MODELS = 1000


@dataclass(frozen=True, slots=True)
class Calibration:
    """How many tokens an upstream counts for one that was estimated."""

    prompt: float = 1.0
    completion: float = 1.0
    answers: int = 0
    """How many were looked at."""

    def learned(self, said: Usage, estimate: Usage) -> Calibration:
        """After an answer of which the upstream said this, and which was estimated at that."""
        answers = self.answers + 1
        weight = 1 / min(answers, REMEMBERED_ANSWERS)
        return Calibration(
            _closer(self.prompt, said.prompt_tokens, estimate.prompt_tokens, weight),
            _closer(self.completion, said.completion_tokens, estimate.completion_tokens, weight),
            answers,
        )

    def applied(self, estimate: Usage) -> Usage:
        """A better estimate, marked as one."""
        return msgspec.structs.replace(
            estimate,
            prompt_tokens=_scaled(estimate.prompt_tokens, self.prompt),
            completion_tokens=_scaled(estimate.completion_tokens, self.completion),
        )


NOT_CALIBRATED = Calibration()


class Calibrations:
    """Those of all models of one upstream."""

    def __init__(self) -> None:
        self._by_model: dict[str, Calibration] = {}
        self._passed_over = 0

    def of(self, model: str) -> Calibration:
        """What is known of this model."""
        return self._by_model.get(model, NOT_CALIBRATED)

    def is_due(self, model: str) -> bool:
        """Whether the answer of this model that has just been reported is to be looked at."""
        known = self._by_model.get(model)
        if known is None:
            return len(self._by_model) < MOST_MODELS
        self._passed_over += 1
        return known.answers < LOOKED_AT_AT_FIRST or self._passed_over % LOOKED_AT_THEN == 0

    def learn(self, model: str, said: Usage, estimate: Usage) -> None:
        """Takes in what an upstream said of an answer, and what it was estimated at."""
        self._by_model[model] = self.of(model).learned(said, estimate)


def _closer(ratio: float, said: int, estimated: int, weight: float) -> float:
    if said <= 0 or estimated <= 0:
        return ratio
    return ratio + (min(MOST_RATIO, max(LEAST_RATIO, said / estimated)) - ratio) * weight


def _scaled(tokens: int, ratio: float) -> int:
    return max(1, round(tokens * ratio)) if tokens else 0
