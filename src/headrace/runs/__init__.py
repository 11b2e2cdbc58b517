"""One generation from its first event to its last: the run, its registry, its upstreams, and what it does on failure.

Floor 4. May import floors 0 to 3's roles through `headrace.interfaces`, never a room of floor 3 or 4 itself. Nothing but
`run.py` appends to a generation's stream.
"""

from headrace.runs.registry import Runs
from headrace.runs.run import Run
from headrace.runs.upstreams import Candidate, Models, Upstream

__all__ = ["Candidate", "Models", "Run", "Runs", "Upstream"]
