"""The WAL stays small, whatever is written: else a disk runs full, and opening takes long."""

from __future__ import annotations

from pathlib import Path

import pytest

from astro.stores.sqlite import SqliteStore
from tests.stores.making import ANY, MINUTE, TENANT, new_run, progress

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
MOST = 40 * MIB  # the store writes it back when there are about 16


async def test_results_do_not_make_the_wal_grow_without_end(room: Path) -> None:
    async with SqliteStore(room / "runs.db", synchronous="NORMAL") as store:
        await store.create(TENANT, new_run())
        (lease,) = (await store.claim("one", offers=ANY, limit=1, duration=MINUTE)).leases
        for _ in range(64):
            lease = await store.commit(lease, progress(lease, result='"' + "x" * MIB + '"'))
        assert (room / "runs.db-wal").stat().st_size < MOST


async def test_blobs_do_not_make_the_wal_grow_without_end(room: Path) -> None:
    async with SqliteStore(room / "runs.db", synchronous="NORMAL") as store:
        for number in range(64):
            await store.put(TENANT, number.to_bytes(8, "big") * (MIB // 8))
        assert (room / "runs.db-wal").stat().st_size < MOST
