"""Waiting for work. Real time passes only where a test waits for nothing to happen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro.core.protocols import Lease
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SECOND,
    SLOW,
    TENANT,
    cancel,
    end,
    new_run,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["WaitingTests"]


_QUIET = 0.15  # seconds in which a wait that should not end would have ended


@asynccontextmanager
async def _waiting(store: Any, **more: Any) -> AsyncIterator[anyio.Event]:
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
        await anyio.sleep(0.02)  # so that news come while it waits; those before count as well
        yield ended
        group.cancel_scope.cancel()


async def _ends(event: anyio.Event, patience: timedelta) -> bool:
    with anyio.move_on_after(patience.total_seconds()):
        await event.wait()
    return event.is_set()


async def _lasts(event: anyio.Event) -> bool:
    with anyio.move_on_after(_QUIET):
        await event.wait()
    return not event.is_set()


async def _a_create(store: Any, lease: Lease) -> None:
    await store.create(TENANT, new_run(7))


async def _a_post(store: Any, lease: Lease) -> None:
    await store.post(TENANT, lease.run, cancel())


async def _a_release(store: Any, lease: Lease) -> None:
    await store.release(lease, wake_at=BEGINNING)


async def _a_child(store: Any, lease: Lease) -> None:
    await store.commit(lease, progress(lease, create=(new_run(7),)))


async def _a_message(store: Any, lease: Lease) -> None:
    await store.commit(lease, progress(lease, outgoing=((lease.run, cancel()),)))


class WaitingTests(StoreSuite):
    """What a store promises to those who wait for work."""

    @pytest.mark.parametrize(
        "news",
        [_a_create, _a_post, _a_release, _a_child, _a_message],
        ids=lambda news: str(news.__name__).strip("_"),
    )
    async def test_news_ends_a_wait(
        self, store: Any, lease: Lease, news: Callable[[Any, Lease], Awaitable[None]]
    ) -> None:
        async with _waiting(store) as ended:
            await news(store, lease)
            assert await _ends(ended, self.patience)

    async def test_plain_commits_do_not_end_a_wait(self, store: Any, lease: Lease) -> None:
        async with _waiting(store) as ended:
            for _ in range(3):
                lease = await store.commit(lease, progress(lease))
            await store.commit(lease, end(lease))
            await store.renew(FAST, duration=MINUTE)
            assert await _lasts(ended)

    async def test_a_wait_ends_when_time_is_up(self, store: Any, clock: VirtualClock) -> None:
        async with _waiting(store, timeout=MINUTE) as ended:
            assert await _lasts(ended)
            clock.advance(MINUTE)
            assert await _ends(ended, self.patience)

    async def test_a_wait_of_no_time_ends_at_once(self, store: Any) -> None:
        with anyio.fail_after(self.patience.total_seconds()):
            await store.wait(timeout=timedelta())

    async def test_a_wait_ends_when_a_run_wakes_up(self, store: Any, clock: VirtualClock) -> None:
        await store.create(TENANT, new_run(wake_at=BEGINNING + MINUTE))
        async with _waiting(store) as ended:
            assert await _lasts(ended)
            clock.advance(MINUTE)
            assert await _ends(ended, self.patience)

    async def test_a_wait_ends_when_a_lease_runs_out(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        async with _waiting(store) as ended:
            clock.advance(MINUTE)
            assert await _ends(ended, self.patience)

    async def test_news_between_looking_and_waiting_are_not_missed(self, store: Any) -> None:
        await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
        await store.create(TENANT, new_run(1))
        with anyio.fail_after(self.patience.total_seconds()):
            await store.wait(timeout=60 * MINUTE)

    async def test_what_fell_due_between_looking_and_waiting_is_not_missed(
        self, store: Any, clock: VirtualClock
    ) -> None:
        await store.create(TENANT, new_run(1, wake_at=BEGINNING + MINUTE))
        await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
        clock.advance(MINUTE)
        with anyio.fail_after(self.patience.total_seconds()):
            await store.wait(timeout=60 * MINUTE)

    async def test_work_that_nobody_here_offers_does_not_end_every_wait(
        self, store: Any, clock: VirtualClock
    ) -> None:
        await store.create(TENANT, new_run(1, task="fly", wake_at=BEGINNING + SECOND))
        clock.advance(MINUTE)
        async with _waiting(store) as ended:
            assert await _lasts(ended)

    async def test_two_watchers_of_one_store_both_hear_the_news(self, store: Any) -> None:
        async with _waiting(store) as first, _waiting(store) as second:
            await store.create(TENANT, new_run(1))
            assert await _ends(first, self.patience)
            assert await _ends(second, self.patience)

    async def test_closing_the_store_ends_waits(self, store: Any) -> None:
        with anyio.fail_after(self.patience.total_seconds()):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: store.wait(timeout=60 * MINUTE))
                await anyio.sleep(0.05)
                await store.__aexit__(None, None, None)
        await store.__aenter__()

    async def test_a_run_of_another_owner_is_heard_of_when_it_is_released(self, store: Any) -> None:
        await store.create(TENANT, new_run(1))
        (lease,) = (await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
        async with _waiting(store) as ended:
            await store.release(lease, wake_at=BEGINNING)
            assert await _ends(ended, self.patience)
        claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
        assert [new.run for new in claimed.leases] == [run_id(1)]
