"""The upstreams that are configured, and which of them a model name leads to."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from headrace.errors import UnknownModel, UpstreamError, UpstreamKeyMissing
from headrace.interfaces import Provider
from headrace.requests import Interruption, Timeouts
from headrace.runs.calibration import Calibrations
from headrace.runs.circuit import CLOSED, Circuit
from headrace.runs.first_tokens import FirstTokens
from headrace.runs.recovery import UNWELL, kind_of
from headrace.runs.retry_tokens import ALL_RETRY_TOKENS, RetryTokens
from headrace.runs.tokenizer import Tokenizer
from headrace.settings import Prefill


@dataclass(slots=True)
class Upstream:
    """One configured place tokens come from."""

    name: str
    provider: Provider
    timeouts: Timeouts
    places: asyncio.Semaphore | None = None
    """Limits the runs that use it at once; `None`: no limit."""
    prefill: Prefill = "none"
    """How it takes the beginning of an answer that it shall go on with."""
    state: Literal["unused", "well", "unwell"] = "unused"
    """How it was when it was last asked."""
    detail: str | None = None
    """What went wrong then, where something did."""
    may_go_on: Literal["never", "whole answers", "always"] = "never"
    """Whether, left in the middle, it may go on generating all the same; `whole answers`: unless they are streamed."""
    least_per_second: float = 0.0
    """The characters that it has to say in a second while it begins, where another could be asked; 0: any number."""
    circuit: Circuit = CLOSED
    """Whether it is left alone for a while."""
    retry_tokens: RetryTokens = ALL_RETRY_TOKENS
    """How many more times it may be asked again."""
    first_tokens: FirstTokens = field(default_factory=FirstTokens)
    """How long its models take to begin, where a model is hedged."""
    calibrations: Calibrations = field(default_factory=Calibrations)
    """How far estimates of its tokens are off."""

    @classmethod
    def limited(
        cls, name: str, provider: Provider, timeouts: Timeouts, most: int | None, prefill: Prefill | None = None
    ) -> Upstream:
        """An upstream that at most `most` runs use at once; the others wait. `None`: no limit."""
        places = None if most is None else asyncio.Semaphore(most)
        return cls(name, provider, timeouts, places, prefill or "none")

    def goes_on_unread(self, *, streamed: bool) -> bool:
        """Whether it may go on generating an answer whose connection is closed (L5)."""
        return self.may_go_on == "always" or (self.may_go_on == "whole answers" and not streamed)

    def begin(self, now_ns: int) -> bool:
        """An attempt begins; whether it is the one that tries out an upstream that was left alone."""
        if (before := self.circuit) is CLOSED:
            return False
        self.circuit = before.tried(now_ns)
        return self.circuit is not before

    def was_well(self, *, retried: bool = False) -> None:
        """It answered; `retried`: to an attempt that took a retry token."""
        self.state, self.detail = "well", None
        self.circuit = self.circuit.succeeded()
        self.retry_tokens = self.retry_tokens.earned(retried=retried)

    def was_unwell(self, detail: str) -> None:
        """It did not do its part."""
        self.state, self.detail = "unwell", detail

    def failed(self, error: UpstreamError, now_ns: int, *, trial: bool) -> None:
        """An attempt failed; `trial`: the one that tried it out."""
        kind = kind_of(error)
        if kind == "refused":
            self.was_well()  # the fault is the request's
            return
        self.was_unwell(error.message)
        if kind in UNWELL:
            self.circuit = self.circuit.failed(now_ns, trial=trial)
        elif trial:
            self.let_go()

    def retry_helped(self) -> None:
        """An attempt that took a retry token said something new, though it broke off later."""
        self.retry_tokens = self.retry_tokens.earned(retried=True)

    def let_go(self) -> None:
        """The attempt that tried it out ended without telling anything."""
        self.circuit = self.circuit.let_go()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An upstream, and what it calls the model."""

    upstream: Upstream
    model: str
    tokenizer: Tokenizer | None = None
    """Counts the tokens that the upstream does not report; `None`: they are estimated."""
    on_interruption: Interruption = "continue_same"
    """What is done when an answer breaks off, where the request does not say."""
    continue_prompt: bool = False
    """Whether it is asked in words to go on with an answer, where it takes no beginning."""
    hedge: bool = False
    """Whether a second attempt is made where the first is slow to begin."""
    context_tokens: int | None = None
    """How many tokens it takes, question and answer together; `None`: that is not known."""

    @property
    def full_name(self) -> str:
        """How a reader would ask for it: `upstream/model`."""
        return f"{self.upstream.name}/{self.model}"


@dataclass(frozen=True, slots=True)
class Models:
    """What readers may ask for.

    `named` holds the models of the settings, each with its candidates in the order of failover. Beside them
    `upstream/model` leads to any model of any upstream. The name `*` catches all others.
    """

    upstreams: Mapping[str, Upstream]
    named: Mapping[str, Sequence[Candidate]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    """Names of upstreams that there would be, were a key set → the variable that lacks it."""

    def names(self) -> list[str]:
        """The names that are configured, in their order."""
        return [name for name in self.named if name != "*"]

    @property
    def default(self) -> str:
        """The model that answers where none is named: the first."""
        return next(iter(self.names()))

    def candidates(self, name: str) -> Sequence[Candidate]:
        """Where the model of that name is, in the order of failover.

        Raises:
            UnknownModel: nowhere; the message suggests what may have been meant.
            UpstreamKeyMissing: to an upstream that there would be, were its key set.
        """
        if (found := self.named.get(name)) is not None:
            return found
        upstream, slash, model = name.partition("/")
        if slash and model and upstream in self.upstreams:
            return [Candidate(self.upstreams[upstream], model)]
        if (anything := self.named.get("*")) is not None:
            return [replace(each, model=name) if each.model == "*" else each for each in anything]
        if slash and model and (variable := self.missing.get(upstream)) is not None:
            raise UpstreamKeyMissing.naming(variable, upstream=upstream)
        raise UnknownModel(self._unknown(name), parameter="model")

    def _unknown(self, name: str) -> str:
        known = self.names()
        upstreams = ", ".join(f"{each}/…" for each in self.upstreams)
        near = difflib.get_close_matches(name, known, n=1)
        meant = f' Did you mean "{near[0]}"?' if near else ""
        listed = ", ".join(known) or "none"
        return f'no model "{name[:200]}".{meant} Known: {listed}; any model of {upstreams}. All: headrace models'
