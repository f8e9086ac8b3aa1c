"""Telling: the figures of a test, shown when all have run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["Tell", "pytest_terminal_summary", "tell"]

_FIGURES = pytest.StashKey[list[str]]()
Tell = Callable[..., None]


@pytest.fixture
def tell(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Tell:
    """Return what keeps the figures of a test until all have run."""

    def keep(title: str, **figures: object) -> None:
        for name, figure in figures.items():
            record_property(name, figure)
        shown = ", ".join(f"{name} {figure}" for name, figure in figures.items())
        request.config.stash.setdefault(_FIGURES, []).append(f"{title}: {shown}")

    return keep


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show what was kept, once, whichever folder's tests ran."""
    lines = config.stash.get(_FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        del config.stash[_FIGURES]
    for line in lines:
        terminalreporter.write_line(line)
