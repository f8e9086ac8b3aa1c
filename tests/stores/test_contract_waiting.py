"""Waiting for work at any store. Real time passes only where a test waits for nothing to happen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro.core.protocols import Lease
from tests.stores.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SECOND,
    SLOW,
    TENANT,
    ManualClock,
    cancel,
    end,
    new_run,
    progress,
    run_id,
)

pytestmark = pytest.mark.anyio

QUIET = 0.15  # seconds in which a wait that should not end would have ended


@asynccontextmanager
async def waiting(store: Any, **more: Any) -> AsyncIterator[anyio.Event]:
    """Wait in another task, which has looked for work before; the event says that it ended."""
    ended = anyio.Event()
    looked = anyio.Event()

    async def look_and_wait() -> None:
        await store.claim("watcher", offers=frozenset(), limit=1, duration=MINUTE)
        looked.set()
        await store.wait(**({"timeout": 60 * MINUTE} | more))
        ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(look_and_wait)
        await looked.wait()
        await anyio.sleep(0.02)
        yield ended
        group.cancel_scope.cancel()


async def ends(event: anyio.Event) -> bool:
    with anyio.move_on_after(5):
        await event.wait()
    return event.is_set()


async def lasts(event: anyio.Event) -> bool:
    with anyio.move_on_after(QUIET):
        await event.wait()
    return not event.is_set()


async def a_create(store: Any, lease: Lease) -> None:
    await store.create(TENANT, new_run(7))


async def a_post(store: Any, lease: Lease) -> None:
    await store.post(TENANT, lease.run, cancel())


async def a_release(store: Any, lease: Lease) -> None:
    await store.release(lease, wake_at=BEGINNING)


async def a_child(store: Any, lease: Lease) -> None:
    await store.commit(lease, progress(lease, create=(new_run(7),)))


async def a_message(store: Any, lease: Lease) -> None:
    await store.commit(lease, progress(lease, outgoing=((lease.run, cancel()),)))


@pytest.mark.parametrize("news", [a_create, a_post, a_release, a_child, a_message])
async def test_news_ends_a_wait(
    store: Any, lease: Lease, news: Callable[[Any, Lease], Awaitable[None]]
) -> None:
    async with waiting(store) as ended:
        await news(store, lease)
        assert await ends(ended)


async def test_plain_commits_do_not_end_a_wait(store: Any, lease: Lease) -> None:
    async with waiting(store) as ended:
        for _ in range(3):
            lease = await store.commit(lease, progress(lease))
        await store.commit(lease, end(lease))
        await store.renew(FAST, duration=MINUTE)
        assert await lasts(ended)


async def test_a_wait_ends_when_time_is_up(store: Any, clock: ManualClock) -> None:
    async with waiting(store, timeout=MINUTE) as ended:
        assert await lasts(ended)
        clock.advance(MINUTE)
        assert await ends(ended)


async def test_a_wait_of_no_time_ends_at_once(store: Any) -> None:
    with anyio.fail_after(5):
        await store.wait(timeout=timedelta())


async def test_a_wait_ends_when_a_run_wakes_up(store: Any, clock: ManualClock) -> None:
    await store.create(TENANT, new_run(wake_at=BEGINNING + MINUTE))
    async with waiting(store) as ended:
        assert await lasts(ended)
        clock.advance(MINUTE)
        assert await ends(ended)


async def test_a_wait_ends_when_a_lease_runs_out(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    async with waiting(store) as ended:
        clock.advance(MINUTE)
        assert await ends(ended)


async def test_news_between_looking_and_waiting_are_not_missed(store: Any) -> None:
    await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    await store.create(TENANT, new_run(1))
    with anyio.fail_after(5):
        await store.wait(timeout=60 * MINUTE)


async def test_what_fell_due_between_looking_and_waiting_is_not_missed(
    store: Any, clock: ManualClock
) -> None:
    await store.create(TENANT, new_run(1, wake_at=BEGINNING + MINUTE))
    await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    clock.advance(MINUTE)
    with anyio.fail_after(5):
        await store.wait(timeout=60 * MINUTE)


async def test_work_that_nobody_here_offers_does_not_end_every_wait(
    store: Any, clock: ManualClock
) -> None:
    await store.create(TENANT, new_run(1, task="fly", wake_at=BEGINNING + SECOND))
    clock.advance(MINUTE)
    async with waiting(store) as ended:
        assert await lasts(ended)


async def test_two_watchers_of_one_store_both_hear_the_news(store: Any) -> None:
    async with waiting(store) as first, waiting(store) as second:
        await store.create(TENANT, new_run(1))
        assert await ends(first)
        assert await ends(second)


async def test_closing_the_store_ends_waits(store: Any) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: store.wait(timeout=60 * MINUTE))
            await anyio.sleep(0.05)
            await store.__aexit__(None, None, None)
    await store.__aenter__()


async def test_a_run_of_another_owner_is_heard_of_when_it_is_released(store: Any) -> None:
    await store.create(TENANT, new_run(1))
    (lease,) = (await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
    async with waiting(store) as ended:
        await store.release(lease, wake_at=BEGINNING)
        assert await ends(ended)
    claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    assert [new.run for new in claimed.leases] == [run_id(1)]
