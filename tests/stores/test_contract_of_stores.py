"""The stores that come with ASTRO keep what every store promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from astro.core.clock import Clock
from astro.stores.memory import MemoryStore
from astro.stores.sqlite import SqliteStore
from astro.testing.conformance import StoreConformance


class TestMemoryStore(StoreConformance):
    """One store object is one place, so nothing finds it again; no other process can see it."""

    maintenance = True
    budgets = True
    trio = True

    def make(self, clock: Clock, path: Path) -> Any:
        return MemoryStore(clock=clock)


class TestSqliteStore(StoreConformance):
    durable = True
    shared = True
    maintenance = True
    budgets = True

    def make(self, clock: Clock, path: Path) -> Any:
        return SqliteStore(path / "runs.db", clock=clock, synchronous="NORMAL")
