"""Stores of both kinds, opened for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from astro.core.protocols import Claimed, Lease
from astro.stores.memory import MemoryStore
from astro.stores.sqlite import SqliteStore
from tests.stores.making import ANY, FAST, MINUTE, TENANT, ManualClock, new_run


@pytest.fixture(params=["memory on asyncio", "memory on trio", "sqlite"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "trio" if kind.endswith("trio") else "asyncio"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(kind: str, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Any]:
    """A store; its type is `Any` because stores implement several protocols."""
    if kind == "sqlite":
        store: Any = SqliteStore(tmp_path / "runs.db", clock=clock, synchronous="NORMAL")
    else:
        store = MemoryStore(clock=clock)
    async with store:
        yield store


@pytest.fixture
async def lease(store: Any) -> Lease:
    """A lease on the only run there is."""
    await store.create(TENANT, new_run())
    claimed: Claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    return claimed.leases[0]
