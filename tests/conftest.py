"""What all tests share: the event loops they run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import coverage
import pytest


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
