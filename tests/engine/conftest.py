"""Engines on real stores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from astro import LocalEngine, MemoryStore, SqliteStore

OpenEngine = Callable[..., AbstractAsyncContextManager[LocalEngine]]
QUICK = {"lease_for": timedelta(seconds=0.6), "grace": timedelta(seconds=0.5)}


@pytest.fixture(params=["memory-asyncio", "memory-trio", "sqlite-asyncio"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(where: str) -> str:
    return where.split("-")[1]


@pytest.fixture
def store_of(where: str, tmp_path: Path) -> Callable[[], Any]:
    """Return what opens the same store again, as a second engine or a restart does."""
    if where.startswith("memory"):
        store = MemoryStore()
        return lambda: store
    return lambda: SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")


@pytest.fixture
def engine_of(store_of: Callable[[], Any]) -> OpenEngine:
    """Return what opens an engine with some parts on the test's store."""
    return lambda *parts, **options: LocalEngine(*parts, store=store_of(), **(QUICK | options))
