"""The official packages of Durable Streams, as the lock has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.node_packages import install

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder in which node finds them. They are installed where they are not."""
    install(HERE)
    return HERE
