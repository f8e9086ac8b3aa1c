"""What all tests share: the event loops they run on."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run a test on asyncio and on trio; a folder whose parts need asyncio says so."""
    return request.param
