"""What tests of exhaustion share: the figures told at the end."""

from __future__ import annotations

import pytest

from tests.exhaustion.telling import pytest_terminal_summary, tell

__all__ = ["pytest_terminal_summary", "tell"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
