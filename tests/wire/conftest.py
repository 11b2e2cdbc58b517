"""What the parsers' tests share: bytes cut anywhere."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest


@pytest.fixture(scope="session")
def cut() -> Callable[[bytes, Iterable[int]], list[bytes]]:
    """Cuts bytes at the given places; places outside are taken round, equal ones give an empty read."""

    def pieces(data: bytes, places: Iterable[int]) -> list[bytes]:
        edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
        return [data[start:end] for start, end in pairwise(edges)]

    return pieces
