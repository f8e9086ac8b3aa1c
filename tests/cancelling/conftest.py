"""What tests of cancelling share: how much is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from astro.testing.cancelling import CancelReport
from tests.telling import Tell

TellOf = Callable[[str, CancelReport], None]


@pytest.fixture
def soak() -> int:
    """How many times the usual amount is asked for: `ASTRO_SOAK=100` before a release."""
    return int(os.environ.get("ASTRO_SOAK", "1"))


@pytest.fixture
def tell_of(tell: Tell) -> TellOf:
    """Return what adds the figures of a matrix to those told at the end."""

    def add(title: str, report: CancelReport) -> None:
        names = ("cancellations", "cancelled", "finished", "resumed")
        tell(title, matrices=1, **{name: getattr(report, name) for name in names})

    return add


@pytest.fixture(autouse=True)
def _quickly(untraced: None) -> None:
    """Many repetitions of what other tests measure."""
