"""Leases: renewing, releasing, running out, and who comes next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from astro.core.errors import LeaseLostError
from astro.core.protocols import Lease
from astro.core.records import State
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SLOW,
    TENANT,
    cancel,
    new_run,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["LeaseTests"]


async def _claim(store: Any, owner: str = FAST, **more: Any) -> tuple[Lease, ...]:
    wanted: dict[str, Any] = {"offers": ANY, "limit": 10, "duration": MINUTE}
    claimed = await store.claim(owner, **(wanted | more))
    return tuple(claimed.leases)


class LeaseTests(StoreSuite):
    """What a store promises of leases."""

    async def test_rule_23_an_overtaken_owner_cannot_write(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        (taken,) = await _claim(store, SLOW)
        assert taken.token == lease.token + 1
        with pytest.raises(LeaseLostError):
            await store.commit(lease, progress(lease))
        assert len(await store.read(TENANT, lease.run)) == 1

    async def test_rule_23_an_expired_lease_that_nobody_took_still_commits(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        assert (await store.commit(lease, progress(lease))).seq == 2

    async def test_rule_23_an_expired_lease_that_nobody_took_is_renewed(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        assert await _claim(store, SLOW, offers=frozenset({"fly"})) == ()
        assert list(await store.renew(FAST, duration=MINUTE)) == [replace(lease, first=None)]
        assert await _claim(store, SLOW) == ()

    async def test_a_renewed_lease_ends_later(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(timedelta(seconds=50))
        await store.renew(FAST, duration=MINUTE)
        clock.advance(timedelta(seconds=50))
        assert await _claim(store, SLOW) == ()
        clock.advance(timedelta(seconds=10))
        assert len(await _claim(store, SLOW)) == 1

    async def test_renewing_returns_the_leases_that_are_left(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        await store.create(TENANT, new_run(2))
        (second,) = await _claim(store)
        await store.release(lease)
        assert list(await store.renew(FAST, duration=MINUTE)) == [replace(second, first=None)]
        clock.advance(2 * MINUTE)
        await _claim(store, SLOW)
        assert list(await store.renew(FAST, duration=MINUTE)) == []

    async def test_claiming_what_was_not_released_counts_as_a_failure(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        for failures, owner in enumerate((SLOW, FAST, SLOW), start=1):
            clock.advance(2 * MINUTE)
            (lease,) = await _claim(store, owner)
            assert lease.failures == failures

    async def test_an_owner_does_not_claim_its_own_lease_that_ran_out(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        await store.create(TENANT, new_run(2))
        clock.advance(2 * MINUTE)
        assert [taken.run for taken in await _claim(store)] == [run_id(2)]
        assert lease.run in [kept.run for kept in await store.renew(FAST, duration=MINUTE)]
        assert await _claim(store, SLOW) == ()

    async def test_a_committed_entry_resets_the_count_of_failures(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        (lease,) = await _claim(store, SLOW)
        assert (await store.commit(lease, progress(lease))).failures == 0
        clock.advance(2 * MINUTE)
        (lease,) = await _claim(store)
        assert lease.failures == 1

    async def test_a_released_run_is_no_failure(self, store: Any, lease: Lease) -> None:
        await store.release(lease, wake_at=BEGINNING)
        (lease,) = await _claim(store, SLOW)
        assert (lease.token, lease.failures) == (2, 0)

    async def test_a_released_run_rests_until_its_moment(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        await store.release(lease, wake_at=BEGINNING + MINUTE)
        assert await _claim(store, SLOW) == ()
        clock.advance(MINUTE)
        assert len(await _claim(store, SLOW)) == 1

    async def test_a_run_released_without_a_moment_waits_for_a_message(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        await store.release(lease)
        clock.advance(timedelta(days=900))
        assert await _claim(store, SLOW) == ()
        await store.post(TENANT, lease.run, cancel())
        assert len(await _claim(store, SLOW)) == 1

    async def test_rule_28_releasing_with_unread_messages_makes_a_run_claimable_at_once(
        self, store: Any, lease: Lease
    ) -> None:
        await store.post(TENANT, lease.run, cancel())
        await store.release(lease)
        assert len(await _claim(store, SLOW)) == 1

    async def test_releasing_an_old_lease_is_ignored(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        (taken,) = await _claim(store, SLOW)
        await store.release(lease, wake_at=BEGINNING)
        assert await _claim(store) == ()
        assert list(await store.renew(SLOW, duration=MINUTE)) == [
            replace(taken, first=None, lost=False)
        ]

    async def test_releasing_twice_is_harmless(self, store: Any, lease: Lease) -> None:
        await store.release(lease, wake_at=BEGINNING)
        await store.release(lease, wake_at=BEGINNING + MINUTE)
        assert len(await _claim(store, SLOW)) == 1

    async def test_rule_28_a_message_to_an_owner_that_died_is_not_lost(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        await store.post(TENANT, lease.run, cancel())
        await store.commit(lease, progress(lease, state=State.ASKED, wake_at=None))
        clock.advance(2 * MINUTE)
        (lease,) = await _claim(store, SLOW)
        assert [posted.message for posted in await store.inbox(SLOW)] == [cancel()]

    async def test_a_message_after_a_lease_ran_out_makes_the_run_claimable(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        await store.commit(lease, progress(lease, state=State.ASKED, wake_at=None))
        clock.advance(2 * MINUTE)
        assert await _claim(store, SLOW) == ()
        await store.post(TENANT, lease.run, cancel())
        assert len(await _claim(store, SLOW)) == 1

    async def test_a_commit_that_proves_nothing_keeps_the_count_of_failures(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        (lease,) = await _claim(store, SLOW)
        await store.commit(lease, replace(progress(lease), proves=False))
        clock.advance(2 * MINUTE)
        (lease,) = await _claim(store)
        assert lease.failures == 2

    async def test_a_claim_tells_whether_the_owner_before_released_the_run(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        assert not lease.lost
        clock.advance(2 * MINUTE)
        (lease,) = await _claim(store, SLOW)
        assert lease.lost
        await store.release(lease, wake_at=BEGINNING)
        (lease,) = await _claim(store)
        assert (lease.lost, lease.failures) == (False, 1)
