"""What every test shares: asyncio as anyio's only backend."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio: it is the loop headrace is made for."""
    return "asyncio"
