"""Load: as it is without a tool that counts lines."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quickly(untraced: None) -> None:
    """Many repetitions of what other tests measure."""
