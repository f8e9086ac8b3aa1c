"""Owners whose processes are gone do not keep their runs until their leases have run out."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from astro.stores.sqlite import SqliteStore
from astro.stores.sqlite.life import SignsOfLife
from tests.stores.making import ANY, MINUTE, SLOW, TENANT, new_run, run_id

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not hasattr(fcntl, "F_OFD_SETLK"), reason="only Linux has locks of open files"
    ),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def worker(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds a lease for an hour, and is killed in the end."""
    command = [sys.executable, "-m", "tests.stores.working", str(path), "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


async def taken(store: SqliteStore) -> list[tuple[str, int]]:
    offers = ANY | {"work 1"}
    claimed = await store.claim("heir", offers=offers, limit=9, duration=MINUTE)
    return [(lease.run, lease.failures) for lease in claimed.leases]


async def test_a_killed_owner_is_succeeded_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with worker(path):
        pass
    async with SqliteStore(path, synchronous="NORMAL") as store:
        assert await taken(store) == [(run_id(1), 1)]


async def test_an_owner_that_lives_keeps_its_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with worker(path):
        async with SqliteStore(path, synchronous="NORMAL") as store:
            assert await taken(store) == []


async def test_two_stores_of_one_process_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteStore(path, synchronous="NORMAL") as one:
        await one.create(TENANT, new_run())
        await one.claim(SLOW, offers=ANY, limit=1, duration=HOUR)
        async with SqliteStore(path, synchronous="NORMAL") as other:
            assert await taken(other) == []
    async with SqliteStore(path, synchronous="NORMAL") as other:
        assert await taken(other) == [(run_id(1), 1)]


async def test_an_owner_is_gone_only_when_nobody_shows_its_sign(tmp_path: Path) -> None:
    one, other = SignsOfLife(tmp_path / "lock"), SignsOfLife(tmp_path / "lock")
    one.show("engine a")
    other.show("engine b")
    assert not one.gone("engine a")
    assert not other.gone("engine a")
    assert other.gone("engine c")
    one.close()
    assert other.gone("engine a")
    other.close()


async def test_where_there_are_no_such_locks_nobody_is_thought_gone(tmp_path: Path) -> None:
    nowhere = SignsOfLife(tmp_path / "no folder" / "lock")
    nowhere.show("engine a")
    assert not nowhere.gone("engine b")
    nowhere.close()
