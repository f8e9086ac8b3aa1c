"""What tests of crashes share: one event loop is enough."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _quickly(untraced: None) -> None:
    """Many repetitions of what other tests measure."""
