"""Places: what another store at the same place finds, later or at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro.core.errors import AlreadyAnsweredError, LeaseLostError
from astro.core.protocols import Lease, RunQuery
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    FAST,
    MINUTE,
    SLOW,
    TENANT,
    answer,
    cancel,
    new_run,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["PlaceTests"]


class PlaceTests(StoreSuite):
    """What a store that is durable or shared promises."""

    @pytest.fixture
    async def second(self, store: Any, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[Any]:
        """Another store that is open at the same place."""
        self.promised("shared")
        async with self.make(clock, tmp_path) as second:
            yield second

    # --- Later -------------------------------------------------------------------------------

    async def test_another_store_at_the_same_place_finds_what_was_kept(
        self, clock: VirtualClock, tmp_path: Path
    ) -> None:
        self.promised("durable")
        async with self.make(clock, tmp_path) as store:
            await store.create(TENANT, new_run(1, key="fusion"))
            (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
            await store.commit(lease, progress(lease))
            await store.post(TENANT, lease.run, answer())
            kept = list(await store.read(TENANT, lease.run))
            blob = await store.put(TENANT, b"large")
        async with self.make(clock, tmp_path) as store:
            assert list(await store.read(TENANT, lease.run)) == kept
            assert await store.fetch(TENANT, blob) == b"large"
            assert await store.create(TENANT, new_run(2, key="fusion")) == run_id(1)
            with pytest.raises(AlreadyAnsweredError):
                await store.post(TENANT, lease.run, answer())
            assert [posted.message for posted in await store.inbox(FAST)] == [answer()]

    async def test_tokens_go_on_rising_at_the_same_place(
        self, clock: VirtualClock, tmp_path: Path
    ) -> None:
        self.promised("durable")
        async with self.make(clock, tmp_path) as store:
            await store.create(TENANT, new_run())
            (old,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
        clock.advance(2 * MINUTE)
        async with self.make(clock, tmp_path) as store:
            (new,) = (await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
            assert new.token > old.token
            with pytest.raises(LeaseLostError):
                await store.commit(old, progress(old))

    # --- At the same time --------------------------------------------------------------------

    async def test_a_run_that_one_store_has_given_away_the_other_does_not(
        self, store: Any, second: Any, lease: Lease
    ) -> None:
        (found,) = (await second.runs(TENANT, RunQuery())).items
        assert (found.id, found.owner) == (lease.run, FAST)
        assert (await second.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases == ()

    async def test_the_fence_holds_across_stores(
        self, store: Any, second: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        (taken,) = (await second.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
        with pytest.raises(LeaseLostError):
            await store.commit(lease, progress(lease))
        await second.commit(taken, progress(taken))
        assert len(await store.read(TENANT, lease.run)) == 2

    async def test_a_key_is_taken_in_both_stores(self, store: Any, second: Any) -> None:
        await store.create(TENANT, new_run(1, key="fusion"))
        assert await second.create(TENANT, new_run(2, key="fusion")) == run_id(1)

    async def test_a_message_reaches_an_owner_at_the_other_store(
        self, store: Any, second: Any, lease: Lease
    ) -> None:
        await second.post(TENANT, lease.run, cancel())
        assert [posted.message for posted in await store.inbox(FAST)] == [cancel()]

    async def test_news_at_one_store_end_a_wait_at_the_other(self, store: Any, second: Any) -> None:
        await second.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)
        await store.create(TENANT, new_run())
        with anyio.fail_after(self.patience.total_seconds()):
            await second.wait(timeout=60 * MINUTE)

    async def test_many_claims_at_once_give_each_run_to_one_owner(
        self, store: Any, second: Any
    ) -> None:
        for number in range(20):
            await store.create(TENANT, new_run(number))
        taken: list[str] = []

        async def take(at: Any, owner: str) -> None:
            while found := (await at.claim(owner, offers=ANY, limit=1, duration=MINUTE)).leases:
                taken.append(found[0].run)

        async with anyio.create_task_group() as group:
            group.start_soon(take, store, FAST)
            group.start_soon(take, second, SLOW)
        assert sorted(taken) == [run_id(number) for number in range(20)]
        assert len((await second.runs(TENANT, RunQuery())).items) == 20
