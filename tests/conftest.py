"""What all tests share: the event loops they run on, and that these are not blocked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import coverage
import pytest

from tests.telling import (
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
    tell,
)

__all__ = [
    "anyio_backend",
    "pytest_collection_modifyitems",
    "pytest_sessionfinish",
    "pytest_sessionstart",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "tell",
    "untraced",
]

# A command line may wait for its own files, and so do simulations and those who load workflows.
NEVER_BLOCKED = ("engine", "hostile_agents", "semantics", "stores")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart() -> None:
    """Measure coverage once: in each of several processes pytest-cov has begun twice by now."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.stop()
        while (other := coverage.Coverage.current()) is not None:
            other.stop()
        measuring.start()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Guard the event loops of engines and stores; those of trio cannot be."""
    for item in items:
        if item.path.parent.name in NEVER_BLOCKED and "trio" not in item.name:
            item.add_marker(pytest.mark.astro_blocking)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run a test on asyncio and on trio; a folder whose parts need asyncio says so."""
    return request.param


@pytest.fixture
def untraced() -> Iterator[None]:
    """Measure no coverage: other tests do, and it takes more time than thousands of repetitions."""
    tracing = coverage.Coverage.current()
    if tracing is not None:
        tracing.stop()
    yield
    if tracing is not None:
        tracing.start()
