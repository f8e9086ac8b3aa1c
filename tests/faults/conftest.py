"""What tests of faults share: a place in memory, strace, and the figures told at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.tracing import needs_strace

_FIGURES = pytest.StashKey[list[str]]()
Tell = Callable[..., None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def soak() -> int:
    """How many times the usual amount is asked for: `ASTRO_SOAK=100` before a release."""
    return int(os.environ.get("ASTRO_SOAK", "1"))


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of files are written and dropped."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="astro-faults-") as folder:
        yield Path(folder)


@pytest.fixture
def strace() -> None:
    """Skip where strace is missing."""
    needs_strace()


@pytest.fixture
def tell(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Tell:
    """Return what keeps the figures of a test for the end of the session."""

    def keep(title: str, **figures: object) -> None:
        for name, figure in figures.items():
            record_property(name, figure)
        shown = ", ".join(f"{name} {figure}" for name, figure in figures.items())
        request.config.stash.setdefault(_FIGURES, []).append(f"{title}: {shown}")

    return keep


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash.get(_FIGURES, [])
    if lines:
        terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)
