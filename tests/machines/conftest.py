"""The machines need one event loop only, and tell how much they have gone through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machines.profile import CountedMachine
from tests.telling import Tell


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _quickly(untraced: None) -> None:
    """Many repetitions of what other tests measure."""


@pytest.fixture(autouse=True)
def _told(request: pytest.FixtureRequest, tell: Tell) -> Iterator[None]:
    """Tell of the machines themselves, not of those with planted mistakes."""
    CountedMachine.gone_through.clear()
    yield
    if request.node.name == "runTest":
        tell("state machines", machines=1, **CountedMachine.gone_through)
