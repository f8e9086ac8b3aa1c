"""The engine that comes with ASTRO keeps what every engine promises, on both of its stores."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

from astro import Engine, LocalEngine, SqliteStore
from astro.core.protocols import Store
from astro.testing.conformance import EngineConformance


class TestLocalEngine(EngineConformance):
    shared = True
    trio = True

    def make(self, *parts: Any, store: Store) -> AbstractAsyncContextManager[Engine]:
        return LocalEngine(*parts, store=store, grace=timedelta(seconds=0.2))


class TestLocalEngineOnSqlite(TestLocalEngine):
    trio = False

    def make_store(self, path: Path) -> Store:
        return SqliteStore(path / "runs.db", synchronous="NORMAL")
