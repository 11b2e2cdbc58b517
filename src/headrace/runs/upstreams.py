"""The upstreams that are configured, and which of them a model name leads to."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from headrace.errors import UnknownModel, UpstreamKeyMissing
from headrace.interfaces import Provider
from headrace.requests import Timeouts
from headrace.runs.tokenizer import Tokenizer


@dataclass(slots=True)
class Upstream:
    """One configured place tokens come from."""

    name: str
    provider: Provider
    timeouts: Timeouts
    places: asyncio.Semaphore | None = None
    """Limits the runs that use it at once; `None`: no limit."""
    state: Literal["unused", "well", "unwell"] = "unused"
    """How it was when it was last asked."""
    detail: str | None = None
    """What went wrong then, where something did."""
    may_go_on: Literal["never", "whole answers", "always"] = "never"
    """Whether, left in the middle, it may go on generating all the same; `whole answers`: unless they are streamed."""

    @classmethod
    def limited(cls, name: str, provider: Provider, timeouts: Timeouts, most: int | None) -> Upstream:
        """An upstream that at most `most` runs use at once; the others wait. `None`: no limit."""
        return cls(name, provider, timeouts, None if most is None else asyncio.Semaphore(most))

    def goes_on_unread(self, *, streamed: bool) -> bool:
        """Whether it may go on generating an answer whose connection is closed (L5)."""
        return self.may_go_on == "always" or (self.may_go_on == "whole answers" and not streamed)

    def was_well(self) -> None:
        """It answered."""
        self.state, self.detail = "well", None

    def was_unwell(self, detail: str) -> None:
        """It did not do its part."""
        self.state, self.detail = "unwell", detail


@dataclass(frozen=True, slots=True)
class Candidate:
    """An upstream, and what it calls the model."""

    upstream: Upstream
    model: str
    tokenizer: Tokenizer | None = None
    """Counts the tokens that the upstream does not report; `None`: they are estimated."""

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
