"""The loads, as a table. Their shapes are those of design.md section 6, so that figures can be laid side by side."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Workload:
    """What is asked of the simulator, how often and how fast. Times are in microseconds."""

    name: str
    says: str
    streams: int
    at_once: int
    tokens: int
    gap: int = 0
    first: int = 0
    ramp: int = 0
    each: int = 1
    whole: bool = False

    @property
    def unit(self) -> str:
        """What the processor time is divided by."""
        return "answer" if self.whole else "token"

    def arguments(self) -> list[str]:
        """The load client's command line for this load."""
        numbers = {
            "at-once": self.at_once,
            "streams": self.streams,
            "tokens": self.tokens,
            "gap": self.gap,
            "first": self.first,
            "ramp": self.ramp,
            "each": self.each,
            "deadline": 45 + self.planned_seconds,
        }
        words = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
        return [*words, "--whole"] if self.whole else words

    @property
    def planned_seconds(self) -> int:
        """How long the load takes before a gateway that costs nothing."""
        writes = -(-self.tokens // self.each)
        batches = -(-self.streams // self.at_once)
        return round((self.ramp * self.streams + batches * (self.first + writes * self.gap)) / 1e6)

    def scaled(self, share: float) -> "Workload":
        """A shorter run of the same load, for a gateway that would need minutes for all of it."""
        return replace(self, streams=max(self.at_once, round(self.streams * share)))


WORKLOADS = {
    load.name: load
    for load in (
        Workload(
            "light",
            "50 streams, 20 tokens/s each, one write a token: mostly the cost of waking up",
            streams=50, at_once=50, tokens=120, gap=50_000, first=100_000, ramp=5_000,
        ),
        Workload(
            "paced",
            "1,000 streams, 20 tokens/s each, one write a token",
            streams=1_000, at_once=1_000, tokens=120, gap=50_000, first=100_000, ramp=1_500,
        ),
        Workload(
            "flood",
            "64 streams at once, as fast as it goes, 8 tokens a write",
            streams=1_280, at_once=64, tokens=504, each=8,
        ),
        Workload(
            "whole",
            "JSON answers of 8 tokens, 16 at once, as fast as it goes",
            streams=8_000, at_once=16, tokens=8, whole=True,
        ),
    )
}  # fmt: skip

# R2: the same answer in both modes, at a speed that people read.
STREAMED = Workload("modes", "", streams=4, at_once=4, tokens=300, gap=10_000, first=200_000)
WHOLE = replace(STREAMED, whole=True)

# Every stream gets its tokens and then stays open. A hundred open at a time, so that the gateway sets the pace.
HELD = Workload("memory", "", streams=5_000, at_once=100, tokens=5, gap=20_000)

# Code paths and connections as a gateway has them after its first minute, not in its first second.
WARM_UP = (
    Workload("warm up", "", streams=48, at_once=16, tokens=50),
    Workload("warm up", "", streams=32, at_once=8, tokens=8, whole=True),
)

NAMES = (*WORKLOADS, "modes", "memory")

# headrace's protocols, in the words of its own table, as the load client knows them (benchmarks/protocols.h).
PROTOCOLS = (
    "openai_chat",
    "openai_completions",
    "typed_events",
    "text",
    "plain_text",
    "token_frames",
    "chat_token_frames",
    "ollama_chat",
    "ollama_generate",
)
ALWAYS_STREAMED = frozenset({"token_frames", "chat_token_frames"})
"""Those in which nobody can ask for a whole answer."""
OF_WHOLE_ANSWERS = frozenset({"whole", "modes"})
"""The workloads in which somebody does."""
