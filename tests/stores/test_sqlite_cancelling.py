"""Cancelling in the middle: whoever is cancelled learns the truth first, and nothing breaks."""
# ruff: noqa: B023, PT012  (threads end without telling; lambdas are called at once)

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro.core.protocols import Lease
from astro.stores.sqlite import SqliteStore
from tests.stores.making import ANY, FAST, MINUTE, TENANT, new_run, progress, run_id

pytestmark = pytest.mark.anyio

POINTS = range(14)  # how many turns of the loop pass before the cancellation


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "runs.db", synchronous="NORMAL") as store:
        yield store


@pytest.fixture
async def lease(store: SqliteStore) -> Lease:
    await store.create(TENANT, new_run())
    return (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases[0]


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def by_task(work: Callable[[], Awaitable[Any]], point: int) -> bool:
    """Cancel natively; return whether the work was cancelled."""
    task = asyncio.ensure_future(work())
    await turns(point)
    task.cancel()
    await turns(1)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


async def by_timeout(work: Callable[[], Awaitable[Any]], point: int) -> bool:
    """Cancel with `asyncio.timeout`."""
    try:
        async with asyncio.timeout(point * 0.0001):
            await work()
    except TimeoutError:
        return True
    return False


async def by_scope(work: Callable[[], Awaitable[Any]], point: int) -> bool:
    """Cancel with an anyio scope."""
    with anyio.move_on_after(point * 0.0001) as scope:
        await work()
    return scope.cancelled_caught


async def by_sibling(work: Callable[[], Awaitable[Any]], point: int) -> bool:
    """Cancel by the failure of a sibling in an anyio task group."""
    done = False

    async def perform() -> None:
        nonlocal done
        await work()
        done = True

    with pytest.raises(ExceptionGroup):
        async with anyio.create_task_group() as group:
            group.start_soon(perform)
            await turns(point)
            raise KeyError("sibling")
    return not done


def left() -> tuple[int, int]:
    """Return how many threads and open files there are; threads end a moment after closing."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


WAYS = [by_task, by_timeout, by_scope, by_sibling]


@pytest.mark.parametrize("way", WAYS)
async def test_rule_25_a_cancelled_commit_has_happened_or_never_will(
    store: SqliteStore, lease: Lease, way: Callable[..., Awaitable[bool]]
) -> None:
    cancelled = applied = 0
    for point in POINTS:
        commit = progress(lease)
        was_cancelled = await way(lambda commit=commit: store.commit(lease, commit), point)
        length = len(await store.read(TENANT, lease.run, limit=999))
        assert length in (lease.seq, lease.seq + 1)
        assert was_cancelled or length == lease.seq + 1
        cancelled += was_cancelled
        applied += was_cancelled and length > lease.seq
        lease = await store.commit(lease, commit)
    assert cancelled
    assert len(await store.read(TENANT, lease.run, limit=999)) == len(POINTS) + 1


async def test_a_commit_that_was_begun_is_finished_when_cancelled(
    store: SqliteStore, lease: Lease
) -> None:
    assert await by_task(lambda: store.commit(lease, progress(lease)), 1)
    assert len(await store.read(TENANT, lease.run)) == 2


async def test_cancelled_among_many_does_not_touch_the_others(store: SqliteStore) -> None:
    tasks = [asyncio.create_task(store.create(TENANT, new_run(n))) for n in range(60)]
    await turns(1)
    for task in tasks[::3]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [n for n, outcome in enumerate(done) if outcome != run_id(n)] == [*range(0, 60, 3)]
    for number in range(60):
        assert len(await store.read(TENANT, run_id(number))) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_reader_gives_its_connection_back(
    store: SqliteStore, lease: Lease, way: Callable[..., Awaitable[bool]]
) -> None:
    for point in POINTS:
        await way(lambda: store.read(TENANT, lease.run), point)
    with anyio.fail_after(5):
        found = await asyncio.gather(*[store.read(TENANT, lease.run) for _ in range(20)])
    assert all(len(entries) == 1 for entries in found)


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_claim_gives_its_leases_back(
    store: SqliteStore, way: Callable[..., Awaitable[bool]]
) -> None:
    for number in POINTS:
        await store.create(TENANT, new_run(number))
        was_cancelled = await way(
            lambda: store.claim(FAST, offers=ANY, limit=1, duration=MINUTE), number
        )
        taken = await store.renew(FAST, duration=MINUTE)
        assert was_cancelled or len(taken) == 1
        assert not (was_cancelled and taken)
        for lease in taken:
            await store.release(lease)
        again = await store.claim("other", offers=ANY, limit=1, duration=MINUTE)
        assert len(again.leases) == was_cancelled
        assert all(lease.failures == 0 for lease in again.leases)


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_wait_ends_at_once(
    store: SqliteStore, way: Callable[..., Awaitable[bool]]
) -> None:
    await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    with anyio.fail_after(5):
        for point in POINTS:
            await way(lambda: store.wait(timeout=60 * MINUTE), point)
    assert await store.create(TENANT, new_run()) == run_id(1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_opening_leaves_nothing_open(
    tmp_path: Path, way: Callable[..., Awaitable[bool]]
) -> None:
    async def work() -> None:
        async with SqliteStore(tmp_path / "runs.db"):
            pass

    before = left()
    for point in [*POINTS, 20, 30, 40]:
        await way(work, point)
    await work()
    with anyio.fail_after(5):
        while left() > before:
            await anyio.sleep(0.01)


async def test_a_cancelled_closing_closes(tmp_path: Path) -> None:
    before = left()
    for point in POINTS:
        store = SqliteStore(tmp_path / "runs.db")
        await store.__aenter__()
        await by_task(partial(store.__aexit__, None, None, None), point + 1)
    with anyio.fail_after(5):
        while left() > before:
            await anyio.sleep(0.01)


async def test_a_cancelled_scope_does_not_spin_while_it_learns_the_truth(
    store: SqliteStore, lease: Lease, tmp_path: Path
) -> None:
    descriptor = os.open(tmp_path / "runs.db.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    asyncio.get_running_loop().call_later(0.3, os.close, descriptor)
    turned = 0

    async def count() -> None:
        nonlocal turned
        loop = asyncio.get_running_loop()
        while True:
            turned += 1
            before = loop.time()
            await asyncio.sleep(0.01)
            assert loop.time() - before < 0.25

    counting = asyncio.create_task(count())
    with anyio.move_on_after(0.01) as scope:
        await store.commit(lease, progress(lease))
    counting.cancel()
    assert scope.cancelled_caught
    assert len(await store.read(TENANT, lease.run)) == 2
    assert turned < 60
