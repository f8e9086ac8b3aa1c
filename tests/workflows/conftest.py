"""What tests of workflows share: how much chance they use, and engines on real stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from astro import LocalEngine, MemoryStore, SqliteStore

# A busy machine is no failure: time is measured in benchmarks, not here.
settings.register_profile("astro", deadline=None, max_examples=60)
settings.load_profile("astro")

OpenEngine = Callable[..., Any]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a file and gives its path."""

    def write(text: str | bytes, name: str = "flows.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture(params=["memory-asyncio", "memory-trio", "sqlite-asyncio"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine_of(where: str, tmp_path: Path) -> OpenEngine:
    """Return what opens an engine with some parts on the test's store."""
    store = MemoryStore()

    def open_engine(*parts: Any) -> LocalEngine:
        if where.startswith("memory"):
            return LocalEngine(*parts, store=store)
        return LocalEngine(*parts, store=SqliteStore(tmp_path / "runs.db", synchronous="NORMAL"))

    return open_engine
