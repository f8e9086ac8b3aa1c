"""Telling: the figures of tests, shown when all have run, in however many processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

__all__ = [
    "Tell",
    "note",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "tell",
]

_FIGURES = pytest.StashKey[dict[str, dict[str, Any]]]()
Tell = Callable[..., None]


@pytest.fixture
def tell(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Tell:
    """Return what keeps the figures of a test until all have run."""

    def keep(title: str, **figures: object) -> None:
        for name, figure in figures.items():
            record_property(name, figure)
        note(request.config, title, figures)

    return keep


def note(config: pytest.Config, title: str, figures: Mapping[str, object]) -> None:
    """Keep figures until all tests have run; numbers of the same title are added up."""
    told = config.stash.setdefault(_FIGURES, {}).setdefault(title, {})
    for name, figure in figures.items():
        known = told.get(name, 0)
        number = isinstance(figure, int | float) and isinstance(known, int | float)
        told[name] = known + figure if number else str(figure)  # type: ignore[operator]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what was kept in a process of tests to the one that shows it."""
    sent = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent["figures"] = session.config.stash.get(_FIGURES, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what a process of tests has sent."""
    for title, figures in getattr(node, "workeroutput", {}).get("figures", {}).items():
        note(node.config, title, figures)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show what was kept."""
    told = config.stash.get(_FIGURES, {})
    if told:
        terminalreporter.section("figures")
    for title, figures in sorted(told.items()):
        shown = ", ".join(f"{name} {figure}" for name, figure in figures.items())
        terminalreporter.write_line(f"{title}: {shown}")
