"""How a store is opened for the tests, and what only some stores promise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from astro.core.clock import Clock
from astro.core.protocols import Claimed, Lease
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import ANY, BEGINNING, FAST, MINUTE, TENANT, new_run
from astro.testing.conformance.suite import Suite

__all__ = ["StoreSuite"]


class StoreSuite(Suite):
    """How a store is made, and what it promises; see `StoreConformance`."""

    promises: ClassVar[tuple[str, ...]] = ("durable", "shared", "maintenance", "budgets", "trio")
    durable: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    maintenance: ClassVar[bool] = False
    budgets: ClassVar[bool] = False

    def make(self, clock: Clock, path: Path) -> Any:
        """Return a store that is not open yet.

        Args:
            clock: Tells the store's time; it stands still until a test advances it.
            path: An empty folder, the same one within a test: the place of one store.
        """
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock(BEGINNING)

    @pytest.fixture
    async def store(self, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[Any]:
        """An open store; its type is `Any` because stores implement several protocols."""
        async with self.make(clock, tmp_path) as store:
            yield store

    @pytest.fixture
    async def lease(self, store: Any) -> Lease:
        """A lease on the only run there is."""
        await store.create(TENANT, new_run())
        claimed: Claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
        return claimed.leases[0]
