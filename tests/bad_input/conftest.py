"""What the rooms share: one event loop will do, as doors do not depend on it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import astro

__all__ = ["anyio_backend", "astro"]


@pytest.fixture
def anyio_backend() -> str:
    """Run each case once."""
    return "asyncio"
