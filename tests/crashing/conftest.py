"""What tests of crashes share: one event loop is enough, and the figures told at the end."""

from __future__ import annotations

import pytest

from tests.exhaustion.telling import pytest_terminal_summary, tell

__all__ = ["pytest_terminal_summary", "tell"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _quickly(untraced: None) -> None:
    """Many repetitions of what other tests measure."""
