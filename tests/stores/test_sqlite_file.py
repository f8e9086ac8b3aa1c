"""The file of a SQLite store: what is refused, how it is damaged, copied, left behind."""
# ruff: noqa: ASYNC240, PT012  (a test may block its own event loop)

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro.core.errors import (
    JournalCorruptError,
    SchemaTooNewError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreUnavailableError,
)
from astro.core.protocols import Lease, RunQuery
from astro.stores.sqlite import SqliteStore
from tests.stores.making import (
    ANY,
    FAST,
    MINUTE,
    TENANT,
    cancel,
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


def change(path: Path, *statements: str) -> None:
    """Change a file behind the store's back."""
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


async def open_and_close(path: Path | str) -> None:
    async with SqliteStore(path):
        pass


# --- What is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [":memory:", "", "file:runs.db?mode=memory"])
def test_what_names_no_file_is_refused(name: str) -> None:
    with pytest.raises(StoreUnavailableError, match="MemoryStore"):
        SqliteStore(name)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="mkdir -p"):
        await open_and_close(tmp_path / "missing" / "runs.db")


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="is a folder"):
        await open_and_close(tmp_path)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(JournalCorruptError, match="backup"):
        await open_and_close(path)
    assert path.read_bytes() == b"Dear diary, " * 1000


async def test_the_database_of_another_application_is_left_alone(path: Path) -> None:
    change(path, "create table customers (name text)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailableError, match="another application"):
        await open_and_close(path)
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await open_and_close(path)
    change(path, "pragma user_version = 99")
    with pytest.raises(SchemaTooNewError, match="Upgrade"):
        await open_and_close(path)


async def test_rule_41_every_write_notices_that_a_newer_astro_migrated_the_file(
    store: SqliteStore, lease: Lease, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        views = db.execute("select name from sqlite_schema where type = 'view'").fetchall()
        db.execute("begin")
        for (name,) in views:
            db.execute(f"drop view {name}")
        db.execute("pragma user_version = 2")
        db.execute("commit")
    writes: list[Callable[[], Any]] = [
        lambda: store.create(TENANT, new_run(2)),
        lambda: store.commit(lease, progress(lease)),
        lambda: store.claim(FAST, offers=ANY, limit=1, duration=MINUTE),
        lambda: store.renew(FAST, duration=MINUTE),
        lambda: store.release(lease),
        lambda: store.post(TENANT, lease.run, cancel()),
        lambda: store.put(TENANT, b"content"),
        lambda: store.prune(older_than=timedelta()),
    ]
    for write in writes:
        with pytest.raises(SchemaTooNewError):
            await write()
    assert len(await store.read(TENANT, lease.run)) == 1


async def test_bad_arguments_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="FULL"):
        SqliteStore(path, synchronous="OFF")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValueError, match="readers"):
        SqliteStore(path, readers=0)


def test_trio_is_refused_with_the_remedy(path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="MemoryStore"):
        anyio.run(open_and_close, path, backend="trio")
    assert not path.exists()


async def test_a_store_of_another_event_loop_is_refused(store: SqliteStore) -> None:
    def elsewhere() -> None:
        asyncio.run(store.create(TENANT, new_run(9)))

    with pytest.raises(StoreClosedError, match="event loop"):
        await anyio.to_thread.run_sync(elsewhere)


# --- Files -----------------------------------------------------------------------------------


async def test_files_are_readable_by_their_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        async with SqliteStore(path) as store:
            await store.create(TENANT, new_run())
            found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    names = ("runs.db", "runs.db-shm", "runs.db-wal", "runs.db.lock")
    assert found == dict.fromkeys(names, 0o600)


