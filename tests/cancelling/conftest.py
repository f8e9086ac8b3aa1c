"""What tests of cancelling share: how much is asked for, and the figures told at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from astro.testing.cancelling import CancelReport

_FIGURES = pytest.StashKey[dict[str, Counter[str]]]()
Tell = Callable[[str, CancelReport], None]


@pytest.fixture
def soak() -> int:
    """How many times the usual amount is asked for: `ASTRO_SOAK=100` before a release."""
    return int(os.environ.get("ASTRO_SOAK", "1"))


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Return what adds the figures of a matrix to those told at the end of the session."""

    def add(title: str, report: CancelReport) -> None:
        told = request.config.stash.setdefault(_FIGURES, {}).setdefault(title, Counter())
        told["matrices"] += 1
        for name in ("cancellations", "cancelled", "finished", "resumed"):
            told[name] += getattr(report, name)

    return add


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, {})
    if figures:
        terminalreporter.section("cancelling")
    for title, told in figures.items():
        shown = ", ".join(f"{name} {figure}" for name, figure in told.items())
        terminalreporter.write_line(f"{title}: {shown}")


@pytest.fixture(autouse=True)
def _quickly(untraced: None) -> None:
    """Many repetitions of what other tests measure."""
