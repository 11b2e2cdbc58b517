"""One generation from its first event to its last: the run, its registry, its upstreams, and what it does on failure.

Floor 4. May import floors 0 to 2; the rooms of floor 3 it meets in `headrace.interfaces` alone. Nothing but a
run appends to a generation's stream (`run.py`, and `attempt.py` for what an upstream says).
"""

from headrace.runs.registry import Runs
from headrace.runs.run import Run
from headrace.runs.tokenizer import Tokenizer
from headrace.runs.upstreams import Candidate, Models, Upstream

__all__ = ["Candidate", "Models", "Run", "Runs", "Tokenizer", "Upstream"]
