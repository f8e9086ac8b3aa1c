"""The same on a SQLite store, in real time: callers are cancelled each time they begin to wait."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from astro import SqliteStore
from astro.testing.loop import LoopClock
from tests.cancelling.conftest import TellOf
from tests.cancelling.scenarios import CALLERS, WORKFLOWS

QUICK = (
    "a chain of calls",
    "child runs",
    "engines that open and close",
    "an engine that hands over",
    "a race for a key",
)
ALL = {**WORKFLOWS, **CALLERS}


@pytest.fixture
def stores() -> Iterator[Callable[[LoopClock], SqliteStore]]:
    """Return what makes a store in a file of its own, in memory where that is possible."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="astro-cancelling-") as folder:
        numbers = itertools.count()

        def make(clock: LoopClock) -> SqliteStore:
            path = Path(folder) / f"{next(numbers)}.db"
            return SqliteStore(path, clock=clock, synchronous="NORMAL")

        yield make


@pytest.mark.parametrize("way", ["once", "twice", "scope"])
@pytest.mark.parametrize("name", QUICK)
def test_nothing_comes_of_cancelling_who_uses_a_sqlite_store(
    name: str, way: str, stores: Callable[[LoopClock], SqliteStore], soak: int, tell_of: TellOf
) -> None:
    for _ in range(soak):
        report = ALL[name].cancel(ways=[way], stores=stores, threads=True)
        tell_of("SQLite store, in real time", report)
        assert report.deterministic
        assert report.cancelled
