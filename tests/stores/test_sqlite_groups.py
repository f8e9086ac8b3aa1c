"""Groups of operations in a SQLite store, and copies of it while it is in use."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro.core.errors import (
    CodecError,
    StoreError,
)
from astro.core.protocols import Lease, RunQuery
from astro.stores.sqlite import SqliteStore
from tests.stores.making import (
    ANY,
    FAST,
    MINUTE,
    TENANT,
    ManualClock,
    answer,
    cancel,
    end,
    new_run,
    progress,
    run_id,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, synchronous="NORMAL") as store:
        yield store


@pytest.fixture
async def lease(store: SqliteStore) -> Lease:
    await store.create(TENANT, new_run())
    return (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases[0]


# --- Groups ----------------------------------------------------------------------------------


async def test_rule_26_one_bad_row_does_not_refuse_the_others_of_its_group(
    store: SqliteStore,
) -> None:
    runs = [new_run(n, priority=2**63 if n == 17 else 20) for n in range(40)]
    done = await asyncio.gather(
        *[store.create(TENANT, run) for run in runs], return_exceptions=True
    )
    assert isinstance(done.pop(17), CodecError)
    assert set(done) == {run.id for run in runs} - {run_id(17)}


async def test_every_kind_of_operation_may_wait_in_one_group(path: Path) -> None:
    clock = ManualClock()
    async with SqliteStore(path, synchronous="NORMAL", clock=clock) as store:
        for number in range(6):
            await store.create(TENANT, new_run(number))
        leases = (await store.claim(FAST, offers=ANY, limit=6, duration=MINUTE)).leases
        by_run = {lease.run: lease for lease in leases}
        one, two, three, four, *_ = (by_run[run_id(number)] for number in range(6))
        done: list[Any] = await asyncio.gather(
            store.commit(one, progress(one)),
            store.release(two, wake_at=clock.now()),
            store.post(TENANT, three.run, cancel()),
            store.commit(four, end(four)),
            store.create(TENANT, new_run(9)),
            store.put(TENANT, b"content"),
            store.renew(FAST, duration=MINUTE),
            store.claim("other", offers=ANY, limit=9, duration=MINUTE),
            store.commit(one, progress(one)),
        )
        assert done[0] == done[8]
        assert {lease.run for lease in done[7].leases} == {two.run, run_id(9)}
        assert [posted.run for posted in await store.inbox(FAST)] == [three.run]
        assert (await store.check()).problems == ()


async def test_rule_42_two_commits_of_one_run_in_a_group_do_not_both_pass(
    store: SqliteStore, lease: Lease
) -> None:
    done = await asyncio.gather(
        store.commit(lease, progress(lease, result="1")),
        store.commit(lease, progress(lease, result="2")),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in done] == ["Lease", "LeaseLostError"]
    assert len(await store.read(TENANT, lease.run)) == 2


async def test_two_creates_of_one_key_in_a_group_give_one_run(store: SqliteStore) -> None:
    done = await asyncio.gather(
        *[store.create(TENANT, new_run(n, key="fusion")) for n in range(20)]
    )
    assert set(done) == {run_id(0)}


async def test_two_answers_in_a_group_do_not_both_pass(store: SqliteStore, lease: Lease) -> None:
    done = await asyncio.gather(
        *[store.post(TENANT, lease.run, answer()) for _ in range(5)], return_exceptions=True
    )
    assert done.count(None) == 1
    assert len(await store.inbox(FAST)) == 1


async def test_a_group_larger_than_the_cap_is_written_in_parts(store: SqliteStore) -> None:
    name = "x" * 3_000_000
    runs = [new_run(n, fingerprint=name) for n in range(5)]
    done = await asyncio.gather(*[store.create(TENANT, run) for run in runs])
    assert len(done) == 5


async def test_one_who_writes_without_a_pause_does_not_keep_others_out(
    store: SqliteStore, lease: Lease, path: Path
) -> None:
    async def write_on() -> None:
        newest = lease
        while True:
            newest = await store.commit(newest, progress(newest))

    async with SqliteStore(path, synchronous="NORMAL") as other:
        writing = asyncio.create_task(write_on())
        with anyio.fail_after(5):
            for number in range(10, 20):
                assert await other.create(TENANT, new_run(number)) == run_id(number)
        writing.cancel()
    assert (await store.check()).problems == ()


# --- Backup ----------------------------------------------------------------------------------


async def test_a_backup_is_a_store_of_its_own(
    store: SqliteStore, lease: Lease, tmp_path: Path
) -> None:
    target = tmp_path / "backup.db"
    lease = await store.commit(lease, progress(lease, entries=5))
    await store.backup(target)
    await store.commit(lease, progress(lease))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    async with SqliteStore(target) as copy:
        assert len(await copy.read(TENANT, lease.run)) == 6
        assert (await copy.check()).problems == ()
        assert await copy.create(TENANT, new_run(2)) == run_id(2)


async def test_a_backup_never_overwrites(store: SqliteStore, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    target.write_text("precious")
    with pytest.raises(StoreError, match="exists"):
        await store.backup(target)
    assert target.read_text() == "precious"


async def test_a_backup_into_a_missing_folder_is_refused(
    store: SqliteStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="folder"):
        await store.backup(tmp_path / "missing" / "backup.db")


async def test_writing_goes_on_during_a_backup(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(300):
        await store.create(TENANT, new_run(number))
    async with anyio.create_task_group() as group:
        group.start_soon(store.backup, tmp_path / "backup.db")
        for number in range(300, 340):
            await store.create(TENANT, new_run(number))
    async with SqliteStore(tmp_path / "backup.db") as copy:
        assert len((await copy.runs(TENANT, RunQuery(limit=999))).items) >= 300
        assert (await copy.check()).problems == ()