async def test_closing_leaves_no_wal_behind(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.create(TENANT, new_run())
    assert {file.name for file in path.parent.iterdir()} == {"runs.db", "runs.db.lock"}


async def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c%20 ü.db"
    async with SqliteStore(path) as store:
        await store.create(TENANT, new_run())
    assert path.exists()


def left() -> tuple[int, int]:
    """Return how many threads and open files there are; threads end a moment after closing."""
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


async def test_nothing_is_left_after_closing(path: Path) -> None:
    before = left()
    for _ in range(3):
        async with SqliteStore(path, readers=4) as store:
            await store.create(TENANT, new_run())
    with anyio.fail_after(5):
        while left() > before:
            await anyio.sleep(0.01)


async def test_nothing_is_left_after_opening_in_vain(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)
    before = left()
    for _ in range(3):
        with pytest.raises(JournalCorruptError):
            await open_and_close(path)
    with anyio.fail_after(5):
        while left() > before:
            await anyio.sleep(0.01)


async def test_a_store_may_be_opened_in_one_task_and_closed_in_another(path: Path) -> None:
    store = SqliteStore(path)
    await asyncio.create_task(store.__aenter__())
    assert await store.create(TENANT, new_run()) == run_id(1)
    await asyncio.create_task(store.__aexit__(None, None, None))


def test_a_store_may_be_opened_again_in_another_event_loop(path: Path) -> None:
    store = SqliteStore(path)

    async def create(number: int) -> int:
        async with store:
            await store.create(TENANT, new_run(number))
            await store.wait(timeout=timedelta())
            return len((await store.runs(TENANT, RunQuery())).items)

    assert [asyncio.run(create(number)) for number in range(3)] == [1, 2, 3]


async def test_a_disk_that_does_not_answer_is_not_waited_for_without_end(path: Path) -> None:
    # A lock that is never given back stands for the disk: the writer waits either way.
    patience = timedelta(seconds=0.2)
    async with SqliteStore(path, patience=patience, lock_timeout=timedelta(seconds=30)) as store:
        descriptor = os.open(path.with_name("runs.db.lock"), os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailableError, match="has not answered"):
            await store.create(TENANT, new_run(1))
        with pytest.raises(StoreUnavailableError, match="has not answered"):
            await store.create(TENANT, new_run(2))
        os.close(descriptor)
        with anyio.fail_after(5):
            while not (await store.runs(TENANT, RunQuery())).items:
                await anyio.sleep(0.01)
        assert await store.create(TENANT, new_run(3)) == run_id(3)


async def test_closing_waits_for_what_was_asked_for(path: Path) -> None:
    store = SqliteStore(path)
    await store.__aenter__()
    asked = [asyncio.create_task(store.create(TENANT, new_run(n))) for n in range(50)]
    await asyncio.sleep(0)
    await store.__aexit__(None, None, None)
    assert [await task for task in asked] == [run_id(n) for n in range(50)]


async def test_a_deleted_file_is_noticed_before_anything_is_acknowledged(
    store: SqliteStore, path: Path
) -> None:
    path.unlink()
    with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
        await store.create(TENANT, new_run())


async def test_a_deleted_lock_file_is_replaced(store: SqliteStore, path: Path) -> None:
    path.with_name("runs.db.lock").unlink()
    assert await store.create(TENANT, new_run()) == run_id(1)
    assert path.with_name("runs.db.lock").exists()


async def test_a_writer_without_the_file_lock_makes_the_store_busy(path: Path) -> None:
    async with SqliteStore(path, lock_timeout=timedelta(seconds=0.1)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("begin immediate")
            with pytest.raises(StoreBusyError, match="without ASTRO's lock"):
                await store.create(TENANT, new_run())
            db.execute("rollback")
        assert await store.create(TENANT, new_run()) == run_id(1)


# --- Damage ----------------------------------------------------------------------------------


async def test_rule_30_a_flipped_bit_in_an_entry_is_found(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.create(TENANT, new_run(1))
        await store.create(TENANT, new_run(2))
    content = bytearray(path.read_bytes())
    place = content.index(b'{"name":"Ada"}')
    content[place + 10] ^= 1
    path.write_bytes(content)
    async with SqliteStore(path) as store:
        found = await store.check()
    assert [problem for problem in found.problems if "does not fit" in problem]
    assert found.runs == 2


async def test_missing_entries_are_found(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.create(TENANT, new_run(1))
    change(path, "delete from entries")
    async with SqliteStore(path) as store:
        found = await store.check()
    assert [problem for problem in found.problems if "instead of 1" in problem]


async def test_a_torn_file_is_reported_and_not_guessed_at(path: Path) -> None:
    async with SqliteStore(path) as store:
        for number in range(200):
            await store.create(TENANT, new_run(number))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    with pytest.raises(StoreError):
        async with SqliteStore(path) as store:
            assert (await store.check()).problems
            await store.create(TENANT, new_run(999))
