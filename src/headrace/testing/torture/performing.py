"""Torture performed: the upstream is opened, every case is asked of the gateway, and the verdicts are collected.

May import what `upstream.py` may, and its own room.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.testing.torture.cases import Case, number_in, plan
from headrace.testing.torture.faults import FAULTS
from headrace.testing.torture.judging import NEVER, NO_ANSWER, VERDICTS, Verdict, judge
from headrace.testing.torture.reading import read
from headrace.testing.torture.scripts import Script, Step, well
from headrace.testing.upstream import Exchange, ScriptedUpstream
from headrace.testing.waiting import turns
from headrace.wire import json_text

MODEL: Final = "torture"
"""What the upstream calls its model."""
# Between two writes, so that they are two reads at the other side too; a script of very many writes has to do without.
_PAUSE_SECONDS: Final = 0.001
_MOST_PAUSES: Final = 100
_CASES_A_TURN: Final = 500


class NotTortured(Exception):
    """The gateway does not lead to the scripted upstream; the message says what it answered."""

    def __init__(self, message: str, *, unreachable: bool) -> None:
        super().__init__(message)
        self.unreachable = unreachable
        """Whether there is no gateway at all."""


class Gateway(msgspec.Struct, frozen=True):
    """What is tortured, and how it is asked."""

    url: str
    """Where its API begins: `/chat/completions` follows."""
    model: str
    """What it calls the model that leads to the scripted upstream."""
    headers: Mapping[str, str] = {}
    timeout_seconds: float = 30.0
    """How long it may take for an answer before that is a hang."""


class Result(msgspec.Struct, frozen=True):
    """One case and what became of it."""

    number: int
    fault: str
    stream: bool
    whole: str
    verdict: Verdict
    detail: str
    usage: bool | None
    attempts: int
    """How often the gateway asked the upstream."""
    seconds: float


class Findings(msgspec.Struct, frozen=True):
    """All results, and what they add up to."""

    results: Sequence[Result]

    @property
    def counts(self) -> Counter[Verdict]:
        """How often each verdict was given."""
        return Counter(result.verdict for result in self.results)

    @property
    def completable(self) -> int:
        """How many cases could be completed."""
        return sum(result.whole == "must" for result in self.results)

    @property
    def completed(self) -> int:
        """How many of them were."""
        return sum(result.whole == "must" and result.verdict == "ok" for result in self.results)

    @property
    def completed_percent(self) -> float:
        """The same in percent; 100 where there was nothing to complete."""
        return 100 * self.completed / self.completable if self.completable else 100.0

    @property
    def usage_right(self) -> int:
        """How many of the completed told the usage that the upstream reported."""
        return sum(result.usage is True for result in self.results)

    @property
    def never_allowed(self) -> int:
        """How many verdicts there are that no gateway is excused for."""
        return sum(count for verdict, count in self.counts.items() if verdict in NEVER)

    def facts(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "faults": len(self.results),
            "verdicts": {verdict: self.counts[verdict] for verdict in VERDICTS},
            "never_allowed": self.never_allowed,
            "completable": self.completable,
            "completed": self.completed,
            "usage_right": self.usage_right,
            "results": [msgspec.structs.asdict(result) for result in self.results],
        }


class Torture:
    """The scripted upstream of a run, and the cases that it knows. An asynchronous context manager.

    Args:
        seed: decides the cases.
        count: how many.
        only: no other faults than these; none named: all.
        host: the address the upstream listens on.
        port: its port; 0: one the system chooses.
    """

    def __init__(
        self, *, seed: int, count: int, only: Sequence[str] = (), host: str = "127.0.0.1", port: int = 0
    ) -> None:
        rows = {name: (fault.modes, fault.content) for name, fault in FAULTS.items()}
        self.cases = plan(rows, seed=seed, count=count, only=only)
        # One more, by which it is seen whether the gateway leads here at all.
        self._first = plan({"well": ((True,), "text")}, seed=seed, count=1)[0]
        self._known = {case.number: case for case in self.cases}
        self._known[len(self.cases)] = self._first = msgspec.structs.replace(self._first, number=len(self.cases))
        self._attempts: Counter[int] = Counter()
        self.upstream = ScriptedUpstream(self._answer, host=host, port=port)

    async def __aenter__(self) -> Torture:
        await self.upstream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.upstream.__aexit__(*error)

    async def perform(
        self, gateway: Gateway, *, concurrency: int = 16, told: Callable[[Result], None] = lambda result: None
    ) -> Findings:
        """Asks every case, and judges what comes.

        Args:
            gateway: what is tortured.
            concurrency: how many cases at once. Those whose upstream cannot be reached come one by one, after each
                500 of them.
            told: is called with each result.

        Raises:
            NotTortured: a first good answer does not come through.
        """
        first = await self._ask(gateway, self._first)
        if first.verdict != "ok":
            raise NotTortured(
                f"a good answer of the scripted upstream does not come through {gateway.url} as {gateway.model}:"
                f" {first.verdict}, {first.detail}" + ("" if first.attempts else "; the upstream was never asked"),
                unreachable=first.detail == NO_ANSWER,
            )
        results: list[Result] = []

        def found(result: Result) -> None:
            results.append(result)
            told(result)

        async def work(waiting: list[Case]) -> None:
            while waiting:
                found(await self._ask(gateway, waiting.pop()))

        # In turns, as such troubles come: a wise gateway gives up one that stays away for long.
        for start in range(0, len(self.cases), _CASES_A_TURN):
            turn = self.cases[start : start + _CASES_A_TURN]
            waiting = [case for case in reversed(turn) if FAULTS[case.fault].door == "open"]
            async with asyncio.TaskGroup() as tasks:
                for _ in range(concurrency):
                    tasks.create_task(work(waiting))
            for case in turn:
                if (door := FAULTS[case.fault].door) != "open":
                    found(await self._ask_at_a_closed_door(gateway, case, door))
        return Findings(sorted(results, key=lambda result: result.number))

    async def _ask_at_a_closed_door(self, gateway: Gateway, case: Case, door: str) -> Result:
        if door == "resetting":
            self.upstream.reset_next(1)
            return await self._ask(gateway, case)
        await self.upstream.refuse()
        try:
            return await self._ask(gateway, case)
        finally:
            await self.upstream.listen()

    async def _ask(self, gateway: Gateway, case: Case) -> Result:
        body: dict[str, object] = {
            "model": gateway.model,
            "messages": [{"role": "user", "content": case.question}],
            "stream": case.stream,
        }
        if case.stream:
            body["stream_options"] = {"include_usage": True}
        if "text" not in case.said:
            tool = {"name": "say", "parameters": {"type": "object", "properties": {"said": {"type": "string"}}}}
            body["tools"] = [{"type": "function", "function": tool}]
        url = f"{gateway.url}/chat/completions"
        transcript = await read(url, json_text.encode(body), gateway.headers, gateway.timeout_seconds)
        judgement = judge(case, transcript)
        return Result(
            case.number,
            case.fault,
            case.stream,
            FAULTS[case.fault].whole,
            judgement.verdict,
            judgement.detail,
            judgement.usage if FAULTS[case.fault].whole == "must" else None,
            self._attempts[case.number],
            round(transcript.seconds, 3),
        )

    # -- the upstream's side

    async def _answer(self, exchange: Exchange) -> None:
        number = number_in(exchange.body)
        case = None if number is None else self._known.get(number)
        if exchange.method == "GET":
            listed = {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "nobody"}]}
            await exchange.whole(json_text.encode(listed))
        elif case is None:
            await exchange.whole(b'{"error":{"message":"this upstream answers to headrace torture alone"}}', status=404)
        else:
            self._attempts[case.number] += 1
            await _play(exchange, self._script(case, exchange.json()))

    def _script(self, case: Case, asked: dict[str, Any]) -> Script:
        fault = FAULTS[case.fault]
        stream = bool(asked.get("stream"))
        last = asked["messages"][-1]
        before = last.get("content") if last.get("role") == "assistant" else None
        played = self._attempts[case.number] > 1 and fault.whole != "cannot"
        if not played and stream == case.stream:
            return fault.script(case)
        whole = "".join(case.said.get("text", ()))
        return well(case, stream=stream, after=before if isinstance(before, str) and whole.startswith(before) else "")


async def _play(exchange: Exchange, script: Script) -> None:
    pauses = sum(isinstance(step, bytes) for step in script) <= _MOST_PAUSES
    for step in script:
        match step:
            case Step.RESET:
                exchange.reset()
            case Step.CLOSE:
                exchange.close()
            case Step.STALL:
                await exchange.left()
            case bytes():
                await exchange.write(step)
                await (_left_within(exchange, _PAUSE_SECONDS) if pauses else turns(2))


async def _left_within(exchange: Exchange, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await exchange.left()
    except TimeoutError:
        return
